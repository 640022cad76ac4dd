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


@lru_cache(maxsize=128)
def _fitting(prompt: str, sex: str) -> tuple[int, ...]:
    _, named = parse(prompt)
    wanted = {**named, "sex": sex}
    rows = [row for row, shown in enumerate(pool()[1]) if all(shown[name] == level for name, level in wanted.items())]
    # a rare combination has no picture in a small pool: of the right sex then
    return tuple(rows or [row for row, shown in enumerate(pool()[1]) if shown["sex"] == sex])


@dataclass
class Planted:
    """Serves models whose share of women at each prompt is planted; the same noise draws the same person or her twin.

    ``shares`` are by name@version. ``classifiers`` answer by name; ``asked`` counts the requests for images.
    """

    shares: Mapping[str, Share]
    classifiers: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    noise: str = "the same"
    asked: int = 0

    def describe(self, name: str) -> dict[str, Any]:
        bare, _, version = name.removeprefix("models/").partition("@")
        plain = {"name": f"models/{bare}", "version": version or "1", "digest": "", "conditions": []}
        if bare in self.classifiers:
            return {**plain, "task": "attribute-classification", "labels": ["Male", "Female"], "input": CLASSIFIED}
        return {**plain, "task": "text-to-image", "output": PIXELS}

    def ask(self, name: str) -> Callable[[Mapping[str, Any]], Iterator[Any]]:
        share = self.shares[name]
        other = name if self.noise != "the same" else ""

        def images(wanted: Mapping[str, Any]) -> Iterator[Any]:
            self.asked += 1
            for index in range(wanted["first_index"], wanted["first_index"] + wanted["count"]):
                rng = np.random.default_rng([wanted["seed"], index])
                sex = "Female" if rng.random() < share(wanted["prompt"]) else "Male"
                rows = _fitting(wanted["prompt"], sex)
                digest = hashlib.sha256(f"{other}{wanted['seed']} {index}".encode()).hexdigest()
                yield index, pool()[0][rows[int(rng.integers(len(rows)))]], {"noise_digest": digest}

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


def write_prompts(path: Path) -> str:
    path.write_text("\n".join(PROMPTS))
    return str(path)
