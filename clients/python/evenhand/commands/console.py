"""How every command speaks: results on standard output, progress and errors on standard error, and its exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Protocol

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape

from evenhand.client import Client
from evenhand.operations import Operation
from evenhand.summary import rich_table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Wait for it with a progress bar.")]
RequestId = Annotated[str | None, typer.Option(help="UUID4; a repeated one gives the first operation.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many.")]

out = Console()
err = Console(stderr=True)
LONGEST_LIST = 16


class ExitCode(IntEnum):
    """What a command's exit code says."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    INVALID = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    FAILED = 7
    CANCELLED = 8
    ALARM = 9
    INTERRUPTED = 130


EXIT_CODES = {
    "InvalidInput": ExitCode.INVALID,
    "NotFound": ExitCode.NOT_FOUND,
    "Conflict": ExitCode.CONFLICT,
    "FailedPrecondition": ExitCode.CONFLICT,
    "Unauthenticated": ExitCode.CONFLICT,
    "Overloaded": ExitCode.UNAVAILABLE,
    "Unavailable": ExitCode.UNAVAILABLE,
    "DeadlineExceeded": ExitCode.UNAVAILABLE,
    "IncompleteStream": ExitCode.UNAVAILABLE,
    "OperationFailed": ExitCode.FAILED,
    "Cancelled": ExitCode.CANCELLED,
}


@dataclass(frozen=True)
class Connect:
    """The options before the command: where the platform is."""

    address: str | None = None
    api_key: str | None = None
    ca_file: str | None = None
    timeout: float = 60.0


@contextmanager
def connected(context: typer.Context) -> Iterator[Client]:
    """A client for the platform that the options or the environment name."""
    options = context.find_object(Connect) or Connect()
    with Client(options.address, api_key=options.api_key, ca_file=options.ca_file, timeout=options.timeout) as client:
        yield client


def exit_code(error: BaseException) -> ExitCode:
    """By class name, because plug-ins raise the platform's errors, whose tree has the same names as the client's."""
    codes = (EXIT_CODES.get(kind.__name__) for kind in type(error).__mro__)
    return next((code for code in codes if code is not None), ExitCode.UNEXPECTED)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


class Resource(Protocol):
    """Anything the API has a JSON form for."""

    def to_dict(self) -> dict[str, Any]: ...

    def to_json(self) -> dict[str, Any]: ...


def print_resources(found: Sequence[Resource], columns: Sequence[str], *, as_json: bool) -> None:
    """A listing: the API's JSON, or the named columns as a table."""
    if as_json:
        print_json([item.to_json() for item in found])
    elif not found:
        err.print("none")
    else:
        out.print(rich_table(pd.DataFrame([item.to_dict() for item in found])[list(columns)]))


def print_resource(item: Resource, *, as_json: bool) -> None:
    """One thing: the API's JSON, or its fields line by line."""
    print_fields(item.to_json() if as_json else item.to_dict(), as_json=as_json)


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: all its fields as JSON, or those that are not empty line by line."""
    if as_json:
        print_json(dict(fields))
        return
    for key, value in fields.items():
        if value not in ("", None, [], {}):
            text = value if isinstance(value, str) else json.dumps(_brief(value), ensure_ascii=False, default=str)
            out.print(f"[bold]{key:<16}[/bold] {escape(text)}", soft_wrap=True, highlight=False)


def _brief(value: Any) -> Any:
    """A long list by its ends: nobody reads the names of 180 frames."""
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        return [*value[: LONGEST_LIST - 2], f"… {len(value) - LONGEST_LIST + 1} more …", value[-1]]
    return value


def follow(operation: Operation[Any], *, resume: str) -> Any:
    """Wait with a bar on standard error. Ctrl-C leaves the work running and says how to come back to it."""
    try:
        return operation.result(progress=True)
    except KeyboardInterrupt:
        err.print(f"\n{operation.name} goes on. Watch it again: [bold]{resume}[/bold]", soft_wrap=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def report_error(error: Exception, *, as_json: bool) -> ExitCode:
    """One line with field and hint (JSON with ``--json``); the traceback only with EVENHAND_DEBUG=1."""
    if os.environ.get("EVENHAND_DEBUG") == "1":
        traceback.print_exception(error)
    code = exit_code(error)
    plain = {key: str(getattr(error, key, "") or "") for key in ("reason", "message", "field", "hint")}
    plain["message"] = " ".join((plain["message"] or str(error) or type(error).__name__).split())
    if as_json:
        sys.stderr.write(json.dumps({"error": {"class": type(error).__name__, **plain}}, ensure_ascii=False) + "\n")
        return code
    place = f" [{plain['field']}]" if plain["field"] else ""
    hint = f" ({plain['hint']})" if plain["hint"] else ""
    if code is ExitCode.UNEXPECTED and not hint:
        hint = " (EVENHAND_DEBUG=1 shows where)"
    sys.stderr.write(f"evenhand: {plain['message']}{place}{hint}\n")
    return code
