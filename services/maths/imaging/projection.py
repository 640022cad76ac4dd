"""X-ray tomography: Radon transform, its adjoint, and filtered back-projection.

Parallel beams over half a turn. One sparse matrix holds the exact area that each detector element sees of each pixel,
so a view conserves mass and the back-projection is the true adjoint. Views k and k + K/2 see the image and its quarter
turn, hence half a matrix does.

Images are (N, 1, S, S) and sinograms (N, views, detectors), float32 tensors; line integrals are in pixels times image
units. Linear maps carry gradients and stay on the device of their tensors, a CPU or a CUDA card; others are refused
with ValueError. On the CPU sums run in a fixed order per image: a row's result does not depend on the rest of the
batch. A card gives the same up to rounding, and no such promise.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import toeplitz
from scipy.sparse import csr_matrix

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def default_views(size: int) -> int:
    """Return the number of views for images of `size` pixels a side: one per pixel, made even."""
    return size + size % 2


def detectors(size: int) -> int:
    """Return the number of detector elements, one pixel wide, odd, and enough to cover the diagonal."""
    return 2 * int(np.ceil(size / np.sqrt(2.0))) + 1


def square_size(images: torch.Tensor) -> int:
    """Return the side S of square images (N, 1, S, S); ValueError for any other shape."""
    if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be square and have one channel, (N, 1, S, S), got {tuple(images.shape)}")
    return int(images.shape[3])


def radon(images: torch.Tensor, views: int | None = None) -> torch.Tensor:
    """Return the line integrals (N, views, detectors) of square images (N, 1, S, S).

    View k looks along angle pi * k / views; detector elements run from -t to t about the image's centre with
    t = x cos + y sin, x to the right and y up. `views` must be even, default `default_views(S)`.
    """
    size = square_size(images)
    count = _even(default_views(size) if views is None else views)
    return _Linear.apply(images, lambda x: _project(x, count), lambda s: _back(s, size))  # type: ignore[no-any-return, no-untyped-call]


def backproject(sinograms: torch.Tensor, size: int) -> torch.Tensor:
    """Return the adjoint of `radon`: (N, views, detectors(size)) to (N, 1, size, size)."""
    if sinograms.ndim != 3 or sinograms.shape[2] != detectors(size):
        raise ValueError(f"sinograms must have shape (N, views, {detectors(size)}), got {tuple(sinograms.shape)}")
    count = _even(sinograms.shape[1])
    return _Linear.apply(sinograms, lambda s: _back(s, size), lambda x: _project(x, count))  # type: ignore[no-any-return, no-untyped-call]


def filtered_backprojection(sinograms: torch.Tensor, size: int) -> torch.Tensor:
    """Return the images (N, 1, size, size) of sinograms, by ramp filter with Hann window and back-projection."""
    filtered = _Linear.apply(sinograms, _filter, _filter)  # type: ignore[no-untyped-call]
    return backproject(filtered, size) * (np.pi / sinograms.shape[1])


class _Linear(torch.autograd.Function):
    """A linear map of tensors, given with its adjoint, which is its gradient."""

    @staticmethod
    def forward(ctx, values, apply, adjoint):  # type: ignore[no-untyped-def]
        if values.device.type not in ("cpu", "cuda"):
            raise ValueError(f"tomography runs on cpu and cuda tensors, got one on {values.device}")
        ctx.pair = (adjoint, apply)
        return apply(values.detach().to(torch.float32))

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return _Linear.apply(gradient, *ctx.pair), None, None  # type: ignore[no-untyped-call]


def _project(images: torch.Tensor, views: int) -> torch.Tensor:
    count, size = len(images), images.shape[-1]
    both = torch.stack([images[:, 0], torch.rot90(images[:, 0], -1, (1, 2))])
    seen = _areas_times(both.reshape(2 * count, size * size).T, size, views)
    halves = seen.reshape(views // 2, detectors(size), 2, count)
    return halves.permute(3, 2, 0, 1).reshape(count, views, detectors(size))


def _back(sinograms: torch.Tensor, size: int) -> torch.Tensor:
    count, views, width = sinograms.shape
    halves = sinograms.reshape(count, 2, views // 2, width).permute(2, 3, 1, 0)
    smeared = _areas_times(halves.reshape(views // 2 * width, 2 * count), size, views, transposed=True)
    first, second = smeared.T.reshape(2, count, size, size)
    images: torch.Tensor = (first + torch.rot90(second, 1, (1, 2)))[:, None]
    return images


def _areas_times(columns: torch.Tensor, size: int, views: int, *, transposed: bool = False) -> torch.Tensor:
    """The area matrix, or its transpose, times dense columns; scipy's product is the one with a fixed order of sums."""
    if columns.device.type == "cpu":
        areas = _areas(size, views)
        return torch.from_numpy((areas.T if transposed else areas) @ columns.contiguous().numpy())
    return _areas_on(str(columns.device), size, views)[transposed] @ columns


def _filter(sinograms: torch.Tensor) -> torch.Tensor:
    ramp = _ramp(sinograms.shape[-1])
    if sinograms.device.type != "cpu":
        return sinograms @ torch.from_numpy(ramp).to(sinograms.device)
    # numpy takes the stack one sinogram at a time; as one tall matrix, rounding could depend on the batch
    return torch.from_numpy(np.matmul(sinograms.contiguous().numpy(), ramp))


@lru_cache(maxsize=8)
def _ramp(width: int) -> Array:
    """The ramp filter of unit-wide detectors (Kak & Slaney, eq. 3.61) under a Hann window, as a symmetric matrix.

    In space the Hann window is the mean of the filter with its neighbours, weights 1/4, 1/2, 1/4.
    """
    lag = np.arange(-1, width + 1)
    ramp = np.where(lag % 2 == 1, -1.0 / (np.pi**2 * np.maximum(lag**2, 1)), 0.0)
    ramp[lag == 0] = 0.25
    return np.asarray(toeplitz(0.5 * ramp[1:-1] + 0.25 * (ramp[:-2] + ramp[2:])), np.float32)


@lru_cache(maxsize=4)
def _areas(size: int, views: int) -> csr_matrix:
    """The area of each pixel that each detector element of the first views/2 views sees, (views/2 * detectors, size^2).

    A pixel's shadow is the trapezoid that two boxes of widths |cos| and |sin| make; an element gets its integral.
    Memory: about 5 * views * size^2 bytes; 1.5 MB at 64, 150 MB at 256.
    """
    width = detectors(size)
    x = np.arange(size) - (size - 1) / 2
    rows, pixels, areas = [], [], []
    for view in range(views // 2):
        cosine, sine = np.cos(np.pi * view / views), np.sin(np.pi * view / views)
        centre = (x[None, :] * cosine - x[:, None] * sine).ravel() + width // 2
        lowest = np.floor(centre - (cosine + sine) / 2 + 0.5).astype(np.int64)
        for element in (lowest, lowest + 1, lowest + 2):  # a shadow is at most sqrt(2) wide
            edge = element - 0.5 - centre
            area = _shadow(edge + 1.0, cosine, sine) - _shadow(edge, cosine, sine)
            seen = np.flatnonzero(area > 1e-7)
            rows.append(view * width + element[seen])
            pixels.append(seen)
            areas.append(area[seen].astype(np.float32))
    entries = (np.concatenate(areas), (np.concatenate(rows), np.concatenate(pixels)))
    return csr_matrix(entries, shape=(views // 2 * width, size * size))


@lru_cache(maxsize=4)
def _areas_on(device: str, size: int, views: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The matrix and its transpose as sparse tensors on a device."""
    areas = _areas(size, views)
    return _sparse(areas, device), _sparse(areas.T.tocsr(), device)


def _sparse(matrix: csr_matrix, device: str) -> torch.Tensor:
    rows, columns, values = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    return torch.sparse_csr_tensor(rows, columns, values, list(matrix.shape), device=device, check_invariants=False)


def _shadow(edge: Doubles, cosine: float, sine: float) -> Doubles:
    """The part of a unit pixel's shadow that lies below `edge`, measured from the pixel's centre."""
    long, short = max(cosine, sine), min(cosine, sine)
    if short < 1e-9:
        return np.clip(edge + 0.5, 0.0, 1.0)

    def quadratic(distance: Doubles) -> Doubles:
        return np.square(np.maximum(distance, 0.0)) / 2

    outer, inner = (long + short) / 2, (long - short) / 2
    rising = quadratic(edge + outer) - quadratic(edge + inner)
    return (rising - quadratic(edge - inner) + quadratic(edge - outer)) / (long * short)


def _even(views: int) -> int:
    if views < 2 or views % 2:
        raise ValueError(f"views must be even and at least 2, got {views}")
    return views
