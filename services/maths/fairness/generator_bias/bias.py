"""One audit of a generator's groups: their frequencies and every reading of bias(T)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.arguments import numbers
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.generator_bias.counts import Counts, critical_value, degrees_of, t_reach
from services.maths.fairness.generator_bias.misclassification import no_correction, onto_simplex, rogan_gladen
from services.maths.fairness.generator_bias.readings import BiasReading, Reading, distances, per_prompt, pooled
from services.maths.fairness.groups import numbered_patients
from services.maths.fairness.limits import limits

Floats = NDArray[np.float64]

MINIMUM_PROMPTS = 5
UNCORRECTED = "Frequencies are the classifier's own; its errors were not measured and are in them."
_DRAWS = 20_000


@dataclass(frozen=True)
class GroupFrequency:
    """One group's share of all images, in [0, 1].

    ``observed`` is what the classifier counted; ``estimate`` has its errors taken out (equal without a confusion
    table). The 95 % limits hold for all groups at once. ``design_effect``: variance over that of independent images,
    None where nothing varied.
    """

    group: str
    target: float
    observed: float
    estimate: float
    standard_error: float
    ci_low: float
    ci_high: float
    design_effect: float | None


@dataclass(frozen=True)
class GeneratorBias:
    """``unclassified`` images (no subject found) take no part. ``notes`` say in words what a reader must know."""

    frequencies: tuple[GroupFrequency, ...]
    readings: tuple[BiasReading, ...]
    prompts: int
    images: int
    unclassified: int
    notes: tuple[str, ...]

    def reading(self, name: Reading) -> BiasReading:
        return next(reading for reading in self.readings if reading.name == name)


def generator_bias(
    predicted: NDArray[np.integer],
    *,
    groups: Sequence[str],
    cluster: NDArray[np.generic],
    target: Sequence[float] | None = None,
    confusion: NDArray[np.integer] | None = None,
    seed: int,
) -> GeneratorBias:
    """All readings of bias(T) and the groups' frequencies.

    Args:
        predicted: (N,) group of each image as a place in ``groups``, -1 where no subject was found.
        groups: the K names; a group that was never generated is still one.
        cluster: (N,) the prompt of each image.
        target: (K,) wanted shares, adding up to 1; equal shares by default.
        confusion: (K, K) counts of the classifier on images of known group, true by predicted. Without it the
            frequencies are the classifier's, which a note says.
        seed: of the simultaneous critical values.

    The order of the groups changes nothing. Raises ValueError for fewer than 5 prompts, codes, targets or tables that
    do not fit the groups.
    """
    names = list(groups)
    codes, wanted = checked_codes(predicted, names, cluster, target)
    order = sorted(range(len(names)), key=names.__getitem__)  # one order inside, so that any order outside is the same
    table = images_by_prompt(codes, cluster, len(names))[:, order]
    if len(table) < MINIMUM_PROMPTS:
        raise ValueError(f"bias over prompts needs at least {MINIMUM_PROMPTS} prompts with images, got {len(table)}")
    correction = no_correction(len(names))
    if confusion is not None:
        square = np.asarray(confusion)
        if square.shape != (len(names), len(names)):
            raise ValueError(f"confusion must be ({len(names)}, {len(names)}), true by predicted, got {square.shape}")
        correction = rogan_gladen(square[np.ix_(order, order)])
    counts = Counts(table, correction)
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    normals = np.random.Generator(np.random.Philox(seed)).standard_normal((_DRAWS, len(names)))

    frequencies, notes = _frequencies([names[place] for place in order], wanted[order], counts, normals)
    if confusion is None:
        notes.append(UNCORRECTED)
    kinds = distances(wanted[order])
    readings = [per_prompt(kind, counts) for kind in kinds] + [pooled(kind, counts, normals) for kind in kinds]
    return GeneratorBias(
        frequencies=tuple(frequencies[order.index(place)] for place in range(len(names))),
        readings=tuple(readings),
        prompts=len(table),
        images=int(table.sum()),
        unclassified=int((codes < 0).sum()),
        notes=tuple(notes),
    )


def checked_codes(
    predicted: NDArray[np.integer], names: list[str], cluster: NDArray[np.generic], target: Sequence[float] | None
) -> tuple[NDArray[np.int64], Floats]:
    codes = np.asarray(predicted)
    if len(names) < 2 or len(set(names)) != len(names):
        raise ValueError("groups must be two or more different names")
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or len(codes) != len(cluster):
        raise ValueError(f"predicted must be (N,) integers with one prompt each, got {codes.dtype} {codes.shape}")
    if codes.size and not -1 <= int(codes.min()) <= int(codes.max()) < len(names):
        raise ValueError(f"predicted must lie in -1..{len(names) - 1}")
    wanted = np.full(len(names), 1 / len(names)) if target is None else numbers("target", target)
    if wanted.shape != (len(names),) or not (wanted >= 0).all() or abs(float(wanted.sum()) - 1) > 1e-9:
        raise ValueError(f"target must be {len(names)} shares that are not negative and add up to 1")
    return codes.astype(np.int64), wanted


def images_by_prompt(codes: NDArray[np.int64], cluster: NDArray[np.generic], groups: int) -> Floats:
    """(P, K) counts of the prompts that have a classified image."""
    found = codes >= 0
    _, prompt = numbered_patients(np.asarray(cluster)[found])
    table = np.zeros((int(prompt.max(initial=-1)) + 1, groups))
    np.add.at(table, (prompt, codes[found]), 1.0)
    return table


def _frequencies(
    names: list[str], target: Floats, counts: Counts, normals: Floats
) -> tuple[list[GroupFrequency], list[str]]:
    """Corrected frequencies with simultaneous limits: Goodman's (1965) idea, with the prompts' own covariance."""
    observed, covariance = counts.observed, counts.covariance
    unclipped = counts.correction.shares(observed)
    estimate = onto_simplex(unclipped)
    error = np.sqrt(np.diag(covariance))
    critical = critical_value(covariance, normals)
    if np.isinf(counts.correction.degrees):
        low, high = _wilson(counts, critical)
    else:
        reach = t_reach(critical, degrees_of(counts, np.eye(len(names)))) * error
        low = np.clip(unclipped - reach, 0.0, estimate)
        high = np.clip(unclipped + reach, estimate, 1.0)
    independent = observed * (1 - observed) / counts.table.sum()
    effect = np.divide(
        np.diag(counts.observed_covariance), independent, out=np.zeros_like(error), where=independent > 0
    )
    notes = []
    if np.abs(estimate - unclipped).max() > 1e-9:
        notes.append("A corrected frequency lay outside [0, 1]; the frequencies are the nearest possible ones.")
    frequencies = [
        GroupFrequency(
            group=name,
            target=float(target[k]),
            observed=float(observed[k]),
            estimate=float(estimate[k]),
            standard_error=float(error[k]),
            ci_low=float(low[k]),
            ci_high=float(high[k]),
            design_effect=float(effect[k]) or None,
        )
        for k, name in enumerate(names)
    ]
    return frequencies, notes


def _wilson(counts: Counts, critical: float) -> tuple[Floats, Floats]:
    prompts, size = counts.table.shape
    estimates = Estimates(
        value=counts.observed,
        influence=sparse.csr_array(counts.influence),
        share=sparse.csr_array((prompts, size)),
        patients=np.full(size, prompts, dtype=np.int64),
        patient_ids=np.arange(prompts),
        scale="wilson",
    )
    return limits(estimates, critical)
