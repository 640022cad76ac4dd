"""Whether images that were drawn from real records' prompts and masks lie nearer to these than new patients do.

Source patients are dealt into two halves. Each half is the reference once: the generated images whose sources lie in it
are compared with it, and so is one real image of each patient of the other half, who is new to it. Both look for
their nearest among the same images, so that neither finds more by having more to choose from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.arguments import stream_key
from services.maths.fairness.generator_quality.fidelity import Limits, proportion_limits
from services.maths.fairness.generator_quality.memorisation import closeness, neighbours

Features = NDArray[np.floating]
Floats = NDArray[np.float64]

SHARE = 0.05  # of new patients' images that are called close
FEWEST = 20  # source patients with a real and a generated image: below it the closest 5 % are nobody


@dataclass(frozen=True)
class SourceNearness:
    """How many of ``images`` are nearer to a source than the nearest ``expected`` share of ``new_patients`` are.

    Attributes:
        images, patients: generated images, and the source patients that they come from.
        threshold: the distance that ``expected`` of the new patients' images stay below.
        limits: Wilson's 95 % of ``share`` with a trial a source patient and not an image: wide enough even if all
            images of a patient agree.
        median, new_median: of the distance to the nearest reference image.
        own: share of images whose nearest reference image is one of the patient's whose mask they follow.
        own_by_chance: that share where the nearest were of any reference patient alike.
    """

    images: int
    patients: int
    new_patients: int
    expected: float
    threshold: float
    share: float
    limits: Limits
    median: float
    new_median: float
    own: float
    own_by_chance: float


def source_nearness(
    made: Features,
    source: NDArray[np.generic],
    real: Features,
    patient: NDArray[np.generic],
    *,
    seed: int,
    share: float = SHARE,
) -> SourceNearness | None:
    """Of (N, d) features of generated images and (M, d) of real ones; Euclidean distances.

    ``source`` (N,) is the patient whose record each generated image was drawn from, ``patient`` (M,) whose each real
    image is. Images of a source without a real one take no part. None below 20 patients with both. Raises ValueError
    for lengths that differ.
    """
    if len(made) != len(source) or len(real) != len(patient):
        raise ValueError(f"rows and patients differ in number: {[len(x) for x in (made, source, real, patient)]}")
    known = np.intersect1d(source, patient)
    if len(known) < FEWEST:
        return None
    rng = np.random.Generator(np.random.Philox(key=stream_key(seed)))
    order = rng.permutation(len(known))
    halves = [known[np.sort(order[start::2])] for start in range(2)]
    first = np.unique(patient, return_index=True)[1]  # one image of each patient: those of one are no new evidence
    nearest: list[Floats] = []
    new: list[Floats] = []
    own: list[NDArray[np.bool_]] = []
    for reference, other in (halves, halves[::-1]):
        inside = np.isin(patient, reference)
        shown, whose = real[inside], patient[inside]
        drawn = np.isin(source, reference)
        found = neighbours(made[drawn], shown, whose)
        nearest.append(found.nearest)
        own.append(whose[found.row] == source[drawn])
        new.append(neighbours(real[first[np.isin(patient[first], other)]], shown, whose).nearest)
    distances, unseen, agreed = np.concatenate(nearest), np.concatenate(new), np.concatenate(own)
    close = closeness(distances, unseen, share=share)
    assert close is not None  # there are patients in both halves
    return SourceNearness(
        images=close.n,
        patients=len(known),
        new_patients=close.held_out,
        expected=close.expected,
        threshold=close.threshold,
        share=close.share,
        limits=proportion_limits(close.share * len(known), len(known)),
        median=close.median,
        new_median=close.held_out_median,
        own=float(agreed.mean()),
        own_by_chance=float(np.mean([1 / len(half) for half in halves])),
    )
