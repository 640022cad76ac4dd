"""Work in a process of its own that ends with it, so that the worker's memory does not grow.

The parent sends one JSON document and reads one; ``python -m MODULE`` calls :func:`answer_parent`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from services.errors import Internal, ServiceError, Unavailable, error_from_dict


async def ask_child(
    module: str, task: Mapping[str, Any], *arguments: str, about: str, field: str, lost: str
) -> dict[str, Any]:
    """What the child made of ``task``. Cancelling the call ends the child.

    Raises the child's ServiceError, Unavailable with the reason ``lost`` if it was killed, Internal if it failed
    otherwise; ``about`` names its work.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await child.communicate(json.dumps(task).encode())
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode and child.returncode < 0:
        # Killed, perhaps for memory; the same input may fit the next time.
        raise Unavailable(f"the {about}'s process was killed", field=field, reason=lost)
    if child.returncode != 0:
        raise Internal(f"the {about}'s process ended with status {child.returncode}", field=field)
    answer = json.loads(output)
    if "error" in answer:
        raise error_from_dict(answer["error"])
    made: dict[str, Any] = answer["made"]
    return made


def answer_parent(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The child's side. Standard output carries the one answer, so whatever a library prints goes to the log.

    Addresses and the like come by the input: a command line is seen by everyone on the machine.
    """
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answer: dict[str, Any]
    try:
        answer = {"made": work(json.loads(sys.stdin.buffer.read()))}
    except ServiceError as error:
        answer = {"error": error.to_dict()}
    with answer_to:
        answer_to.write(json.dumps(answer).encode())
