"""Which names a gateway allows as the Host of requests."""

from __future__ import annotations

import re
import socket

import pytest

from dcf.gateway import plan as gateway_plan
from dcf.gateway.host_names import own_names
from dcf.gateway.start_options import StartOptions
from dcf.protocol.hosts import split_names


def test_the_machines_name_is_allowed_with_and_without_its_domain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.example.com")
    assert own_names() == ["box.example.com", "box"]


def test_a_name_that_no_client_can_ask_for_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my box")
    assert own_names("::1", "alias") == ["alias"]


def test_the_name_that_a_gateway_listens_on_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    monkeypatch.setattr(gateway_plan, "_number", lambda _host, _port: "127.0.0.1")
    options = StartOptions("alias.example", 1, None, None, None, "", ["more.example"])
    plan = gateway_plan.Plan.of(options, {"HOME": "/", "DCF_ENVOY_ALLOWED_HOSTS": "*"})

    assert plan.dataplane.open
    assert plan.dataplane.allowed_hosts == "box,alias.example,more.example"


@pytest.mark.parametrize("text", ["a:80", "http://a", "a/b", "-x", "a b", "[::1]", "*.*", "a.*"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        split_names(f"good,{text}")
