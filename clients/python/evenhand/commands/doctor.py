"""`evenhand doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from evenhand.commands.console import AsJson, ExitCode, connected, out, print_json
from evenhand.doctor import examine

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def doctor(
    context: typer.Context,
    http_address: Annotated[str | None, typer.Option(help="HTTP edge.  [EVENHAND_HTTP_ADDRESS]")] = None,
    as_json: AsJson = False,
) -> None:
    """Look whether the platform is there and well: versions, health of each service, models, readiness, clock.

    Exit code 6 if something is not.
    """
    with connected(context) as client:
        checks = examine(client, http_address)
    if as_json:
        print_json([check.to_dict() for check in checks])
    else:
        for check in checks:
            colour = _COLOURS[check.state]
            out.print(
                f"[{colour}]{check.state:<8}[/{colour}] [bold]{check.name}[/bold]  {check.detail}", soft_wrap=True
            )
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(ExitCode.UNAVAILABLE)
