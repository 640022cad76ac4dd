"""Artifacts out and uploads in, as plain HTTP bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from services.gateway.calls import Call
from services.gateway.edge import Edge
from services.gateway.resources.artifacts import COLLECTIONS, PIECE_BYTES
from services.gateway.resources.uploads import ArrivingFile
from services.gateway.rest.exchange import Exchange, json_reply

READ_ARTIFACT = "evenhand.resources.v1.ArtifactService/ReadArtifact"
READ_AUDIT_ARTIFACT = "evenhand.audit.v1.AuditService/ReadArtifact"
UPLOAD_FILES = "evenhand.cohort.v1.CohortService/UploadFiles"


def file_routes(edge: Edge, exchange: Exchange) -> list[Route]:
    """Routes for the two streaming methods of the API, which have no HTTP rule of their own."""

    async def read_artifact(request: Request, call: Call) -> Response:
        collection = request.url.path.split("/")[2]
        name = f"{collection}/{request.path_params['owner']}"
        found = await edge.artifacts.find(name, request.path_params["filename"])
        headers = {
            "ETag": f'"{found.sha256}"',
            "Cache-Control": "private, immutable, max-age=31536000",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        data = await edge.artifacts.read(found)
        headers["Content-Length"] = str(len(data))
        return StreamingResponse(_pieces(data), headers=headers, media_type=found.media_type)

    async def create_upload(request: Request, call: Call) -> Response:
        await exchange.body(request)
        return json_reply({"upload": await asyncio.to_thread(edge.uploads.create), "files": 0, "bytes": 0}, status=201)

    async def read_upload(request: Request, call: Call) -> Response:
        upload = f"uploads/{request.path_params['upload']}"
        files, size = await asyncio.to_thread(edge.uploads.size, upload)
        return json_reply({"upload": upload, "files": files, "bytes": size})

    async def put_file(request: Request, call: Call) -> Response:
        upload, path = f"uploads/{request.path_params['upload']}", request.path_params["path"]
        files, size = await asyncio.to_thread(edge.uploads.size, upload)
        arriving = await asyncio.to_thread(edge.uploads.open_file, upload, path)
        try:
            await _receive(edge, exchange, request, arriving, (files, size))
            await asyncio.to_thread(arriving.keep)
        finally:
            arriving.close()
        return json_reply({"upload": upload, "path": path, "bytes": arriving.bytes}, status=201)

    return [
        *(
            Route(
                f"/v1/{collection}/{{owner}}/artifacts/{{filename}}",
                exchange.endpoint(READ_AUDIT_ARTIFACT if collection == "audits" else READ_ARTIFACT, read_artifact),
            )
            for collection in COLLECTIONS
        ),
        Route("/v1/uploads", exchange.endpoint(UPLOAD_FILES, create_upload), methods=["POST"]),
        Route("/v1/uploads/{upload}", exchange.endpoint(UPLOAD_FILES, read_upload)),
        Route(
            "/v1/uploads/{upload}/files/{path:path}",
            exchange.endpoint(UPLOAD_FILES, put_file, lasting=True),
            methods=["PUT"],
        ),
    ]


async def _receive(
    edge: Edge, exchange: Exchange, request: Request, arriving: ArrivingFile, before: tuple[int, int]
) -> None:
    async for piece in exchange.pieces(request, edge.settings.max_file_bytes):
        edge.uploads.check_size(before[0] + 1, before[1] + arriving.bytes + len(piece))
        await asyncio.to_thread(arriving.write, piece)


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
