"""What the client does, once for both twins: generators that yield steps and are sent their results.

``Client`` runs the steps with blocking calls, ``AsyncClient`` awaits them (`connection.py`); neither decides anything.
All decisions, such as what may be repeated after a failure, are taken here.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message

from evenhand.errors import EvenhandError, NotFound, Overloaded, Unavailable

T = TypeVar("T")
M = TypeVar("M", bound=Message)
PIECE_BYTES = 512 * 1024  # of an upload; well under gRPC's default 4 MiB message limit


@dataclass(frozen=True)
class Unary:
    """One request, one reply. ``method`` is "package.Service/Method"."""

    method: str
    request: Message
    reply: type[Message]
    timeout_s: float


@dataclass(frozen=True)
class Upload:
    """Many requests, one reply. ``requests`` is called anew for each attempt."""

    method: str
    requests: Callable[[], Iterator[Message]]
    reply: type[Message]
    timeout_s: float


@dataclass(frozen=True)
class Download:
    """One request, many replies, each given to ``take``."""

    method: str
    request: Message
    reply: type[Message]
    take: Callable[[Any], None]
    timeout_s: float


@dataclass(frozen=True)
class Sleep:
    """Wait before another attempt."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """Independent flows; the async twin has up to ``limit`` of them under way at once. Results keep their order."""

    flows: Sequence[Flow[Any]]
    limit: int


Step: TypeAlias = Unary | Upload | Download | Sleep | Together
Flow: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True)
class Retry:
    """Back-off with full jitter: attempt k waits a uniform draw from 0 to min(longest, first·2^k) seconds."""

    attempts: int = 5
    first_s: float = 0.1
    longest_s: float = 5.0

    def delay(self, attempt: int, error: EvenhandError, rng: random.Random) -> float | None:
        """Seconds to wait before the next attempt, or None if this error must not be met with a repetition."""
        if attempt + 1 >= self.attempts:
            return None
        jitter = rng.uniform(0, min(self.longest_s, self.first_s * 2**attempt))
        if isinstance(error, Unavailable):
            return (error.retry_after_s or 0.0) + jitter
        if isinstance(error, Overloaded) and error.retry_after_s is not None:
            return error.retry_after_s + jitter
        return None


@dataclass
class Budget:
    """Keeps retries from multiplying an outage: each one costs a token, each success earns a tenth of one."""

    most: float = 20.0
    tokens: float = 20.0

    def spend(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def earn(self) -> None:
        self.tokens = min(self.most, self.tokens + 0.1)


@dataclass
class Caller:
    """How calls are made: the time one may take, and when it is repeated."""

    timeout_s: float = 60.0
    retry: Retry = field(default_factory=Retry)
    budget: Budget = field(default_factory=Budget)
    rng: random.Random = field(default_factory=random.Random)

    def unary(self, method: str, request: Message, reply: type[M], *, timeout_s: float | None = None) -> Flow[M]:
        """A call that may be repeated: it reads, or the server knows its ``request_id``, or it stores nothing."""
        answer: M = yield from self.repeated(Unary(method, request, reply, timeout_s or self.timeout_s))
        return answer

    def delete(self, method: str, request: Message, reply: type[Message]) -> Flow[None]:
        """A deletion. A repetition that finds nothing means that the attempt before it got through."""
        step = Unary(method, request, reply, self.timeout_s)
        try:
            yield step
        except Unavailable:
            try:
                yield from self.repeated(step)
            except NotFound:
                return

    def upload(self, method: str, requests: Callable[[], Iterator[Message]], reply: type[M]) -> Flow[M]:
        """A stream of requests that may be sent again from its beginning."""
        answer: M = yield from self.repeated(Upload(method, requests, reply, timeout_s=max(self.timeout_s, 600.0)))
        return answer

    def download(self, method: str, request: Message, reply: type[M], take: Callable[[M], None]) -> Flow[None]:
        """A stream of replies, not repeated here: who takes the pieces knows how to begin again."""
        yield Download(method, request, reply, take, timeout_s=max(self.timeout_s, 600.0))

    def repeated(self, step: Step) -> Flow[Any]:
        """Run one step, again after failures that say so, while the budget lasts."""
        for attempt in range(self.retry.attempts):
            try:
                result = yield step
            except EvenhandError as error:
                delay = self.retry.delay(attempt, error, self.rng)
                if delay is None or not self.budget.spend():
                    raise
                yield Sleep(delay)
            else:
                self.budget.earn()
                return result
        raise AssertionError("the last attempt returns or raises")

    def pages(
        self, method: str, request: Any, reply: type[Message], items: str, limit: int | None = None
    ) -> Flow[list[Any]]:
        """All items of a paged listing (AIP-158), or the first ``limit``."""
        found: list[Any] = []
        while limit is None or len(found) < limit:
            request.page_size = min(500, limit - len(found)) if limit is not None else 500
            page: Any = yield from self.unary(method, request, reply)
            found.extend(getattr(page, items))
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return found[:limit]


def new_request_id() -> str:
    """A UUID4: with it a creation can be repeated without being done twice (AIP-155)."""
    return str(uuid.uuid4())


def resource_name(collection: str, name: str) -> str:
    """ "cohorts/x" from "x" or "cohorts/x"."""
    return name if "/" in name else f"{collection}/{name}"
