"""Users rely on the defaults. A value that is not allowed is an error that names its variable."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import get_type_hints

import pytest

from dcf.dataplane.grpc import LARGEST
from dcf.errors import ConfigError
from dcf.gateway.runner import GRACE
from dcf.settings import (
    BridgeSettings,
    BuildSettings,
    ControlSettings,
    DataplaneSettings,
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


CLASSES = (
    ("DCF_", WatcherSettings),
    ("DCF_CONTROL_", ControlSettings),
    ("DCF_BRIDGE_", BridgeSettings),
    ("DCF_ENVOY_", DataplaneSettings),
    ("DCF_STORE_", StoreSettings),
    ("DCF_BUILD_", BuildSettings),
)
VARIABLES = [
    (kind, prefix + field.name.upper(), get_type_hints(kind)[field.name])
    for prefix, kind in CLASSES
    for field in fields(kind)
]
LEVELS = [(kind, name) for kind, name, _ in VARIABLES if name.endswith("LOG_LEVEL")]
PATHS = {"ROOT", "ORIGIN", "DIR", "FILE", "TABLE", "CGROUPS", "LOCKS", "CERTIFICATE", "KEY",
         "LISTEN", "GATEWAY"}  # fmt: skip


def said(kind, env):
    with pytest.raises(ConfigError) as caught:
        kind.from_mapping(env)
    return str(caught.value)


NOT_A_NUMBER = ("", " ", "many", "-1", "nan", "inf", "-inf", "1e999", "9" * 400, "9" * 5000,
                "1_000", " 7", "7\n", "\u0663", "0x10", "true", "\udcff")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "variable", "type_"), [one for one in VARIABLES if one[2] in {int, float}]
)
def test_a_number_is_strict(kind, variable, type_):
    wrong = NOT_A_NUMBER if type_ is float else (*NOT_A_NUMBER, "1.5", "1e3", str(2**63))
    for value in wrong:
        message = said(kind, {variable: value})
        assert message.startswith(f"{variable}: expected a ")
        assert "; change it, or unset it for the default (" in message
        assert len(message) < 300


@pytest.mark.parametrize(
    ("kind", "variable"), [(kind, name) for kind, name, type_ in VARIABLES if type_ is bool]
)
def test_a_boolean_has_eight_spellings_and_no_other(kind, variable):
    field = variable.removeprefix(next(prefix for prefix, one in CLASSES if one is kind)).lower()
    for text in ("1", "true", "yes", "on", "TRUE", "Yes", "oN"):
        assert getattr(kind.from_mapping({variable: text}), field) is True
    for text in ("0", "false", "no", "off", "FALSE", "No", "oFF"):
        assert getattr(kind.from_mapping({variable: text}), field) is False
    for text in ("", "2", "nan", "y", "none", " 1", "1\n", "\udcff"):
        expected = f"{variable}: expected 1, 0, true, false, yes, no, on or off, got "
        assert said(kind, {variable: text}).startswith(expected)


@pytest.mark.parametrize(("kind", "variable"), LEVELS)
def test_a_log_level_is_a_known_one(kind, variable):
    for value in ("", "loud", "10", "NOTSET", "INFO ", "nan", "\udcff"):
        message = said(kind, {variable: value})
        assert message.startswith(f"{variable}: expected ")
        assert " error" in message.lower()


def test_a_log_level_may_have_any_case():
    assert WatcherSettings.from_mapping({"DCF_LOG_LEVEL": "debug"}).log_level == "DEBUG"
    assert ControlSettings.from_mapping({"DCF_CONTROL_LOG_LEVEL": "Warn"}).log_level == "WARNING"
    assert DataplaneSettings.from_mapping({"DCF_ENVOY_LOG_LEVEL": "OFF"}).log_level == "off"
    assert DataplaneSettings.from_mapping({"DCF_ENVOY_LOG_LEVEL": "warn"}).log_level == "warning"


@pytest.mark.parametrize(
    ("kind", "variable"),
    [
        (kind, name)
        for kind, name, type_ in VARIABLES
        if type_ is str and name.rpartition("_")[2] not in PATHS
    ],
)
def test_a_text_is_utf_8(kind, variable):
    assert said(kind, {variable: "\udcff"}).startswith(f"{variable}: expected ")


@pytest.mark.parametrize(
    ("kind", "variable", "value", "expected", "default"),
    [
        (WatcherSettings, "DCF_QUEUE", "many",
         "a whole number from 0 to 9223372036854775807", "128"),
        (BuildSettings, "DCF_BUILD_TIMEOUT", "30m",
         "a number of seconds from 0 to 31536000, such as 90", "1800.0"),
        (WatcherSettings, "DCF_TIMEOUT", "0", "a number of seconds above 0, such as 90", "300.0"),
        (StoreSettings, "DCF_STORE_LIMIT", "20G",
         "a whole number of bytes from 0 to 9223372036854775807", "21474836480"),
        (DataplaneSettings, "DCF_ENVOY_BUFFER", "0",
         "a whole number of bytes from 65535 to 536870911", "262144"),
        (DataplaneSettings, "DCF_ENVOY_PORT", "65536", "a whole number from 1 to 65535", "32222"),
        (WatcherSettings, "DCF_LIFELINE", "2", "1, 0, true, false, yes, no, on or off", "0"),
        (WatcherSettings, "DCF_LOG_LEVEL", "loud",
         "CRITICAL, ERROR, WARNING, INFO or DEBUG", "'INFO'"),
        (WatcherSettings, "DCF_LISTEN", "tcp:x:y",
         "unix:PATH, tcp:HOST:PORT or fd:N", "'tcp:127.0.0.1:0'"),
        (WatcherSettings, "DCF_CPUS", "0-3", "numbers of cores with commas, such as 0,1", "''"),
    ],
)  # fmt: skip
def test_a_message_says_what_is_expected_and_what_to_do(kind, variable, value, expected, default):
    advice = f"change it, or unset it for the default ({default})"

    assert (
        said(kind, {variable: value}) == f"{variable}: expected {expected}, got {value!r}; {advice}"
    )
    assert "got '" + 57 * "x" + "...';" in said(kind, {variable: "x" * 100})


def test_an_empty_value_is_named_as_such():
    assert ", got an empty value; " in said(StoreSettings, {"DCF_STORE_LIMIT": ""})


@pytest.mark.parametrize(
    "value", ["{", "[]", "1", '{"A": 1}', '{"A": "\\ud800"}', '{"A=": "x"}', "[" * 100_000]
)
def test_late_variables_are_an_object_of_texts_and_are_never_shown(value):
    message = said(WatcherSettings, {"DCF_LATE_VARIABLES": value})

    assert message.startswith("DCF_LATE_VARIABLES: expected a JSON object of texts, got something")


@pytest.mark.parametrize("value", ["0.1", ".5", "5", "1e2", "1E+2", "31536000"])
def test_seconds_are_written_as_any_number(value):
    assert ControlSettings.from_mapping({"DCF_CONTROL_HEALTH_INTERVAL": value}) == ControlSettings(
        health_interval=float(value)
    )


def test_a_path_may_have_any_bytes():
    assert WatcherSettings.from_mapping({"DCF_ROOT": "/\udcff"}).root == "/\udcff"


def test_every_value_that_config_yaml_allows_is_read_back():
    settings = WatcherSettings(timeout=3.6e21, idle_timeout=1e-18, queue=2**63 - 1)
    assert WatcherSettings.from_mapping(settings.to_mapping()) == settings


def test_the_stores_bound():
    assert StoreSettings.from_mapping({}).limit == 20 * 1024**3
    assert StoreSettings.from_mapping({"DCF_STORE_LIMIT": "1000"}).limit == 1000


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


def test_an_unknown_home_directory(monkeypatch):
    def home():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(ConfigError, match=r"^HOME: expected .*; set HOME, or DCF_SECRETS_DIR$"):
        Locations.from_mapping({"DCF_DATA_DIR": "/a", "DCF_STATE_DIR": "/b"}, "linux")
    all_set = {f"DCF_{name}_DIR": "/a" for name in ("DATA", "RUNTIME", "SECRETS", "STATE")}
    assert Locations.from_mapping(all_set, "linux").data == Path("/a")


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
