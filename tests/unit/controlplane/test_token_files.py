"""The management token is where its user's commands find it, and private."""

import stat
from pathlib import Path

from dcf.catalog.catalog import Catalog
from dcf.controlplane import token_files
from dcf.controlplane.tokens import Role
from dcf.settings import ControlSettings, Locations


def places(folder: Path) -> Locations:
    names = ("DATA", "RUNTIME", "SECRETS", "STATE")
    found = Locations.from_mapping({f"DCF_{name}_DIR": str(folder / name) for name in names})
    found.gateway.mkdir(parents=True)
    return found


def test_the_token_is_written_for_its_user_only_and_stays_the_same(tmp_path):
    here = places(tmp_path)
    with Catalog(None) as catalog:
        tokens = token_files.prepare(ControlSettings(port=4000), here, catalog.keys)
        for path in (here.gateway / "token", here.token("localhost", 4000)):
            assert path.read_text().strip() == tokens.management
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        again = token_files.prepare(ControlSettings(port=4001), here, catalog.keys)
        assert again.management == tokens.management
        assert again.recognise(here.token("127.0.0.1", 4001).read_text().strip()) is Role.MANAGER
    assert {path.name for path in here.gateway.iterdir()} == {"secret", "token"}
