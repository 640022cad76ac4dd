"""`evenhand audits`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from evenhand.commands.console import (
    AsJson,
    Limit,
    RequestId,
    Watch,
    connected,
    err,
    follow,
    out,
    print_fields,
    print_json,
    print_resource,
    print_resources,
)
from evenhand.plans import AuditPlan
from evenhand.reports import AuditReport
from evenhand.spec import spec_proto
from evenhand.summary import (
    CHANGE,
    findings,
    findings_table,
    group_rates,
    judged,
    pipeline_summary,
    rich_table,
)

app = typer.Typer(help="Audits: a cohort through pipelines, by groups.", no_args_is_help=True)
SHOWN_FINDINGS = 20
Name = Annotated[str, typer.Argument(help="audits/… or what follows the slash.")]


@app.command()
def create(
    context: typer.Context,
    *,
    spec: Annotated[Path, typer.Argument(help="YAML file with cohort, pipelines and attributes.")],
    cohort: Annotated[str, typer.Option(help="Use this cohort instead of the one the file names.")] = "",
    name: Annotated[str, typer.Option(help="What people will call it.")] = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start an audit.

    Example: evenhand audits create audit.yaml --cohort cohorts/1b2c --watch
    """
    with connected(context) as client:
        operation = client.audits.create(spec_proto(spec, cohort=cohort), display_name=name, request_id=request_id)
        if watch:
            resume = f"evenhand audits watch {operation.metadata.resource or operation.name}"
            print_resource(follow(operation, resume=resume), as_json=as_json)
        else:
            print_resource(operation, as_json=as_json)


@app.command()
def plan(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="YAML file with cohort, pipelines and attributes.")],
    cohort: Annotated[str, typer.Option(help="Use this cohort instead of the one the file names.")] = "",
    as_json: AsJson = False,
) -> None:
    """What an audit could show, before it runs: the smallest gaps that this cohort lets it find.

    Example: evenhand audits plan audit.yaml --cohort cohorts/1b2c
    """
    with connected(context) as client:
        found = client.audits.plan(spec_proto(spec, cohort=cohort))
    if as_json:
        print_json(found.to_json())
    else:
        print_plan(found)


def print_plan(plan: AuditPlan) -> None:
    """Detectable gaps by label and attribute, groups that cannot say anything, and what was assumed."""
    out.print(f"Smallest gap that is found with power {plan.target_power:g}, from the best to the worst group")
    out.print(rich_table(plan.detectable()))
    silent = plan.silent()
    if len(silent):
        out.print("Silent: cells with too few patients or cases for a test")
        out.print(rich_table(silent))
    out.print(f"{plan.tests} tests in the primary family, error rate {plan.alpha:g} over all of them", highlight=False)
    for sentence in (*plan.acquisitions, *plan.assumptions):
        out.print(f"  {escape(sentence)}", soft_wrap=True, highlight=False)
    for warning in plan.warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True, highlight=False)


@app.command("list")
def list_audits(
    context: typer.Context,
    cohort: Annotated[str, typer.Option(help="Only audits of this cohort.")] = "",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Audits, newest first."""
    with connected(context) as client:
        found = client.audits.list(cohort=cohort, limit=limit)
    print_resources(found, ["name", "display_name", "state"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One audit: what was asked, where it stands, what it left."""
    with connected(context) as client:
        print_resource(client.audits.get(name), as_json=as_json)


@app.command()
def watch(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Wait for an audit with a progress bar. Ctrl-C stops the watching, not the audit."""
    with connected(context) as client:
        if name.startswith("operations/"):
            operation = client.operations.get(name)
        else:
            operation = client.audits.get(name).operation()
        print_resource(follow(operation, resume=f"evenhand audits watch {name}"), as_json=as_json)


@app.command()
def cancel(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Stop an audit."""
    with connected(context) as client:
        operation = client.audits.get(name).operation()
        operation.cancel()
    print_fields({"cancelling": name, "operation": operation.name}, as_json=as_json)


@app.command()
def delete(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Forget a finished audit."""
    with connected(context) as client:
        client.audits.delete(name)
    print_fields({"deleted": name}, as_json=as_json)


@app.command()
def download(
    context: typer.Context,
    name: Name,
    filenames: Annotated[list[str] | None, typer.Argument(help="Artifacts; all of them by default.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder to write into.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write an audit's artifacts into a folder, each checked against its sha256.

    Example: evenhand audits download audits/1b2c report.html predictions.parquet --out results
    """
    with connected(context) as client:
        paths = client.audits.get(name).download(folder, filenames or ())
    written = {str(path): path.stat().st_size for path in paths}
    print_fields(written, as_json=as_json)


@app.command()
def report(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """The report in short; --json prints it whole."""
    with connected(context) as client:
        found = client.audits.get(name).report()
    if as_json:
        print_json(found.plain)
    else:
        print_report(found)


def print_report(report: AuditReport) -> None:
    """What was found first, then how much was looked for, then pipelines side by side and rates by group."""
    found = findings(report)
    about_groups = found[found["verdict"] != CHANGE]
    out.print("[bold]Findings[/bold]")
    if len(about_groups):
        out.print(findings_table(about_groups.head(SHOWN_FINDINGS)))
        if len(about_groups) > SHOWN_FINDINGS:
            out.print(f"and {len(about_groups) - SHOWN_FINDINGS} more in the report", highlight=False)
    else:
        out.print("none: no gap between groups, and no change of one, stood out from chance", highlight=False)
    out.print(rich_table(judged(report), "Verdicts"))
    out.print(rich_table(pipeline_summary(report), "Pipelines"))
    out.print(rich_table(group_rates(report), "Mean TPR by group"))
