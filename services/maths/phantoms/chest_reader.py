"""Sex, width of the heart and pleural fluid of a drawn chest as linear functions of a coarse picture of it.

The geometric readers of readers.py need clear lungs; these see the whole chest, so that an opacity in one place does
not decide. The weights in chest_weights.py are the ridge regression of the planted values on 16 x 16 block means of
phantoms of the null world (:func:`fit_weights`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.maths.phantoms.chest_weights import INTERCEPTS, WEIGHTS

Doubles = npt.NDArray[np.float64]

GRID = 16
SCALE = 1e4
RIDGES = (0.03, 0.03, 0.01)
# Sex looks alike in the mirror and the side of fluid changes: half of the grid says it. The heart lies to one side.
_MIRRORS = (1.0, None, -1.0)


def read_chest(images: npt.NDArray[np.floating]) -> Doubles:
    """(N, 3) of images (N, S, S) in [0, 1]: femaleness (0 to 1), heart width over thorax width, and pleural fluid.

    Fluid is near 1 on the patient's left, near -1 on the right and near 0 without an effusion.
    """
    blocks = np.stack([standard_blocks(image) for image in images])
    values = [_folded(blocks, mirror) @ (np.array(WEIGHTS[k]) / SCALE) for k, mirror in enumerate(_MIRRORS)]
    return np.asarray(np.stack(values, axis=1) + np.array(INTERCEPTS), np.float64)


def standard_blocks(image: npt.NDArray[np.floating]) -> Doubles:
    """(GRID, GRID) block means of an image (S, S), with mean 0 and variance 1 whatever the exposure. S at least 16."""
    edges = np.linspace(0, len(image), GRID + 1).round().astype(int)
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), edges[:-1], axis=0), edges[:-1], axis=1)
    means = sums / np.outer(np.diff(edges), np.diff(edges))
    return np.asarray((means - means.mean()) / max(float(means.std()), 1e-9))


def fit_weights(blocks: Doubles, truths: Doubles) -> tuple[list[Doubles], list[float]]:
    """Weights and intercept of each reading from blocks (N, GRID, GRID) and planted values (N, 3)."""
    weights, intercepts = [], []
    for mirror, ridge, truth in zip(_MIRRORS, RIDGES, truths.T, strict=True):
        seen = _folded(blocks, mirror)
        centred = seen - seen.mean(axis=0)
        gram = centred.T @ centred
        gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
        weight = np.linalg.solve(gram, centred.T @ (truth - truth.mean()))
        weights.append(weight)
        intercepts.append(float(truth.mean() - seen.mean(axis=0) @ weight))
    return weights, intercepts


def _folded(blocks: Doubles, mirror: float | None) -> Doubles:
    """(N, GRID² / 2): the left half plus, or less, the mirrored right half; (N, GRID²) without a mirror."""
    if mirror is None:
        return blocks.reshape(len(blocks), -1)
    half = (blocks + mirror * blocks[:, :, ::-1])[:, :, : GRID // 2]
    return np.asarray(half.reshape(len(blocks), -1), np.float64)
