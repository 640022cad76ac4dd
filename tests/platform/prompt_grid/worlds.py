"""A platform whose generators' shares are planted: pictures of phantoms, chosen by the noise of each image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from services.adapters.weights import ModelRecord
from services.maths.phantoms.caption_readers import read_attributes
from services.maths.phantoms.captions import attributes_of, compose, is_clear, parse
from services.maths.pixels import PixelSpec
from services.training.generative.images import draw_pictures

SPEC = PixelSpec(3, 64, 64)
PIXELS = {"channels": 3, "height": 64, "width": 64}
CLASSIFIED = {"channels": 1, "height": 64, "width": 64}
MODEL = {
    "name": "planted",
    "version": "1",
    "task": "text-to-image",
    "family": "latent-diffusion",
    "input": PIXELS,
    "output": PIXELS,
    "diffusion": {},
    "licence": "Apache-2.0",
    "training": {"recipe": "r", "world": "null", "organs": ["chest"], "patients": 1, "seed": 1},
}
HEARTS: tuple[str | None, ...] = (None, "absent", "present")
FLUIDS: tuple[str | None, ...] = (None, "none", "left", "right")
PROMPTS = tuple(
    compose("chest", {"cardiomegaly": heart, "pleural_effusion": fluid}) for heart in HEARTS for fluid in FLUIDS
)
Share = Callable[[str], float]


@lru_cache(maxsize=1)
def pool() -> tuple[np.ndarray, list[Mapping[str, str | None]]]:
    """Clear chests (N, 3, 64, 64) in [0, 1], and what each shows."""
    drawn = draw_pictures("chest", "null", 0, patients=120, seed=41, pixels=SPEC)
    shown = [attributes_of("chest", row) for row in drawn.table.to_dict("records")]
    rows = [row for row, attributes in enumerate(shown) if is_clear(attributes)]
    return drawn.pixels.numpy()[rows], [shown[row] for row in rows]


@lru_cache(maxsize=1)
def _rows() -> Mapping[tuple[tuple[str | None, str | None], str], list[int]]:
    """Pictures by (heart, fluid) and sex."""
    rows: dict[tuple[tuple[str | None, str | None], str], list[int]] = {}
    for row, shown in enumerate(pool()[1]):
        rows.setdefault(((shown["cardiomegaly"], shown["pleural_effusion"]), str(shown["sex"])), []).append(row)
    return rows


@lru_cache(maxsize=32)
def _looks(prompt: str) -> list[tuple[str | None, str | None]]:
    """(heart, fluid) that a prompt may be shown with, of which there are women and men; all where there are none."""
    named = _named(prompt)
    both = sorted(look for look, sex in _rows() if sex == "Male" and (look, "Female") in _rows())
    fitting = [
        look
        for look in both
        if named.get("cardiomegaly", look[0]) == look[0] and named.get("pleural_effusion", look[1]) == look[1]
    ]
    return fitting or both


def _named(prompt: str) -> dict[str, str]:
    try:
        return parse(prompt)[1]
    except ValueError:
        return {}


@dataclass
class Planted:
    """Serves models whose share of women at each prompt is planted; noise decides who of two that are alike.

    ``shares`` are by name@version, and so is ``meant``: what a model draws instead of what it is asked for.
    ``classifiers`` answer by name and decide at ``thresholds``; ``asked`` counts the requests for images.
    """

    shares: Mapping[str, Share]
    classifiers: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    meant: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    noise: str = "the same"
    asked: int = 0

    def describe(self, name: str) -> dict[str, Any]:
        bare, _, version = name.removeprefix("models/").partition("@")
        plain = {"name": f"models/{bare}", "version": version or "1", "digest": "", "conditions": []}
        if bare in self.classifiers:
            labels = {"labels": ["Male", "Female"], "thresholds": self.thresholds}
            return {**plain, "task": "attribute-classification", **labels, "input": CLASSIFIED}
        return {**plain, "task": "text-to-image", "output": PIXELS}

    def ask(self, name: str) -> Callable[[Mapping[str, Any]], Iterator[Any]]:
        share, meant = self.shares[name], self.meant.get(name, str)
        other = name if self.noise != "the same" else ""

        def images(wanted: Mapping[str, Any]) -> Iterator[Any]:
            self.asked += 1
            for index in range(wanted["first_index"], wanted["first_index"] + wanted["count"]):
                rng = np.random.default_rng([wanted["seed"], index])
                sex = "Female" if rng.random() < share(wanted["prompt"]) else "Male"
                looks = _looks(meant(wanted["prompt"]))
                rows = _rows()[looks[int(rng.integers(len(looks)))], sex]
                digest = hashlib.sha256(f"{other}{wanted['seed']} {index}".encode()).hexdigest()
                drawn = pool()[0][rows[int(rng.integers(len(rows)))]]
                grain = rng.normal(0.0, 0.003, drawn.shape[1:])  # no two images are the same picture
                yield index, np.clip(drawn + grain, 0, 1).astype(np.float32), {"noise_digest": digest}

        return images

    def classify(self, name: str, images: np.ndarray) -> np.ndarray:
        return self.classifiers[name.partition("@")[0]](images)


def write_registry(root: Path, **changed: Any) -> Path:
    """The record of the generator."""
    record = ModelRecord.model_validate({**MODEL, **changed})
    folder = root / record.name / record.version
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(record.model_dump(mode="json", exclude_defaults=True)))
    return root


def forgetful(images: np.ndarray) -> np.ndarray:
    """A classifier of (Male, Female) that takes a quarter of the women for men, a twentieth of the men for women."""
    seen = read_attributes("chest", images)["sex"]
    found = np.zeros((len(images), 2), np.float32)
    for row, (image, sex) in enumerate(zip(images, seen, strict=True)):
        luck = np.random.default_rng(list(hashlib.sha256(np.ascontiguousarray(image)).digest())).random()
        wrong = luck < (0.25 if sex == "Female" else 0.05)
        found[row, int((sex == "Female") != wrong)] = 1.0
    return found


def timid(images: np.ndarray) -> np.ndarray:
    """A classifier of (Male, Female) that tells them apart without an error, where few would look: at .1 of a woman."""
    women = read_attributes("chest", images)["sex"].to_numpy() == "Female"
    found = np.where(women, 0.3, 0.01).astype(np.float32)
    return np.stack([1 - found, found], axis=1)


def write_prompts(path: Path) -> str:
    """A file of all twelve prompts."""
    path.write_text("\n".join(PROMPTS))
    return str(path)
