"""Every setting that does not come from the author of a function.

Here: paths on this machine, and how builds, watchers and a gateway's processes behave. Each class
reads a mapping that the caller passes, so that tests never change the process's environment.
``tests/unit/test_settings.py`` pins the defaults: users rely on them.
"""

from dcf.settings.build_settings import BuildSettings, StoreSettings
from dcf.settings.gateway_settings import BridgeSettings, ControlSettings, DataplaneSettings
from dcf.settings.locations import LOOPBACK, SOCKET_PATH_LIMIT, Locations
from dcf.settings.parsing import RESERVED_PREFIX
from dcf.settings.watcher_settings import WatcherSettings

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
