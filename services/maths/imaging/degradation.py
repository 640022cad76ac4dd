"""Degradation: what a faster or weaker acquisition would have left of an image.

A record's degraded image is a function of the image, the seed, the operator and the record id, whatever else is in the
batch and in whichever order. It stays in the units of the original, clipped to [0, 1]: rescaling each image to its own
minimum and maximum, as published, changes contrast by amounts that differ between patients and shows up as PSNR.

`OPERATORS` lists the operators with their parameters, `PRESETS` named settings of them. `degrade` takes and gives
arrays, `degrade_tensor` tensors with gradients; `linear_part` is the linear map inside an operator with its adjoint, as
plug-and-play methods and data consistency need it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from services.maths.imaging import kspace, photons, projection
from services.maths.pixels import check_images


class ParameterError(ValueError):
    """A parameter that the operator lacks, does not take or cannot use; `parameter` is its name."""

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class ParameterRangeError(ParameterError):
    """A number outside what the operator can do, or the one that it cannot do without."""


@dataclass(frozen=True)
class Parameter:
    """One of `choices`, or without these a number above 0 and at most `most`. A `default` of None: it must be given."""

    default: Any
    choices: tuple[Any, ...] = ()
    most: float = math.inf


@dataclass(frozen=True)
class LinearPart:
    """A linear map of images (N, 1, S, S) to measurements, and its adjoint, both with gradients.

    For complex measurements the adjoint gives complex images; over real images the adjoint is its real part.
    """

    forward: Callable[[torch.Tensor], torch.Tensor]
    adjoint: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Operator:
    """`degrade(images, generators, **parameters)`, `linear(size, **parameters)` and `describe(size, **parameters)`.

    Parameters reach them checked and complete. An operator without noise leaves its generators alone.
    """

    parameters: Mapping[str, Parameter]
    noisy: bool
    even_size: bool
    degrade: Callable[..., torch.Tensor]
    linear: Callable[..., LinearPart]
    describe: Callable[..., str]


@dataclass(frozen=True)
class Preset:
    """A named setting of an operator, and what it means."""

    operator: str
    parameters: Mapping[str, Any]
    meaning: str


def degrade(
    images: npt.NDArray[np.float32], record_ids: Sequence[str], *, seed: int, operator: str, **parameters: Any
) -> npt.NDArray[np.float32]:
    """Return canonical images (N, 1, S, S) as `operator` leaves them, float32 of the same shape in [0, 1].

    "radial-kspace" needs `acceleration`, one of 4, 8, 16, 24, takes `angles` ("uniform" as published, "golden-angle"),
    needs an even S and has no noise. "low-dose-xray" needs `photons` per detector element; `noise_model`, `bowtie` and
    `published_bowtie` are explained in `photons.low_dose`.

    Raises ParameterError for parameters that the operator lacks, does not take or cannot use, and ValueError for other
    images or a wrong number of record ids.
    """
    check_images(images)
    originals = torch.from_numpy(np.ascontiguousarray(images, np.float32))
    return _degraded(originals, record_ids, seed, operator, parameters).numpy()


def degrade_tensor(
    images: torch.Tensor, record_ids: Sequence[str], *, seed: int, operator: str, **parameters: Any
) -> torch.Tensor:
    """`degrade` for float32 tensors on a CPU or a CUDA card, whose results stay there, with gradients to the images.

    The noise drawn is held, so the gradient is that of the noise-free acquisition; where a pixel is clipped it is 0.
    Counts of photons are drawn on the CPU, as `photons` says.
    """
    if images.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"images must be float32, got {images.dtype}")
    if len(images):
        extremes = torch.stack(torch.aminmax(images.detach()))  # two numbers leave the device, not the images
        check_images(extremes.reshape(1, 1, 1, 2).cpu().numpy())
    return _degraded(images.to(torch.float32), record_ids, seed, operator, parameters)


def linear_part(size: int, *, operator: str, **parameters: Any) -> LinearPart:
    """Return the linear map inside an operator for images of `size`: sampling of k-space, or the Radon transform.

    Noise, magnitude, reconstruction and clipping are what `degrade` does besides. Raises ParameterError.
    """
    complete = checked(operator, parameters)
    check_size(size, operator)
    return OPERATORS[operator].linear(size, **complete)


def describe(size: int, *, operator: str, **parameters: Any) -> str:
    """Return in words what an operator does to images of `size`, with the exact share of k-space that it samples.

    Raises ParameterError, and ValueError for a size that the operator cannot take.
    """
    complete = checked(operator, parameters)
    check_size(size, operator)
    return OPERATORS[operator].describe(size, **complete)


def checked(operator: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of the operator, defaults filled in. Raises ParameterError."""
    if operator not in OPERATORS:
        raise ParameterError(f"operator must be one of {', '.join(OPERATORS)}, got {operator!r}", "operator")
    takes = OPERATORS[operator].parameters
    for name in parameters:
        if name not in takes:
            raise ParameterError(f"{operator} takes {', '.join(takes)}, not {name}; leave it out", name)
    complete = {name: _value(operator, name, takes[name], parameters.get(name)) for name in takes}
    if complete.get("bowtie") and (complete["published_bowtie"] or complete["noise_model"] != "transmitted-counts"):
        raise ParameterError(
            "bowtie needs noise_model transmitted-counts and takes no published_bowtie beside it", "bowtie"
        )
    return complete


def check_size(size: int, operator: str) -> None:
    """Raises ValueError for images (size, size) that the operator cannot take."""
    if OPERATORS[operator].even_size and (size < 2 or size % 2):
        raise ValueError(f"images must have an even side for {operator}, whose spokes start at its middle, got {size}")


def preset(name: str) -> Preset:
    """Return the preset of that name. Raises ParameterError, which lists all."""
    if name not in PRESETS:
        raise ParameterError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}", "preset")
    return PRESETS[name]


def record_generator(seed: int, operator: str, record_id: str) -> np.random.Generator:
    """Return the record's own generator: Philox keyed by the digest of (seed, operator, record id)."""
    name = f"{seed}:{operator}:{record_id}".encode("utf-8", "surrogatepass")
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name).digest()[:16])))


def _degraded(
    images: torch.Tensor, record_ids: Sequence[str], seed: int, operator: str, parameters: Mapping[str, Any]
) -> torch.Tensor:
    size = projection.square_size(images)
    if len(record_ids) != len(images):
        raise ValueError(f"one record id per image is needed, got {len(record_ids)} for {len(images)} images")
    complete = checked(operator, parameters)
    check_size(size, operator)
    own = [record_generator(seed, operator, record_id) for record_id in record_ids] if OPERATORS[operator].noisy else []
    return OPERATORS[operator].degrade(images, own, **complete).clamp(0.0, 1.0)


def _value(operator: str, name: str, parameter: Parameter, given: Any) -> Any:
    """The parameter as the operator takes it: an acceleration of 8.0, as messages have it, becomes the choice 8."""
    if given is None and parameter.default is not None:
        return parameter.default
    if parameter.choices:
        for choice in parameter.choices:
            if given == choice and isinstance(given, str) == isinstance(choice, str):
                return choice
        error = ParameterError if isinstance(parameter.choices[0], str) else ParameterRangeError
        allowed = ", ".join(map(str, parameter.choices))
        raise error(f"{operator} needs {name}, which must be one of {allowed}, got {given!r}", name)
    if isinstance(given, Real) and not isinstance(given, bool) and 0 < float(given) <= parameter.most:
        return float(given)
    raise ParameterRangeError(
        f"{operator} needs {name}, which must be above 0 and at most {parameter.most:g}, got {given!r}", name
    )


def _undersample(images: torch.Tensor, _: object, *, acceleration: int, angles: str) -> torch.Tensor:
    return kspace.undersample(images, kspace.mask_for(images.shape[3], acceleration, angles))


def _sampling(size: int, *, acceleration: int, angles: str) -> LinearPart:
    mask = kspace.mask_for(size, acceleration, angles)
    return LinearPart(lambda images: kspace.acquire(images, mask), lambda measured: kspace.zero_filled(measured, mask))


def _describe_sampling(size: int, *, acceleration: int, angles: str) -> str:
    share = kspace.sampled_fraction(kspace.mask_for(size, acceleration, angles))
    return (
        f"radial k-space, {angles} spokes, nominal acceleration {acceleration}: {100 * share:.2f} % of the frequencies "
        f"of {size} x {size} pixels sampled, true acceleration {1 / share:.1f}"
    )


def _expose(images: torch.Tensor, generators: Sequence[np.random.Generator], **parameters: Any) -> torch.Tensor:
    return photons.low_dose(images, generators=generators, **parameters)


def _projections(size: int, *, published_bowtie: bool, **_: object) -> LinearPart:
    """What a bow-tie filter along the detector does is undone, so it is no part of the map."""
    if not published_bowtie:
        return LinearPart(projection.radon, lambda measured: projection.backproject(measured, size))
    weights = torch.from_numpy(photons.published_bowtie_weights(projection.default_views(size)))[:, None]
    return LinearPart(
        lambda images: projection.radon(images) * weights.to(images.device),
        lambda measured: projection.backproject(measured * weights.to(measured.device), size),
    )


def _describe_exposure(size: int, *, noise_model: str, bowtie: bool, published_bowtie: bool, **given: float) -> str:
    filters = {"bow-tie along the detector": bowtie, "bow-tie along the views as published": published_bowtie}
    return (
        f"parallel-beam tomography, {projection.default_views(size)} views, {given['photons']:g} photons for each of "
        f"{projection.detectors(size)} detector elements, noise on {noise_model}, "
        f"{' and '.join(name for name, used in filters.items() if used) or 'no bow-tie'}"
    )


OPERATORS: Mapping[str, Operator] = {
    "radial-kspace": Operator(
        parameters={
            "acceleration": Parameter(None, choices=tuple(sorted(kspace.SPOKES))),
            "angles": Parameter("uniform", choices=kspace.ANGLES),
        },
        noisy=False,
        even_size=True,
        degrade=_undersample,
        linear=_sampling,
        describe=_describe_sampling,
    ),
    "low-dose-xray": Operator(
        parameters={
            "photons": Parameter(None, most=photons.MOST_PHOTONS),
            "noise_model": Parameter("transmitted-counts", choices=photons.NOISE_MODELS),
            "bowtie": Parameter(False, choices=(False, True)),
            "published_bowtie": Parameter(False, choices=(False, True)),
        },
        noisy=True,
        even_size=False,
        degrade=_expose,
        linear=_projections,
        describe=_describe_exposure,
    ),
}

PRESETS: Mapping[str, Preset] = {
    "mri-4x": Preset("radial-kspace", {"acceleration": 4}, "a moderately accelerated scan, 24 % of k-space"),
    "mri-8x": Preset("radial-kspace", {"acceleration": 8}, "the main setting of the published study, 11 % of k-space"),
    "mri-16x": Preset("radial-kspace", {"acceleration": 16}, "a strongly accelerated scan, 6 % of k-space"),
    "mri-24x": Preset("radial-kspace", {"acceleration": 24}, "the fastest published scan, 4 % of k-space"),
    "xray-full-dose": Preset("low-dose-xray", {"photons": 1e5}, "the highest published dose, 100,000 photons"),
    "xray-low-dose": Preset("low-dose-xray", {"photons": 1e4}, "a tenth of it, the study's main setting"),
    "xray-ultra-low-dose": Preset("low-dose-xray", {"photons": 3e3}, "three hundredths of it"),
}
