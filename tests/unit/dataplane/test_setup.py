"""Settings, command line and configuration."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from dcf import errors
from dcf.dataplane import bootstrap, envoy
from dcf.dataplane.local_replies import local_replies
from dcf.errors import ConfigError, EnvoyFailed
from dcf.protocol.status_codes import status_of
from dcf.settings import DataplaneSettings


def test_the_defaults():
    assert asdict(DataplaneSettings()) == {
        "host": "127.0.0.1",
        "port": 32222,
        "certificate": "",
        "key": "",
        "threads": 0,
        "connections": 10_000,
        "buffer": 256 * 1024,
        "memory": 0,
        "streams": 100,
        "message_timeout": 120.0,
        "unread": 300.0,
        "headers": 64,
        "headers_timeout": 10.0,
        "idle_connection": 300.0,
        "idle_stream": 86_400.0,
        "management": 60.0,
        "open": True,
        "cors": "",
        "allowed_hosts": "*",
        "access_log": True,
        "log_level": "warning",
    }


def test_variables():
    env = {"DCF_ENVOY_PORT": "80", "DCF_ENVOY_ACCESS_LOG": "0", "DCF_PORT": "90"}
    assert DataplaneSettings.from_mapping(env) == DataplaneSettings(port=80, access_log=False)
    with pytest.raises(ConfigError, match="DCF_ENVOY_PORT"):
        DataplaneSettings.from_mapping({"DCF_ENVOY_PORT": "many"})


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 4), (64, 4)])
def test_threads(cores, threads):
    assert envoy.threads(DataplaneSettings(), cores) == threads
    assert envoy.threads(DataplaneSettings(threads=7), cores) == 7


def test_the_program_is_found_without_importing_its_package():
    assert envoy.find().is_file()
    assert envoy.find().name == "envoy"


def test_an_absent_envoy_is_not_ready(tmp_path):
    assert not envoy.ready(tmp_path / "admin.sock")
    with pytest.raises(EnvoyFailed):
        envoy.validate(Path("/nowhere/envoy"), tmp_path / "x.json")


def test_the_configuration_is_replaced_and_private(tmp_path):
    path, sockets = tmp_path / "envoy.json", bootstrap.Sockets.under(tmp_path)
    for port in (1, 2):
        bootstrap.write(path, DataplaneSettings(port=port), sockets)
        text = json.loads(path.read_text())
        address = text["static_resources"]["listeners"][0]["address"]["socket_address"]
        assert address["port_value"] == port
        assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["envoy.json"]


def filters(settings: DataplaneSettings, tmp_path: Path) -> dict[str, list[str]]:
    """Return the filters of each listener, in order."""
    found = bootstrap.bootstrap(settings, bootstrap.Sockets.under(tmp_path))
    return {
        listener["name"]: [
            one["name"]
            for one in listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        ]
        for listener in found["static_resources"]["listeners"]
    }


def test_keys_and_origins_are_checked_only_where_required(tmp_path):
    inner = {"cold": ["deadline", "hold", "router"], "ask": ["router"]}
    grpc = ["whole", "invoke", "bridge", "reply"]
    opened = filters(DataplaneSettings(), tmp_path)
    assert opened == {
        "public": [*grpc, "deadline", "router"],
        "private": ["deadline", "router"],
        **inner,
    }
    closed = filters(DataplaneSettings(open=False, cors="*"), tmp_path)
    assert closed == {
        "public": ["cors", "keys", *grpc, "deadline", "router"],
        "private": ["cors", "deadline", "router"],
        **inner,
    }


def test_the_access_log_can_be_turned_off(tmp_path):
    sockets = bootstrap.Sockets.under(tmp_path)
    assert "StdoutAccessLog" not in json.dumps(
        bootstrap.bootstrap(DataplaneSettings(access_log=False), sockets)
    )


def test_every_reply_of_envoys_names_an_error_and_its_status():
    for mapper in local_replies()["mappers"]:
        kind = getattr(errors, mapper["body_format_override"]["json_format"]["error"])
        assert issubclass(kind, errors.CallError | errors.AccessDenied)
        if "response_flag_filter" in mapper["filter"]:
            assert mapper["status_code"] == status_of(kind).http
