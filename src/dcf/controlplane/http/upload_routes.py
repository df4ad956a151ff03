"""Handlers of uploads: a client announces a bundle and a lock, then sends the missing blobs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.bodies import BLOB_TIMEOUT, Query, chunks_of, read_object, shown
from dcf.controlplane.http.replies import Handlers, as_json
from dcf.controlplane.service import GatewayService
from dcf.errors import BadRequest
from dcf.model.artifact import BundleFile
from dcf.protocol import routes
from dcf.protocol.api_types import Announcement, Received
from dcf.protocol.gateway import members_of


class UploadRoutes:
    """Handles uploads: ``handlers`` has the handler of each route."""

    def __init__(self, service: GatewayService, limit: int) -> None:
        self._service = service
        self._limit = limit  # in bytes, of bodies that are not blobs
        self.handlers: Handlers = {
            routes.ANNOUNCE: self._announce,
            routes.SEND_BLOB: self._receive,
        }

    async def _announce(self, request: Request) -> Response:
        members = await read_object(request, self._limit, Announcement.__annotations__)
        files, lock = members.get("files"), members.get("lock")
        if not isinstance(files, list):
            raise BadRequest(f"files: expected a list, got {shown(files)}")
        if not isinstance(lock, str):
            raise BadRequest(f"lock: expected text, got {shown(lock)}")
        # A hundred thousand files take a third of a second, so they are read in a thread.
        announced = await self._service.announce(await asyncio.to_thread(_files, files), lock)
        missing = [members_of(blob) for blob in announced.missing]
        return as_json({"bundle": announced.bundle, "lock": announced.lock, "missing": missing})

    async def _receive(self, request: Request) -> Response:
        offset = Query(request).whole("offset") or 0
        async with contextlib.aclosing(chunks_of(request, BLOB_TIMEOUT)) as chunks:
            digest = request.path_params["digest"]
            end, complete = await self._service.receive(digest, offset, chunks)
        return as_json(Received(offset=end, complete=complete))


def _files(entries: list[Any]) -> list[BundleFile]:
    return [_file(index, entry) for index, entry in enumerate(entries)]


def _file(index: int, entry: Any) -> BundleFile:
    match entry:
        case [str(path), str(digest), int(size), bool(executable)] if not isinstance(size, bool):
            return BundleFile(path, digest, size, executable)
    raise BadRequest(f"files[{index}]: expected a list of path, digest, size and executable")
