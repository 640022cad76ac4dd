"""A version for each λ of a sweep, each with where it came from. The chosen one comes last: the highest is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.adapters.learned import learned, read_learned
from services.training.mitigation.bench import Bench
from services.training.mitigation.judging import Judgement
from services.training.packages import describe, listed, weights_bytes, write_package
from services.training.snapshots import State


@dataclass(frozen=True)
class Tuned:
    """What one λ came to. ``held_out`` is None where there are no held-out images."""

    weight: float
    state: State
    epochs: int
    validation: Judgement
    held_out: Judgement | None
    preference: float


def publish_sweep(
    bench: Bench,
    tuned: Sequence[Tuned],
    before: Judgement,
    base: Judgement | None,
    *,
    registry: Path,
    first_version: int,
) -> dict[str, Any]:
    """Write a package for each λ, in the order of λ but the chosen one last; of equals the smaller λ is chosen.

    ``before`` and ``base`` judge the base on the validation and the held-out data. Returns fields of the Training
    message: scores and model_version of the chosen one, versions, data_digest.
    """
    order = sorted(tuned, key=lambda one: one.weight)
    chosen = max(order, key=lambda one: one.preference)
    ranked = [*(one for one in order if one is not chosen), chosen]
    versions = [
        _publish(bench, one, before, base, registry=registry, version=first_version + place, chosen=one is chosen)
        for place, one in enumerate(ranked)
    ]
    return {
        "scores": versions[-1]["scores"],
        "model_version": versions[-1]["version"],
        "versions": versions,
        "data_digest": bench.data.digest,
    }


def _publish(
    bench: Bench,
    one: Tuned,
    before: Judgement,
    base: Judgement | None,
    *,
    registry: Path,
    version: int,
    chosen: bool,
) -> dict[str, Any]:
    """Write one package; it as a TunedVersion's fields."""
    run = bench.run
    validation = one.validation.scores() | before.scores("base ")
    held_out = {} if one.held_out is None or base is None else one.held_out.scores() | base.scores("base ")
    weights = weights_bytes(one.state, half=run.recipe.half)
    patients = set(bench.data.training.patients) | set(bench.data.validation.patients)
    own = learned(f"{run.recipe.name}@{version}", patients, salt=bench.data.digest)
    learned_from, files = listed([own, *read_learned(bench.models.learned_from(bench.base))])
    record = describe(
        run.recipe,
        str(version),
        weights,
        seed=run.seed,
        patients=len(set(bench.data.training.patients)),
        validation_patients=len(set(bench.data.validation.patients)),
        thresholds={},
        scores=held_out,
        lineage=_lineage(bench, one, validation, chosen=chosen),
        learned_from=learned_from,
    )
    write_package(registry, record, weights, files)
    return {
        "version": record.version,
        "digest": record.digest,
        "weight": one.weight,
        "chosen": chosen,
        "epochs_kept": one.epochs,
        "validation_scores": validation,
        "scores": dict(record.scores),
    }


def _lineage(bench: Bench, one: Tuned, validation: dict[str, float], *, chosen: bool) -> dict[str, Any]:
    """What ``model.yaml`` says under ``training`` beside recipe, patients and seed."""
    tuning, mitigation = bench.run.tuning, bench.mitigation
    assert tuning is not None
    probabilities = bench.thresholds.double().sigmoid().tolist()
    operating = {label: round(value, 6) for label, value in zip(mitigation.labels, probabilities, strict=True)}
    source = {key: value for key, value in asdict(tuning.source).items() if value and key != "manifest_key"}
    return {
        "base": asdict(tuning.base),
        "mitigation": {
            "method": mitigation.method,
            "attributes": list(mitigation.attributes),
            "lambda": one.weight,
            "temperature": mitigation.temperature,
            "label_conditional": mitigation.label_conditional,
            "missing": mitigation.missing,
        },
        "predictor": asdict(tuning.predictor) | {"thresholds": operating},
        "data": {**source, "digest": bench.data.digest, "images": len(bench.data.training)},
        "selection": {"split": "validation", "chosen": chosen, "epochs": one.epochs, "scores": validation},
    }
