"""The degradation operators against what people run today, in CPU seconds of one thread, all ratios within one run.

    python loadtests/degradation.py [--quick] [--only tomography kspace] [--json]

    tomography    Radon transform and filtered back-projection (Hann) of 64 images of 64 x 64 and 128 x 128 pixels, as
                  many views as pixels, against a loop over scikit-image's radon and iradon with the same angles. The
                  PSNR of both reconstructions against the images says that ours is no worse. The area matrix, which is
                  made once in a process, is timed apart.
    kspace        64 images of 64, 128 and 256 pixels a side as a radial acquisition at acceleration 8 leaves them,
                  against a numpy loop that does what is published: centred orthonormal transform, mask, inverse,
                  magnitude, in complex128. The same loop in complex64 is context: ours is complex128.

Both sides of a ratio take turns, so that other work on the machine falls on both alike; the median of the turns counts.
Ends with 1 when a figure is over its budget. --quick takes fewer turns and never fails.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from statistics import median

import numpy as np

from loadtests.figures import ALLOCATOR, Figures, cpu_seconds, in_turns, on_one_thread, ratio, told

IMAGES = 64
ACCELERATION = 8


def heads(size: int) -> np.ndarray:
    """Shepp-Logan heads (64, 1, size, size) float32 in [0, 1] of different contrast and place."""
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    head = resize(shepp_logan_phantom(), (size, size), anti_aliasing=True).astype(np.float32)
    rng = np.random.default_rng(5)
    moved = [np.roll(head, rng.integers(-size // 16, size // 16 + 1, 2), (0, 1)) for _ in range(IMAGES)]
    return rng.uniform(0.5, 1.0, (IMAGES, 1, 1, 1)).astype(np.float32) * np.stack(moved)[:, None]


# --- tomography ------------------------------------------------------------------------------------------------------


def tomography_figures(quick: bool) -> Figures:
    found: Figures = {}
    for size in (64, 128):
        found |= tomography(size, 1 if quick else 5)
    return found


def tomography(size: int, turns: int) -> Figures:
    import torch
    from skimage.transform import iradon, radon

    from services.maths.imaging import projection
    from services.maths.imaging.quality import psnr

    images = heads(size)
    angles = np.arange(projection.default_views(size)) * 180.0 / projection.default_views(size)

    def ours() -> np.ndarray:
        return projection.filtered_backprojection(projection.radon(torch.from_numpy(images)), size).numpy()

    def scikit_image() -> np.ndarray:
        sinograms = [radon(image[0], angles, circle=False) for image in images]
        shown = [iradon(s, angles, output_size=size, filter_name="hann", circle=False) for s in sinograms]
        return np.stack(shown)[:, None].astype(np.float32)

    matrix = cpu_seconds(ours)  # the first call makes it
    seconds = in_turns({"ours": ours, "scikit_image": scikit_image}, turns)
    decibels = {job.__name__: float(psnr(job(), images).mean()) for job in (ours, scikit_image)}
    name = f"tomography_{size}"
    return {
        f"{name}_images_per_second": IMAGES / median(seconds["ours"]),
        f"{name}_seconds_once": matrix - median(seconds["ours"]),
        f"{name}_vs_scikit_image": ratio(seconds["scikit_image"], seconds["ours"]),
        f"{name}_decibels": decibels["ours"],
        f"{name}_decibels_over_scikit_image": decibels["ours"] - decibels["scikit_image"],
    }


# --- k-space ---------------------------------------------------------------------------------------------------------


def numpy_loop(images: np.ndarray, mask: np.ndarray, kind: type[np.complexfloating]) -> np.ndarray:
    """What is published, image by image."""
    shown = np.empty_like(images)
    for image, place in zip(images[:, 0], shown[:, 0], strict=True):
        kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image.astype(kind)), norm="ortho")) * mask
        place[:] = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace), norm="ortho")))
    return shown


def kspace_figures(quick: bool) -> Figures:
    from services.maths.imaging.kspace import mask_for, undersample

    found: Figures = {"kspace_error": 0.0}
    for size in (64, 128, 256):
        images, mask = heads(size), mask_for(size, ACCELERATION)
        jobs: dict[str, Callable[[], np.ndarray]] = {
            "ours": lambda images=images, mask=mask: undersample(images, mask),
            "numpy": lambda images=images, mask=mask: numpy_loop(images, mask, np.complex128),
            "single": lambda images=images, mask=mask: numpy_loop(images, mask, np.complex64),
        }
        shown = {name: job() for name, job in jobs.items()}
        seconds = in_turns(jobs, 3 if quick else 25)
        found |= {
            f"kspace_{size}_images_per_second": IMAGES / median(seconds["ours"]),
            f"kspace_{size}_vs_numpy": ratio(seconds["numpy"], seconds["ours"]),
            f"kspace_{size}_vs_numpy_in_single_precision": ratio(seconds["single"], seconds["ours"]),
        }
        found["kspace_error"] = max(found["kspace_error"], float(np.abs(shown["ours"] - shown["numpy"]).max()))
    return found


FIGURES: dict[str, Callable[[bool], Figures]] = {"tomography": tomography_figures, "kspace": kspace_figures}


def main() -> int:
    on_one_thread(ALLOCATOR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--quick", action="store_true", help="fewer turns; never fails")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: Figures = {}
    for name in options.only:
        found |= FIGURES[name](options.quick)
    found["load_average"] = os.getloadavg()[0]
    within = told(found, "degradation", as_json=options.json)
    return 0 if within or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
