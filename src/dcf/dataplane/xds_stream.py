"""One connection of Envoy's to the discovery service: a subscription for each kind of resource."""

from __future__ import annotations

import asyncio
from typing import Any

from dcf.dataplane.xds_resources import Packed
from dcf.dataplane.xds_subscription import Change, XdsSubscription
from dcf.rpc import xds_messages


class XdsStream:
    """One connection of Envoy's."""

    def __init__(self) -> None:
        """Nothing was said on it yet."""
        self.wake = asyncio.Event()
        """Set when there may be something to send."""
        self._kinds: dict[str, XdsSubscription] = {}

    def take(self, request: Any) -> Change | None:
        """Takes a request; returns the change that it answers, if it answers one."""
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
        """The version of a resource that Envoy is known to use."""
        subscription = self._kinds.get(kind)
        return subscription.accepted.get(name) if subscription else None

    def due(self, resources: dict[str, dict[str, Packed]]) -> list[Any]:
        """The messages that are to be sent now, clusters before endpoints."""
        messages = []
        for url in (xds_messages.CLUSTER, xds_messages.ASSIGNMENT):
            change = self._kinds[url].next(resources[url]) if url in self._kinds else None
            if change is None:
                continue
            messages.append(_message(url, change))
            if url == xds_messages.CLUSTER and xds_messages.ASSIGNMENT in self._kinds:
                # Of a cluster that is new or different Envoy makes no use before it has heard of
                # its endpoints, and does not ask again for those that it has.
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
