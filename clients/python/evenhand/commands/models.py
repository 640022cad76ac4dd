"""`evenhand models`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape

from evenhand.artifacts import write_whole
from evenhand.before_after import changes_table
from evenhand.commands import evaluate, prompt_grid
from evenhand.commands.console import AsJson, Limit, connected, out, print_fields, print_resource, print_resources
from evenhand.generator_cards import verdicts_table
from evenhand.model_card import model_card, read_report
from evenhand.resources.v1 import model_pb2
from evenhand.summary import rich_table

app = typer.Typer(help="Models that are served now.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="models/… or what follows the slash; @2 names a version.")]


@app.command("list")
def list_models(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Served models in order of their names."""
    with connected(context) as client:
        found = client.models.list(limit)
    print_resources(found, ["name", "version", "task", "family", "labels", "backend"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One model's card: in and out, conditions, thresholds, scores, licence, digest, what it came from, its audits.

    Example: evenhand models show xray-unet@2
    """
    with connected(context) as client:
        model = client.models.get(name, audits=True)
    print_resource(model, as_json=as_json)
    if not as_json:
        print_generator_card(model.proto)
        for audit in model.proto.audits:
            named = f" ({audit.display_name})" if audit.display_name else ""
            title = f"{audit.audit}{named}, {audit.cohort}, {audit.patients} patients"
            out.print(f"\n[bold]{escape(title)}[/bold]", soft_wrap=True, highlight=False)
            print_changes([audit])
            out.print(f"report: {audit.report}", soft_wrap=True, highlight=False)


@app.command()
def card(
    context: typer.Context,
    name: Name,
    path: Annotated[Path, typer.Option("--out", help="The page to write.", dir_okay=False)],
    reports: Annotated[
        list[Path] | None, typer.Option("--report", help="Of a prompt grid or an evaluation: folder or report.json.")
    ] = None,
) -> None:
    """Write a generator's card as one page: whom it draws, quality and copies by group, what it is for.

    Reports of another version of the model are refused.

    Example: evenhand models card cardiac-skewed-diffusion@2 --report grid --report quality --out card.html
    """
    with connected(context) as client:
        model = client.models.get(name).proto
    page = model_card(model, [read_report(one) for one in reports or ()])
    out.print(str(write_whole(path, page.encode())), soft_wrap=True, highlight=False)


def print_generator_card(model: model_pb2.Model) -> None:
    """Whom a generator draws, before and after an alignment, and what its images are for."""
    if not model.HasField("generator_card"):
        return
    card = model.generator_card
    if card.verdicts:
        images = f"{card.verdicts[0].images} images of {card.verdicts[0].prompts} prompts, the same noise"
        out.print(rich_table(verdicts_table(card.verdicts), f"whom it draws: {images}"))
    out.print(f"\n[bold]intended use[/bold] {escape(card.intended_use)}", highlight=False)
    out.print(f"[bold]notice[/bold] {escape(card.notice)}", highlight=False)


def print_changes(audits: Sequence[model_pb2.ModelAudit]) -> None:
    """A table for each pair of pipelines: what was before and what is after."""
    for pipelines, rows in changes_table(audits).groupby("pipelines", sort=False):
        out.print(rich_table(rows.drop(columns="pipelines"), escape(str(pipelines))))


@app.command()
def infer(
    context: typer.Context,
    name: Name,
    image: Annotated[Path, typer.Argument(help="DICOM, NIfTI, PNG, TIFF or NPY file.")],
    save: Annotated[Path | None, typer.Option("--out", help="Write the values as an NPY file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send one image through one model.

    Example: evenhand models infer chest-classifier scan.dcm
    """
    with connected(context) as client:
        prediction = client.models[name].infer(image)
    if save is not None:
        with save.open("wb") as file:
            np.save(file, prediction.numpy(), allow_pickle=False)
    if as_json:
        print_fields(prediction.to_dict(), as_json=True)
    else:
        out.print(rich_table(prediction.to_pandas().drop(columns="image"), f"{prediction.model} on {image.name}"))


app.command()(evaluate.evaluate)
app.command("prompt-grid")(prompt_grid.prompt_grid)
