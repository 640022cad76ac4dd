"""`evenhand report`: saved reports, without a platform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.commands.audits import print_report
from evenhand.commands.console import AsJson, ExitCode, err, print_fields
from evenhand.errors import InvalidInput
from evenhand.reports import AuditReport

app = typer.Typer(help="Saved reports; no platform is needed.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="report.json")]


@app.command()
def verify(file: File, as_json: AsJson = False) -> None:
    """Recompute the digest of a saved report. Exit code 4 if the contents are not those it was taken of.

    Example: evenhand report verify out/demo/report.json
    """
    report = _load(file)
    holds = report.verify()
    stated = {"file": str(file), "verified": holds, "digest": report.digest, "computed": report.computed_digest()}
    print_fields(stated, as_json=as_json)
    if not holds:
        err.print(f"[red]{file} was changed after its digest was taken[/red]", soft_wrap=True)
        raise typer.Exit(ExitCode.INVALID)


@app.command()
def show(file: File) -> None:
    """The report in short."""
    print_report(_load(file))


def _load(file: Path) -> AuditReport:
    try:
        return AuditReport.load(file)
    except OSError as error:
        raise InvalidInput(f"cannot read the report: {error.strerror}", field=str(file)) from error
