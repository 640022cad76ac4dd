"""Phantoms as references: patients that a generator has not seen, and those that taught it, drawn here again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.errors import FailedPrecondition
from services.maths.phantoms.worlds import Kind
from services.platform.evaluation.conditions import describe
from services.platform.evaluation.generators import Generator
from services.platform.evaluation.samples import Sample, one_image_each
from services.training.generative.images import HELD_OUT, TRAINING, Pictures, draw_pictures

_AT_FIRST, _AT_MOST = 1.6, 12.0  # patients drawn for each image that is needed


def held_out(
    generator: Generator, organ: str, images: int, seed: int, on_patient: Callable[[], None] = lambda: None
) -> Sample:
    """At least ``images`` phantoms, if need be fewer, of as many patients whom no recipe trains or validates on."""
    factor = _AT_FIRST
    while True:
        patients = int(np.ceil(factor * images))
        pictures = _draw(generator, organ, HELD_OUT, patients, on_patient)
        sample = one_image_each(_described(generator, organ, pictures), seed)
        if len(sample) >= images or factor >= _AT_MOST:
            return sample.take(np.arange(min(images, len(sample))))
        factor *= 2


def training(
    generator: Generator, organ: str, patients: int, on_patient: Callable[[], None] = lambda: None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.str_]]:
    """(T, C, H, W) in [0, 1] of the first ``patients`` training patients (C is 1 where grey), and whose each is."""
    grey = generator if organ == "cardiac" else replace(generator, pixels=replace(generator.pixels, channels=1))
    pictures = _draw(grey, organ, TRAINING, patients, on_patient)
    return pictures.pixels.numpy(), pictures.table["patient_id"].to_numpy(str)


def training_patients(generator: Generator) -> int:
    """How many patients the recipe trained on, of each organ."""
    return int(generator.training.get("patients", 0))


def _draw(generator: Generator, organ: str, role: int, patients: int, on_patient: Callable[[], None]) -> Pictures:
    for needed in ("world", "seed"):
        if needed not in generator.training:
            raise FailedPrecondition(
                f"model.yaml of {generator.name} does not name the phantoms that it was trained on; give reference "
                "images and a table instead",
                field="reference",
                reason="REFERENCE_UNKNOWN",
            )
    world, seed = str(generator.training["world"]), int(generator.training["seed"])
    return draw_pictures(
        cast("Kind", organ), world, role, patients=patients, seed=seed, pixels=generator.pixels, check=on_patient
    )


def _rows(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", table.to_dict("records"))


def _described(generator: Generator, organ: str, pictures: Pictures) -> Sample:
    """The pictures that can be asked for, with levels and requests; masks go into the request where the model asks."""
    found = [describe(generator, organ, row) for row in _rows(pictures.table)]
    rows = [row for row, said in enumerate(found) if said is not None]
    known = [said for said in found if said is not None]
    masks = None if pictures.masks is None else pictures.masks.numpy()[rows]
    requests = [dict(request) for _, request in known]
    if generator.task == "mask-to-image" and masks is not None:
        requests = [{**request, "mask": mask} for request, mask in zip(requests, masks, strict=True)]
    return Sample(
        organ,
        pictures.pixels.numpy()[rows],
        pictures.table["patient_id"].to_numpy(str)[rows],
        pd.DataFrame([levels for levels, _ in known], dtype=object),
        requests,
        masks,
    )
