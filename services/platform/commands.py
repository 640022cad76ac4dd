"""Commands that the platform's own code adds to the client's command line."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

phantoms = typer.Typer(help="Write phantom cohorts, whose truth is known.", no_args_is_help=True)


class Kind(StrEnum):
    chest = "chest"
    brain = "brain"
    pelvis = "pelvis"
    cardiac = "cardiac"


class World(StrEnum):
    null = "null"
    planted = "planted"
    confounded = "confounded"
    shortcut = "shortcut"


@phantoms.callback()
def _group() -> None:
    """Write phantom cohorts, whose truth is known."""


@phantoms.command()
def write(
    out: Annotated[Path, typer.Option(help="Folder to write into; made if it is not there.", file_okay=False)],
    kind: Annotated[Kind, typer.Option(help="chest, pelvis: DICOM. brain, cardiac: NIfTI.")] = Kind.chest,
    world: Annotated[World, typer.Option(help="planted: the contrast of findings in women × 0.55.")] = World.null,
    patients: Annotated[int, typer.Option(min=1, help="Patients, with 1 to 4 images each.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same bytes.")] = 7,
) -> None:
    """Write DIR/images, DIR/rows.csv, DIR/schema.yaml and the planted truth, DIR/truth.parquet."""
    from services.training.phantom_files import write_phantoms

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{kind.value} patients, {world.value} world", total=patients)
        count = write_phantoms(kind.value, world.value, patients, seed, out, on_patient=lambda: progress.advance(task))
    console.print(f"{count} images of {patients} patients in {out}")
