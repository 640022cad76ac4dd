"""The images of one prompt, from a running platform or from a folder.

The noise of an image depends on the run's seed, the words of its prompt and its number only: two models that are
compared draw from the same noise, and so does a longer run of the same seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.errors import InvalidInput
from services.maths.canonical import canonical_json
from services.maths.pixels import PixelSpec
from services.platform.evaluation.asking import Ask, make_images
from services.platform.evaluation.folders import IMAGE, decoded, read_table
from services.platform.prompt_grid.prompts import COLUMN

Pixels = npt.NDArray[np.float32]
Tick = Callable[[], None]


@dataclass(frozen=True)
class Made:
    """(N, C, H, W) in [0, 1] of one prompt; ``noises`` are digests, "" where nobody knows them."""

    pixels: Pixels
    seed: int
    noises: Sequence[str]

    @property
    def digests(self) -> list[str]:
        """sha256 of each image's pixels: float32, little-endian, row-major."""
        return [hashlib.sha256(np.ascontiguousarray(image, "<f4").tobytes()).hexdigest() for image in self.pixels]


class Source(Protocol):
    """Where a model's images come from."""

    @property
    def words(self) -> str: ...

    def count(self, prompt: str) -> int: ...

    def of(self, prompt: str, on_image: Tick) -> Made: ...


def seed_of(seed: int, prompt: str) -> int:
    """The seed that all images of a prompt share; 53 bits, so that any reader of JSON keeps it."""
    return int.from_bytes(hashlib.sha256(canonical_json([seed, prompt])).digest()[:8], "big") >> 11


@dataclass(frozen=True)
class Platform:
    """A running platform makes ``images`` of each prompt."""

    ask: Ask
    spec: PixelSpec
    settings: Mapping[str, Any]
    seed: int
    images: int

    @property
    def words(self) -> str:
        return "the platform"

    def count(self, prompt: str) -> int:
        return self.images

    def of(self, prompt: str, on_image: Tick) -> Made:
        seed = seed_of(self.seed, prompt)
        settings = {**self.settings, "seed": seed}
        made = make_images(self.ask, [{"prompt": prompt}] * self.images, self.spec, settings, on_image=on_image)
        noises = [str(record.get("noise_digest") or record.get("noiseDigest") or "") for record in made.records]
        return Made(made.pixels, seed, noises)


class Folder:
    """Images made elsewhere: ``table`` (CSV) has ``prompt`` and ``image``, in the order of their noise."""

    words = "images of a folder"

    def __init__(self, folder: Path, table: Path, spec: PixelSpec) -> None:
        rows = read_table(table)
        if COLUMN not in rows or rows[COLUMN].isna().any():
            raise InvalidInput(f"each row of the table needs its {COLUMN}", field=str(table))
        self._folder, self._spec = folder, spec
        self._images = {str(prompt): some[IMAGE].tolist() for prompt, some in rows.groupby(COLUMN, sort=False)}

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(self._images)

    def count(self, prompt: str) -> int:
        if prompt not in self._images:
            raise InvalidInput("the table has no image of one of the prompts", field="table", reason="IMAGES_MISSING")
        return len(self._images[prompt])

    def of(self, prompt: str, on_image: Tick) -> Made:
        pixels = decoded(self._folder, self._images[prompt], self._spec, on_image)
        return Made(pixels, 0, [""] * len(pixels))
