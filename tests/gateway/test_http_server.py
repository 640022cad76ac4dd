"""The HTTP port itself."""

import asyncio
import socket

import pytest

from services.errors import Unavailable
from services.gateway.rest.server import shared_socket


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_small_replies_leave_at_once(host):
    """With Nagle's algorithm a body waits for the acknowledgement of its headers, which a client delays by 40 ms."""
    accepted = asyncio.get_running_loop().create_future()

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            connection = transport.get_extra_info("socket")
            accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    try:
        listener = shared_socket(host, 0)
    except Unavailable:
        pytest.skip(f"this machine has no {host}")
    server = await asyncio.get_running_loop().create_server(Server, sock=listener)
    _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    assert await accepted
    writer.close()
    server.close()


def test_a_port_of_another_program_is_said_to_be_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable) as caught:
            shared_socket("127.0.0.1", other.getsockname()[1])
    assert (caught.value.reason, caught.value.field) == ("PORT_TAKEN", "http_port")
