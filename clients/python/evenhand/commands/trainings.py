"""`evenhand trainings`."""

from __future__ import annotations

from typing import Annotated

import typer

from evenhand.commands.console import (
    AsJson,
    Limit,
    RequestId,
    Watch,
    connected,
    follow,
    print_resource,
    print_resources,
)

app = typer.Typer(help="Training runs of the platform's recipes.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="trainings/… or what follows the slash.")]


@app.command()
def create(
    context: typer.Context,
    *,
    recipe: Annotated[str, typer.Argument(help="Such as chest-classifier.")],
    seed: Annotated[int, typer.Option(help="Seeds weights, order and phantoms.")] = 1,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the data; 0: the recipe's own.")] = 0,
    patients: Annotated[int, typer.Option(min=0, help="Patients in the phantom cohort; 0: the recipe's own.")] = 0,
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start a training run.

    Example: evenhand trainings create chest-classifier --seed 3 --watch
    """
    with connected(context) as client:
        operation = client.trainings.create(recipe, seed=seed, epochs=epochs, patients=patients, request_id=request_id)
        if watch:
            training = follow(operation, resume=f"evenhand operations wait {operation.name}")
            print_resource(training, as_json=as_json)
        else:
            print_resource(operation, as_json=as_json)


@app.command("list")
def list_trainings(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Training runs, newest first."""
    with connected(context) as client:
        found = client.trainings.list(limit)
    print_resources(found, ["name", "recipe", "model"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One training run: its model and held-out scores."""
    with connected(context) as client:
        print_resource(client.trainings.get(name), as_json=as_json)
