"""`evenhand models prompt-grid`: whom a generator draws when a prompt leaves it open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenhand import prompt_grid as grids
from evenhand.commands.console import AsJson, connected
from evenhand.commands.evaluate import bars, folder_and_table, print_found


def prompt_grid(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="MODEL", help="models/… or what follows the slash; @2: a version.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the report.", file_okay=False)],
    attribute: Annotated[str, typer.Option(help="What the prompts leave open.")] = "sex",
    target: Annotated[
        list[str] | None, typer.Option(help="Wanted shares: Female=0.3,Male=0.7 or 0.3/0.7; may be repeated.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="One a line, or a CSV with a column prompt; else phantoms' test prompts.")
    ] = None,
    organ: Annotated[list[str] | None, typer.Option(help="Test prompts of this organ only; may be repeated.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Images of each prompt.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Pins the noise of every image.")] = 1,
    baseline: Annotated[str, typer.Option(help="Model before: compare image by image, from the same noise.")] = "",
    classifier: Annotated[list[str] | None, typer.Option(help="Judges too: NAME or NAME@2; may be repeated.")] = None,
    readers: Annotated[bool, typer.Option(help="Whether the readers of phantoms judge.")] = True,
    labelled: Annotated[
        int, typer.Option(min=0, help="Patients drawn to measure a classifier's errors; 0: not measured.")
    ] = 400,
    labelled_images: Annotated[Path | None, typer.Option(help="Measure them on these; needs --labelled-table.")] = None,
    labelled_table: Annotated[Path | None, typer.Option(help="CSV: image, patient_id, the attribute.")] = None,
    images: Annotated[Path | None, typer.Option(help="Images made elsewhere; needs --table.")] = None,
    table: Annotated[Path | None, typer.Option(help="CSV: prompt, image.")] = None,
    baseline_images: Annotated[Path | None, typer.Option(help="Those of before; needs --baseline-table.")] = None,
    baseline_table: Annotated[Path | None, typer.Option(help="CSV: prompt, image, in the same order.")] = None,
    steps: Annotated[int, typer.Option(min=0, help="Sampler steps; 0: the server's default.")] = 0,
    sampler: Annotated[str, typer.Option(help="ddim, ddpm, dpmpp-2m, unipc or heun; empty: the default.")] = "",
    guidance_scale: Annotated[float, typer.Option(min=0, help="1: none; 0: the model's default.")] = 0.0,
    registry: Annotated[Path | None, typer.Option(help="Model packages; default the zoo.  [EVENHAND_ZOO]")] = None,
    as_json: AsJson = False,
) -> None:
    """Whom a generator draws when a prompt leaves it open: bias(T).

    Prompts × seeds, the noise of each image pinned. Says how far each
    prompt's shares are from every target, per prompt and pooled, with
    intervals over prompts. Phantoms are judged by readers, anything by
    attribute classifiers, whose errors are measured on labelled images
    and taken out. With --baseline also what changed, image by image.
    Writes report.json, report.html and grid.parquet (a row an image).

    Examples:

      evenhand models prompt-grid phantom-diffusion --out grid

      evenhand models prompt-grid phantom-diffusion@2 --out tuned \\
               --baseline phantom-diffusion@1 --target 0.5/0.5

      evenhand models prompt-grid phantom-diffusion --out grid \\
               --target Female=0.3,Male=0.7 --target 0.5/0.5 \\
               --prompts chests.txt --classifier sex-classifier

      evenhand models prompt-grid phantom-diffusion --out grid \\
               --images made --table made.csv

    Exit code 5: the platform's code, which computes this, is not here;
    or a classifier learned from patients that it is to be measured on.
    """
    sampling = {"steps": steps, "sampler": sampler, "guidance_scale": guidance_scale}
    order: dict[str, Any] = {
        "model": name,
        "attribute": attribute,
        "targets": tuple(target or ()),
        "prompts": None if prompts is None else str(prompts),
        "organs": tuple(organ or ()),
        "images": count,
        "seed": seed,
        "sampling": {setting: value for setting, value in sampling.items() if value},
        "readers": readers,
        "classifiers": tuple(classifier or ()),
        "labelled": labelled,
        "labelled_images": folder_and_table("labelled-images", labelled_images, "labelled-table", labelled_table),
        "baseline": baseline,
        "made": folder_and_table("images", images, "table", table),
        "baseline_made": folder_and_table("baseline-images", baseline_images, "baseline-table", baseline_table),
        "registry": None if registry is None else str(registry),
    }
    with bars() as show:
        if images is not None:
            found = grids.prompt_grid(None, order, folder, progress=show)
        else:
            with connected(context) as client:
                found = grids.prompt_grid(client, order, folder, progress=show)
    print_found(found, as_json=as_json, headline=found.headline)
