"""`evenhand operations`."""

from __future__ import annotations

from typing import Annotated

import typer

from evenhand.commands.console import AsJson, Limit, connected, follow, print_fields, print_resource, print_resources

app = typer.Typer(help="Work in progress: ingests, audits, trainings, generations.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="operations/… or what follows the slash.")]


@app.command("list")
def list_operations(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Operations, newest first."""
    with connected(context) as client:
        found = client.operations.list(limit)
    print_resources(found, ["name", "state", "done", "total"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One operation: its state and progress, and its error if it failed."""
    with connected(context) as client:
        print_resource(client.operations.get(name), as_json=as_json)


@app.command()
def wait(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Wait for an operation with a progress bar, then show what it made. Ctrl-C does not cancel it."""
    with connected(context) as client:
        made = follow(client.operations.get(name), resume=f"evenhand operations wait {name}")
    print_resource(made, as_json=as_json)


@app.command()
def cancel(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Stop an operation. No error if it has ended."""
    with connected(context) as client:
        client.operations.get(name).cancel()
    print_fields({"cancelling": name}, as_json=as_json)
