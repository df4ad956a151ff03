BEGIN TRANSACTION;
PRAGMA application_id=1145259619;
PRAGMA user_version=1;
CREATE TABLE artifacts (
        digest TEXT PRIMARY KEY,
        bundle TEXT NOT NULL,
        lock TEXT NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "artifacts" VALUES('sha256:dfb2748fc4c5766c89488ec2e179a60c9d014c6836430fc84bdc83ce24066757','sha256:252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111','sha256:0c030586945fe504b604ecc2e875c38ede400cd5cd73da9730302162e6b02c6f',1700000007.0);
INSERT INTO "artifacts" VALUES('sha256:e1cb84ebe6cc87da75efec6bc81bb8e9ce35e3881484aaf42229dffc1b58ea5b','sha256:3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea','sha256:0c030586945fe504b604ecc2e875c38ede400cd5cd73da9730302162e6b02c6f',1700000004.0);
CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
        kind TEXT NOT NULL,
        at REAL NOT NULL,
        revision INTEGER NOT NULL,
        key TEXT NOT NULL,
        replica TEXT NOT NULL,
        detail TEXT NOT NULL,
        error TEXT NOT NULL,
        traceback TEXT NOT NULL,
        UNIQUE (function, key)
    );
INSERT INTO "events" VALUES(1,'hello','crashed',1700000100.0,2,'hello.2.0.1@1700000100.000000','hello.2.0.1','exit code 1','','Traceback ...');
CREATE TABLE functions (
        name TEXT PRIMARY KEY,
        "desc" TEXT NOT NULL,
        maintainer TEXT NOT NULL,
        labels TEXT NOT NULL,
        annotations TEXT NOT NULL,
        minimum INTEGER NOT NULL,
        maximum INTEGER NOT NULL,
        replicas INTEGER NOT NULL CHECK (replicas BETWEEN minimum AND maximum),
        current INTEGER NOT NULL,
        invocations INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        FOREIGN KEY (name, current) REFERENCES revisions (function, number)
            DEFERRABLE INITIALLY DEFERRED
    ) WITHOUT ROWID;
INSERT INTO "functions" VALUES('hello','Greets','','{"team":"a"}','{}',1,4,2,2,17,1700000004.0,1700000006.0);
INSERT INTO "functions" VALUES('other','','','{}','{}',1,1,1,1,0,1700000007.0,1700000007.0);
CREATE TABLE keys (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        digest TEXT NOT NULL UNIQUE,
        created REAL NOT NULL,
        revoked REAL
    );
INSERT INTO "keys" VALUES(1,'laptop','sha256:aa',1700000008.0,NULL);
CREATE TABLE numbers (
        function TEXT PRIMARY KEY,
        last INTEGER NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "numbers" VALUES('gone',4);
INSERT INTO "numbers" VALUES('hello',2);
INSERT INTO "numbers" VALUES('other',1);
CREATE TABLE revisions (
        function TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE
            DEFERRABLE INITIALLY DEFERRED,
        number INTEGER NOT NULL,
        artifact TEXT NOT NULL REFERENCES artifacts (digest),
        spec TEXT NOT NULL,
        created REAL NOT NULL,
        PRIMARY KEY (function, number)
    ) WITHOUT ROWID;
INSERT INTO "revisions" VALUES('hello',1,'sha256:e1cb84ebe6cc87da75efec6bc81bb8e9ce35e3881484aaf42229dffc1b58ea5b','{"name":"hello"}',1700000004.0);
INSERT INTO "revisions" VALUES('hello',2,'sha256:e1cb84ebe6cc87da75efec6bc81bb8e9ce35e3881484aaf42229dffc1b58ea5b','{"name":"hello","secrets":["token"],"timeout":2.5}',1700000005.0);
INSERT INTO "revisions" VALUES('other',1,'sha256:dfb2748fc4c5766c89488ec2e179a60c9d014c6836430fc84bdc83ce24066757','{"name":"other"}',1700000007.0);
CREATE INDEX revisions_by_artifact ON revisions (artifact);
CREATE INDEX events_by_kind ON events (function, kind);
CREATE UNIQUE INDEX keys_in_force ON keys (name) WHERE revoked IS NULL;
COMMIT;
