"""What a supervisor leaves in its state folder, so that the next one can end what still lives.

Names, process ids and start times: no command, no variable, nothing that may be secret.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from pathlib import Path

from dcf.files.atomic import replace_file
from dcf.protocol.json_text import read_json
from dcf.supervision.descendants import kill_descendants
from dcf.supervision.identity import Identity, kill_group

logger = logging.getLogger("dcf.supervision")

MARK = "DCF_SUPERVISOR"
"""Variable that every process of a supervisor inherits: whose it is."""

_MARK = re.compile(r"[0-9A-Za-z]{1,64}")

PATIENCE = 10.0
"""Seconds that killed processes may take to be gone. A process that waits for a disk cannot end
before the disk answers."""


class StateFile:
    """The file with the living processes, replaced as a whole at every change.

    Attributes:
        mark: Value of :data:`MARK`, the same for every supervisor of this state folder.
    """

    def __init__(self, path: Path) -> None:
        """Reads the record of the supervisor before, if there was one.

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
            # Torn by a power cut, after which nothing of it lives.
            logger.warning("%s cannot be read and is begun anew: %s", path, error)

    def end_leftovers(self) -> None:
        """Ends all that a killed supervisor left running, and waits until it is gone."""
        mark = f"{MARK}={self.mark}".encode()
        until = time.monotonic() + PATIENCE
        told: set[str] = set()
        while time.monotonic() < until:
            left = [name for name, identity in self._living.items() if kill_group(identity)]
            for name in set(left) - told:
                logger.warning("%s outlived its supervisor and was ended", name)
            told.update(left)
            if not left and not kill_descendants(mark, self.mark):
                break
            time.sleep(0.01)
        else:
            logger.error("processes of the supervisor before could not be ended")
        self._living.clear()
        self._save()

    def add(self, name: str, identity: Identity) -> None:
        """``name`` runs now."""
        self._living[name] = identity
        self._save()

    def remove(self, name: str) -> None:
        """``name`` runs no more."""
        if self._living.pop(name, None) is not None:
            self._save()

    def _save(self) -> None:
        members = {
            "mark": self.mark,
            "processes": {
                name: [one.pid, one.started, one.boot] for name, one in self._living.items()
            },
        }
        try:
            replace_file(self._path, json.dumps(members))
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
