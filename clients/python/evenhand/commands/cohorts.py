"""`evenhand cohorts`: of patients' images, and synthetic ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evenhand.balancing import Balancing
from evenhand.cohorts import Cohort
from evenhand.commands.console import (
    AsJson,
    Limit,
    RequestId,
    Watch,
    connected,
    follow,
    out,
    print_fields,
    print_json,
    print_resource,
    print_resources,
)
from evenhand.errors import InvalidInput
from evenhand.summary import rich_table

app = typer.Typer(help="Cohorts: images with patient attributes and labels.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="cohorts/… or what follows the slash.")]


@app.command()
def create(
    context: typer.Context,
    *,
    schema: Annotated[
        str, typer.Option(help="YAML file, or chexpert, ucsf-pdgm, short-axis-cine, phantom-{chest,brain,…}")
    ],
    images: Annotated[Path | None, typer.Option(help="Folder to send. Only files that the table names go.")] = None,
    folder: Annotated[str | None, typer.Option(help="Folder on the server instead: nothing is sent.")] = None,
    table: Annotated[Path | None, typer.Option(help="CSV with one row per record.")] = None,
    demographics: Annotated[
        Path | None, typer.Option(help="CSV with one row per patient, such as CheXpert's table of race.")
    ] = None,
    files: Annotated[
        list[str] | None, typer.Option(help="Where the table names no files: send only these, '*_FLAIR.nii.gz'.")
    ] = None,
    name: Annotated[str, typer.Option(help="What people will call it.")] = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Make a cohort from a folder of images and a table.

    Examples:

      evenhand cohorts create --images dicoms --table rows.csv --schema schema.yaml --watch

      evenhand cohorts create --images CheXpert --table CheXpert/CheXpert-v1.0-small/valid.csv --schema chexpert
      --demographics "CHEXPERT DEMO.csv"
    """
    if (images is None) == (folder is None):
        raise typer.BadParameter("name exactly one of --images and --folder")
    with connected(context) as client:
        if images is not None:
            operation = client.cohorts.create(
                images,
                table=table,
                demographics=demographics,
                files=files or (),
                schema=schema,
                display_name=name,
                request_id=request_id,
            )
        else:
            operation = client.cohorts.create_from_folder(
                str(folder),
                table=table,
                demographics=demographics,
                schema=schema,
                display_name=name,
                request_id=request_id,
            )
        if watch:
            cohort = follow(operation, resume=f"evenhand operations wait {operation.name}")
            print_resource(cohort, as_json=as_json)
        else:
            print_resource(operation, as_json=as_json)


@app.command()
def synthesise(
    context: typer.Context,
    cohort: Annotated[str, typer.Argument(help="The real cohort: cohorts/… or what follows the slash.")],
    *,
    model: Annotated[str, typer.Option(help="Mask-to-image or text-to-image model that draws the images.")],
    template: Annotated[str, typer.Option(help="Prompt, with attributes and labels of the cohort in braces.")],
    images: Annotated[int, typer.Option(help="How many to make.")],
    attribute: Annotated[list[str] | None, typer.Option("--attribute", "-a", help="Attribute to balance on.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="Diagnosis to balance on.")] = None,
    word: Annotated[
        list[str] | None, typer.Option(help="What the prompt says for a level: 'age:40 to 59=50s', 'stroke:0=healthy'.")
    ] = None,
    cap: Annotated[int | None, typer.Option(help="Groups with fewer patients than this get a smaller share.")] = None,
    skip_empty_groups: Annotated[
        bool, typer.Option("--skip-empty-groups", help="Balance over the groups that have a patient.")
    ] = False,
    split: Annotated[str, typer.Option(help="Draw from these records; 'all' for every one.")] = "train",
    seed: Annotated[int, typer.Option(help="Of the draws and of all noise.")] = 0,
    steps: Annotated[int, typer.Option(help="Of the sampler; 0 is the model's own.")] = 0,
    sampler: Annotated[str, typer.Option(help="ddim, dpmpp-2m, …; empty is the default.")] = "",
    guidance: Annotated[float, typer.Option(help="Scale; 0 is the model's own, 1 is none.")] = 0.0,
    negative: Annotated[str, typer.Option(help="Prompt that guidance leads away from.")] = "",
    name: Annotated[str, typer.Option(help="What people will call it.")] = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Make a balanced cohort of synthetic images.

    Each image is drawn by the model from the prompt and mask of a real record. Records are drawn so that every
    group (each attribute's levels x each label's values) gets an equal share of the images, however few patients it
    has. --cap keeps few patients from being repeated too often: a group of n patients counts n/cap of a share.

    Drawing is from training records, and every image keeps its source's patient id and split: no patient's mask
    crosses splits. The images are for training beside real ones, never for judging a model.

    Example:

      evenhand cohorts synthesise COHORT --model phantom-controlnet -a sex -a bmi -l heart_failure --images 200
      --cap 5 --template "Short-axis cardiac MRI. {sex}, {bmi} BMI, {heart_failure}" --name balanced --watch
    """
    settings: Balancing = {
        "attributes": attribute or [],
        "labels": label or [],
        "words": _words(word or []),
        "split": split,
        "seed": seed,
        "steps": steps,
        "sampler": sampler,
        "guidance_scale": guidance,
        "negative_prompt": negative,
        "skip_empty_groups": skip_empty_groups,
    }
    if cap is not None:
        settings["cap"] = cap
    with connected(context) as client:
        operation = client.cohorts.synthesise(
            cohort,
            model=model,
            template=template,
            images=images,
            display_name=name,
            request_id=request_id,
            **settings,
        )
        if not watch:
            print_resource(operation, as_json=as_json)
            return
        made = follow(operation, resume=f"evenhand operations wait {operation.name}")
    print_resource(made, as_json=as_json)
    if not as_json:
        _print_origin(made)


def _words(given: list[str]) -> dict[str, dict[str, str]]:
    """{field: {level: word}} of "field:level=word"."""
    found: dict[str, dict[str, str]] = {}
    for text in given:
        field, colon, rest = text.partition(":")
        level, equals, word = rest.rpartition("=")
        if not (colon and equals and field and level):
            raise typer.BadParameter(f"--word takes FIELD:LEVEL=WORD, not {text!r}")
        found.setdefault(field, {})[level] = word
    return found


def _print_origin(cohort: Cohort) -> None:
    """Where a synthetic cohort came from, and the share of every group."""
    if cohort.synthetic is None:
        return
    out.print("\n[bold]Synthetic: no image shows a patient[/bold]")
    print_fields(cohort.synthetic.to_dict(), as_json=False)
    groups = cohort.synthetic.groups()
    for name in ("share_without_cap", "expected_share", "share"):
        groups[name] = groups[name].map("{:.1%}".format)
    groups["images_per_patient"] = groups["images_per_patient"].map("{:.1f}".format)
    out.print(rich_table(groups, "Groups"))


@app.command()
def card(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """The card of a synthetic cohort, as Markdown: what it is made of, and what it is for."""
    with connected(context) as client:
        if as_json:
            print_json(client.cohorts.card_data(name))
        else:
            sys.stdout.write(client.cohorts.card(name))


@app.command("list")
def list_cohorts(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Cohorts, newest first."""
    with connected(context) as client:
        found = client.cohorts.list(limit)
    print_resources(found, ["name", "display_name", "synthetic", "patients", "records"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One cohort: its attributes, labels and refused rows; of a synthetic one, where its images came from."""
    with connected(context) as client:
        cohort = client.cohorts.get(name)
    print_resource(cohort, as_json=as_json)
    if as_json:
        return
    _print_origin(cohort)
    out.print(rich_table(cohort.to_pandas(), "Attributes"))
    out.print(rich_table(cohort.label_counts(), "Labels"))
    if cohort.refused_count:
        out.print(rich_table(cohort.refused, "Refused rows"))


@app.command()
def delete(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Forget a cohort that no unfinished audit uses."""
    if not name.strip("/"):
        raise InvalidInput("name a cohort", field="name")
    with connected(context) as client:
        client.cohorts.delete(name)
    print_fields({"deleted": name}, as_json=as_json)
