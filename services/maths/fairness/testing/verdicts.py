"""What a test and its power say together: a gap, no gap worth the name, or not enough to say either."""

from __future__ import annotations

import math
from typing import Literal

Verdict = Literal["gap", "no_gap_shown", "insufficient_evidence"]
ChangeVerdict = Literal["change", "no_change_shown", "insufficient_evidence"]

ALPHA = 0.05

# The largest difference that would be passed over as none, in the metric's units (dB for psnr). A test that could not
# have found it says nothing by finding nothing. Metrics without a tolerance are never said to show no gap.
TOLERANCES = {
    "auroc": 0.05,
    "tpr": 0.10,
    "fpr": 0.10,
    "prevalence": 0.10,
    "dice": 0.05,
    "psnr": 1.0,
    "ssim_gaussian11": 0.02,
    "lpips": 0.02,
    "perceptual": 0.05,
}


def tolerance(metric: str) -> float | None:
    """Tolerance of a metric, or of several joined by commas (the smallest); None where one has none.

    LPIPS is one metric here whatever its network ("lpips_alex", "lpips_vgg").
    """
    parts = ["lpips" if part.startswith("lpips") else part for part in metric.split(",")]
    known = [TOLERANCES.get(part) for part in parts]
    return None if None in known else min(value for value in known if value is not None)


def verdict(
    p_adjusted: float | None,
    minimum_detectable_gap: float | None,
    tolerance: float | None,
    *,
    largest: float | None = None,
    alpha: float = ALPHA,
) -> Verdict:
    """Verdict of a cell or a gap.

    gap: the adjusted p-value is at most ``alpha``. no_gap_shown: tested, not significant, a gap as large as the
    tolerance would have been found with the stated power, and ``largest``, the largest size that the interval allows,
    is within the tolerance too. Power alone would call one true gap of that size in five none. insufficient_evidence:
    all else, above all what was not tested (``p_adjusted`` None or NaN), and what has no tolerance or no detectable
    gap. ``largest`` None: nothing is known against it.
    """
    if p_adjusted is None or math.isnan(p_adjusted):
        return "insufficient_evidence"
    if p_adjusted <= alpha:
        return "gap"
    if minimum_detectable_gap is None or tolerance is None or not minimum_detectable_gap <= tolerance:
        return "insufficient_evidence"
    if largest is not None and not largest <= tolerance:
        return "insufficient_evidence"
    return "no_gap_shown"


def change_verdict(
    p_adjusted: float | None,
    minimum_detectable_gap: float | None,
    tolerance: float | None,
    *,
    largest: float | None = None,
    alpha: float = ALPHA,
) -> ChangeVerdict:
    """The same for a change from baseline to candidate: change, no_change_shown, insufficient_evidence."""
    said = verdict(p_adjusted, minimum_detectable_gap, tolerance, largest=largest, alpha=alpha)
    renamed: dict[Verdict, ChangeVerdict] = {"gap": "change", "no_gap_shown": "no_change_shown"}
    return renamed.get(said, "insufficient_evidence")
