"""The decode worker: ``python -m services.adapters.decoder.worker LIMITS``, talking over its standard input.

Everything is imported first, then the process gives up what it does not need: it can open no further file or socket,
write no file, start no process, and hold no more memory than the limits say. Each file has its own budget of processor
time; when it is spent the kernel ends the process, even inside a C library.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import warnings
from typing import Any

from services.adapters.decoder import formats, messages
from services.adapters.decoder.limits import Limits
from services.errors import ServiceError, Undecodable

MOST_FILES = 3  # an image and a mask, or one at each of two phases
OUT_OF_MEMORY = 3
"""Exit status of a worker that reached its memory limit: its state is not to be trusted any further."""


def main() -> None:
    limits = Limits(**json.loads(sys.argv[1]))
    warnings.simplefilter("ignore")
    channel = _channel()
    _renounce(limits)
    messages.send(channel, {"ready": True})
    while True:
        try:
            request, payload = messages.receive(channel, MOST_FILES * limits.input_bytes)
        except EOFError:
            return
        header, planes = _answer(request, payload, limits)
        messages.send(channel, header, *planes)


def _channel() -> socket.socket:
    """The socket that came as standard input, moved away so that nothing a library prints can reach it."""
    channel = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)
    return channel


def _renounce(limits: Limits) -> None:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - one line of the kernel's, not a file
        in_use = int(statm.read().split()[0]) * resource.getpagesize()
    highest_descriptor = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208
    for kind, bound in (
        (resource.RLIMIT_AS, in_use + limits.memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, highest_descriptor),
    ):
        resource.setrlimit(kind, (bound, bound))


def _answer(request: dict[str, Any], payload: bytes, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    signal.setitimer(signal.ITIMER_PROF, limits.time_for(len(payload)))
    try:
        return formats.answer(request, payload, limits)
    except ServiceError as error:
        return {"error": error.to_dict()}, []
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except RecursionError:
        return {"error": Undecodable("is nested too deeply", reason="NESTED_TOO_DEEPLY").to_dict()}, []
    except Exception as cause:  # a parser's own errors have no common kind, and their texts may quote the file
        return {"error": Undecodable(f"could not be decoded ({type(cause).__name__})").to_dict()}, []
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
