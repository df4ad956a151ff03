"""What is to be deployed: first its list, then the blobs that are missing."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dcf.controlplane.http.bodies import BLOB_PATIENCE, Query, pieces, read_object
from dcf.controlplane.http.replies import as_json
from dcf.controlplane.service import GatewayService
from dcf.errors import BadRequest
from dcf.model.artifact import BundleFile
from dcf.protocol.gateway import members_of


class UploadRoutes:
    """Handlers of uploads."""

    def __init__(self, plane: GatewayService, limit: int) -> None:
        """Handlers.

        Args:
            plane: Takes what comes.
            limit: Bytes of a body that is no blob.
        """
        self._plane = plane
        self._limit = limit

    async def announce(self, request: Request) -> Response:
        """Takes a bundle's list and a lock; tells what is missing."""
        Query(request, ())
        members = await read_object(request, self._limit, ("files", "lock"))
        files, lock = members.get("files"), members.get("lock")
        if not isinstance(files, list):
            raise BadRequest("files: a list is wanted")
        if not isinstance(lock, str):
            raise BadRequest("lock: a text is wanted")
        # In a thread: a hundred thousand of them take a third of a second.
        read = await asyncio.to_thread(_read, files)
        found = await self._plane.announce(read, lock)
        missing = [members_of(one) for one in found.missing]
        return as_json({"bundle": found.bundle, "lock": found.lock, "missing": missing})

    async def receive(self, request: Request) -> Response:
        """Takes a blob, or the next part of one."""
        offset = Query(request, ("offset",)).whole("offset") or 0
        async with contextlib.aclosing(pieces(request, BLOB_PATIENCE)) as chunks:
            digest = request.path_params["digest"]
            now, complete = await self._plane.receive(digest, offset, chunks)
        return as_json({"offset": now, "complete": complete})


def _read(files: list[Any]) -> list[BundleFile]:
    return [_file(index, entry) for index, entry in enumerate(files)]


def _file(index: int, entry: Any) -> BundleFile:
    match entry:
        case [str(path), str(digest), int(size), bool(executable)] if not isinstance(size, bool):
            return BundleFile(path, digest, size, executable)
    raise BadRequest(f"files[{index}]: a list of path, digest, size and executable is wanted")
