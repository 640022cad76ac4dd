"""Where a classifier changes its mind, as its package says, and not where two softmax probabilities happen to be equal.

A classifier of groups that are apart puts its even odds anywhere between them, often beside the people of one group:
images that lie between are then all the other's, and a generator that is tuned by its shares leaves them there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logit


def cut_offsets(thresholds: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(K,) what to add to K logits, so that a class is the likeliest where its probability reaches its threshold.

    ``thresholds`` (K,), each in 0..1, are of each class against all others. Two classes' may leave a zone that is
    neither's, or both's: its middle in log-odds is the cut. With more classes it is exact where the others are equally
    likely. Thresholds of 0 or 1 decide nothing, and all offsets are 0 then. The offsets add up to 0.
    """
    thresholds = np.asarray(thresholds, dtype=np.float64)
    if not ((thresholds > 0) & (thresholds < 1)).all():
        return np.zeros_like(thresholds)
    odds = logit(thresholds)
    return np.asarray((odds.mean() - odds) * (len(odds) - 1) / len(odds))
