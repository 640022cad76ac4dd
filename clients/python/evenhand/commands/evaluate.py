"""`evenhand models evaluate`: how good a generator's images are, beside real ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from evenhand import evaluation, prompt_grid
from evenhand.commands.console import AsJson, connected, err, out, print_json
from evenhand.errors import InvalidInput

_SHOWN = 12


def evaluate(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="MODEL", help="models/… or what follows the slash.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the report.", file_okay=False)],
    count: Annotated[int, typer.Option(min=20, help="Images of each organ; groups need 20 to say anything.")] = 200,
    organ: Annotated[list[str] | None, typer.Option(help="Only this organ; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seeds the images, the references and the tests.")] = 1,
    steps: Annotated[int, typer.Option(min=0, help="Sampler steps; 0: the server's default.")] = 0,
    sampler: Annotated[str, typer.Option(help="ddim, ddpm, dpmpp-2m, unipc or heun; empty: the default.")] = "",
    guidance_scale: Annotated[float, typer.Option(min=0, help="1: none; 0: the model's default.")] = 0.0,
    images: Annotated[Path | None, typer.Option(help="Synthetic images made elsewhere; needs --table.")] = None,
    table: Annotated[Path | None, typer.Option(help="CSV: image, the attributes asked for.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Real images; needs --reference-table.")] = None,
    reference_table: Annotated[Path | None, typer.Option(help="CSV: image, patient_id, attributes, prompt.")] = None,
    training: Annotated[Path | None, typer.Option(help="What taught the model; needs --training-table.")] = None,
    training_table: Annotated[Path | None, typer.Option(help="CSV: image, patient_id.")] = None,
    training_patients: Annotated[int, typer.Option(min=0, help="Draw so many; 0: all of the recipe's.")] = 0,
    encoder: Annotated[str, typer.Option(help="Feature extractor in the registry.")] = "phantom-clip",
    inception: Annotated[Path | None, typer.Option(help="FID's Inception weights as safetensors instead.")] = None,
    registry: Annotated[Path | None, typer.Option(help="Model packages; default the zoo.  [EVENHAND_ZOO]")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a generator's images with real ones, by group.

    Distance (KID, Fréchet), fidelity, diversity, copies of training
    images. A running platform makes the images, each under the condition
    of a real one; or --images names a folder of them. The real ones are
    phantoms that the model has not seen, drawn here, or your own folder.
    Writes report.json, report.html and contact-sheet.png.

    "No difference found" is said with the number of images at which it
    was not found. It never means that there is none. 200 images of each
    of four organs take some minutes on two cores.

    Examples:

      evenhand models evaluate phantom-diffusion --out quality

      evenhand models evaluate pelvis-diffusion --count 500 \\
               --guidance-scale 4 --out guided

      evenhand models evaluate phantom-diffusion --organ chest \\
               --images made --table made.csv --out quality

      evenhand models evaluate my-diffusion --reference scans \\
               --reference-table scans.csv --out quality

    Exit code 5: the platform's code, which computes this, is not here.
    """
    sampling = {"steps": steps, "sampler": sampler, "guidance_scale": guidance_scale}
    order: dict[str, Any] = {
        "model": name,
        "organs": tuple(organ or ()),
        "images": count,
        "seed": seed,
        "sampling": {setting: value for setting, value in sampling.items() if value},
        "synthetic": folder_and_table("images", images, "table", table),
        "reference": folder_and_table("reference", reference, "reference-table", reference_table),
        "training": folder_and_table("training", training, "training-table", training_table),
        "training_patients": training_patients or None,
        "encoder": encoder,
        "inception": None if inception is None else str(inception),
        "registry": None if registry is None else str(registry),
    }
    with bars() as show:
        if images is not None:
            found = evaluation.evaluate(None, order, folder, progress=show)
        else:
            with connected(context) as client:
                found = evaluation.evaluate(client, order, folder, progress=show)
    print_found(found, as_json=as_json)


def folder_and_table(flag: str, folder: Path | None, table_flag: str, table: Path | None) -> tuple[str, str] | None:
    """The two options of images and their table as one; InvalidInput where only one is given."""
    if (folder is None) != (table is None):
        raise InvalidInput(f"--{flag} and --{table_flag} go together", field=flag if folder is None else table_flag)
    return None if folder is None else (str(folder), str(table))


def print_found(found: evaluation.Evaluation | prompt_grid.PromptGrid, *, as_json: bool, headline: str = "") -> None:
    """What a report found and did not find, and where it lies."""
    if as_json:
        print_json(found.report)
        return
    if headline:
        out.print(f"[bold]{escape(headline)}[/bold]", soft_wrap=True, highlight=False)
    for sentence in found.findings[:_SHOWN]:
        out.print(f"[bold yellow]found[/bold yellow]  {escape(sentence)}", soft_wrap=True, highlight=False)
    more = len(found.findings) - _SHOWN
    if more > 0:
        out.print(f"       and {more} more in the report", highlight=False)
    for sentence in found.not_found:
        out.print(f"[green]       {escape(sentence)}[/green]", soft_wrap=True, highlight=False)
    for path in found.files:
        out.print(f"  {path}", highlight=False, soft_wrap=True)


@contextmanager
def bars() -> Iterator[evaluation.Progress]:
    """One bar a stage on standard error; a stage whose length is not known pulses."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, refresh_per_second=5) as drawn:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = drawn.add_task(stage.strip(), total=total or None)
            drawn.update(tasks[stage], completed=done, total=total or None)

        yield show
        for task in tasks.values():  # what had no total is whole now
            drawn.update(task, total=drawn.tasks[task].completed)
