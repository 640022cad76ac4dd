"""One training run from recipe to package, in this process. Ray Train runs the same steps in its workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load, load_file, save_file

from services.adapters.learned import learned
from services.adapters.restoration import read_restoration
from services.maths.networks import build_network
from services.training.examples import HELD_OUT, TRAINING, VALIDATION, Examples, draw_examples, phantom_names
from services.training.learning import Epoch, train
from services.training.packages import describe, listed, weights_bytes, write_package
from services.training.recipes import Recipe, find_recipe
from services.training.scoring import choose_thresholds, predict, score
from services.training.snapshots import State
from services.training.tuning import Alignment, Tuning, alignment_from_dict, tuning_from_dict

SNAPSHOT = "snapshot.safetensors"
SDAT = "sdat"
"""The recipe of an alignment: it has no numbers of its own, the request has all of them."""
FEWEST_OTHERS = 200
"""Fewer validation or held-out patients would make a threshold or a score a matter of luck."""


@dataclass(frozen=True)
class Run:
    """A recipe with the caller's seed, epochs and patients in place of its own, from scratch or as a fine-tuning.

    Of a fine-tuning on a cohort ``patients`` is the most training patients, 0 for all.
    """

    recipe: Recipe
    seed: int
    epochs: int
    patients: int
    tuning: Tuning | None = None

    @property
    def model(self) -> str:
        """What its packages are called."""
        return self.recipe.name

    @property
    def alone(self) -> bool:
        """Whether it is the work of one process: the rates by group of a fine-tuning are those of whole batches."""
        return self.tuning is not None

    @property
    def others(self) -> int:
        """Patients in the validation cohort, and as many again held out."""
        return max(FEWEST_OTHERS, self.patients // 4)

    def to_dict(self) -> dict[str, Any]:
        """As the ledger and the run's folder keep it."""
        numbers = {"recipe": self.recipe.name, "seed": self.seed, "epochs": self.epochs, "patients": self.patients}
        return numbers | ({} if self.tuning is None else {"tuning": self.tuning.to_dict()})


@dataclass(frozen=True)
class AlignmentRun:
    """A text-to-image model that goes on from itself until its images have the wanted shares of groups."""

    alignment: Alignment
    seed: int
    alone: ClassVar[bool] = True

    @property
    def model(self) -> str:
        """What its packages are called: a version of the base."""
        return self.alignment.base.name

    @property
    def epochs(self) -> int:
        """Its iterations, which progress counts."""
        return self.alignment.batches.iterations

    def to_dict(self) -> dict[str, Any]:
        numbers = {"recipe": SDAT, "seed": self.seed, "epochs": self.epochs, "patients": 0}
        return numbers | {"alignment": self.alignment.to_dict()}


def run_from_dict(plain: Mapping[str, Any]) -> Run | AlignmentRun:
    """The inverse of ``to_dict`` of both; other keys are left out. NotFound RECIPE_NOT_FOUND."""
    if plain.get("alignment"):
        return AlignmentRun(alignment_from_dict(plain["alignment"]), plain["seed"])
    tuning = tuning_from_dict(plain["tuning"]) if plain.get("tuning") else None
    return Run(find_recipe(plain["recipe"]), plain["seed"], plain["epochs"], plain["patients"], tuning)


def own_run(recipe: Recipe) -> Run:
    """The run that the zoo's package came from."""
    return Run(recipe, recipe.seed, recipe.epochs, recipe.patients)


def draw_for_training(run: Run, check: Callable[[], None] = lambda: None) -> tuple[Examples, Examples]:
    """Training and validation examples."""
    return (
        draw_examples(run.recipe, TRAINING, run.patients, run.seed, check),
        draw_examples(run.recipe, VALIDATION, run.others, run.seed, check),
    )


def publish(
    run: Run,
    state: State,
    validation: Examples,
    *,
    registry: Path,
    version: str,
    check: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Choose thresholds on the validation patients, score on held-out ones, write the package. Returns the scores."""
    weights = weights_bytes(state, half=run.recipe.half)
    network = build_network(run.recipe.family, run.recipe.architecture)
    network.load_state_dict(load(weights))  # what is scored is what is shipped
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    held_out = draw_examples(run.recipe, HELD_OUT, run.others, run.seed, check)
    restoration = read_restoration(run.recipe.restoration)

    def predicted(examples: Examples) -> np.ndarray:
        return predict(network, examples.inputs, run.recipe.task, restoration=restoration)

    judged_by_threshold = run.recipe.task != "reconstruction"
    thresholds = choose_thresholds(run.recipe, predicted(validation), validation) if judged_by_threshold else {}
    scores = score(run.recipe, predicted(held_out), held_out, thresholds)
    people = phantom_names(run.recipe.kind, {TRAINING: run.patients, VALIDATION: run.others}, run.seed)
    learned_from, files = listed([learned(f"{run.recipe.name}@{version}", people, salt=run.recipe.digest)])
    record = describe(
        run.recipe,
        version,
        weights,
        seed=run.seed,
        patients=run.patients,
        validation_patients=run.others,
        thresholds=thresholds,
        scores=scores,
        learned_from=learned_from,
    )
    write_package(registry, record, weights, files)
    return dict(record.scores)


def train_here(
    run: Run, registry: Path, version: str, report: Callable[[Epoch], None], work: Path | None = None
) -> dict[str, float]:
    """Draw, train and publish in this process; the scores of the published package. ``work`` as in :func:`fit_here`."""
    training, validation = draw_for_training(run)
    state = fit_here(run, training, validation, report, work=work)
    return publish(run, state, validation, registry=registry, version=version)


def fit_here(
    run: Run,
    training: Examples,
    validation: Examples,
    report: Callable[[Epoch], None],
    *,
    work: Path | None = None,
) -> State:
    """The trained weights. With ``work`` each epoch leaves a snapshot there, and a run goes on from what it finds."""
    snapshot = None if work is None else work / SNAPSHOT

    def after_epoch(epoch: Epoch) -> None:
        if snapshot is not None:
            _keep(epoch.snapshot(), snapshot)
        report(epoch)

    resume = load_file(str(snapshot)) if snapshot is not None and snapshot.exists() else None
    return train(run.recipe, training, validation, seed=run.seed, epochs=run.epochs, report=after_epoch, resume=resume)


def _keep(state: State, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    save_file(state, str(draft))
    draft.replace(path)
