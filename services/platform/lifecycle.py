"""`evenhand platform up | down | status | run`: the platform's life on one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from services.errors import ServiceError
from services.platform import serving, supervisor
from services.platform.settings import Settings, read_settings

commands = typer.Typer(help="Start and stop the platform on this machine.", no_args_is_help=True)
console = Console(stderr=True)

Config = Annotated[Path | None, typer.Option(help="Serve config; default deploy/serve/local.yaml.")]


@commands.command()
def up(
    config: Config = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait until it is ready.")] = 180.0,
) -> None:
    """Start the platform in the background and wait until it takes work. Does nothing if it runs already."""
    settings = read_settings(config)
    with console.status("starting Ray and the models …") as status:
        try:
            fresh = supervisor.start(
                settings,
                patience_s=patience,
                on_wait=lambda s: status.update(f"starting Ray and the models … {s:.0f} s"),
            )
        except ServiceError as error:
            console.print(f"[red]{error.reason}[/red] {escape(error.message)}")
            raise typer.Exit(6) from error
    console.print("started" if fresh else "already running", _addresses(settings))


@commands.command()
def down() -> None:
    """End the platform that `up` started from this data directory, and nothing else."""
    console.print("stopped" if supervisor.stop(read_settings()) else "not running")


@commands.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Say whether it runs, and where. Exit code 6 when it does not."""
    settings = read_settings()
    state = supervisor.running(settings)
    if as_json:
        print(json.dumps({"running": state is not None, "ready": supervisor.ready(settings), **(state or {})}))  # noqa: T201
    else:
        console.print(f"running {_addresses(settings)}" if state else "not running")
    raise typer.Exit(0 if state else 6)


@commands.command()
def run(config: Config = None) -> None:
    """Run in the foreground until Ctrl-C; what `up` does in the background and what a container calls."""
    raise typer.Exit(supervisor.supervise(read_settings(config)))


@commands.command(hidden=True)
def child(config: Path) -> None:
    serving.serve_in_this_process(read_settings(config))


def _addresses(settings: Settings) -> str:
    return f"http://{settings.host}:{settings.http_port}  grpc {settings.host}:{settings.grpc_port}"
