"""Several decode workers behind one door: results in the order of the sources, with bounded memory."""

from __future__ import annotations

import os
import queue
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from services.adapters.decoder.limits import Limits
from services.adapters.decoder.sandbox import Sandbox
from services.adapters.decoder.sources import Decoded, InMemory, Refused, Source
from services.errors import Cancelled, Internal, ServiceError


class Decoder:
    """``workers`` decode processes, started when first needed, kept until :meth:`close`, for any number of threads."""

    def __init__(self, limits: Limits | None = None, *, workers: int = 2) -> None:
        self._sandboxes = [Sandbox(limits or Limits()) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
        for sandbox in self._sandboxes:
            self._idle.put(sandbox)

    def decode(self, source: Source) -> list[Decoded]:
        """The images of one source: several for some volumes. Raises ServiceError; its ``field`` names the file."""
        sandbox = self._idle.get()
        try:
            return sandbox.decode(source)
        finally:
            self._idle.put(sandbox)

    def decode_many(self, sources: Iterable[Source]) -> Iterator[Decoded | Refused]:
        """Every image of every source, in order, or its refusal. ``source`` in each counts the sources from 0.

        At most two sources for each worker are read ahead; leaving the iterator early ends the reading ahead.
        Raises Cancelled after :meth:`close`, Internal if no worker can be started.
        """
        waiting: deque[tuple[int, Future[list[Decoded]]]] = deque()
        threads = ThreadPoolExecutor(len(self._sandboxes), thread_name_prefix="decode")
        try:
            for number, source in enumerate(sources):
                waiting.append((number, threads.submit(self.decode, source)))
                if len(waiting) >= 2 * len(self._sandboxes):
                    yield from _results(*waiting.popleft())
            while waiting:
                yield from _results(*waiting.popleft())
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        for sandbox in self._sandboxes:
            sandbox.close()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def decode_many(
    sources: Iterable[Source], limits: Limits | None = None, *, workers: int = 2
) -> Iterator[Decoded | Refused]:
    """:meth:`Decoder.decode_many` with workers for this one call."""
    with Decoder(limits, workers=min(workers, os.cpu_count() or 1)) as decoder:
        yield from decoder.decode_many(sources)


def decode_bytes(data: bytes, filename: str, *, decoder: Decoder | None = None) -> Decoded:
    """One image from bytes: the middle frame or slice. Pass a ``decoder`` that is kept; starting one takes a second.

    Raises ServiceError (InvalidInput and its children for anything wrong with the file).
    """
    source = Source(InMemory(filename, data))
    if decoder is not None:
        return decoder.decode(source)[0]
    with Decoder(workers=1) as own:
        return own.decode(source)[0]


def _results(number: int, future: Future[list[Decoded]]) -> Iterator[Decoded | Refused]:
    try:
        images = future.result()
    except (Cancelled, Internal):
        raise
    except ServiceError as error:
        yield Refused(error, number)
        return
    yield from (replace(image, source=number) for image in images)
