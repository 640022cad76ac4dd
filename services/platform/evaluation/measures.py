"""The rows of the report: every number of one organ, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.maths.fairness import generator_quality as quality
from services.platform.evaluation.conditions import in_order
from services.platform.evaluation.reading import ORGAN, Readings, heart_masks, read_images
from services.platform.evaluation.samples import Sample, combinations

Features = npt.NDArray[np.float32]
Rows = list[dict[str, Any]]

ALL = ""  # attribute and level of the row that is about all images
SAME_CONDITION = "same condition"


@dataclass(frozen=True)
class Compared:
    """The three samples of one organ, with their features; synthetic image i goes with real image i."""

    synthetic: Sample
    real: Sample
    control: Sample
    made: Features
    true: Features
    held: Features

    @property
    def organ(self) -> str:
        return self.real.organ


def subgroups(sample: Sample) -> Iterator[tuple[str, str, npt.NDArray[np.intp]]]:
    """Attribute, level and rows: all images first, then every level of every attribute."""
    yield ALL, ALL, np.arange(len(sample))
    for attribute in sample.levels:
        values = sample.levels[attribute]
        for level in in_order(str(value) for value in values.dropna().unique()):
            yield str(attribute), level, np.flatnonzero((values == level).to_numpy())


def distance_rows(compared: Compared, encoder: str, seed: int, **counts: int) -> Rows:
    """KID and Fréchet distance, overall and per level; a group that is too small is a row without numbers."""
    control = {(attribute, level): rows for attribute, level, rows in subgroups(compared.control)}
    table: Rows = []
    for attribute, level, rows in subgroups(compared.real):
        others = control.get((attribute, level), np.zeros(0, np.intp))
        found = quality.distance(compared.made[rows], compared.true[rows], compared.held[others], seed=seed, **counts)
        place = _place(compared, attribute, level)
        if found is None:
            table.append({**place, "state": "insufficient", "n": min(len(rows), len(others)), "p_value": None})
            continue
        plain = asdict(found)
        p_value = plain.pop("kid_p")
        names = {name: f"{name}[{encoder}, n={found.n}]" for name in ("KID", "FD")}
        table.append({**place, "state": "ok", "names": names, **plain, "p_value": p_value})
    return table


def fidelity_rows(compared: Compared, task: str) -> tuple[Rows, Rows, Rows, tuple[Readings, Readings]]:
    """Shares read back, confusion tables, what no reader reads, and the readings of synthetic and real images.

    One row an attribute over all images, and one for each level of each attribute that the images are grouped by.
    """
    asked = [str(name) for name in compared.real.levels]
    made, true = (
        read_images(compared.organ, task, sample.pixels, asked) for sample in (compared.synthetic, compared.real)
    )
    rows: Rows = []
    confusions: Rows = []
    for attribute in map(str, made.levels):
        if attribute == ORGAN:
            wanted: list[str | None] = [compared.organ] * len(compared.real)
        elif attribute in compared.real.levels:
            wanted = _levels(compared.real.levels[attribute])
        else:
            continue
        seen, own = _levels(made.levels[attribute]), _levels(true.levels[attribute])
        for group, level, chosen in subgroups(compared.real):
            found = quality.read_back(*([column[row] for row in chosen] for column in (wanted, seen, own)))
            if found is not None:
                rows.append({**_place(compared, group, level), "read": attribute, **asdict(found)})
        levels = in_order(str(level) for level in {*wanted, *seen} if level is not None)
        counts = quality.confusion(levels, wanted, seen).tolist()
        confusions.append({"organ": compared.organ, "read": attribute, "levels": levels, "counts": counts})
    unread = [{"organ": compared.organ, "attribute": name, "why": why} for name, why in made.unread.items()]
    return rows, confusions, unread, (made, true)


def shift_rows(compared: Compared, readings: tuple[Readings, Readings], task: str) -> Rows:
    """Measured features, and the overlap with the masks that were asked for, overall and per level."""
    made, true = readings
    measured = {str(name): (made.features[name], true.features[name]) for name in made.features}
    values = {name: (a.to_numpy(np.float64), b.to_numpy(np.float64)) for name, (a, b) in measured.items()}
    masks = compared.real.masks
    if task == "mask-to-image" and masks is not None and compared.organ == "cardiac":
        labels, phases = int(masks.max()), masks.shape[1]
        found = [heart_masks(sample.pixels, phases) for sample in (compared.synthetic, compared.real)]
        values["mask_dice"] = (
            quality.overlap(found[0], masks, labels),
            quality.overlap(found[1], masks, labels),
        )
    rows: Rows = []
    for name, (one, other) in values.items():
        for group, level, chosen in subgroups(compared.real):
            shifted = quality.shift(one[chosen], other[chosen])
            if shifted is not None:
                rows.append({**_place(compared, group, level), "feature": name, **asdict(shifted)})
    return rows


def spread_rows(compared: Compared, seed: int, **counts: int) -> Rows:
    """Diversity within the same condition, and within each level."""
    made, true = compared.made, compared.true
    found = quality.spread(made, true, combinations(compared.real.levels), seed=seed, **counts)
    rows: Rows = []
    if found is not None:
        rows.append({**_place(compared, ALL, SAME_CONDITION), **asdict(found)})
    for group, level, chosen in subgroups(compared.real):
        one = quality.spread(made[chosen], true[chosen], np.zeros(len(chosen), np.int64), seed=seed, **counts)
        if one is not None:
            rows.append({**_place(compared, group, level), **asdict(one)})
    return rows


def manifold_rows(compared: Compared) -> Rows:
    """Precision and recall against the control images, beside those of the real images against them, at one n."""
    n = min(len(compared.made), len(compared.held))
    found = quality.manifold(compared.made[:n], compared.held[:n])
    usual = quality.manifold(compared.true[:n], compared.held[:n])
    if found is None or usual is None:
        return []
    return [
        {
            "organ": compared.organ,
            "n": n,
            "precision": found.precision,
            "recall": found.recall,
            "real_precision": usual.precision,
            "real_recall": usual.recall,
        }
    ]


def closeness_rows(
    organ: str, spaces: Mapping[str, tuple[Sequence[Features], Features]], patients: npt.NDArray[np.str_]
) -> tuple[Rows, Rows]:
    """Nearness to the training images in each of the named spaces, and all pairs, closest first, in the first of them.

    A space has the features of synthetic, real and control images there, and those of the training images.
    """
    rows: Rows = []
    pairs: Rows = []
    for number, (space, (features, training)) in enumerate(spaces.items()):
        made, *new = (quality.neighbours(table, training, patients) for table in features)
        for measure in ("nearest", "ratio"):
            held = np.concatenate([getattr(some, measure) for some in new])
            found = quality.closeness(getattr(made, measure), held)
            if found is not None:
                place = {"organ": organ, "attribute": ALL, "level": ALL}
                rows.append({**place, "space": space, "measure": measure, **asdict(found)})
        if number == 0:
            pairs = [_pair(organ, space, made, int(image)) for image in np.argsort(made.ratio, kind="stable")]
    return rows, pairs


def _pair(organ: str, space: str, made: quality.Neighbours, image: int) -> dict[str, Any]:
    return {
        "organ": organ,
        "space": space,
        "image": image,
        "training_row": int(made.row[image]),
        "nearest": float(made.nearest[image]),
        "ratio": float(made.ratio[image]),
    }


def _place(compared: Compared, attribute: str, level: str) -> dict[str, Any]:
    return {"organ": compared.organ, "attribute": attribute, "level": level}


def _levels(column: Any) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in column]
