"""`evenhand demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenhand.commands.audits import print_report
from evenhand.commands.console import AsJson, connected, err, follow, out, print_json
from evenhand.commands.phantoms import write_phantoms
from evenhand.demo import ARTIFACTS, phantom_files, run_demo
from evenhand.operations import Operation
from evenhand.reports import AuditReport


def demo(
    context: typer.Context,
    *,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the artifacts.")] = Path("out/demo"),
    patients: Annotated[int, typer.Option(min=1, help="Phantom patients; fewer leave most questions open.")] = 500,
    world: Annotated[str, typer.Option(help="null, planted (women's findings are fainter) or confounded.")] = "planted",
    seed: Annotated[int, typer.Option(help="Seeds phantoms and noise.")] = 7,
    as_json: AsJson = False,
) -> None:
    """The main job on phantoms: write chest radiographs, make a cohort, audit three pipelines, read the report.

    The pipelines classify the original, a low-dose version of it, and a U-Net's reconstruction of that. In the planted
    world women's findings are drawn fainter, so the report must name gaps by sex, with more missed cases among women,
    and none by race. Most questions stay open all the same: a few hundred patients cannot answer hundreds of them.
    """
    phantoms = folder / "phantoms"
    err.print(f"[bold]1/4[/bold] drawing {patients} phantom patients of the {world} world")
    write_phantoms(context, phantoms, kind="chest", world=world, patients=patients, seed=seed)
    err.print("[bold]2/4[/bold] making the cohort, [bold]3/4[/bold] auditing")
    with connected(context) as client:

        def wait(operation: Operation[Any]) -> Any:
            return follow(operation, resume=f"evenhand operations wait {operation.name}")

        cohort, audit = run_demo(client, phantom_files(phantoms), folder, seed, wait)
    report = AuditReport.load(folder / "report.json")
    if as_json:
        print_json({"cohort": cohort.name, "audit": audit.name, "digest": report.digest, "verified": report.verify()})
        return
    err.print(f"[bold]4/4[/bold] {cohort.patients} patients, {cohort.records} records, {cohort.refused_count} refused")
    print_report(report)
    _say_what_next(folder, audit.name, report)


def _say_what_next(folder: Path, audit: str, report: AuditReport) -> None:
    state = "verified" if report.verify() else "DOES NOT VERIFY"
    out.print(f"\nreport digest {report.digest[:16]}… {state}", highlight=False)
    for filename in ARTIFACTS:
        out.print(f"  {folder / filename}", highlight=False, soft_wrap=True)
    steps = (
        f"open {folder / 'report.html'} in a browser",
        f"evenhand reports verify {folder / 'report.json'}",
        f"python -c \"import pandas as pd; print(pd.read_parquet('{folder / 'predictions.parquet'}'))\"",
        f"evenhand audits show {audit}     (while this platform runs)",
    )
    out.print("\nWhat to do next:", highlight=False)
    for step in steps:
        out.print(f"  {step}", highlight=False, soft_wrap=True)
