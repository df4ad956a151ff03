"""Records the living processes of a supervisor, so that the next supervisor can end leftovers.

The record has names, process ids and start times. It has no commands and no variables, because
those may be secret.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from pathlib import Path

from dcf.protocol.json_text import read_json
from dcf.supervision.descendants import kill_descendants
from dcf.supervision.identity import Identity, kill_group

logger = logging.getLogger("dcf.supervision")

MARK = "DCF_SUPERVISOR"
"""Variable that every process of a supervisor inherits. It identifies the supervisor."""

_MARK = re.compile(r"[0-9A-Za-z]{1,64}")

PATIENCE = 10.0
"""Seconds to wait for killed processes to end. A process that waits for a disk cannot end before
the disk answers."""


class StateFile:
    """The file with the living processes, which is replaced atomically at every change.

    Attributes:
        mark: Value of :data:`MARK`, the same for every supervisor of this state folder.
    """

    def __init__(self, path: Path) -> None:
        """Read the record of the previous supervisor, if it exists.

        Args:
            path: The file.
        """
        self._path = path
        self._living: dict[str, Identity] = {}
        self.mark = uuid.uuid4().hex
        try:
            self.mark, self._living = _read(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            # A power cut has torn the file. No recorded process survived it.
            logger.warning("%s cannot be read, starting with an empty record: %s", path, error)

    def end_leftovers(self) -> None:
        """Kill all processes that a killed supervisor left running, and wait until they end."""
        mark = f"{MARK}={self.mark}".encode()
        until = time.monotonic() + PATIENCE
        logged: set[str] = set()
        while time.monotonic() < until:
            left = [name for name, identity in self._living.items() if kill_group(identity)]
            for name in set(left) - logged:
                logger.warning("%s outlived its supervisor and was killed", name)
            logged.update(left)
            if not left and not kill_descendants(mark, self.mark):
                break
            time.sleep(0.01)
        else:
            logger.error("some processes of the previous supervisor could not be killed")
        self._living.clear()
        self._save()

    def add(self, name: str, identity: Identity) -> None:
        """Record that a process runs."""
        self._living[name] = identity
        self._save()

    def remove(self, name: str) -> None:
        """Record that a process has ended."""
        if self._living.pop(name, None) is not None:
            self._save()

    def _save(self) -> None:
        members = {
            "mark": self.mark,
            "processes": {
                name: [process.pid, process.started, process.boot]
                for name, process in self._living.items()
            },
        }
        new = self._path.with_suffix(".new")
        try:
            new.write_text(json.dumps(members))
            new.chmod(0o600)
            new.replace(self._path)
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._path, error.strerror)


def _read(path: Path) -> tuple[str, dict[str, Identity]]:
    """Return the mark and the processes of a record.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError: If it is not a record.
    """
    members = read_json(path.read_bytes())
    mark = members["mark"]
    if not _MARK.fullmatch(mark):
        # Validate it: processes are found and killed by the mark.
        raise ValueError("expected letters and digits as the mark")
    living = {}
    for name, (pid, started, boot) in members["processes"].items():
        if type(pid) is not int or pid <= 0:
            raise ValueError("expected a process id above 0")
        living[name] = Identity(pid, str(started), str(boot))
    return mark, living
