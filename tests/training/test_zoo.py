"""The shipped models: whole, as good as they say, and what their recipes make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from services.adapters.learned import read_learned
from services.adapters.restoration import read_restoration
from services.adapters.weights import DirectoryRegistry
from services.maths.networks import build_network
from services.training.examples import HELD_OUT, TRAINING, VALIDATION, Examples, draw_examples, phantom_names
from services.training.recipes import RECIPES
from services.training.runs import own_run, train_here
from services.training.scoring import predict, score
from services.training.zoo import ZOO

torch.set_num_threads(1)

FRESH_SEED = 9001
FRESH_PATIENTS = 120
FLOORS = {"mean_auroc": 0.85, "mean_dice": 0.7, "psnr_gain": 3.0}
ONLY_BLACK_PATIENTS_LOOK_DIFFERENT = 0.65
"""Floor of the race classifier: its world shifts one race, so the others can be told from that one only."""
LARGEST_ZOO_BYTES = 60_000_000


@dataclass(frozen=True)
class Judged:
    """A package's score on some examples and the standard error that resampling their patients gives it."""

    value: float
    error: float


def floor(recipe) -> float:
    return ONLY_BLACK_PATIENTS_LOOK_DIFFERENT if recipe.label_column == "race" else FLOORS[recipe.score]


def judge(recipe, registry, examples: Examples) -> Judged:
    record = registry.find(recipe.name, "1")
    network = build_network(record.family, record.architecture)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in registry.load_tensors(record).items()})
    predicted = predict(network, examples.inputs, recipe.task, restoration=record.restoration)
    thresholds = dict(record.thresholds)
    value = score(recipe, predicted, examples, thresholds)[recipe.score]
    rng = np.random.default_rng(7)
    rows_of = [np.flatnonzero(examples.patients == patient) for patient in np.unique(examples.patients)]
    resampled = []
    for _ in range(60):
        rows = np.concatenate([rows_of[k] for k in rng.integers(0, len(rows_of), len(rows_of))])
        some = Examples(examples.inputs[rows], examples.targets[rows], examples.patients[rows])
        resampled.append(score(recipe, predicted[rows], some, thresholds)[recipe.score])
    return Judged(value, float(np.std(resampled)))


@pytest.fixture(scope="module")
def zoo():
    return DirectoryRegistry([ZOO])


def test_every_threshold_says_where_it_came_from(zoo):
    for record in zoo.models():
        if record.thresholds:
            assert record.threshold_source is not None
            assert record.threshold_source.split == "validation"
            assert record.threshold_source.cohort == RECIPES[record.name].digest
            assert record.threshold_source.patients == own_run(RECIPES[record.name]).others


def test_what_is_shipped_is_what_was_trained(zoo):
    names = {record.name for record in zoo.models()}
    assert names & set(RECIPES) == set(RECIPES)


@pytest.fixture(params=list(RECIPES))
def recipe(request):
    return RECIPES[request.param]


def test_the_package_is_the_one_that_the_recipe_describes(zoo, recipe):
    record = zoo.find(recipe.name)
    zoo.load_tensors(record)  # raises unless every file has its stated digest
    assert record.training["digest"] == recipe.digest
    assert (record.task, record.family, record.labels) == (recipe.task, recipe.family, recipe.labels)
    assert record.architecture == dict(recipe.architecture)
    assert record.input.spec() == recipe.pixels
    assert record.degradation == (dict(recipe.degradation) or None)
    assert record.restoration == read_restoration(recipe.restoration)
    assert set(record.thresholds) == (set() if recipe.task == "reconstruction" else set(recipe.labels))
    assert record.scores[recipe.score] >= floor(recipe)


def test_the_package_lists_whom_it_learned_from(zoo, recipe):
    run, record = own_run(recipe), zoo.find(recipe.name)
    (own,) = read_learned(zoo.learned_from(record))
    learned, others = ({TRAINING: run.patients, VALIDATION: run.others}, {HELD_OUT: run.others})
    assert len(own.shared(phantom_names(recipe.kind, learned, run.seed))) == run.patients + run.others
    assert not own.shared(phantom_names(recipe.kind, others, run.seed))


def test_fresh_patients_reproduce_the_shipped_score(zoo, recipe):
    fresh = judge(recipe, zoo, draw_examples(recipe, HELD_OUT, FRESH_PATIENTS, FRESH_SEED))
    shipped = zoo.find(recipe.name).scores[recipe.score]
    assert fresh.value >= floor(recipe)
    assert abs(fresh.value - shipped) < 4 * fresh.error + 0.01


def test_the_zoo_is_small():
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) < LARGEST_ZOO_BYTES


@pytest.mark.retraining
@pytest.mark.timeout(3600)
def test_retraining_reaches_the_shipped_score_within_noise(zoo, recipe, tmp_path):
    run = own_run(recipe)
    again = train_here(run, tmp_path, "1", report=lambda epoch: None)
    held_out = draw_examples(recipe, HELD_OUT, run.others, run.seed)
    noise = judge(recipe, DirectoryRegistry([tmp_path]), held_out).error
    shipped = zoo.find(recipe.name).scores[recipe.score]
    assert abs(again[recipe.score] - shipped) < 3 * noise + 1e-4
