"""`evenhand reports`: saved reports, without a running platform."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from evenhand import evidence
from evenhand.artifacts import write_whole
from evenhand.commands.audits import print_report
from evenhand.commands.console import AsJson, ExitCode, err, out, print_fields, print_json
from evenhand.errors import InvalidInput
from evenhand.reports import AuditReport

app = typer.Typer(help="Saved reports; no running platform is needed.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="report.json")]
SHOWN_DIFFERENCES = 20


class Ids(StrEnum):
    """What an id means at another site."""

    local = "local"
    everywhere = "global"


@app.command()
def verify(
    file: File,
    predictions: Annotated[Path | None, typer.Option(help="predictions.parquet; by default beside the report.")] = None,
    quality: Annotated[Path | None, typer.Option(help="quality.parquet; by default beside the report.")] = None,
    digest_only: Annotated[bool, typer.Option("--digest-only", help="Do not derive the numbers again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute the report's digest, and derive every number again from the rows beside it.

    Exit code 0: all of it holds. 4: the report was changed, or a number does not follow; what differs is printed. 5:
    the digest holds, but the platform is not installed here and the numbers were not derived.

    Example: evenhand reports verify out/demo/report.json
    """
    report = _load(file)
    stated: dict[str, Any] = {
        "file": str(file),
        "verified": report.verify(),
        "digest": report.digest,
        "computed": report.computed_digest(),
        "numbers": "not derived",
    }
    if not report.verify():
        print_fields(stated, as_json=as_json)
        err.print(f"[red]{escape(str(file))} was changed after its digest was taken[/red]", soft_wrap=True)
        raise typer.Exit(ExitCode.INVALID)
    if digest_only:
        print_fields(stated, as_json=as_json)
        return
    if not evidence.platform_installed():
        print_fields({**stated, "verified": False}, as_json=as_json)
        err.print(
            "[yellow]only the digest was checked: the numbers can be derived again where evenhand-platform is "
            "installed[/yellow]",
            soft_wrap=True,
        )
        raise typer.Exit(ExitCode.CONFLICT)
    beside = file.parent
    found = evidence.verify(report, predictions or beside / evidence.PREDICTIONS, quality or beside / evidence.QUALITY)
    _print_verification(stated, found, as_json=as_json)
    if not found.holds:
        raise typer.Exit(ExitCode.INVALID)


def _print_verification(stated: dict[str, Any], found: evidence.Verification, *, as_json: bool) -> None:
    if as_json:
        print_json({**stated, "verified": found.holds, "numbers": found.numbers, "evidence": asdict(found)})
    else:
        print_fields({**stated, "verified": found.holds, "numbers": found.summary}, as_json=False)
    for difference in found.differences[:SHOWN_DIFFERENCES]:
        err.print(f"  {escape(str(difference))}", soft_wrap=True, highlight=False)
    more = len(found.differences) - SHOWN_DIFFERENCES
    if more > 0:
        err.print(f"  and {more} more; --json lists them all", highlight=False)


@app.command()
def merge(
    sites: Annotated[list[Path], typer.Argument(help="Folders, each with report.json and its two Parquet files.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the report of all sites together.")],
    ids: Annotated[
        Ids, typer.Option(help="global: the same patient id means the same patient at every site.")
    ] = Ids.local,
    as_json: AsJson = False,
) -> None:
    """One report on the patients of several sites, from their rows: no image leaves a site.

    The sites must have been audited with the same pipelines, attributes and settings.

    Example: evenhand reports merge north south --out both
    """
    files = evidence.merge(sites, ids=ids.value)
    for filename, data in files.items():
        write_whole(folder / filename, data)
    report = AuditReport.load(folder / evidence.REPORT)
    if as_json:
        written = {str(folder / filename): len(data) for filename, data in files.items()}
        print_json({"digest": report.digest, "cohort": report.plain["cohort"], "files": written})
        return
    print_report(report)
    for filename in files:
        out.print(f"  {folder / filename}", highlight=False, soft_wrap=True)


@app.command()
def show(file: File, as_json: AsJson = False) -> None:
    """The report in short: what was found, how much was looked for, and the pipelines side by side."""
    report = _load(file)
    if as_json:
        print_json(report.plain)
    else:
        print_report(report)


def _load(file: Path) -> AuditReport:
    try:
        return AuditReport.load(file)
    except OSError as error:
        raise InvalidInput(f"cannot read the report: {error.strerror}", field=str(file)) from error
