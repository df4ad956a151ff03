"""A connection of Envoy to the discovery service, with a subscription for each resource type."""

from __future__ import annotations

import asyncio
from typing import Any

from dcf.dataplane.xds_resources import Packed
from dcf.dataplane.xds_subscription import Change, XdsSubscription
from dcf.rpc import xds_messages


class XdsStream:
    """A connection of Envoy."""

    def __init__(self) -> None:
        """Create a connection without subscriptions."""
        self.wake = asyncio.Event()
        """Set when there may be something to send."""
        self._kinds: dict[str, XdsSubscription] = {}

    def accept(self, request: Any) -> Change | None:
        """Process a request; return the change that it answers, or None."""
        first = request.type_url not in self._kinds
        if first:
            everything = request.type_url == xds_messages.CLUSTER
            self._kinds[request.type_url] = XdsSubscription(everything=everything)
        kind = self._kinds[request.type_url]
        if first:
            kind.resume(request.initial_resource_versions)
        change = None
        if request.response_nonce:
            accepted = not request.HasField("error_detail")
            change = kind.answer(request.response_nonce, accepted=accepted)
        kind.request(
            request.resource_names_subscribe, request.resource_names_unsubscribe, first=first
        )
        return change

    def accepted(self, kind: str, name: str) -> str | None:
        """Return the version of a resource that Envoy has confirmed."""
        subscription = self._kinds.get(kind)
        return subscription.accepted.get(name) if subscription else None

    def due(self, resources: dict[str, dict[str, Packed]]) -> list[Any]:
        """Return the messages to send now, clusters before endpoints."""
        messages = []
        for url in (xds_messages.CLUSTER, xds_messages.ASSIGNMENT):
            change = self._kinds[url].next(resources[url]) if url in self._kinds else None
            if change is None:
                continue
            messages.append(_message(url, change))
            if url == xds_messages.CLUSTER and xds_messages.ASSIGNMENT in self._kinds:
                # Envoy uses a new or changed cluster only after it has received its endpoints, and
                # does not request endpoints again that it has.
                self._kinds[xds_messages.ASSIGNMENT].repeat(change.resources)
        return messages


def _message(url: str, change: Change) -> Any:
    return xds_messages.DeltaDiscoveryResponse(
        type_url=url,
        nonce=change.nonce,
        removed_resources=change.removed,
        resources=[
            {
                "name": name,
                "version": packed.version,
                "resource": {"type_url": url, "value": packed.body},
            }
            for name, packed in change.resources.items()
        ],
    )
