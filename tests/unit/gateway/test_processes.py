from pathlib import Path

from dcf.engines.local.engine import STAGE
from dcf.gateway.processes import control_process, envoy_process
from dcf.settings import ControlSettings, DataplaneSettings, Locations
from dcf.supervision.messages import Start
from dcf.supervision.protocol import read_request, request_line

PLACES = Locations(Path("/d"), Path("/r"), Path("/s"), Path("/t"))


def test_the_control_plane_finds_its_places_and_settings_in_its_environment():
    settings = ControlSettings(port=1, cors="*")
    process = control_process(PLACES, settings, {"PATH": "/bin", "DCF_DATA_DIR": "other"})

    assert Locations.from_mapping(process.env) == PLACES
    assert ControlSettings.from_mapping(process.env) == settings
    assert process.env["PATH"] == "/bin"


def test_replicas_end_after_the_control_plane_and_before_envoy():
    control = control_process(PLACES, ControlSettings(), {})
    envoy = envoy_process(PLACES, DataplaneSettings(), Path("/envoy"), {})

    assert control.stage < STAGE < envoy.stage


def test_both_survive_the_way_to_the_supervisor_and_are_never_given_up():
    for process in (
        control_process(PLACES, ControlSettings(), {"A": "b"}),
        envoy_process(PLACES, DataplaneSettings(), Path("/envoy"), {"A": "b"}),
    ):
        assert read_request(request_line(Start(process))) == Start(process)
        assert process.restart is not None
        assert process.restart.limit is None
