"""How often each replicate draws each patient.

A replicate draws K patients with replacement out of K, all records of a patient coming along (Field and Welsh 2007).
Only the number of times counts, so a replicate is one byte per patient; 64 replicates of a patient lie side by side and
fill one cache line, which the walk over the rows reads at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.maths.fairness.arguments import stream_key

Weights = NDArray[np.uint8]
Number = TypeVar("Number", bound=np.generic)

LANES = 64
_LINE = 64  # bytes
_MOST = 255


@dataclass(frozen=True)
class Resamples:
    """Weights of K patients in ``replicates`` replicates; shared by all labels and pipelines that are to be paired.

    Attributes:
        weights: (blocks, K, 64) uint8; replicate b is lane b % 64 of block b // 64. Memory: K bytes per replicate.
        replicates: how many of the lanes are used; the last block may have more.
        seed: what they were drawn from.
        largest: the largest weight.
    """

    weights: Weights
    replicates: int
    seed: int
    largest: int

    @property
    def patients(self) -> int:
        """K, how many patients are drawn, and drawn from."""
        return int(self.weights.shape[1])


def resample_patients(patients: int, *, replicates: int = 1000, seed: int) -> Resamples:
    """Draw the weights of ``patients`` sorted patients; the first b replicates do not depend on how many follow.

    Raises ValueError for no patients, no replicates or a negative seed.
    """
    if patients < 1 or replicates < 1:
        raise ValueError(f"a bootstrap needs at least 1 patient and 1 replicate, got {patients} and {replicates}")
    blocks = -(-replicates // LANES)
    weights = aligned_zeros((blocks, patients, LANES), np.uint8)
    for block in range(blocks):
        weights[block] = patient_weights(patients, seed, block)
    return Resamples(weights, replicates, seed, int(weights.max()))


def patient_weights(patients: int, seed: int, block: int) -> Weights:
    """(patients, 64) multinomial counts of 64 replicates; every column sums to ``patients``.

    Each block has a Philox stream of its own with the key (seed, block), so blocks may be drawn anywhere in any order.
    Draws are whole-numbered and unbiased (Lemire 2019): 32 bits times ``patients``, upper half, with rejection.
    """
    stream = np.random.Philox(key=stream_key(seed, block))
    weights = np.zeros((patients, LANES), dtype=np.uint8)
    drawn, wanted = 0, patients * LANES
    while drawn < wanted:
        bits = stream.random_raw((wanted - drawn + 1) // 2).view("<u4")
        drawn = _draw(bits, drawn, weights)
    if (weights == _MOST).any():
        raise OverflowError(
            "a replicate drew one patient 255 times or more, which a byte cannot count; use another seed"
        )
    return weights


def aligned_zeros(shape: tuple[int, ...], kind: type[Number]) -> NDArray[Number]:
    """Zeros whose first byte begins a cache line, so that 64 lanes of a byte fill one line instead of parts of two."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    memory = np.zeros(size + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(kind).reshape(shape)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _draw(bits: NDArray[np.uint32], drawn: int, weights: Weights) -> int:
    """Count draws number ``drawn`` and on, as many as there are bits for; returns how many there are now."""
    count = len(weights)
    patients = np.uint64(count)
    uneven = np.uint64(2**32) % patients
    column = np.zeros(count, np.uint8)  # one replicate at a time fits a near cache, the block does not
    place = 0
    while place < len(bits) and drawn < count * LANES:
        lane, left = drawn // count, count - drawn % count
        column[:] = weights[:, lane]
        while left > 0 and place < len(bits):
            product = np.uint64(bits[place]) * patients
            place += 1
            if product & np.uint64(0xFFFFFFFF) >= uneven:
                patient = np.int64(product >> np.uint64(32))
                column[patient] += column[patient] < _MOST
                left -= 1
                drawn += 1
        weights[:, lane] = column
    return drawn
