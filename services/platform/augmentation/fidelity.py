"""Whether synthetic hearts show what was asked for, read back from their pixels by the phantom readers.

A generator may leak one attribute into another: a thicker ring of fat that comes with the look of heart failure makes a
balanced cohort useless or worse. Downstream accuracy would show that too late, and for one classifier only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.maths.imaging.quality import dice
from services.maths.phantoms.cardiac import FAT_RING
from services.maths.phantoms.cardiac_readers import read_cardiac, segment_cardiac
from services.platform.augmentation.records import Records

SLOPE_TOLERANCE = 0.15
LEAST_DICE = 0.9
RATIO_TOLERANCE = 0.15
"""Of the difference in the ratio of radii that heart failure makes in real images; two standard errors pass too."""
LEAST_IMAGES = 5
_SHOWN = 0.05  # share of images in which no heart may be found

Doubles = npt.NDArray[np.float64]


def fidelity(synthetic: Records, real: Records, *, attribute: str = "bmi", at_most: int = 400) -> dict[str, Any]:
    """What the readers find in synthetic images beside real ones (both with levels of ``attribute`` and of the label).

    ``slope``: of the measured ring of fat on the thickness that the requested level has, 1 for a faultless generator,
    overall and within each class of the label. ``ring_of_label``: how much thicker the ring is with the label than
    without it at the same level, and its standard error. ``dice``: overlap of the heart that is seen with the mask that
    was asked for, mean over structures and both phases. ``groups``: mean ratio of the radii at ES and ED in each level
    and class beside the real images'. ``problems`` are sentences, one for each that is off; none means that it passed.

    The first ``at_most`` records of either are read. Needs masks for the overlap; without them it is None.
    """
    made, true = (_read(some.take(np.arange(min(at_most, len(some)))), attribute) for some in (synthetic, real))
    rows = _groups(made, true)
    slopes = {"overall": _slope(made), **{f"label {k}": _slope(made[made["label"] == k]) for k in (0, 1)}}
    real_slope = _slope(true)
    overlap = _overlap(synthetic.take(np.arange(min(at_most, len(synthetic)))))
    leak = _ring_of_label(made)
    problems = [*_of_slopes(slopes, real_slope), *_of_leak(leak), *_of_masks(overlap, made), *_of_ratios(rows)]
    return {
        "images": len(made),
        "attribute": attribute,
        "slope": {name: None if np.isnan(value) else round(value, 6) for name, value in slopes.items()},
        "slope_real": None if np.isnan(real_slope) else round(real_slope, 6),
        "ring_of_label": None if leak is None else [round(value, 6) for value in leak],
        "dice": None if overlap is None else round(overlap, 6),
        "unread": int(made["ratio"].isna().sum()),
        "groups": rows,
        "problems": problems,
    }


def _read(records: Records, attribute: str) -> pd.DataFrame:
    read = pd.DataFrame([read_cardiac(image) for image in records.pixels])
    return pd.DataFrame(
        {
            "level": records.levels[attribute].to_numpy(),
            "label": records.label,
            "patient": records.patient,
            "ring": read["fat_ring"],
            "ratio": read["radius_ratio"],
        }
    )


def _slope(read: pd.DataFrame) -> float:
    """Least-squares slope of the measured on the requested thickness; NaN with a single level."""
    asked = read["level"].map(dict(FAT_RING)).to_numpy(float)
    if len(read) < 2 or np.ptp(asked) == 0:
        return float("nan")
    return float(np.polyfit(asked, read["ring"].to_numpy(float), 1)[0])


def _ring_of_label(read: pd.DataFrame) -> tuple[float, float] | None:
    """Mean difference within the levels that have some of both classes, each level alike; None without such a level."""
    steps, squares = [], []
    for _, part in read.groupby("level"):
        sides = [part.loc[part["label"] == label, "ring"].dropna() for label in (1, 0)]
        if min(map(len, sides)) >= LEAST_IMAGES:
            steps.append(float(sides[0].mean() - sides[1].mean()))
            squares.append(sum(float(side.var()) / len(side) for side in sides))
    if not steps:
        return None
    return float(np.mean(steps)), float(np.sqrt(np.sum(squares))) / len(steps)


def _overlap(records: Records) -> float | None:
    if records.masks is None:
        return None
    found = np.stack([[segment_cardiac(image[phase]) for phase in (0, 1)] for image in records.pixels])
    count = len(found)
    wanted = records.masks[:, :2]
    scores = [
        np.nanmean(dice((found == label).reshape(count, -1), (wanted == label).reshape(count, -1)))
        for label in (1, 2, 3)
    ]
    return float(np.mean(scores))


def _groups(made: pd.DataFrame, true: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for level in FAT_RING:
        for label in (0, 1):
            ours, theirs = (some[(some["level"] == level) & (some["label"] == label)] for some in (made, true))
            # A group that real images hardly have is judged by the real images of its class.
            beside = theirs if len(theirs) >= LEAST_IMAGES else true[true["label"] == label]
            rows.append(
                {
                    "level": level,
                    "label": label,
                    "images": len(ours),
                    "ratio": _mean(ours["ratio"]),
                    "error": _error(ours["ratio"]) + _error(beside["ratio"]),
                    "real_images": len(theirs),
                    "real_ratio": _mean(beside["ratio"]),
                    "state": "ok" if len(ours) >= LEAST_IMAGES else "insufficient",
                }
            )
    return rows


def _mean(values: pd.Series[float]) -> float | None:
    found = values.mean()
    return None if np.isnan(found) else round(float(found), 6)


def _error(values: pd.Series[float]) -> float:
    return 0.0 if len(values) < 2 else round(float(values.std() / np.sqrt(len(values))), 6)


def _of_slopes(slopes: dict[str, float], real: float) -> list[str]:
    return [
        f"the ring of fat has {slope:.2f} of the slope on the requested body mass index that real images have ({name})"
        for name, slope in ((name, value / real) for name, value in slopes.items())
        if not np.isnan(slope) and abs(slope - 1.0) > SLOPE_TOLERANCE
    ]


def _of_leak(leak: tuple[float, float] | None) -> list[str]:
    """More than a tolerated part of the step from one level to the next, and more than chance."""
    thicknesses = list(FAT_RING.values())
    allowed = SLOPE_TOLERANCE * (thicknesses[-1] - thicknesses[0]) / (len(thicknesses) - 1)
    if leak is None or abs(leak[0]) <= max(allowed, 2 * leak[1]):
        return []
    verb = "thickens" if leak[0] > 0 else "thins"
    return [f"heart failure {verb} the ring of fat by {abs(leak[0]):.3f} at the same requested body mass index"]


def _of_masks(overlap: float | None, made: pd.DataFrame) -> list[str]:
    found = []
    if overlap is not None and overlap < LEAST_DICE:
        found.append(f"hearts overlap their masks by a Dice of {overlap:.2f}, below {LEAST_DICE}")
    unread = float(made["ratio"].isna().mean())
    if unread > _SHOWN:
        found.append(f"no heart is found in {unread:.0%} of the images")
    return found


def _of_ratios(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The effect of heart failure is what both classes' real ratios differ by, over all levels."""
    known = [row for row in rows if row["state"] == "ok" and None not in (row["ratio"], row["real_ratio"])]
    by_class = [[row["real_ratio"] for row in known if row["label"] == label] for label in (0, 1)]
    if not all(by_class):
        return []
    effect = abs(float(np.mean(by_class[1]) - np.mean(by_class[0])))
    return [
        f"{'heart failure' if row['label'] else 'healthy'} with {row['level']} BMI shows a ratio of the radii of "
        f"{row['ratio']:.3f}, real images {row['real_ratio']:.3f}"
        for row in known
        if abs(row["ratio"] - row["real_ratio"]) > max(RATIO_TOLERANCE * effect, 2 * row["error"])
    ]
