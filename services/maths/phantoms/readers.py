"""Features read back from the pixels of phantoms, deterministically and without knowing how they were drawn.

The readers stand beside the drawing so that a test can close the circle: what was planted must come back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import gaussian_filter

from services.maths.phantoms.cardiac_readers import read_cardiac
from services.maths.phantoms.pelvis_reader import read_pelvis
from services.maths.phantoms.worlds import Kind

Images = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def read_features(kind: Kind, images: Images, masks: npt.NDArray[np.uint8] | None = None) -> pd.DataFrame:
    """One row an image of (N, C, S, S) in [0, 1]; the brain needs its masks (N, S, S).

    Chest: heart_ratio (heart width over thorax width), mediastinum_half_width (canvas units), base_asymmetry
    (difference in density of the two costophrenic angles), rim_density (the darker lateral apex less the clear lung).
    Brain: tumour_area (share of the image), tumour_contrast (mean of the lesion over the mean of the rest of the brain,
    less 1), core_contrast (mean of the innermost lesion over that of its rim, less 1); NaN without a lesion.
    Pelvis and heart: as :func:`pelvis_reader.read_pelvis` and :func:`cardiac_readers.read_cardiac` say.

    Raises ValueError for an unknown kind, or for brains without masks.
    """
    if kind == "pelvis":
        return read_pelvis(images)
    if kind == "cardiac":
        return pd.DataFrame([read_cardiac(image) for image in images])
    if kind == "chest":
        return pd.DataFrame([_read_chest(image[0].astype(np.float64)) for image in images])
    if kind != "brain":
        raise ValueError(f"kind must be one of chest, brain, pelvis, cardiac, not {kind!r}")
    if masks is None or len(masks) != len(images):
        raise ValueError("reading brain phantoms needs one mask an image")
    return pd.DataFrame(
        [_read_brain(image[0].astype(np.float64), mask > 0) for image, mask in zip(images, masks, strict=True)]
    )


def _read_chest(image: Doubles) -> dict[str, float]:
    size = len(image)
    smooth = gaussian_filter(image, 1.2 * size / 128)
    bright = float(_box(smooth, (-0.1, 0.1), (-0.1, 0.5)).mean())
    dark = float(np.quantile(_box(smooth, (-0.6, 0.6), (-0.4, 0.2)), 0.1))
    dense = smooth > dark + 0.6 * (bright - dark)  # above ribs and breast shadows, below the wall
    heart = np.quantile([_middle_half_width(dense, y) for y in np.arange(0.26, 0.44, 0.02)], 0.4)
    thorax = np.median([_thorax_half_width(dense, y) for y in np.arange(-0.02, 0.26, 0.02)])
    mediastinum = np.median([_middle_half_width(dense, y) for y in np.arange(-0.54, -0.40, 0.02)])
    left, right = (_box(smooth, x, (0.28, 0.46)).mean() for x in ((-0.68, -0.46), (0.46, 0.68)))
    rims = [np.quantile(_box(smooth, x, (-0.45, -0.05)), 0.1) for x in ((-0.68, -0.3), (0.3, 0.68))]
    return {
        "heart_ratio": float(heart / thorax),
        "mediastinum_half_width": float(mediastinum),
        "base_asymmetry": float(abs(left - right)),
        "rim_density": float(min(rims)) - dark,
    }


def _dense_row(dense: npt.NDArray[np.bool_], y: float) -> npt.NDArray[np.bool_]:
    row: npt.NDArray[np.bool_] = dense[round((y + 1) / 2 * len(dense))]
    return row


def _middle_half_width(dense: npt.NDArray[np.bool_], y: float) -> float:
    """Half the length of the dense run through the midline of one row, in canvas units."""
    row, middle = _dense_row(dense, y), len(dense) // 2
    to_right, to_left = np.argmin(row[middle:]), np.argmin(row[middle::-1])
    return float(to_right + to_left) / len(dense)


def _thorax_half_width(dense: npt.NDArray[np.bool_], y: float) -> float:
    """Half the distance between the outermost lung pixels of one row, in canvas units."""
    edge = round(0.05 * len(dense))  # beyond the arms of the picture there is air again
    lung = np.flatnonzero(~_dense_row(dense, y)[edge:-edge])
    return float(lung[-1] - lung[0] + 1) / len(dense) if len(lung) else float("nan")


def _box(image: Doubles, x: tuple[float, float], y: tuple[float, float]) -> Doubles:
    size = len(image)
    left, right, top, bottom = (round((edge + 1) / 2 * size) for edge in (*x, *y))
    return image[top:bottom, left:right]


def _read_brain(image: Doubles, lesion: npt.NDArray[np.bool_]) -> dict[str, float]:
    size = len(image)
    if not lesion.any():
        return {"tumour_area": 0.0, "tumour_contrast": float("nan"), "core_contrast": float("nan")}
    middle = np.zeros_like(lesion)
    middle[round(0.2 * size) : round(0.8 * size), round(0.28 * size) : round(0.72 * size)] = True
    rest = float(np.median(image[middle & ~lesion]))
    depth = gaussian_filter(lesion.astype(np.float64), 5.0 * size / 128)[lesion]
    values = image[lesion]
    core, rim = values[depth >= np.quantile(depth, 0.85)], values[depth < np.quantile(depth, 0.6)]
    return {
        "tumour_area": float(lesion.mean()),
        "tumour_contrast": float(np.mean(rim)) / rest - 1.0,
        "core_contrast": float(core.mean() / rim.mean()) - 1.0,
    }
