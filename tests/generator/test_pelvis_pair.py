"""The shipped pelvis pair: a counterfactual shows the planted effect of race, and no other.

The model learned from the planted world: race Black moves distance, angle and cortex, leaves ring and foramen, and has
more severe osteoarthritis, which is no effect of race but of how the patients were drawn.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from services.hosting.diffusion.families import Condition
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings
from services.maths.diffusion.attributes import attribute_vector
from services.maths.diffusion.guidance import Guidance
from services.maths.diffusion.paths import embedding_path
from services.maths.phantoms import pelvis
from services.maths.phantoms.pelvis_reader import read_pelvis

ZOO = Path(__file__).parents[2] / "deploy" / "zoo"
STEPS = 14
NULL_FEATURES = ("ring_eccentricity", "foramen_eccentricity")
PATIENTS = 64
# More patients where the tolerance is tight; the differences are paired, so a few dozen already say a lot.


class Studio:
    """The model, and patients whose attributes other than race are held."""

    def __init__(self, host: DiffusionHost, model: str) -> None:
        self.host = host
        self.record = host.find(model)
        self.denoiser = self.host.denoiser(self.record)
        self.plan = self.host.plan(self.record, "dpmpp-2m", STEPS)
        self.held = [self._patient(index) for index in range(PATIENTS)]

    def embed(self, given: dict) -> torch.Tensor:
        with torch.inference_mode():
            return self.denoiser.embed(attribute_vector(self.record.attributes(), given))

    def render(self, embeddings: list[torch.Tensor], indices: list[int], scale: float = 1.0) -> np.ndarray:
        """Images (N, 1, 32, 32); an index keys the noise, so equal indices are the same patient."""
        orders = []
        for index, embedding in zip(indices, embeddings, strict=True):
            condition = Condition(embedding)
            null = self.denoiser.null(condition) if scale != 1.0 else None
            orders.append(Order(condition, self.plan, seed=5, index=index, guidance=Guidance(scale), null=null))
        return asyncio.run(self.host.images(self.record, orders))

    def read(self, scale: float = 1.0, patients: int = PATIENTS, **also) -> pd.DataFrame:
        embeddings = [self.embed({**held, **also}) for held in self.held[:patients]]
        return read_pelvis(self.render(embeddings, list(range(patients)), scale))

    @staticmethod
    def _patient(index: int) -> dict:
        rng = np.random.default_rng(index)
        return {
            "sex": ("Female", "Male")[index % 2],
            "age": float(rng.uniform(40, 80)),
            "bmi": float(rng.uniform(20, 34)),
            "laterality": ("left", "right")[index // 2 % 2],
            "projection": "AP",
        }


@pytest.fixture(scope="module")
def host():
    threads = torch.get_num_threads()
    yield DiffusionHost(DiffusionSettings(registries=(ZOO,), batch=16), ("class-to-image",))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def studio(host):
    return Studio(host, "pelvis-diffusion")


@pytest.fixture(scope="module")
def ends(studio):
    """What is read at race White and at race Black, from the same noise; the model knows no osteoarthritis."""
    return studio.read(race="White"), studio.read(race="Black")


def test_the_planted_effect_comes_back_within_15_percent(ends):
    white, black = ends
    for feature, planted in pelvis.PLANTED_SHIFTS.items():
        recovered = (black[feature] - white[feature]).mean()
        assert recovered == pytest.approx(planted, rel=0.15), (
            f"{feature}: {recovered / planted:.2f} of what was planted"
        )


def test_features_without_an_effect_stay(ends):
    white, black = ends
    for feature in NULL_FEATURES:
        effect = (black[feature] - white[feature]).mean() / pelvis.PELVIS_SPREADS[feature]
        assert abs(effect) < 0.1, f"{feature} moved by {effect:.2f} SD"


def test_the_confounder_moves_where_it_is_not_conditioned_on(ends):
    white, black = ends
    planted = pelvis.GRADES * (pelvis.STEP_CHANCE_RAISED - pelvis.STEP_CHANCE)
    assert (black["osteoarthritis"] - white["osteoarthritis"]).mean() == pytest.approx(planted, rel=0.25)


def test_the_confounder_stops_where_it_is_conditioned_on_and_the_effect_does_not(host):
    """The same patients, a model that was told their osteoarthritis."""
    told = Studio(host, "pelvis-severity-diffusion")
    white, black = (told.read(race=race, osteoarthritis="2", patients=32) for race in ("White", "Black"))
    planted = pelvis.GRADES * (pelvis.STEP_CHANCE_RAISED - pelvis.STEP_CHANCE)
    moved = (black["osteoarthritis"] - white["osteoarthritis"]).mean()
    assert abs(moved) < 0.15 * planted
    assert white["osteoarthritis"].mean() == pytest.approx(2.0, abs=0.25)
    for feature, shift in pelvis.PLANTED_SHIFTS.items():
        assert (black[feature] - white[feature]).mean() == pytest.approx(shift, rel=0.2), feature


def test_attributes_that_are_held_are_shown(studio, ends):
    for read in ends:
        assert (read["sex"] == [held["sex"] for held in studio.held]).mean() >= 0.95
        assert (read["laterality"] == [held["laterality"] for held in studio.held]).mean() >= 0.95
        assert (read["projection"] == "AP").mean() >= 0.95
    # The reader itself correlates with the drawn waist at 0.87 at this size.
    assert np.corrcoef(ends[0]["waist"], [held["bmi"] for held in studio.held])[0, 1] > 0.7


def test_planted_features_move_monotonously_over_180_frames(studio):
    source, target = (studio.embed({**studio.held[0], "race": race}) for race in ("White", "Black"))
    frames = list(embedding_path(source, target, 180))
    read = read_pelvis(studio.render(frames, [0] * 180))
    for feature, planted in pelvis.PLANTED_SHIFTS.items():
        along = spearmanr(np.arange(180), np.sign(planted) * read[feature]).statistic
        assert along > 0.95, f"{feature}: Spearman {along:.3f}"


def test_guidance_exaggerates_and_the_minority_side_more(studio, ends):
    """SCIENCE: with scale 4 the rare end runs away and the common end stays; the platform reports it."""
    white, black = (part.iloc[:32] for part in ends)
    strong_white, strong_black = (studio.read(race=race, scale=4.0, patients=32) for race in ("White", "Black"))
    feature = "inter_acetabular_distance"
    plain = (black[feature] - white[feature]).mean()
    strong = (strong_black[feature] - strong_white[feature]).mean()
    assert strong / plain > 1.1
    minority = abs((strong_black[feature] - black[feature]).mean())
    majority = abs((strong_white[feature] - white[feature]).mean())
    assert minority > 1.5 * majority


def test_other_noise_is_another_patient(studio):
    white = studio.read(race="White", patients=32)
    for feature in ("inter_acetabular_distance", "neck_shaft_angle"):
        assert white[feature].std() > 0.5 * pelvis.PELVIS_SPREADS[feature]
