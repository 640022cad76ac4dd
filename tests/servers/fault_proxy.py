"""An HTTP proxy that misbehaves on order, between an S3 client and a real S3 server."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["none", "slow_down", "reset", "lose_reply", "truncate", "flip"]

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class FaultProxy:
    """Forwards to ``target`` (``host:port``). Each request takes the next of ``faults``, and ``always`` after these.

    slow_down: 503, nothing forwarded. reset: the connection is reset, nothing forwarded. lose_reply: forwarded, then
    reset. truncate: half of the reply's body, then the end. flip: one bit of the reply's body.
    """

    def __init__(self, target: str) -> None:
        self.faults: deque[Fault] = deque()
        self.always: Fault = "none"
        self.requests: list[tuple[str, str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.requests.append((self.command, self.path))
                fault = proxy.faults.popleft() if proxy.faults else proxy.always
                if fault == "slow_down":
                    return self.reply(503, {"Content-Type": "application/xml"}, _SLOW_DOWN)
                if fault == "reset":
                    return self.reset()
                upstream = http.client.HTTPConnection(target, timeout=30)
                upstream.request(self.command, self.path, body, dict(self.headers))
                response = upstream.getresponse()
                headers = dict(response.getheaders())
                data = response.read()
                upstream.close()
                if fault == "lose_reply":
                    return self.reset()
                if fault == "flip" and data:
                    data = bytes([data[0] ^ 1]) + data[1:]
                self.reply(response.status, headers, data, half=fault == "truncate")

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815

            def reply(self, status: int, headers: dict[str, str], data: bytes, half: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if half else data)
                self.close_connection = half

            def reset(self) -> None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def finish(self) -> None:
                if self.connection.fileno() >= 0:
                    super().finish()

            def log_message(self, format: str, *args: object) -> None:
                """The tests read ``requests`` instead."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
                if isinstance(request, socket.socket) and request.fileno() >= 0:
                    super().shutdown_request(request)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
