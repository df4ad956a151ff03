from __future__ import annotations

from pathlib import Path

import pytest

from dcf.builder.explain import explain
from dcf.builder.uv import redacted
from dcf.errors import (
    BuildError,
    DcfError,
    DiskFull,
    IndexUnreachable,
    InstallFailed,
    PackageNotFound,
    RequirementsInvalid,
    VersionConflict,
)

NEW_CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because only dcf-runtime==0.1.0 is available and dcf-runtime==0.1.0 depends on uvicorn>=0.30, we can conclude that all versions of dcf-runtime depend on uvicorn>=0.30.
         And because you require dcf-runtime and uvicorn==0.20.0, we can conclude that your requirements are unsatisfiable.
"""

OLD_CONFLICT = """\
  \u00d7 No solution found when resolving dependencies:
  \u2570\u2500\u25b6 Because only dcf-runtime==0.1.0 is available and dcf-runtime==0.1.0
      depends on uvicorn>=0.30, we can conclude that all versions of
      dcf-runtime depend on uvicorn>=0.30.
      And because you require dcf-runtime and uvicorn==0.20.0, we can conclude
      that your requirements are unsatisfiable.
"""

INDIRECT_CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because uvicorn>=0.30.0 depends on h11>=0.8 and dcf-runtime==0.1.0 depends on uvicorn>=0.30, we can conclude that dcf-runtime==0.1.0 depends on h11>=0.8.
         And because only dcf-runtime==0.1.0 is available, we can conclude that all versions of dcf-runtime depend on h11>=0.8.
         And because you require dcf-runtime and h11<0.8, we can conclude that your requirements are unsatisfiable.
"""

OWN_CONFLICT = """\
error: No solution found when resolving dependencies
  cause: Because you require idna==3.4 and idna==3.5, we can conclude that your requirements are unsatisfiable.
"""

UNKNOWN = """\
error: No solution found when resolving dependencies
  cause: Because no-such-thing was not found in the package registry and you require no-such-thing, we can conclude that your requirements are unsatisfiable.
"""

FORBIDDEN = """\
error: No solution found when resolving dependencies
  cause: Because mine was not found in the package registry and you require mine, we can conclude that your requirements are unsatisfiable.

hint: An index URL (https://host/simple) could not be queried due to a lack of valid authentication credentials (401 Unauthorized).
"""

NO_VERSION = """\
  \u00d7 No solution found when resolving dependencies:
  \u2570\u2500\u25b6 Because there is no version of idna==99 and you require idna==99, we can
      conclude that your requirements are unsatisfiable.
"""

NOT_CACHED = """\
error: No solution found when resolving dependencies
  cause: Because idna was not found in the cache and you require idna, we can conclude that your requirements are unsatisfiable.

hint: Packages were unavailable because the network was disabled. When the network is disabled, registry packages may only be read from the cache.
"""

REFUSED = """\
error: Request failed after 3 retries in 5.5s
  cause: Failed to fetch: http://127.0.0.1:9/simple/idna/
  cause: error sending request for url (http://127.0.0.1:9/simple/idna/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""

OFFLINE = """\
Using Python 3.11.7 environment at: env
Resolved 6 packages in 2ms
error: Failed to download `idna==3.20`
  cause: Network connectivity is disabled, but the requested data wasn't found in the cache: https://host/idna.whl
"""

FULL = """\
error: Failed to download `httptools==0.9.0`
  cause: Failed to extract archive: httptools.whl
  cause: failed to write to file `/data/cache/x.so`: No space left on device (os error 28)
"""

MISMATCH = """\
error: Failed to download `idna==3.20`
  cause: Hash mismatch for `idna==3.20`

         Expected:
           sha256:a7
"""

BROKEN_BUILD = """\
   Building bad @ file:///tmp/bad
error: Failed to build `bad @ file:///tmp/bad`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

         [stderr]
         compiling
         error: command 'gcc' failed: No such file or directory

hint: Build failures usually indicate a problem with the package or the build environment
"""


def of(text: str, folder: Path = Path("/nowhere")) -> DcfError:
    return explain(text.splitlines(), folder)


@pytest.mark.parametrize("text", [NEW_CONFLICT, OLD_CONFLICT])
def test_a_conflict_with_the_watcher_names_both(text: str) -> None:
    error = of(text)
    assert isinstance(error, VersionConflict)
    assert str(error) == (
        "expected requirements that some versions satisfy, got a conflict: Because the watcher "
        "(dcf-runtime) needs uvicorn>=0.30 and requirements.txt requires uvicorn==0.20.0, no "
        "versions satisfy all of them."
    )
    assert "dcf-runtime==0.1.0" in error.output


def test_an_indirect_conflict_names_the_packages_between() -> None:
    error = of(INDIRECT_CONFLICT)
    assert isinstance(error, VersionConflict)
    assert str(error) == (
        "expected requirements that some versions satisfy, got a conflict: Because "
        "uvicorn>=0.30.0 depends on h11>=0.8 and the watcher (dcf-runtime) needs uvicorn>=0.30, "
        "the watcher (dcf-runtime) needs h11>=0.8. And because requirements.txt requires h11<0.8, "
        "no versions satisfy all of them."
    )


def test_a_conflict_among_the_authors_own_pins() -> None:
    error = of(OWN_CONFLICT)
    assert isinstance(error, VersionConflict)
    conflict = "requirements.txt requires idna==3.4 and idna==3.5, no versions satisfy all of them."
    assert conflict in str(error)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            UNKNOWN,
            PackageNotFound,
            "expected an index with a package named no-such-thing, got none",
        ),
        (FORBIDDEN, PackageNotFound, "401 Unauthorized"),
        (NO_VERSION, PackageNotFound, "expected an index with idna==99, got none"),
        (
            NOT_CACHED,
            IndexUnreachable,
            "expected idna in the cache, got nothing; no index could be reached",
        ),
        (
            REFUSED,
            IndexUnreachable,
            (
                "expected an answer from the package index at http://127.0.0.1:9/simple/idna/, "
                "got none: Connection refused (os error 111)"
            ),
        ),
        (OFFLINE, IndexUnreachable, "`idna==3.20`: expected it in the cache, got nothing"),
        (
            FULL,
            DiskFull,
            "/data/cache/x.so: expected free space, got none: no space left on device",
        ),
        (MISMATCH, InstallFailed, "Hash mismatch"),
        (
            BROKEN_BUILD,
            InstallFailed,
            "(exit status: 1): command 'gcc' failed: No such file or directory",
        ),
        ("error: something new", BuildError, "something new"),
        ("", BuildError, "expected uv to succeed, got a failure without output"),
    ],
)
def test_each_failure_has_its_class(text: str, kind: type[DcfError], message: str) -> None:
    error = of(text)
    assert type(error) is kind
    assert message in str(error)


def test_a_parse_error_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six\nidna=3\n")
    text = """\
error: Couldn't parse requirement in `requirements.txt` at position 4
  cause: no such comparison operator "=", must be one of ~= == != <= >= < > ===
         idna=3
             ^^
"""
    error = of(text, tmp_path)
    assert isinstance(error, RequirementsInvalid)
    assert str(error) == (
        'requirements.txt, line 2: no such comparison operator "=", must be one of ~= == != <= >= '
        "< > === idna=3"
    )


def test_credentials_are_redacted() -> None:
    text = "at https://me:secret@host/simple and `http://token@host`, not https://host/a@b"
    assert (
        redacted(text) == "at https://***@host/simple and `http://***@host`, not https://host/a@b"
    )
