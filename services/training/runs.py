"""One training run from recipe to package, in this process. Ray Train runs the same steps in its workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.maths.networks import build_network
from services.training.examples import HELD_OUT, TRAINING, VALIDATION, Examples, draw_examples
from services.training.learning import Epoch, State, train
from services.training.packages import describe, weights_bytes, write_package
from services.training.recipes import Recipe
from services.training.scoring import choose_thresholds, predict, score

FEWEST_OTHERS = 200
"""Fewer validation or held-out patients would make a threshold or a score a matter of luck."""


@dataclass(frozen=True)
class Run:
    """A recipe with the caller's seed, epochs and patients in place of its own."""

    recipe: Recipe
    seed: int
    epochs: int
    patients: int

    @property
    def others(self) -> int:
        """Patients in the validation cohort, and as many again held out."""
        return max(FEWEST_OTHERS, self.patients // 4)


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
    network = build_network(run.recipe.family, run.recipe.architecture)
    network.load_state_dict(state)
    held_out = draw_examples(run.recipe, HELD_OUT, run.others, run.seed, check)
    thresholds = choose_thresholds(run.recipe, predict(network, validation.inputs, run.recipe.task), validation)
    scores = score(run.recipe, predict(network, held_out.inputs, run.recipe.task), held_out, thresholds)
    weights = weights_bytes(state)
    record = describe(
        run.recipe,
        version,
        weights,
        seed=run.seed,
        patients=run.patients,
        validation_patients=run.others,
        thresholds=thresholds,
        scores=scores,
    )
    write_package(registry, record, weights)
    return dict(record.scores)


def train_here(run: Run, registry: Path, version: str, report: Callable[[Epoch], None]) -> dict[str, float]:
    """Draw, train and publish in this process; the scores of the published package."""
    training, validation = draw_for_training(run)
    state = train(run.recipe, training, validation, seed=run.seed, epochs=run.epochs, report=report)
    return publish(run, state, validation, registry=registry, version=version)
