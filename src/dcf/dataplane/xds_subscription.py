"""One kind of resource on one connection of Envoy's: what it has, and what it lacks. No I/O.

The protocol is the incremental one of "xDS REST and gRPC protocol" in Envoy's manual: the client
names what it wants, the server sends what differs, the client accepts or rejects each message as a
whole. Here at most one message is unanswered, so that many quick changes become one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dcf.dataplane.xds_resources import Packed

EVERYTHING = "*"


@dataclass(slots=True)
class Change:
    """What is sent in one message.

    Attributes:
        nonce: Names the message.
        resources: What is new or different.
        removed: What is no more, or never was.
    """

    nonce: str
    resources: dict[str, Packed] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many resources it is about."""
        return len(self.resources) + len(self.removed)


class XdsSubscription:
    """What one Envoy wants of one kind, and has."""

    def __init__(self, *, everything: bool) -> None:
        """A subscription before its first request.

        Args:
            everything: Whether all resources are wanted, or those alone that are named.
        """
        self._everything = everything
        self._wanted: set[str] = set()
        self._sent: dict[str, str] = {}
        self._asked: set[str] = set()
        self._alone: list[str] = []
        self._unanswered: Change | None = None
        self._messages = 0
        self._waiting = everything
        self.accepted: dict[str, str] = {}
        """Names to the versions that Envoy is known to use."""

    def resume(self, versions: Mapping[str, str]) -> None:
        """Takes over what Envoy still has from an earlier connection."""
        self._sent.update(versions)
        self.accepted.update(versions)

    def request(self, subscribe: Iterable[str], unsubscribe: Iterable[str], *, first: bool) -> None:
        """Envoy wants these, and these no more.

        Args:
            subscribe: Names; what is named again is sent again.
            unsubscribe: Names.
            first: Whether this is the first request on the connection: then what Envoy says that
                it has need not be sent.
        """
        names = set(subscribe) - {EVERYTHING}
        self._wanted |= names
        self._asked |= names - self.accepted.keys() if first else names
        for name in unsubscribe:
            self._wanted.discard(name)
            self._asked.discard(name)
            self._sent.pop(name, None)
            self.accepted.pop(name, None)

    def repeat(self, names: Iterable[str]) -> None:
        """Sends these again, though Envoy has them, as far as it wants them."""
        self._asked |= self._wanted & set(names)

    def answer(self, nonce: str, *, accepted: bool) -> Change | None:
        """Envoy's word on a message; None when it is about none that is unanswered."""
        change = self._unanswered
        if change is None or change.nonce != nonce:
            return None
        self._unanswered = None
        if not accepted and change.size > 1:
            # One of them is to blame, and only that one is to suffer: each is tried by itself.
            self._alone.extend(change.resources)
        if accepted:
            for name, packed in change.resources.items():
                if name in self._sent:
                    self.accepted[name] = packed.version
            for name in change.removed:
                self.accepted.pop(name, None)
        return change

    def next(self, resources: Mapping[str, Packed]) -> Change | None:
        """The next message, or None when Envoy has all, or has not answered the last one.

        Args:
            resources: All that there are.
        """
        if self._unanswered is not None:
            return None
        while self._alone:
            name = self._alone.pop()
            if name in resources and name in self._sent:
                return self._send({name: resources[name]}, [])
        wanted = resources.keys() if self._everything else self._wanted & resources.keys()
        different = {
            name: resources[name]
            for name in wanted
            if name in self._asked or self._sent.get(name) != resources[name].version
        }
        gone = [name for name in self._sent if name not in resources]
        never = [name for name in self._asked if name not in resources and name not in self._sent]
        self._asked.clear()
        if not (different or gone or never or self._waiting):
            return None
        # Envoy starts once it has an answer, also when there is nothing to tell.
        self._waiting = False
        for name in gone:
            del self._sent[name]
        return self._send(different, gone + never)

    def _send(self, resources: dict[str, Packed], removed: list[str]) -> Change:
        self._messages += 1
        self._unanswered = Change(str(self._messages), resources, removed)
        self._sent.update((name, packed.version) for name, packed in resources.items())
        return self._unanswered
