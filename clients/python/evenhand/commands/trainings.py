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
from evenhand.tuning import FineTuning

app = typer.Typer(help="Training runs of the platform's recipes.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="trainings/… or what follows the slash.")]


@app.command()
def create(
    context: typer.Context,
    *,
    recipe: Annotated[str, typer.Argument(help="Such as chest-classifier; with --base, the base's own.")] = "",
    seed: Annotated[int, typer.Option(help="Seeds weights, order and phantoms.")] = 1,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the data; 0: the recipe's own.")] = 0,
    patients: Annotated[int, typer.Option(min=0, help="Patients in the phantom cohort; 0: the recipe's own.")] = 0,
    recipe_option: Annotated[str, typer.Option("--recipe", help="The recipe, instead of the argument.")] = "",
    base: Annotated[str, typer.Option(help="Reconstruction model to go on from, MODEL@VERSION.")] = "",
    method: Annotated[
        str, typer.Option("--mitigation", help="none, reweighting, equalised-odds or adversarial.")
    ] = "none",
    attributes: Annotated[
        list[str] | None,
        typer.Option("--attribute", help="To serve alike, such as sex or sex,age. Repeat for several."),
    ] = None,
    weights: Annotated[
        list[float] | None, typer.Option("--lambda", help="Weight of the term. Repeat for a sweep.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Softness of thresholds, in logits; 0: the server's.")] = 0.0,
    label_conditional: Annotated[
        bool, typer.Option("--label-conditional", help="The adversary compares images of one label only.")
    ] = False,
    missing: Annotated[str, typer.Option(help="Images without a level: refuse, or own-group.")] = "refuse",
    labels: Annotated[list[str] | None, typer.Option("--label", help="Only in these labels. Repeat.")] = None,
    predictor: Annotated[str, typer.Option(help="Classifier that fairness is measured through, MODEL@VERSION.")] = "",
    cohort: Annotated[str, typer.Option(help="Learn from its train and validation splits; else phantoms.")] = "",
    world: Annotated[str, typer.Option(help="Of the phantoms: null, planted or confounded.")] = "",
    audit_cohort: Annotated[str, typer.Option(help="Refuse if it shares a patient with what is learned from.")] = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start a training run, or with --base go on from a model.

    Example: evenhand trainings create chest-classifier --seed 3 --watch

    Example: evenhand trainings create --base xray-unet@1 --mitigation equalised-odds --attribute sex --lambda 0.5
    """
    tuning = None
    if base:
        tuning = FineTuning(
            base=base,
            method=method,
            attributes=attributes or (),
            weights=weights or (),
            temperature=temperature,
            label_conditional=label_conditional,
            missing=missing,
            labels=labels or (),
            predictor=predictor,
            cohort=cohort,
            world=world,
            audit_cohort=audit_cohort,
        )
    elif method != "none" or attributes or weights or cohort or world:
        raise typer.BadParameter("this belongs to a fine-tuning; name the model to go on from with --base")
    named = recipe or recipe_option or base.partition("@")[0].removeprefix("models/")
    if not named:
        raise typer.BadParameter("name a recipe, or with --base a model to go on from")
    with connected(context) as client:
        operation = client.trainings.create(
            named, seed=seed, epochs=epochs, patients=patients, tuning=tuning, request_id=request_id
        )
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
