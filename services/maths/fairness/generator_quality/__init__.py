"""How good a generator's images are, beside real ones made under the same conditions.

Everything here compares three samples with one record a patient:

    synthetic   image i was made under the condition of real patient i
    real        patient i's own image
    control     images of other real patients

A generator without a fault would make ``synthetic`` another draw of ``real``. So tests exchange image i with patient
i's, which is exact for any number of images, and ``control`` against ``real`` shows what each number is when there is
nothing to find (the real-real floor).
"""

from services.maths.fairness.generator_quality.distance import Distance, distance
from services.maths.fairness.generator_quality.diversity import Manifold, Spread, distinct_images, manifold, spread
from services.maths.fairness.generator_quality.fidelity import ReadBack, confusion, proportion_limits, read_back
from services.maths.fairness.generator_quality.memorisation import Closeness, Neighbours, closeness, neighbours
from services.maths.fairness.generator_quality.shifts import Shift, overlap, shift
from services.maths.fairness.generator_quality.sources import SourceNearness, source_nearness
from services.maths.fairness.generator_quality.step_down import holm

__all__ = [
    "Closeness",
    "Distance",
    "Manifold",
    "Neighbours",
    "ReadBack",
    "Shift",
    "SourceNearness",
    "Spread",
    "closeness",
    "confusion",
    "distance",
    "distinct_images",
    "holm",
    "manifold",
    "neighbours",
    "overlap",
    "proportion_limits",
    "read_back",
    "shift",
    "source_nearness",
    "spread",
]
