"""Masks as their files store them → what a record keeps: one binary plane, or planes of labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from services.adapters.decoder.sources import MaskForm
from services.errors import InvalidInput, OutOfRange, ShapeMismatch

NamedBytes = tuple[str, bytes]
"""A file's name and its bytes."""


@contextmanager
def about(name: str) -> Iterator[None]:
    """Refusals within that name no file yet are about the file ``name``."""
    try:
        yield
    except InvalidInput as error:
        error.field = error.field or name
        raise


def plane_count(stored: npt.NDArray[Any], form: MaskForm, spatial: int) -> int:
    """How many planes a mask (H, W), (P, H, W), (X, Y, Z) or (X, Y, Z, P) has; ``spatial`` axes are 2 or 3.

    Raises ShapeMismatch unless that is what ``form`` says.
    """
    shape = stored.shape
    beyond = shape[:-2] if spatial == 2 else shape[3:]
    planes = math.prod(beyond)
    if stored.ndim < spatial or len(beyond) > 1 or (form.labels == 0 and planes != 1):
        raise ShapeMismatch(f"a mask must have shape {'(H, W)' if spatial == 2 else '(X, Y, Z)'}, got {shape}")
    if planes != form.planes:
        raise ShapeMismatch(
            f"the mask has {planes} planes, the schema declares {form.planes}", reason="MASK_PLANES_MISMATCH"
        )
    return planes


def as_declared(planes: npt.NDArray[Any], form: MaskForm) -> npt.NDArray[np.uint8]:
    """Stored planes (P, H, W) as uint8: without labels (H, W), 1 where the one plane is above 0; else (P, H, W).

    Raises OutOfRange (MASK_LABEL_UNKNOWN) for a value that is none of the labels.
    """
    if form.labels == 0:
        return np.asarray(planes[0] > 0).astype(np.uint8)
    lowest, highest = planes.min(), planes.max()
    if not (lowest >= 0 and highest < form.labels) or (planes.dtype.kind == "f" and (planes != np.rint(planes)).any()):
        raise OutOfRange(
            f"labels of a mask are whole numbers from 0 to {form.labels - 1}, as mask_labels of the schema says; "
            f"it holds values from {lowest:g} to {highest:g}",
            reason="MASK_LABEL_UNKNOWN",
        )
    return np.ascontiguousarray(planes).astype(np.uint8)
