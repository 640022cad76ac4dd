"""What is to be audited, and the wanted shares of its groups: checked before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.errors import InvalidInput, OutOfRange, UnknownLabel

Progress = Callable[[str, int, int], None]  # stage, done, total
Folder = tuple[Path, Path]  # images, table
Target = Mapping[str, float]

IMAGES, LABELLED = 100, 400
MOST_IMAGES = 10_000  # of one prompt
_EXACT = 1e-6


@dataclass(frozen=True)
class Order:
    """What is to be audited. ``images`` are for each prompt; ``targets`` as they were spelt.

    ``prompts``: a file, or None for the grid of phantoms, then of ``organs`` (all that the model has learned if
    empty). ``readers`` and ``classifiers`` are the judges. ``labelled`` patients are drawn where a classifier's errors
    are measured on phantoms, or ``labelled_images`` are used. ``made`` and ``baseline_made`` are images of a folder.
    """

    model: str
    attribute: str
    registry: Path
    targets: tuple[str, ...] = ()
    prompts: Path | None = None
    organs: tuple[str, ...] = ()
    images: int = IMAGES
    seed: int = 1
    sampling: Mapping[str, Any] = field(default_factory=dict)
    readers: bool = True
    classifiers: tuple[str, ...] = ()
    labelled: int = LABELLED
    labelled_images: Folder | None = None
    baseline: str = ""
    made: Folder | None = None
    baseline_made: Folder | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.images <= MOST_IMAGES:
            raise OutOfRange(f"images of a prompt must lie in 1..{MOST_IMAGES}, got {self.images}", field="images")
        if self.seed < 0:
            raise OutOfRange(f"seed must not be negative, got {self.seed}", field="seed")
        if len(set(self.classifiers)) != len(self.classifiers):
            raise InvalidInput("a classifier is named twice", field="classifier")
        if not self.readers and not self.classifiers:
            raise InvalidInput(
                "nobody judges the images: name a classifier, or keep the readers",
                field="classifier",
                reason="NO_JUDGE",
            )
        if self.made is not None and self.baseline and self.baseline_made is None:
            raise InvalidInput("a baseline beside images of a folder needs a folder of its own", field="baseline")

    @property
    def compares(self) -> bool:
        """Whether there is a baseline."""
        return bool(self.baseline) or self.baseline_made is not None


def parse_targets(texts: Sequence[str], levels: Sequence[str]) -> tuple[Target, ...]:
    """The wanted share of each level; equal shares where nothing is asked for. Errors as of :func:`parse_target`."""
    if not texts:
        return ({level: 1 / len(levels) for level in levels},)
    found = tuple(parse_target(text, levels) for text in texts)
    for place, target in enumerate(found):
        if target in found[:place]:
            raise InvalidInput(f"the target {texts[place][:40]!r} is named twice", field="target")
    return found


def parse_target(text: str, levels: Sequence[str]) -> Target:
    """ "Female=0.3,Male=0.7", or "0.3/0.7" in the order of ``levels``.

    InvalidInput TARGET_INVALID where the shares are no numbers, lie outside 0..1 or do not add up to 1; UnknownLabel
    TARGET_LEVEL_UNKNOWN for a level, or a number of levels, that the judges do not know.
    """
    order = ", ".join(levels)
    if "=" in text:
        pairs = [part.partition("=") for part in text.split(",")]
        names = [name.strip() for name, _, _ in pairs]
        shares = [_share(value, text) for _, _, value in pairs]
    else:
        names, shares = list(levels), [_share(value, text) for value in text.split("/")]
        if len(shares) != len(levels):
            raise UnknownLabel(
                f"the target has {len(shares)} shares, the judges know {len(levels)} groups: {order}",
                field="target",
                reason="TARGET_LEVEL_UNKNOWN",
            )
    unknown = [name for name in names if name not in levels]
    if unknown:
        raise UnknownLabel(
            f"the target names {unknown[0][:40]!r}; the groups are {order}",
            field="target",
            reason="TARGET_LEVEL_UNKNOWN",
        )
    if len(set(names)) != len(names):
        raise _invalid("a group is named twice", text)
    if abs(sum(shares) - 1) > _EXACT:
        raise _invalid(f"the shares add up to {sum(shares):g}, not to 1", text)
    given = dict(zip(names, shares, strict=True))
    total = sum(shares)
    return {level: given.get(level, 0.0) / total for level in levels}


def spelled_target(target: Target) -> str:
    """ "Female 30 %, Male 70 %"."""
    return ", ".join(f"{level} {100 * share:.4g} %" for level, share in target.items())


def _share(value: str, text: str) -> float:
    try:
        share = float(value)
    except ValueError as error:
        raise _invalid(f"{value.strip()[:20]!r} is no number", text) from error
    if not (math.isfinite(share) and 0 <= share <= 1):
        raise _invalid(f"a share lies in 0..1, not at {share:g}", text)
    return share


def _invalid(why: str, text: str) -> InvalidInput:
    return InvalidInput(
        f"the target {text[:60]!r} cannot be used: {why}; write Female=0.3,Male=0.7 or 0.3/0.7",
        field="target",
        reason="TARGET_INVALID",
    )
