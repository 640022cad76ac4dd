"""Tensors between processes of one machine: a Unix socket for the words, shared memory for the numbers.

A Serve handle call with one 256 x 256 image costs about 2.4 ms, of which the network's part is 0.3 ms. So a model host
also listens here, and a caller on the same machine asks here first. Between machines, for tensors beyond ``SLOT_BYTES``
or while no host listens, the handle is the way; placement, restarts and health stay with Ray Serve.

Each connection is a *line*: it carries one call at a time and owns a memory file of two slots, tensors going there and
tensors coming back. A frame on the socket is ``<u32 length> JSON``: model, version, parameters and the tensors' shapes
one way, ``error`` (a ServiceError's plain form, or null) and the tensors' shapes the other. Nothing is pickled.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import math
import mmap
import os
import socket
import struct
import tempfile
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from services.errors import TooLarge, Unavailable
from services.hosting.envelope import seal, unseal

Arrays = dict[str, np.ndarray[Any, Any]]
Infer = Callable[[str, str, Mapping[str, np.ndarray[Any, Any]], Mapping[str, Any]], Awaitable[Arrays]]
"""(model, version, inputs, parameters) → outputs, as services.hosting.host.ModelHost.infer; raises ServiceError."""

LENGTH = struct.Struct("<I")
LONGEST_FRAME = 2**20
SLOT_BYTES = 2**25  # only what is touched of it takes memory
LOOK_EVERY_S = 1.0
HANDSHAKE_S = 5.0


def meeting_place(app: str) -> Path:
    """The folder of an application's sockets: short, since their paths must stay under 108 bytes, and the user's own.

    The supervisor names it (EVENHAND_NEAR_DIR) and later removes it, so that two platforms on one machine do not meet.
    On a cluster, where nobody names one, it differs with EVENHAND_DATA_DIR.
    """
    if near_dir := os.environ.get("EVENHAND_NEAR_DIR"):
        return Path(near_dir) / app
    label = hashlib.sha256(os.environ.get("EVENHAND_DATA_DIR", "").encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"evenhand-{os.getuid()}-near-{label}" / app


class _Frames(asyncio.Protocol):
    """One side of a line's socket: whole frames in, whole frames out."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._arrived = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        while len(self._arrived) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._arrived)
            if length > LONGEST_FRAME:
                self.close()
                return
            if len(self._arrived) < LENGTH.size + length:
                return
            frame = bytes(self._arrived[LENGTH.size : LENGTH.size + length])
            del self._arrived[: LENGTH.size + length]
            self.frame_received(json.loads(frame))

    def frame_received(self, content: dict[str, Any]) -> None:
        raise NotImplementedError

    def send(self, content: dict[str, Any]) -> None:
        """Frames are a few hundred bytes and each waits for the other, so there is never a backlog to drain."""
        assert self._transport is not None
        text = json.dumps(content).encode()
        self._transport.write(LENGTH.pack(len(text)) + text)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _HostEnd(_Frames):
    """Answers the requests of one line, one after another."""

    def __init__(self, infer: Infer, there: memoryview, back: memoryview) -> None:
        super().__init__()
        self._infer = infer
        self._there, self._back = there, back
        self._answering: asyncio.Task[None] | None = None

    def frame_received(self, content: dict[str, Any]) -> None:
        self._answering = asyncio.create_task(self._answer(content))

    async def _answer(self, request: dict[str, Any]) -> None:
        inputs = _read(self._there, request["tensors"])
        answer = self._infer(request["model"], request["version"], inputs, request["parameters"])
        error, outputs = await seal(answer)
        if error is None and not _fits(outputs):
            error = TooLarge("the outputs are too large for this way").to_dict()
        self.send({"error": error, "tensors": _write(self._back, outputs) if error is None else []})


class NearbyListener:
    """Answers with ``infer`` on a socket of this process until closed."""

    def __init__(self, infer: Infer, app: str) -> None:
        self._infer = infer
        self._path = meeting_place(app) / f"{os.getpid()}.sock"
        self._socket = socket.socket(socket.AF_UNIX)
        self._accepting: asyncio.Task[None] | None = None
        self._ends: weakref.WeakSet[_HostEnd] = weakref.WeakSet()

    async def start(self) -> None:
        folder = self._path.parent
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        if folder.parent.stat().st_uid != os.getuid():
            return  # another user made the folder first; then there is only the handle
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._socket.listen(128)
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
        for end in self._ends:
            end.close()
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def _accept(self) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            try:
                await self._open(connection)
            except (OSError, ValueError):
                connection.close()

    async def _open(self, connection: socket.socket) -> None:
        end = _HostEnd(self._infer, *await asyncio.to_thread(_receive_slots, connection))
        await asyncio.get_running_loop().create_unix_connection(lambda: end, sock=connection)
        self._ends.add(end)


class NearbyHosts:
    """Calls to the hosts of one application on this machine, each time to the one with the fewest calls under way."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._folder = meeting_place(app)
        self._looked_at = -math.inf
        self._lines: dict[Path, _Lines] = {}

    async def infer(
        self, model: str, version: str, inputs: Mapping[str, np.ndarray[Any, Any]], parameters: Mapping[str, Any]
    ) -> Arrays | None:
        """Named outputs, or None where no host is near or the tensors are too large for this way.

        Raises Unavailable when the host goes away before it answered.
        """
        if not _fits(inputs):
            return None
        request = {"model": model, "version": version, "parameters": dict(parameters)}
        while lines := self._choose():
            try:
                return await lines.ask(request, inputs)
            except TooLarge:
                return None
            except _NobodyThere:
                self._lines.pop(lines.path, None)
                lines.path.unlink(missing_ok=True)
            except OSError:
                raise Unavailable(
                    f"a replica of {self._app} went away while it answered", reason="REPLICA_LOST"
                ) from None
        return None

    def _choose(self) -> _Lines | None:
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            found = sorted(self._folder.glob("*.sock"))
            self._lines = {path: self._lines.get(path) or _Lines(path) for path in found}
        return min(self._lines.values(), key=lambda lines: lines.under_way, default=None)


class _NobodyThere(Exception):
    """The socket's process is gone."""


class _Lines:
    """Lines to one host. The one that was free last is taken first, since its memory is still in the caches."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.under_way = 0
        self._idle: list[_Line] = []

    async def ask(self, request: dict[str, Any], inputs: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        self.under_way += 1
        try:
            line = self._idle.pop() if self._idle else await _open_line(self.path)
            try:
                reply, outputs = await line.ask(request, inputs)
            except BaseException:
                line.close()  # a cancelled call leaves the line in the middle of an answer
                raise
            self._idle.append(line)
        finally:
            self.under_way -= 1
        answered: Arrays = unseal((reply["error"], outputs))
        return answered


class _Line(_Frames):
    """The caller's end."""

    def __init__(self, memory: mmap.mmap) -> None:
        super().__init__()
        self._there, self._back = _slots(memory)
        self._reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def ask(
        self, request: dict[str, Any], inputs: Mapping[str, np.ndarray[Any, Any]]
    ) -> tuple[dict[str, Any], Arrays]:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the host left")
        self._reply = asyncio.get_running_loop().create_future()
        self.send({**request, "tensors": _write(self._there, inputs)})
        reply = await self._reply
        # Copies, for the next call on this line will overwrite the slot.
        return reply, {name: array.copy() for name, array in _read(self._back, reply["tensors"]).items()}

    def frame_received(self, content: dict[str, Any]) -> None:
        if not self._reply.done():
            self._reply.set_result(content)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._reply.done():
            self._reply.set_exception(ConnectionResetError("the host left"))
            self._reply.exception()  # nobody may be waiting


async def _open_line(path: Path) -> _Line:
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    memory_file = os.memfd_create("evenhand-line", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(memory_file, 2 * SLOT_BYTES)
        # Sealed, so that neither side can pull the memory away from under the other.
        fcntl.fcntl(memory_file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise _NobodyThere from error
        socket.send_fds(connection, [b"m"], [memory_file])
        memory = mmap.mmap(memory_file, 2 * SLOT_BYTES)
        _, line = await asyncio.get_running_loop().create_unix_connection(lambda: _Line(memory), sock=connection)
        return line
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(memory_file)


def _receive_slots(connection: socket.socket) -> tuple[memoryview, memoryview]:
    """The slots of a line that a caller has just opened."""
    connection.settimeout(HANDSHAKE_S)
    _, files, _, _ = socket.recv_fds(connection, 1, 1)
    if len(files) != 1:
        raise ValueError("a line begins with its memory file")
    try:
        slots = _slots(mmap.mmap(files[0], 2 * SLOT_BYTES))
    finally:
        os.close(files[0])
    connection.setblocking(False)
    return slots


def _slots(memory: mmap.mmap) -> tuple[memoryview, memoryview]:
    whole = memoryview(memory)
    return whole[:SLOT_BYTES], whole[SLOT_BYTES:]


def _fits(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    return sum(4 * array.size for array in arrays.values()) <= SLOT_BYTES


def _write(slot: memoryview, arrays: Mapping[str, np.ndarray[Any, Any]]) -> list[list[Any]]:
    """Copy arrays into a slot one behind the other; returns their names and shapes."""
    at = 0
    for array in arrays.values():
        np.frombuffer(slot, "<f4", array.size, at).reshape(array.shape)[...] = array
        at += 4 * array.size
    return [[name, array.shape] for name, array in arrays.items()]


def _read(slot: memoryview, tensors: list[list[Any]]) -> Arrays:
    """Views on a slot."""
    arrays: Arrays = {}
    at = 0
    for name, shape in tensors:
        arrays[name] = np.frombuffer(slot, "<f4", math.prod(shape), at).reshape(shape)
        at += 4 * arrays[name].size
    return arrays
