"""The main job on phantoms: images in, a fairness audit out. What `evenhand demo` does after writing the phantoms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.artifacts import write_whole
from evenhand.audits import Audit
from evenhand.client import Client
from evenhand.cohorts import Cohort
from evenhand.errors import NotFound
from evenhand.operations import Operation
from evenhand.spec import AuditSpec, Pipeline, classify, degrade, reconstruct

PHOTONS = 1000.0  # the dose that the shipped xray-unet was trained for
ARTIFACTS = ("report.json", "report.html", "predictions.parquet", "quality.parquet")


@dataclass(frozen=True)
class DemoFiles:
    """Phantoms on disk."""

    images: Path
    table: Path
    schema: str


def phantom_files(folder: Path) -> DemoFiles:
    """The images, the one table and the schema that `phantoms write` left in ``folder``."""
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        raise NotFound(f"expected one table of phantoms, found {len(tables)}", field=str(folder))
    schema = folder / "schema.yaml"
    return DemoFiles(folder, tables[0], str(schema) if schema.is_file() else "phantom-chest")


def demo_spec(cohort: str, seed: int) -> AuditSpec:
    """Classify the original, the low-dose image, and the image that the U-Net restored from it."""
    low_dose = degrade("low-dose-xray", photons=PHOTONS)
    read = classify("chest-classifier")
    return AuditSpec(
        cohort=cohort,
        pipelines=[
            Pipeline("original", [read]),
            Pipeline("low-dose", [low_dose, read]),
            Pipeline("reconstructed", [low_dose, reconstruct("xray-unet"), read]),
        ],
        baseline="original",
        attributes=["sex", "age", "race"],
        seed=seed,
    )


def run_demo(
    client: Client, files: DemoFiles, out: Path, seed: int, follow: Callable[[Operation[Any]], Any]
) -> tuple[Cohort, Audit]:
    """Cohort, audit, artifacts under ``out``. ``follow`` waits for an operation and gives what it made."""
    cohort: Cohort = follow(
        client.cohorts.create(files.images, table=files.table, schema=files.schema, display_name="demo phantoms")
    )
    audit: Audit = follow(client.audits.create(demo_spec(cohort.name, seed), display_name="demo audit"))
    for filename in ARTIFACTS:
        write_whole(out / filename, audit.read(filename))
    return cohort, audit
