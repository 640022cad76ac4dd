"""What every degradation operator owes: one list of properties, inherited by each operator."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from services.maths.imaging import kspace, projection
from services.maths.imaging.degradation import OPERATORS, degrade, record_generator
from services.maths.imaging.quality import psnr

SIZE = 32


def smooth_images(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    images = np.zeros((count, 1, SIZE, SIZE))
    for index in np.repeat(np.arange(count), 4):
        row, column, width = rng.uniform(8, 24), rng.uniform(8, 24), rng.uniform(3, 8)
        images[index] += rng.uniform(0.1, 0.6) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
    return np.clip(images, 0, 1).astype(np.float32)


class OperatorProperties:
    """Subclasses name the operator, its parameters, and its linear part with that part's adjoint."""

    operator: ClassVar[str]
    noisy: ClassVar[bool]
    settings: ClassVar[dict[str, Any]]
    milder: ClassVar[dict[str, Any]]
    refused: ClassVar[list[dict[str, Any]]]

    @staticmethod
    def forward(images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    @staticmethod
    def adjoint(measured: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def degraded(self, images: np.ndarray, ids: list[str], seed: int = 7, **settings: Any) -> np.ndarray:
        return degrade(images, ids, seed=seed, operator=self.operator, **(settings or self.settings))

    def test_result_is_canonical_and_worse_than_the_original(self):
        images = smooth_images(4)
        shown = self.degraded(images, list("abcd"))
        assert shown.dtype == np.float32 and shown.shape == images.shape
        assert shown.min() >= 0.0 and shown.max() <= 1.0
        assert (psnr(shown, images) < 45).all() and (psnr(shown, images) > 10).all()

    def test_milder_setting_gives_a_better_image(self):
        images = smooth_images(4)
        harsh, mild = self.degraded(images, list("abcd")), self.degraded(images, list("abcd"), **self.milder)
        assert (psnr(mild, images) > psnr(harsh, images)).all()

    def test_same_seed_and_record_give_the_same_bits(self):
        images = smooth_images(3)
        assert np.array_equal(self.degraded(images, list("abc")), self.degraded(images, list("abc")))

    @pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
    def test_row_does_not_depend_on_its_neighbours_or_on_the_batch_size(self, batch):
        images, ids = smooth_images(9), [f"record-{row}" for row in range(9)]
        whole = self.degraded(images, ids)
        for start in range(0, 9, batch):
            part = slice(start, start + batch)
            assert np.array_equal(self.degraded(images[part], ids[part]), whole[part])

    def test_row_does_not_depend_on_the_order(self):
        images, ids = smooth_images(6), [f"record-{row}" for row in range(6)]
        order = [3, 0, 5, 1, 4, 2]
        shuffled = self.degraded(images[order], [ids[row] for row in order])
        assert np.array_equal(shuffled, self.degraded(images, ids)[order])

    def test_noise_belongs_to_the_record_and_the_seed(self):
        images = np.repeat(smooth_images(1), 2, axis=0)
        first = self.degraded(images, ["a", "b"])
        assert np.array_equal(first[0], first[1]) != self.noisy
        assert np.array_equal(first, self.degraded(images, ["a", "b"], seed=8)) != self.noisy

    def test_adjoint_matches_forward_inner_product(self):
        x = torch.from_numpy(smooth_images(2))
        y = self.forward(torch.from_numpy(smooth_images(2, seed=1)))
        forward = torch.vdot(self.forward(x).flatten().to(y.dtype), y.flatten())
        backward = torch.vdot(x.flatten().to(self.adjoint(y).dtype), self.adjoint(y).flatten())
        assert abs(forward - backward) < 1e-5 * abs(forward)

    def test_forward_is_linear(self):
        x, y = torch.from_numpy(smooth_images(2)), torch.from_numpy(smooth_images(2, seed=1))
        combined = self.forward(2.0 * x - 0.5 * y)
        torch.testing.assert_close(combined, 2.0 * self.forward(x) - 0.5 * self.forward(y), atol=2e-5, rtol=1e-5)

    def test_gradient_of_the_squared_error_is_the_adjoint_of_the_residual(self):
        x = torch.from_numpy(smooth_images(1)).requires_grad_()
        target = self.forward(torch.from_numpy(smooth_images(1, seed=1)))
        residual = self.forward(x) - target
        (residual.abs().square().sum() / 2).backward()
        expected = self.adjoint(residual.detach())
        torch.testing.assert_close(x.grad, expected.real.to(torch.float32), atol=1e-4, rtol=1e-4)

    def test_parameters_of_another_operator_or_out_of_range_are_refused(self):
        for settings in self.refused:
            with pytest.raises(ValueError, match=r"needs|takes|must be"):
                degrade(smooth_images(1), ["a"], seed=1, operator=self.operator, **settings)

    def test_bad_images_are_refused(self):
        good = smooth_images(2)
        broken = np.where(np.arange(good.size).reshape(good.shape) == 5, np.nan, good)
        for bad in (good * 255, broken, good[:, :, :-1], np.repeat(good, 3, axis=1), good[0]):
            with pytest.raises(ValueError, match="images"):
                self.degraded(bad, ["a", "b"])
        with pytest.raises(ValueError, match="one record id per image"):
            self.degraded(good, ["a"])

    def test_empty_batch_stays_empty(self):
        assert self.degraded(smooth_images(0), []).shape == (0, 1, SIZE, SIZE)


class TestRadialKspace(OperatorProperties):
    operator, noisy = "radial-kspace", False
    settings: ClassVar = {"acceleration": 16}
    milder: ClassVar = {"acceleration": 4}
    refused: ClassVar = [
        {},
        {"acceleration": 5},
        {"acceleration": 0},
        {"acceleration": 8, "photons": 10},
        {"acceleration": 8, "published_bowtie": True},
    ]
    mask = kspace.radial_mask(SIZE, 9)

    @staticmethod
    def forward(images):
        return kspace.acquire(images, TestRadialKspace.mask)

    @staticmethod
    def adjoint(measured):
        return kspace.zero_filled(measured, TestRadialKspace.mask)


class TestLowDoseXray(OperatorProperties):
    operator, noisy = "low-dose-xray", True
    settings: ClassVar = {"photons": 300}
    milder: ClassVar = {"photons": 30_000}
    refused: ClassVar = [
        {},
        {"photons": 0},
        {"photons": float("nan")},
        {"photons": 10, "acceleration": 8},
        {"photons": 10, "noise_model": "gaussian"},
    ]

    @staticmethod
    def forward(images):
        return projection.radon(images)

    @staticmethod
    def adjoint(measured):
        return projection.backproject(measured, SIZE)


class TestPublishedLowDoseXray(TestLowDoseXray):
    settings: ClassVar = {"photons": 300, "noise_model": "line-integrals", "published_bowtie": True}
    milder: ClassVar = {"photons": 300, "noise_model": "line-integrals"}


def test_every_operator_inherits_the_properties():
    tested = {operator.operator for operator in OperatorProperties.__subclasses__()}
    assert tested == set(OPERATORS)


def test_contrast_is_kept_and_not_stretched_per_image():
    # Min-max per image would map both to the same picture.
    image = smooth_images(1)
    full = degrade(image, ["a"], seed=1, operator="radial-kspace", acceleration=4)
    half = degrade(0.5 * image, ["a"], seed=1, operator="radial-kspace", acceleration=4)
    np.testing.assert_allclose(half[full < 1], 0.5 * full[full < 1], atol=1e-6)


def test_record_generator_is_pinned():
    assert record_generator(7, "low-dose-xray", "patient-1/view-1").integers(2**32, size=2).tolist() == [
        275275815,
        3346121285,
    ]


def test_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="operator must be one of"):
        degrade(smooth_images(1), ["a"], seed=1, operator="blur")
