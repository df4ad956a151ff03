from pathlib import Path

from dcf.dataplane.bootstrap import Sockets
from dcf.engines.local.engine import STAGE
from dcf.gateway.processes import bridge_process, control_process, envoy_process
from dcf.settings import BridgeSettings, ControlSettings, DataplaneSettings, Locations
from dcf.supervision.process_messages import Start
from dcf.supervision.protocol import read_request, request_line

PLACES = Locations(Path("/d"), Path("/r"), Path("/s"), Path("/t"))


def test_the_control_plane_finds_its_places_and_settings_in_its_environment():
    settings = ControlSettings(port=1, cors="*")
    process = control_process(PLACES, settings, {"PATH": "/bin", "DCF_DATA_DIR": "other"})

    assert Locations.from_mapping(process.env) == PLACES
    assert ControlSettings.from_mapping(process.env) == settings
    assert process.env["PATH"] == "/bin"


def test_the_bridge_finds_its_settings_and_the_gateways_sockets_in_its_environment():
    settings = BridgeSettings(listen="other", drain=1.5)
    process = bridge_process(PLACES, settings, {"PATH": "/bin", "DCF_BRIDGE_DRAIN": "9"})
    sockets = Sockets.under(PLACES.gateway_runtime)

    found = BridgeSettings.from_mapping(process.env)
    assert found == BridgeSettings(str(sockets.bridge), str(sockets.calls), drain=1.5)
    assert process.env["PATH"] == "/bin"
    assert process.sockets == (str(sockets.bridge),)


def test_the_control_plane_stops_before_the_replicas_and_these_before_bridge_and_envoy():
    control = control_process(PLACES, ControlSettings(), {})
    envoy = envoy_process(PLACES, DataplaneSettings(), Path("/envoy"), {})

    bridge = bridge_process(PLACES, BridgeSettings(), {})

    assert control.stage < STAGE < bridge.stage < envoy.stage


def test_all_processes_can_be_serialized_and_are_restarted_without_limit():
    for process in (
        control_process(PLACES, ControlSettings(), {"A": "b"}),
        bridge_process(PLACES, BridgeSettings(), {"A": "b"}),
        envoy_process(PLACES, DataplaneSettings(), Path("/envoy"), {"A": "b"}),
    ):
        assert read_request(request_line(Start(process))) == Start(process)
        assert process.restart is not None
        assert process.restart.limit is None
