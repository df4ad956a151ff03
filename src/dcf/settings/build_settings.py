"""Settings of builds and of the store, on a developer's machine and on a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dcf.settings.parsing import RESERVED_PREFIX, Bytes, Seconds, read_settings


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The builder's store.

    Attributes:
        limit: Maximum bytes of environments and blobs. Above it, the least recently used ones that
            nothing runs are evicted. 20 GiB: a few environments with a deep-learning framework
            each, without filling a laptop unasked.
    """

    limit: Bytes = 20 * 1024**3

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read ``DCF_STORE_LIMIT``.

        Raises:
            ConfigError: If the value is not allowed.
        """
        return cls(**read_settings(cls, env, RESERVED_PREFIX + "STORE_"))


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """One build, on this machine or on a gateway.

    Attributes:
        timeout: Seconds that the installer may work for one build, including packages that it
            builds and interpreters that it fetches, but not waiting for another build. 1800: enough
            to compile a C++ package on a slow machine. 0 sets no limit.
    """

    timeout: Seconds = 1800.0

    @classmethod
    def from_mapping(cls, env: Mapping[str, str]) -> Self:
        """Read ``DCF_BUILD_TIMEOUT``.

        Raises:
            ConfigError: If the value is not allowed.
        """
        return cls(**read_settings(cls, env, RESERVED_PREFIX + "BUILD_"))
