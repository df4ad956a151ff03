"""A subscription to one resource type on a connection of Envoy. No I/O.

The protocol is the incremental variant of "xDS REST and gRPC protocol" in Envoy's manual. A client
names the resources, the server sends differences, and the client accepts or rejects each message as
a whole. At most one message is unanswered at a time, so that quick changes are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dcf.dataplane.xds_resources import Packed

EVERYTHING = "*"


@dataclass(slots=True)
class Change:
    """The content of a message.

    Attributes:
        nonce: Id of the message.
        resources: New or changed resources.
        removed: Names of resources that were removed or never existed.
    """

    nonce: str
    resources: dict[str, Packed] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of resources."""
        return len(self.resources) + len(self.removed)


class XdsSubscription:
    """The resources of one type that Envoy has requested, and those that it has.

    Attributes:
        accepted: The versions that Envoy has confirmed, by name.
    """

    def __init__(self, *, everything: bool) -> None:
        """Create a subscription before its first request.

        Args:
            everything: Whether Envoy subscribes to all resources, or only to those that it names.
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

    def resume(self, versions: Mapping[str, str]) -> None:
        """Set the versions that Envoy has from an earlier connection."""
        self._sent.update(versions)
        self.accepted.update(versions)

    def request(self, subscribe: Iterable[str], unsubscribe: Iterable[str], *, first: bool) -> None:
        """Process a request of Envoy.

        Args:
            subscribe: Names to subscribe to. A name that is repeated is sent again.
            unsubscribe: Names to unsubscribe from.
            first: Whether this is the first request on the connection. Resources that Envoy already
                has are then not sent.
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
        """Send resources again that Envoy has subscribed to, even if Envoy has them."""
        self._asked |= self._wanted & set(names)

    def answer(self, nonce: str, *, accepted: bool) -> Change | None:
        """Process Envoy's answer to a message; return its content, or None if it is unknown."""
        change = self._unanswered
        if change is None or change.nonce != nonce:
            return None
        self._unanswered = None
        if not accepted and change.size > 1:
            # Send each resource alone, so that only the faulty one is rejected.
            self._alone.extend(change.resources)
        if accepted:
            for name, packed in change.resources.items():
                if name in self._sent:
                    self.accepted[name] = packed.version
            for name in change.removed:
                self.accepted.pop(name, None)
        return change

    def next(self, resources: Mapping[str, Packed]) -> Change | None:
        """Return the next message; None if Envoy has everything or has not answered the last one.

        Args:
            resources: All current resources.
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
        # Envoy finishes its start only after a first message, even an empty one.
        self._waiting = False
        for name in gone:
            del self._sent[name]
        return self._send(different, gone + never)

    def _send(self, resources: dict[str, Packed], removed: list[str]) -> Change:
        self._messages += 1
        self._unanswered = Change(str(self._messages), resources, removed)
        self._sent.update((name, packed.version) for name, packed in resources.items())
        return self._unanswered
