"""Defaults are promises; a value that does not fit is an error."""

from dataclasses import asdict
from pathlib import Path

import pytest

from dcf.dataplane.grpc import LARGEST
from dcf.errors import ConfigError
from dcf.gateway.runner import GRACE
from dcf.settings import (
    BridgeSettings,
    BuildSettings,
    ControlSettings,
    Locations,
    StoreSettings,
    WatcherSettings,
)


def test_the_watchers_defaults():
    assert asdict(WatcherSettings()) == {
        "function": "function",
        "root": ".",
        "origin": "",
        "handler_dir": "./src",
        "handler_file": "handler.py",
        "handler_name": "Handler",
        "listen": "tcp:127.0.0.1:0",
        "concurrency": 0,
        "queue": 128,
        "timeout": 300.0,
        "idle_timeout": 300.0,
        "grace": 5.0,
        "start_timeout": 300.0,
        "drain": 30.0,
        "max_body": 1024**3,
        "waiting_bodies": 256 * 1024**2,
        "body_rate": 1024,
        "body_grace": 10.0,
        "max_message": 64 * 1024**2,
        "hosts": "*",
        "ping": 20.0,
        "log_level": "INFO",
        "request_ids": True,
        "log_failure": False,
        "call_table": "",
        "replay": 1024**2,
        "preflight": False,
        "lifeline": False,
        "memory_limit": 0,
        "cgroups": "",
        "cpus": "",
        "gpu_locks": "",
        "late_variables": "",
    }


def test_what_is_written_is_read_back():
    settings = WatcherSettings(function="a", timeout=0.25, concurrency=7, lifeline=True)
    assert WatcherSettings.from_mapping(settings.to_mapping()) == settings
    assert WatcherSettings.from_mapping({}) == WatcherSettings()


@pytest.mark.parametrize("value", ["", "many", "-1", "nan", "1.5"])
def test_a_number_that_is_none(value):
    with pytest.raises(ConfigError, match="DCF_QUEUE"):
        WatcherSettings.from_mapping({"DCF_QUEUE": value})


def test_the_stores_bound():
    assert StoreSettings.from_mapping({}).limit == 20 * 1024**3
    assert StoreSettings.from_mapping({"DCF_STORE_LIMIT": "1000"}).limit == 1000
    with pytest.raises(ConfigError, match="DCF_STORE_LIMIT"):
        StoreSettings.from_mapping({"DCF_STORE_LIMIT": "20G"})


def test_places_on_linux():
    home = {"HOME": "/home/me"}
    places = Locations.from_mapping(home, "linux")
    assert places.data == Path("/home/me/.local/share/dcf")
    assert places.secrets == Path("/home/me/.config/dcf/secrets")
    assert places.runtime.parent == Path("/tmp")
    xdg = {**home, "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c", "XDG_RUNTIME_DIR": "/run/me"}
    places = Locations.from_mapping(xdg, "linux")
    assert (places.data, places.secrets) == (Path("/d/dcf"), Path("/c/dcf/secrets"))
    assert places.runtime == Path("/run/me/dcf")


def test_places_on_macos():
    places = Locations.from_mapping({"HOME": "/Users/me", "TMPDIR": "/var/t"}, "darwin")
    assert places.data == Path("/Users/me/Library/Application Support/dcf")
    assert places.runtime.parent == Path("/var/t")


def test_own_places_come_first():
    folders = {"DATA": "/a", "RUNTIME": "/b", "SECRETS": "/c", "STATE": "/d"}
    own = {f"DCF_{name}_DIR": path for name, path in folders.items()}
    assert Locations.from_mapping({**own, "HOME": "/h"}) == Locations(
        *map(Path, ["/a", "/b", "/c", "/d"])
    )


def test_all_names_of_this_machine_have_one_token():
    places = Locations.from_mapping({"HOME": "/h"})
    assert places.token("localhost", 1) == places.token("::1", 1) == places.token("127.0.0.1", 1)
    assert places.token("other", 1) == Path("/h/.local/state/dcf/tokens/other:1")


def test_control_settings_are_read_back():
    settings = ControlSettings(host="0.0.0.0", open=False, cors="*", builds=7)
    assert ControlSettings.from_mapping(settings.to_mapping()) == settings


def test_the_bridges_defaults():
    assert asdict(BridgeSettings()) == {
        "listen": "bridge.sock",
        "gateway": "calls.sock",
        "max_message": LARGEST,
        "idle": 300.0,
        "drain": 25.0,
        "log_level": "INFO",
    }
    settings = BridgeSettings(listen="/a", gateway="/b", max_message=7, drain=0.5)
    assert BridgeSettings.from_mapping(settings.to_mapping()) == settings
    assert BridgeSettings().drain < GRACE


def test_a_build_has_a_time_limit_that_the_environment_sets() -> None:
    assert BuildSettings.from_mapping({}).timeout == 1800.0
    assert BuildSettings.from_mapping({"DCF_BUILD_TIMEOUT": "90"}).timeout == 90.0
    with pytest.raises(ConfigError, match="DCF_BUILD_TIMEOUT"):
        BuildSettings.from_mapping({"DCF_BUILD_TIMEOUT": "30m"})
