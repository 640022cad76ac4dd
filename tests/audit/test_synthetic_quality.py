"""What the card of a synthetic cohort says of its images: copies, other pictures, and no encoder at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from services.adapters.object_store import ObjectStore, open_object_store
from services.audit.synthesis import quality
from services.audit.synthesis.card import card_text
from services.audit.synthesis.quality import measured_quality
from services.hosting.shards import Record, write_shard
from services.maths.phantoms import draw_cohort
from tests.audit.studio import Studio, make_studio

ZOO = Path(__file__).parents[2] / "deploy" / "zoo"
SIZE = {"channels": 3, "height": 64, "width": 64}
PATIENTS, PER_SHARD = 48, 16
GROUPS = ("sex=Female", "sex=Male", "sex=Intersex")


@pytest.fixture(scope="module")
def hearts() -> np.ndarray:
    """Cardiac phantoms of 96 patients: those of the cohort, then strangers."""
    cohort = draw_cohort("cardiac", "null", 2 * PATIENTS, 3, 64)
    return cohort.images[~cohort.table["patient_id"].duplicated().to_numpy()]


class World:
    """A source cohort and an image for each of its records, three groups: 24, 20 and 4 patients."""

    def __init__(self, folder: Path, sources: np.ndarray) -> None:
        self.store: ObjectStore = open_object_store(f"file://{folder}")
        self.group = np.repeat([0, 1, 2], [24, 20, 4])
        self.shards = {str(place): ref for place, ref in enumerate(self._written(sources, "r"))}

    def _written(self, images: np.ndarray, prefix: str) -> list[dict[str, Any]]:
        records = [Record(f"{prefix}{at:03d}", f"p{at:03d}", image, None, {}, {}) for at, image in enumerate(images)]
        parts = [records[start : start + PER_SHARD] for start in range(0, len(records), PER_SHARD)]
        return [write_shard(self.store, part, index=index).to_dict() for index, part in enumerate(parts)]

    def quality(self, made: np.ndarray, registries: tuple[Path, ...] = (ZOO,), **changes: Any) -> dict[str, Any]:
        request = {
            "resolved": {"seed": 5, "modality": "cardiac", **SIZE} | changes,
            "groups": [{"name": name} for name in GROUPS],
            "shards": self.shards,
        }
        place = np.arange(PATIENTS)
        draws = pd.DataFrame({"shard": place // PER_SHARD, "row": place % PER_SHARD, "group": self.group})
        origins = pd.DataFrame({"source_patient": [f"p{at:03d}" for at in place]})
        shards = self._written(made, "s")
        return measured_quality(self.store, registries, request, shards=shards, draws=draws, provenance=origins)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, hearts: np.ndarray) -> World:
    return World(tmp_path_factory.mktemp("objects"), hearts[:PATIENTS])


@pytest.fixture(scope="module")
def faithful(world: World, hearts: np.ndarray) -> dict[str, Any]:
    """Of images that are other patients' hearts: a generator without a fault, of which nothing is copied."""
    return world.quality(hearts[PATIENTS:])


def test_another_draw_of_the_same_hearts_has_no_distance_and_is_no_nearer_than_new_patients(
    faithful: dict[str, Any],
) -> None:
    female, male, few = faithful["groups"]
    for group in (female, male):
        assert group["limits"][0] < 0 < group["limits"][1]
    assert (few["kid"], few["patients"], few["images"]) == (None, 4, 4)
    for space in faithful["nearness"]:
        assert space["state"] == "measured" and space["images"] == space["new_patients"] == PATIENTS
        assert space["limits"][0] < space["expected"] < space["limits"][1]
        assert space["own"] < 0.2


def test_copies_are_seen_in_both_spaces(world: World, hearts: np.ndarray) -> None:
    copied = world.quality(hearts[:PATIENTS])
    for space in copied["nearness"]:
        assert (space["share"], space["own"], space["median"]) == (1.0, 1.0, 0.0)
        assert space["limits"][0] > 0.9


def test_pictures_of_something_else_are_far_in_every_group(
    world: World, hearts: np.ndarray, faithful: dict[str, Any]
) -> None:
    noisy = np.clip(hearts[PATIENTS:] + np.random.default_rng(1).normal(0, 0.5, hearts[PATIENTS:].shape), 0, 1)
    far = world.quality(noisy.astype(np.float32))
    for group, good in zip(far["groups"][:2], faithful["groups"][:2], strict=True):
        assert group["limits"][0] > 0
        assert group["limits"][0] > good["limits"][1]


def test_each_distance_says_how_it_was_measured(faithful: dict[str, Any]) -> None:
    recipe = faithful["recipe"]
    assert recipe["encoder"] == "models/phantom-clip@1" and len(recipe["encoder_digest"]) == 64
    assert recipe["encoder_learned_from"] == "phantom-clip"
    assert (recipe["images"], recipe["sources"]) == (PATIENTS, PATIENTS)


def test_the_same_images_are_measured_alike(world: World, hearts: np.ndarray, faithful: dict[str, Any]) -> None:
    assert world.quality(hearts[PATIENTS:]) == faithful


def test_a_sample_is_of_whole_shards_and_of_each_group(
    world: World, hearts: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "MOST_SHARDS", 2)
    monkeypatch.setattr(quality, "PER_GROUP", 10)
    read: list[str] = []
    get = world.store.get
    monkeypatch.setattr(world.store, "get", lambda key, **named: (read.append(key), get(key, **named))[1])
    found = world.quality(hearts[PATIENTS:])
    assert sum(group["images"] for group in found["groups"]) == found["recipe"]["images"] <= 24
    assert max(group["images"] for group in found["groups"]) == 10
    assert len(read) == 8  # two shards of images and the two of their sources, pixels and table of each


def test_without_an_encoder_the_card_says_so(world: World, hearts: np.ndarray, tmp_path: Path) -> None:
    found = world.quality(hearts[PATIENTS:], registries=(tmp_path,))
    assert found["state"] == "not measured" and "no registry has an image encoder" in found["why"]
    other = world.quality(hearts[PATIENTS:], height=32)
    assert other["state"] == "not measured" and "3 x 32 x 64" in other["why"]


def test_a_broken_encoder_is_a_state_and_no_failure(world: World, hearts: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "phantom-clip" / "1"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_bytes((ZOO / "phantom-clip" / "1" / "model.yaml").read_bytes())
    found = world.quality(hearts[PATIENTS:], registries=(tmp_path,))
    assert found["state"] == "not measured" and "cannot be used" in found["why"]


def test_sources_of_other_channels_are_a_state(tmp_path: Path, hearts: np.ndarray) -> None:
    world = World(tmp_path, hearts[:PATIENTS, :2])
    found = world.quality(hearts[PATIENTS:])
    assert found["state"] == "not measured" and "2 channels" in found["why"]


async def test_the_published_card_has_it_and_reads_as_text(tmp_path: Path) -> None:
    studio = make_studio(tmp_path)
    studio = replace(studio, changes={"registries": (ZOO,)})
    cohort = await studio.made(images=24)
    card = json.loads(studio.artifact(cohort, "card.json"))
    text = studio.artifact(cohort, "card.md").decode()
    assert card["quality"]["state"] == "measured"
    assert [group["name"] for group in card["quality"]["groups"]] == [group["name"] for group in card["groups"]]
    assert card_text(card) == text
    assert "## Memorisation" in text and "models/phantom-clip@1" in text and "too few patients" in text


async def test_a_cohort_is_published_without_an_encoder_too(tmp_path: Path) -> None:
    studio: Studio = make_studio(tmp_path, registries=())
    cohort = await studio.made(images=2)
    assert "Not measured: no registry has" in studio.artifact(cohort, "card.md").decode()
