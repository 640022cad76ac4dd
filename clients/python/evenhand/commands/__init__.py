"""The command line. Exit codes: 0 ok, 1 unexpected, 2 usage, 3 not found, 4 invalid input, 5 conflict, precondition or
credentials, 6 unavailable or out of time, 7 the operation failed, 8 it was cancelled, 9 an alarm stands, 130
interrupted with Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated

import typer

from evenhand import __version__
from evenhand.commands import (
    audits,
    cohorts,
    counterfactuals,
    demo,
    doctor,
    generations,
    models,
    monitors,
    operations,
    reports,
    studies,
    trainings,
    upscalings,
)
from evenhand.commands.console import Connect, err, report_error

PLUG_INS = "evenhand.commands"
_HELP = """Serve medical-image models, make synthetic images, and audit models for subgroup fairness.

[bold]Start here[/bold]
  evenhand doctor      is the platform there and well?
  evenhand demo        the main job on phantoms, in minutes

[bold]Your own images[/bold]
  evenhand cohorts create --images dicoms --table rows.csv \\
           --schema schema.yaml --watch
  evenhand audits plan audit.yaml --cohort cohorts/1b2c
  evenhand audits create audit.yaml --cohort cohorts/1b2c --watch
  evenhand audits report audits/1b2c
  evenhand reports verify report.json
  evenhand studies run study.yaml --chest CheXpert

[bold]A model at work[/bold]
  evenhand monitors create monitor.yaml --dry-run
  evenhand monitors record predictions monitors/1b2c week1.csv
  evenhand monitors record labels monitors/1b2c truth1.csv
  evenhand monitors watch monitors/1b2c --until-alarm

[bold]Synthetic images[/bold]
  evenhand generations create "Frontal chest radiograph" --out images
  evenhand counterfactuals create sex=Female:Male --out video
  evenhand upscalings create pelvis.dcm --out larger

[bold]audit.yaml[/bold]
  pipelines:
  - name: original
    stages:
    - classify: chest-classifier
  - name: reconstructed
    stages:
    - degrade: {operator: low-dose-xray, photons: 1000}
    - reconstruct: xray-unet
    - classify: chest-classifier
  attributes: \\[sex, age, race]

[bold]Exit codes[/bold]
  0 ok, 1 unexpected, 2 usage, 3 not found, 4 invalid input,
  5 conflict, precondition or credentials,
  6 unavailable or out of time, 7 operation failed,
  8 operation cancelled, 9 an alarm stands (monitors watch),
  130 interrupted with Ctrl-C

EVENHAND_ADDRESS and EVENHAND_API_KEY say where the platform is; EVENHAND_DEBUG=1 shows tracebacks."""


def build_app() -> typer.Typer:
    """The client's commands, joined by those of installed plug-ins."""
    app = typer.Typer(
        name="evenhand", help=_HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False
    )
    app.callback()(_root)
    for name, room in (
        ("cohorts", cohorts),
        ("audits", audits),
        ("monitors", monitors),
        ("studies", studies),
        ("generations", generations),
        ("counterfactuals", counterfactuals),
        ("upscalings", upscalings),
        ("models", models),
        ("operations", operations),
        ("trainings", trainings),
        ("reports", reports),
    ):
        app.add_typer(room.app, name=name)
    app.command("doctor")(doctor.doctor)
    app.command("demo")(demo.demo)
    for entry in sorted(entry_points(group=PLUG_INS), key=lambda entry: entry.name):
        try:
            app.add_typer(entry.load(), name=entry.name)
        except Exception as error:
            err.print(f"[yellow]the commands of {entry.value} cannot be loaded: {error}[/yellow]", soft_wrap=True)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evenhand {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    *,
    address: Annotated[str | None, typer.Option(help="host:port, or https://host:port.  [EVENHAND_ADDRESS]")] = None,
    api_key: Annotated[str | None, typer.Option(help="Bearer token.  [EVENHAND_API_KEY]")] = None,
    ca_file: Annotated[str | None, typer.Option(help="Certificate authorities, PEM.  [EVENHAND_CA_FILE]")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one call may take.")] = 60.0,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Connect(address, api_key, ca_file, timeout)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    try:
        typer.main.get_command(build_app()).main(args=list(arguments), prog_name="evenhand")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except Exception as error:
        return report_error(error, as_json="--json" in arguments)
    return 0


def main() -> None:
    """The `evenhand` command."""
    sys.exit(run(sys.argv[1:]))
