"""Low-dose X-ray tomography: Radon transform, photon noise, filtered back-projection.

Parallel beams over half a turn. One sparse matrix holds the exact area that each detector element sees of each pixel,
so a view conserves mass and the back-projection is the true adjoint. Views k and k + K/2 see the image and its quarter
turn, hence half a matrix does. Sums run in a fixed order per image: a row's result does not depend on the rest of the
batch.

Images are (N, 1, S, S) and sinograms (N, views, detectors), float32 torch tensors on the CPU; line integrals are in
pixels times image units. Linear maps carry gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import toeplitz
from scipy.sparse import csr_matrix

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

NOISE_MODELS = ("transmitted-counts", "line-integrals")

# A ray across a whole image of ones is attenuated as 35 cm of water at 60 keV, 0.2 per cm: exp(-7), one photon in a
# thousand. Bodies drawn in [0, 1] let 1-20 % of the photons through, as a torso does.
ATTENUATION = 7.0

_MOST_PHOTONS = 1e12


def default_views(size: int) -> int:
    """Return the number of views for images of `size` pixels a side: one per pixel, made even."""
    return size + size % 2


def detectors(size: int) -> int:
    """Return the number of detector elements, one pixel wide, odd, and enough to cover the diagonal."""
    return 2 * int(np.ceil(size / np.sqrt(2.0))) + 1


def radon(images: torch.Tensor, views: int | None = None) -> torch.Tensor:
    """Return the line integrals (N, views, detectors) of square images (N, 1, S, S).

    View k looks along angle pi * k / views; detector elements run from -t to t about the image's centre with
    t = x cos + y sin, x to the right and y up. `views` must be even, default `default_views(S)`.
    """
    size = _square(images)
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


def published_bowtie_weights(views: int) -> Array:
    """Return the weights (views,) that Wohlrapp et al. call a bow-tie: 1 at the first and last view, 0.05 between.

    A bow-tie filter lies along the detector; theirs lies along the views and is never undone, which blurs along one
    direction. It is here to compare with their figures only.
    """
    half = np.linspace(0.05, 1.0, _even(views) // 2, dtype=np.float32)
    return np.concatenate([half[::-1], half])


def low_dose(
    images: torch.Tensor,
    photons: float,
    generators: Sequence[np.random.Generator],
    *,
    noise_model: str = "transmitted-counts",
    published_bowtie: bool = False,
    views: int | None = None,
) -> torch.Tensor:
    """Return what filtered back-projection sees of images (N, 1, S, S) in [0, 1] at `photons` per detector element.

    "transmitted-counts" draws Poisson counts of mean photons * exp(-line integral) and takes their logarithm, with line
    integrals scaled as `ATTENUATION` says; a count of none is taken as one. "line-integrals" is the published variant:
    Poisson noise on the line integrals themselves, scaled so that the largest of each image is `photons`.
    Row i draws from generators[i] alone. The result is in the units of the input and not clipped.
    """
    if not 0 < photons <= _MOST_PHOTONS:
        raise ValueError(f"photons must be above 0 and at most {_MOST_PHOTONS:g}, got {photons!r}")
    if noise_model not in NOISE_MODELS:
        raise ValueError(f"noise_model must be one of {NOISE_MODELS}, got {noise_model!r}")
    if len(generators) != len(images):
        raise ValueError(f"one generator per image is needed, got {len(generators)} for {len(images)} images")
    size = _square(images)
    clean = radon(images.detach(), views).numpy()
    if published_bowtie:
        clean = clean * published_bowtie_weights(clean.shape[1])[:, None]
    draw = _count_noise(ATTENUATION / size) if noise_model == "transmitted-counts" else _line_integral_noise
    noisy = np.empty_like(clean)
    for row, (integrals, generator) in enumerate(zip(clean, generators, strict=True)):
        noisy[row] = draw(integrals.astype(np.float64), photons, generator)
    return filtered_backprojection(torch.from_numpy(noisy), size)


def _count_noise(scale: float) -> Callable[[Doubles, float, np.random.Generator], Doubles]:
    def draw(integrals: Doubles, photons: float, generator: np.random.Generator) -> Doubles:
        counts = generator.poisson(photons * np.exp(-scale * integrals))
        return np.asarray(np.log(photons / np.maximum(counts, 1)) / scale)

    return draw


def _line_integral_noise(integrals: Doubles, photons: float, generator: np.random.Generator) -> Doubles:
    largest = integrals.max()
    if largest <= 0:  # an empty image stops no photon
        return integrals
    counts = generator.poisson(np.maximum(integrals, 0.0) * (photons / largest))
    return np.asarray(counts * (largest / photons))


class _Linear(torch.autograd.Function):
    """A linear map of arrays, given with its adjoint, which is its gradient."""

    @staticmethod
    def forward(ctx, values, apply, adjoint):  # type: ignore[no-untyped-def]
        ctx.pair = (adjoint, apply)
        return torch.from_numpy(apply(values.detach().numpy().astype(np.float32, copy=False)))

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return _Linear.apply(gradient, *ctx.pair), None, None  # type: ignore[no-untyped-call]


def _project(images: Array, views: int) -> Array:
    count, size = len(images), images.shape[-1]
    both = np.stack([images[:, 0], np.rot90(images[:, 0], -1, (1, 2))])
    columns = np.ascontiguousarray(both.reshape(2 * count, size * size).T)
    seen: Array = _areas(size, views) @ columns
    halves = seen.reshape(views // 2, detectors(size), 2, count)
    return np.ascontiguousarray(halves.transpose(3, 2, 0, 1)).reshape(count, views, detectors(size))


def _back(sinograms: Array, size: int) -> Array:
    count, views, width = sinograms.shape
    halves = sinograms.reshape(count, 2, views // 2, width).transpose(2, 3, 1, 0)
    smeared = _areas(size, views).T @ np.ascontiguousarray(halves).reshape(views // 2 * width, 2 * count)
    first, second = smeared.T.reshape(2, count, size, size)
    return np.asarray(first + np.rot90(second, 1, (1, 2)))[:, None]


def _filter(sinograms: Array) -> Array:
    # matmul takes the stack one sinogram at a time; as one tall matrix, rounding could depend on the batch
    return np.asarray(np.matmul(np.ascontiguousarray(sinograms), _ramp(sinograms.shape[-1])))


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


def _square(images: torch.Tensor) -> int:
    if images.ndim != 4 or images.shape[1] != 1 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be square and have one channel, (N, 1, S, S), got {tuple(images.shape)}")
    return int(images.shape[3])


def _even(views: int) -> int:
    if views < 2 or views % 2:
        raise ValueError(f"views must be even and at least 2, got {views}")
    return views
