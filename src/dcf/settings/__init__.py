"""Every setting that does not come from the author of a function.

Here: paths on this machine, and how builds, watchers and a gateway's processes behave. Each class
reads a mapping that the caller passes, so that tests never change the process's environment.
``tests/unit/test_settings.py`` pins the defaults: users rely on them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dcf.settings.locations import LOOPBACK, SOCKET_PATH_LIMIT, Locations
from dcf.settings.parsing import RESERVED_PREFIX
from dcf.settings.watcher_settings import WatcherSettings

if TYPE_CHECKING:
    from dcf.settings.build_settings import BuildSettings, StoreSettings
    from dcf.settings.gateway_settings import BridgeSettings, ControlSettings, DataplaneSettings

__all__ = [
    "LOOPBACK",
    "RESERVED_PREFIX",
    "SOCKET_PATH_LIMIT",
    "BridgeSettings",
    "BuildSettings",
    "ControlSettings",
    "DataplaneSettings",
    "Locations",
    "StoreSettings",
    "WatcherSettings",
]

_ON_DEMAND = {
    "BuildSettings": "build_settings",
    "StoreSettings": "build_settings",
    "BridgeSettings": "gateway_settings",
    "ControlSettings": "gateway_settings",
    "DataplaneSettings": "gateway_settings",
}
"""Modules that are imported on first use: a replica starts faster without them."""


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)
