"""A downstream study of synthetic data: one YAML document, its cohorts, and what is computed of them.

name: augmentation
augmentation:
  cohort: cardiac                        # the option that names a real one: --cardiac DIR
  schema: short-axis-cine                # of a folder without a schema.yaml of its own
  phantoms: {kind: cardiac, patients: 400, seed: 7, world: shortcut}
  synthetic:                             # by name: what the platform makes of the real cohort
    controlnet: {model: phantom-controlnet, images: 400, template: "...", attributes: [bmi], labels: [heart_failure]}
    oracle: {oracle: {world: shortcut, images: 400, seed: 1001}}   # with phantoms only: drawn, not generated
  on_infidelity: flag                    # or refuse: what to do where synthetic hearts do not show what was asked for
  order: {label: ..., attributes: [...], arms: [...]}

The classifiers and the statistics are the platform's: it contributes ``augment`` to this client by the entry point
group ``evenhand.studies``. The synthetic cohorts are made by a running platform.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from evenhand.artifacts import write_whole
from evenhand.balancing import synthetic_spec
from evenhand.client import Client
from evenhand.cohorts import Cohort
from evenhand.errors import InvalidInput
from evenhand.operations import Operation
from evenhand.plugins import contributed
from evenhand.studies import Phantoms, check_fields, phantoms_of, study_name
from evenhand.study_runs import COHORTS, Folder, Follow, Source, ingested, lost

GROUP = "evenhand.studies"
ORACLE = "oracle"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class AugmentationStudy:
    """A study as its file says it. ``name`` is the option of its cohort; the platform's code checks ``order``."""

    study: str
    name: str
    schema: str
    order: Mapping[str, Any]
    synthetic: Mapping[str, Mapping[str, Any]]
    phantoms: Phantoms | None = None
    on_infidelity: str = "refuse"
    files: tuple[str, ...] = ()

    @property
    def generated(self) -> dict[str, Mapping[str, Any]]:
        """The synthetic cohorts that a platform makes."""
        return {name: spec for name, spec in self.synthetic.items() if ORACLE not in spec}

    def without_oracle(self) -> AugmentationStudy:
        """For patients' images, of which nothing can be drawn: without oracles and the arms that learn from them."""
        kept = self.generated
        arms = [arm for arm in self.order.get("arms", ()) if arm.get("source", "") in ("", *kept)]
        order = {**self.order, "arms": arms}
        return AugmentationStudy(
            self.study, self.name, self.schema, order, kept, self.phantoms, self.on_infidelity, self.files
        )


def is_augmentation(path: Path) -> bool:
    """Whether a file is such a study; what cannot be read is none."""
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(plain, Mapping) and "augmentation" in plain


def read_augmentation(path: Path) -> AugmentationStudy:
    """The study in a YAML file. InvalidInput names the field that is wrong."""
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    check_fields(plain, "study", required=("name", "augmentation"))
    given, at = plain["augmentation"], "augmentation"
    optional = ("phantoms", "on_infidelity", "files")
    check_fields(given, at, required=("cohort", "schema", "synthetic", "order"), optional=optional)
    if not isinstance(given["order"], Mapping) or not isinstance(given["synthetic"], Mapping):
        raise InvalidInput("order and synthetic are mappings", field=at)
    beside = path.parent / str(given["schema"])
    return AugmentationStudy(
        study=study_name(plain["name"], "name"),
        name=study_name(given["cohort"], f"{at}.cohort"),
        schema=str(beside) if beside.is_file() else str(given["schema"]),
        order=given["order"],
        synthetic=given["synthetic"],
        phantoms=phantoms_of(given["phantoms"], f"{at}.phantoms") if "phantoms" in given else None,
        on_infidelity=str(given.get("on_infidelity", "refuse")),
        files=tuple(given.get("files", ())),
    )


def run_augmentation(
    client: Client,
    study: AugmentationStudy,
    source: Source,
    out: Path,
    *,
    follow: Follow,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """The report; report.json, index.html and predictions.parquet lie in ``out``. Goes on where it was.

    Raises:
        FailedPrecondition: the platform's code is not installed here (PLUGIN_MISSING), a synthetic cohort does not show
            what was asked for (SYNTHETIC_INFIDELITY), or patients cross splits.
        EvenhandError: what the running platform says, and errors of the platform's own code with the same class names.
    """
    compute = contributed(GROUP, "augment", "a downstream study can only be run where the platform is installed")
    if not isinstance(source, Folder):
        hint = "the classifiers learn here, and images of patients are not downloaded: give the folder"
        raise InvalidInput(f"--{study.name} takes a folder", field=f"--{study.name}", hint=hint)
    drawn = source.images.is_relative_to(out / "phantoms")
    asked = study if drawn else study.without_oracle()
    made = _synthetic_cohorts(client, asked, source, out, follow) if asked.generated else {}
    sources = {
        "real": {
            "images": str(source.images),
            "table": "" if source.table is None else str(source.table),
            "schema": source.schema,
            "demographics": "" if source.demographics is None else str(source.demographics),
            "phantoms": drawn,
        },
        "synthetic": {
            name: {"shards": str(_downloaded(client, made[name], out / "synthetic" / name))} if name in made else spec
            for name, spec in asked.synthetic.items()
        },
        "on_infidelity": asked.on_infidelity,
    }
    report: dict[str, Any]
    report, files = compute(asked.order, sources, out, progress)
    for name, data in files.items():
        write_whole(out / name, data)
    return report


def _synthetic_cohorts(
    client: Client, study: AugmentationStudy, source: Folder, out: Path, follow: Follow
) -> dict[str, Cohort]:
    ingest = ingested(client, f"{study.study}: {study.name}", source, out / COHORTS)
    follow({study.name: ingest})
    real = ingest.result()
    operations = {name: _asked(client, study, name, real) for name in study.generated}
    follow(operations)
    return {name: operation.result() for name, operation in operations.items()}


def _asked(client: Client, study: AugmentationStudy, name: str, real: Cohort) -> Operation[Cohort]:
    """The synthetic cohort that the same question made before, unless that was lost; then the next."""
    settings = dict(study.synthetic[name])
    model, template, images = (settings.pop(field, default) for field, default in _ASKED.items())
    synthetic_spec(real.name, model, template, images, settings)  # type: ignore[arg-type]  # refused before it is sent
    for attempt in count():
        text = json.dumps([real.name, study.synthetic[name], attempt], sort_keys=True)
        known = uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)
        operation = client.cohorts.synthesise(
            real.name,
            model=model,
            template=template,
            images=images,
            display_name=f"{study.study}: {name}",
            request_id=str(known),
            **settings,  # type: ignore[typeddict-item]
        )
        if not lost(operation, client.cohorts.get):
            return operation
    raise AssertionError("an operation that has just been made is not lost")


_ASKED: Mapping[str, Any] = {"model": "", "template": "", "images": 0}


def _downloaded(client: Client, cohort: Cohort, folder: Path) -> Path:
    """manifest.json and the shards of a synthetic cohort, each under the key that the manifest names."""
    kept = folder / "manifest.json"
    manifest = _artifact(client, cohort, "manifest.json")
    if kept.is_file() and kept.read_bytes() == manifest:
        return folder
    for shard in json.loads(manifest)["shards"]:
        for part, ending in (("pixels", "safetensors"), ("table", "parquet")):
            data = _artifact(client, cohort, f"shard-{shard['index']:05d}.{ending}")
            write_whole(folder / shard[part]["key"], data)
    for name in ("card.md", "card.json", "provenance.parquet"):
        write_whole(folder / name, _artifact(client, cohort, name))
    write_whole(kept, manifest)  # last: with it the folder is whole
    return folder


def _artifact(client: Client, cohort: Cohort, filename: str) -> bytes:
    return client.run(client.cohorts.calls.artifact(cohort.name, filename))
