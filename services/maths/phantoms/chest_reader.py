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
SCALE = 1e5
RIDGE = 0.03
_EVEN, _ODD = 1.0, -1.0
_MIRROR = (_EVEN, _EVEN, _ODD)  # sex and heart look alike in the mirror, the side of fluid changes


def read_chest(images: npt.NDArray[np.floating]) -> Doubles:
    """(N, 3) of images (N, S, S) in [0, 1]: femaleness (0 to 1), heart width over thorax width, and pleural fluid.

    Fluid has the strength of the effusion, positive on the patient's left and negative on the right.
    """
    blocks = np.stack([standard_blocks(image) for image in images])
    weights = np.array(WEIGHTS, np.float64).reshape(3, GRID * GRID // 2) / SCALE
    values = [_folded(blocks, mirror) @ weights[k] for k, mirror in enumerate(_MIRROR)]
    return np.asarray(np.stack(values, axis=1) + np.array(INTERCEPTS), np.float64)


def standard_blocks(image: npt.NDArray[np.floating]) -> Doubles:
    """(GRID, GRID) block means of an image (S, S), with mean 0 and variance 1 whatever the exposure. S at least 16."""
    edges = np.linspace(0, len(image), GRID + 1).round().astype(int)
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), edges[:-1], axis=0), edges[:-1], axis=1)
    means = sums / np.outer(np.diff(edges), np.diff(edges))
    return np.asarray((means - means.mean()) / max(float(means.std()), 1e-9))


def fit_weights(blocks: Doubles, truths: Doubles) -> tuple[Doubles, Doubles]:
    """Weights (3, GRID² / 2) and intercepts (3,) from blocks (N, GRID, GRID) and planted values (N, 3)."""
    weights, intercepts = [], []
    for mirror, truth in zip(_MIRROR, truths.T, strict=True):
        seen = _folded(blocks, mirror)
        centred = seen - seen.mean(axis=0)
        gram = centred.T @ centred
        gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        weight = np.linalg.solve(gram, centred.T @ (truth - truth.mean()))
        weights.append(weight)
        intercepts.append(truth.mean() - seen.mean(axis=0) @ weight)
    return np.stack(weights), np.array(intercepts)


def _folded(blocks: Doubles, mirror: float) -> Doubles:
    """(N, GRID² / 2): the left half plus, or less, the mirrored right half."""
    half = (blocks + mirror * blocks[:, :, ::-1])[:, :, : GRID // 2]
    return half.reshape(len(blocks), -1)
