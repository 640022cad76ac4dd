"""What travels between the platform and a decode worker: a length prefix, a JSON header, raw bytes. Never a pickle."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

_PREFIX = struct.Struct(">IQ")
_LONGEST_HEADER = 4 * 1024 * 1024


def send(channel: socket.socket, header: Mapping[str, Any], *payload: bytes, deadline: float | None = None) -> None:
    """Write one message. ``deadline`` is a time.monotonic() instant; raises TimeoutError after it."""
    text = json.dumps(header).encode()
    prefix = _PREFIX.pack(len(text), sum(map(len, payload)))
    for piece in (prefix + text, *payload):
        channel.settimeout(_left(deadline))
        channel.sendall(piece)


def receive(channel: socket.socket, longest: int, *, deadline: float | None = None) -> tuple[dict[str, Any], bytes]:
    """Read one message with at most ``longest`` bytes of payload.

    Raises EOFError when the other side is gone, TimeoutError after ``deadline``, ValueError for a broken message.
    """
    header_length, payload_length = _PREFIX.unpack(_exactly(channel, _PREFIX.size, deadline))
    if header_length > _LONGEST_HEADER or payload_length > longest:
        raise ValueError("the message is longer than agreed")
    header = json.loads(_exactly(channel, header_length, deadline))
    if not isinstance(header, dict):
        raise ValueError("the header of a message is a JSON object")
    return header, _exactly(channel, payload_length, deadline)


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        channel.settimeout(_left(deadline))
        got = channel.recv_into(view)
        if not got:
            raise EOFError("the other side closed the channel")
        view = view[got:]
    return bytes(buffer)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time for this message is over")
    return left
