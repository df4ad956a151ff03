"""Results of a build, named by their content.

A digest is ``sha256:`` and 64 lowercase hex digits, as in the OCI image specification
(opencontainers/image-spec, descriptor.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Return whether ``text`` has the form of a digest."""
    return _DIGEST.fullmatch(text) is not None


def digest_of(data: bytes) -> str:
    """Return the digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical_json(value: object) -> bytes:
    """Return ``value`` as canonical JSON: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True, order=True)
class BundleFile:
    """One file of a bundle.

    Attributes:
        path: Relative path with ``/`` as the separator.
        digest: Digest of the file's content, which names its blob.
        size: Size in bytes.
        executable: Whether the owner may execute it. No other mode bit is kept.
    """

    path: str
    digest: str
    size: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """The function's source as a list of files, sorted by path."""

    files: tuple[BundleFile, ...]

    @property
    def digest(self) -> str:
        """The digest of :meth:`to_json`."""
        return digest_of(self.to_json())

    def to_json(self) -> bytes:
        """Return the bundle as canonical JSON."""
        return canonical_json(
            [[file.path, file.digest, file.size, file.executable] for file in self.files]
        )

    @classmethod
    def from_json(cls, data: bytes) -> Bundle:
        """Parse the output of :meth:`to_json`."""
        return cls(tuple(BundleFile(*entry) for entry in json.loads(data)))


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bundle and lock: enough to rebuild the function on any machine.

    Attributes:
        bundle: Digest of the bundle.
        lock: Digest of the lock's text.
    """

    bundle: str
    lock: str

    @property
    def digest(self) -> str:
        """The artifact's digest, which names it."""
        return digest_of(canonical_json({"bundle": self.bundle, "lock": self.lock}))
