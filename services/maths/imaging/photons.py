"""Photon noise of low-dose X-ray tomography, and bow-tie filters.

Sinograms are (N, views, detectors) as `projection` makes them. Noise is drawn on the CPU, record by record, from the
record's own generator, so it does not depend on the batch, and a GPU draws what a CPU draws; everything else stays on
the images' device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from services.maths.imaging.projection import detectors, filtered_backprojection, radon, square_size

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Draw = Callable[[Doubles, np.random.Generator], Doubles]

NOISE_MODELS = ("transmitted-counts", "line-integrals")
MOST_PHOTONS = 1e12

# A ray across a whole image of ones is attenuated as 35 cm of water at 60 keV, 0.2 per cm: exp(-7), one photon in a
# thousand. Bodies drawn in [0, 1] let 1-20 % of the photons through, as a torso does.
ATTENUATION = 7.0

# What the published weights leave of the least exposed view, and a bow-tie filter of the outermost ray.
_LEAST_WEIGHT = 0.05


def published_bowtie_weights(views: int) -> Array:
    """Return the weights (views,) that Wohlrapp et al. call a bow-tie: 1 at the first and last view, 0.05 between.

    A bow-tie filter lies along the detector; theirs lies along the views and is never undone, which blurs along one
    direction. It is here to compare with their figures only. Raises ValueError for an odd number of views.
    """
    if views < 2 or views % 2:
        raise ValueError(f"views must be even and at least 2, got {views}")
    half = np.linspace(_LEAST_WEIGHT, 1.0, views // 2, dtype=np.float32)
    return np.concatenate([half[::-1], half])


def bowtie_weights(size: int) -> Doubles:
    """Return the share of photons (detectors(size),) that a bow-tie filter lets through: 1 at the centre, 0.05 outside.

    The filter is as thick as a disc that fills the image is thin: with c(t) the chord of that disc at detector t over
    its diameter, the weight is 0.05 ** (1 - c(t)).
    """
    width = detectors(size)
    t = (np.arange(width) - width // 2) / (size / 2)
    return np.asarray(_LEAST_WEIGHT ** (1.0 - np.sqrt(np.maximum(1.0 - t**2, 0.0))))


def low_dose(
    images: torch.Tensor,
    photons: float,
    generators: Sequence[np.random.Generator],
    *,
    noise_model: str = "transmitted-counts",
    bowtie: bool = False,
    published_bowtie: bool = False,
    views: int | None = None,
) -> torch.Tensor:
    """Return what filtered back-projection sees of images (N, 1, S, S) in [0, 1] at `photons` per detector element.

    "transmitted-counts" draws Poisson counts of mean photons * exp(-line integral) and takes their logarithm, with line
    integrals scaled as `ATTENUATION` says; a count of none is taken as one. "line-integrals" is the published variant:
    Poisson noise on the line integrals themselves, scaled so that the largest of each image is `photons`.
    `bowtie` filters the beam by `bowtie_weights`, along the detector, and the flat field undoes it: the mean stays, the
    noise grows away from the centre. It needs transmitted counts. `published_bowtie` weights the views as
    `published_bowtie_weights` says and is not undone.

    Row i draws from generators[i] alone. The result is in the units of the input and not clipped. Gradients are those
    of the noise-free acquisition: the drawn noise is held.
    Raises ValueError for arguments out of range, bow-ties that do not fit, or another number of generators.
    """
    if not 0 < photons <= MOST_PHOTONS:
        raise ValueError(f"photons must be above 0 and at most {MOST_PHOTONS:g}, got {photons!r}")
    if noise_model not in NOISE_MODELS:
        raise ValueError(f"noise_model must be one of {NOISE_MODELS}, got {noise_model!r}")
    if bowtie and (published_bowtie or noise_model != "transmitted-counts"):
        raise ValueError("bowtie needs noise_model transmitted-counts and no published_bowtie beside it")
    if len(generators) != len(images):
        raise ValueError(f"one generator per image is needed, got {len(generators)} for {len(images)} images")
    size = square_size(images)
    clean = radon(images, views)
    if published_bowtie:
        weights = torch.from_numpy(published_bowtie_weights(clean.shape[1]))
        clean = clean * weights.to(clean.device)[:, None]
    draw: Draw
    if noise_model == "transmitted-counts":
        draw = _count_noise(photons * bowtie_weights(size) if bowtie else photons, ATTENUATION / size)
    else:
        draw = _line_integral_noise(photons)
    return filtered_backprojection(_noisy(clean, draw, generators), size)


def _noisy(clean: torch.Tensor, draw: Draw, generators: Sequence[np.random.Generator]) -> torch.Tensor:
    integrals = clean.detach().cpu().numpy()
    noisy = np.empty_like(integrals)
    for row, (own, generator) in enumerate(zip(integrals, generators, strict=True)):
        noisy[row] = draw(own.astype(np.float64), generator)
    drawn = torch.from_numpy(noisy).to(clean.device)
    return drawn + (clean - clean.detach()) if clean.requires_grad else drawn  # a zero, with the slope of `clean`


def _count_noise(photons: float | Doubles, scale: float) -> Draw:
    def draw(integrals: Doubles, generator: np.random.Generator) -> Doubles:
        counts = generator.poisson(photons * np.exp(-scale * integrals))
        return np.asarray(np.log(photons / np.maximum(counts, 1)) / scale)

    return draw


def _line_integral_noise(photons: float) -> Draw:
    def draw(integrals: Doubles, generator: np.random.Generator) -> Doubles:
        largest = integrals.max()
        if largest <= 0:  # an empty image stops no photon
            return integrals
        counts = generator.poisson(np.maximum(integrals, 0.0) * (photons / largest))
        return np.asarray(counts * (largest / photons))

    return draw
