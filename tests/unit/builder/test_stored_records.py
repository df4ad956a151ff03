"""A damaged record in the store never stops its reader."""

import pytest

from dcf.builder.folders import FolderRecord
from dcf.builder.retained import RetainedArtifacts
from dcf.builder.store import Store
from dcf.builder.uploads import _notes
from dcf.gateway import address_file
from dcf.settings import Locations

RECORDS = [
    b"",
    b"5",
    b"null",
    b"[" * 10_000,
    b'{"a":' * 10_000,
    b"\xff\xfe",
    b"\0",
    b'{"bundle": 5, "lock": [], "environment": {}}',
    b'{"bundle": "b", "lock": "l", "environment": null}',
    b'{"size": "x", "created": 1.0, "interpreter": "p", "lock": "l"}',
    b'{"size": 1, "created": NaN, "interpreter": "p", "lock": "l"}',
    b'{"size": ' + b"9" * 5000 + b', "created": 1.0, "interpreter": "p", "lock": "l"}',
    b'{"host": 5, "port": "x", "tls": 1, "process": {"pid": "x", "started": 1, "boot": 2}}',
    b'{"host": "h", "port": 1, "tls": false, "process": {"pid": [], "started": "", "boot": ""}}',
    b'{"host": "h", "port": 1, "tls": false, "process": 5}',
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_that_cannot_be_read_counts_as_missing(tmp_path, record):
    store = Store(tmp_path / "store")
    (store.deployed / "x.json").write_bytes(record)
    (store.uploads / "x.json").write_bytes(record)
    (store.environments / "x.json").write_bytes(record)
    (tmp_path / "folder.json").write_bytes(record)
    places = Locations.from_mapping({"HOME": str(tmp_path), "DCF_DATA_DIR": str(tmp_path)})
    places.gateway.mkdir()
    (places.gateway / "address.json").write_bytes(record)
    assert RetainedArtifacts(store).entries() == ()
    assert list(_notes(store)) == []
    assert store.marker("x") is None
    assert FolderRecord.read(tmp_path / "folder.json") is None
    assert address_file.find(places) is None
