"""What every degradation operator owes: one list of properties for each operator in each of its settings."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from services.maths.imaging import kspace, photons
from services.maths.imaging.degradation import (
    OPERATORS,
    PRESETS,
    ParameterError,
    ParameterRangeError,
    degrade,
    degrade_tensor,
    describe,
    linear_part,
    preset,
    record_generator,
)
from services.maths.imaging.projection import filtered_backprojection
from services.maths.imaging.quality import psnr

SIZE = 32
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")),
]


@dataclass(frozen=True)
class Case:
    """An operator's setting, and a milder one of the same kind."""

    operator: str
    harsh: dict[str, Any]
    mild: dict[str, Any]

    def __str__(self) -> str:
        return "-".join([self.operator, *(f"{name}={value}" for name, value in self.harsh.items())])

    def degraded(self, images: np.ndarray, ids: list[str], seed: int = 7) -> np.ndarray:
        return degrade(images, ids, seed=seed, operator=self.operator, **self.harsh)


CASES = [
    Case("radial-kspace", {"acceleration": 16}, {"acceleration": 4}),
    Case(
        "radial-kspace",
        {"acceleration": 16, "angles": "golden-angle"},
        {"acceleration": 4, "angles": "golden-angle"},
    ),
    *(
        Case("low-dose-xray", {"photons": 300, **more}, {"photons": 30_000, **more})
        for more in ({}, {"bowtie": True}, {"noise_model": "line-integrals"})
    ),
    Case("low-dose-xray", {"photons": 300, "published_bowtie": True}, {"photons": 300}),
    Case(
        "low-dose-xray",
        {"photons": 300, "noise_model": "line-integrals", "published_bowtie": True},
        {"photons": 300, "noise_model": "line-integrals"},
    ),
]


@pytest.fixture(params=CASES, ids=str)
def case(request) -> Case:
    return request.param


def smooth_images(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size]
    images = np.zeros((count, 1, size, size))
    for index in np.repeat(np.arange(count), 4):
        row, column, width = (
            size * rng.uniform(0.25, 0.75),
            size * rng.uniform(0.25, 0.75),
            size * rng.uniform(0.1, 0.25),
        )
        images[index] += rng.uniform(0.1, 0.6) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
    return np.clip(images, 0, 1).astype(np.float32)


def test_every_operator_and_every_choice_that_it_offers_is_tested():
    assert {case.operator for case in CASES} == set(OPERATORS)
    for name, operator in OPERATORS.items():
        settings = [{**case.harsh} for case in CASES if case.operator == name]
        for parameter, allowed in operator.parameters.items():
            tested = {setting.get(parameter, allowed.default) for setting in settings}
            assert parameter == "acceleration" or set(allowed.choices) <= tested


def test_result_is_canonical_and_worse_than_the_original(case):
    images = smooth_images(4)
    shown = case.degraded(images, list("abcd"))
    assert shown.dtype == np.float32 and shown.shape == images.shape
    assert shown.min() >= 0.0 and shown.max() <= 1.0
    assert (psnr(shown, images) < 45).all() and (psnr(shown, images) > 10).all()


def test_milder_setting_gives_a_better_image(case):
    images = smooth_images(4)
    mild = degrade(images, list("abcd"), seed=7, operator=case.operator, **case.mild)
    assert (psnr(mild, images) > psnr(case.degraded(images, list("abcd")), images)).all()


def test_same_seed_and_record_give_the_same_bits(case):
    images = smooth_images(3)
    assert np.array_equal(case.degraded(images, list("abc")), case.degraded(images, list("abc")))


@pytest.mark.parametrize("size", [SIZE, 46, 64])
def test_row_does_not_depend_on_its_neighbours_or_on_the_batch_size(case, size):
    images, ids = smooth_images(19, size=size), [f"record-{row}" for row in range(19)]
    whole = case.degraded(images, ids)
    for batch in (1, 2, 3, 5, 8, 17):
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            assert np.array_equal(case.degraded(images[part], ids[part]), whole[part])


def test_row_does_not_depend_on_the_order(case):
    images, ids = smooth_images(6), [f"record-{row}" for row in range(6)]
    order = [3, 0, 5, 1, 4, 2]
    shuffled = case.degraded(images[order], [ids[row] for row in order])
    assert np.array_equal(shuffled, case.degraded(images, ids)[order])


def test_noise_belongs_to_the_record_and_the_seed(case):
    images, noisy = np.repeat(smooth_images(1), 2, axis=0), OPERATORS[case.operator].noisy
    first = case.degraded(images, ["a", "b"])
    assert np.array_equal(first[0], first[1]) != noisy
    assert np.array_equal(first, case.degraded(images, ["a", "b"], seed=8)) != noisy


@pytest.mark.parametrize("device", DEVICES)
def test_adjoint_matches_forward_inner_product(case, device):
    part = linear_part(SIZE, operator=case.operator, **case.harsh)
    x = torch.from_numpy(smooth_images(2)).to(device)
    y = part.forward(torch.from_numpy(np.random.default_rng(1).random((2, 1, SIZE, SIZE), np.float32)).to(device))
    forward = torch.vdot(part.forward(x).flatten(), y.flatten())
    backward = torch.vdot(x.flatten().to(part.adjoint(y).dtype), part.adjoint(y).flatten())
    assert part.adjoint(y).device == y.device == x.device
    assert abs(forward - backward) < 1e-5 * abs(forward)


@pytest.mark.parametrize("device", DEVICES)
def test_linear_part_is_linear(case, device):
    part = linear_part(SIZE, operator=case.operator, **case.harsh)
    x, y = (torch.from_numpy(smooth_images(2, seed=seed)).to(device) for seed in (0, 1))
    combined = part.forward(2.0 * x - 0.5 * y)
    torch.testing.assert_close(combined, 2.0 * part.forward(x) - 0.5 * part.forward(y), atol=2e-5, rtol=1e-5)


def test_gradient_of_the_squared_error_is_the_adjoint_of_the_residual(case):
    part = linear_part(SIZE, operator=case.operator, **case.harsh)
    x = torch.from_numpy(smooth_images(1)).requires_grad_()
    residual = part.forward(x) - part.forward(torch.from_numpy(smooth_images(1, seed=1)))
    (residual.abs().square().sum() / 2).backward()
    expected = part.adjoint(residual.detach())
    torch.testing.assert_close(x.grad, expected.real.to(torch.float32), atol=1e-4, rtol=1e-4)


def test_data_consistency_by_gradient_steps_explains_the_measurements(case):
    # what plug-and-play methods do between two passes of their denoiser
    part = linear_part(SIZE, operator=case.operator, **case.harsh)
    measured = part.forward(torch.from_numpy(smooth_images(1)))
    x = torch.full((1, 1, SIZE, SIZE), 0.2)
    largest = part.adjoint(part.forward(torch.ones_like(x))).abs().max()  # bounds the spectrum of a positive map
    residuals = []
    for _ in range(20):
        residual = part.forward(x) - measured
        residuals.append(float(residual.abs().square().sum()))
        x = x - part.adjoint(residual).real.to(torch.float32) / largest
    assert residuals[-1] < 0.1 * residuals[0] and residuals == sorted(residuals, reverse=True)


@pytest.mark.parametrize("device", DEVICES)
def test_tensors_give_the_arrays_image_on_their_own_device(case, device):
    images = smooth_images(3)
    tensor = degrade_tensor(
        torch.from_numpy(images).to(device), list("abc"), seed=7, operator=case.operator, **case.harsh
    )
    expected = case.degraded(images, list("abc"))
    assert tensor.device.type == device
    if device == "cpu":
        assert np.array_equal(tensor.numpy(), expected)
    else:  # a card sums in another order, and now and then a photon more or less is counted
        assert np.median(np.abs(tensor.cpu().numpy() - expected)) < 1e-5


@pytest.mark.parametrize("device", DEVICES)
def test_gradient_reaches_the_image_and_is_the_slope_at_the_noise_drawn(case, device):
    images = torch.from_numpy(0.2 + 0.5 * smooth_images(1)).to(device).requires_grad_()
    weights = torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3)).to(device)
    setting = {"seed": 7, "operator": case.operator, **case.harsh}
    shown = degrade_tensor(images, ["a"], **setting)
    inside = (shown > 0.0) & (shown < 1.0)
    (shown * weights).sum().backward()
    step = torch.from_numpy(smooth_images(1, seed=5)).to(device)
    expected = float((slope(case, images.detach(), step) * weights * inside).sum())
    assert images.grad.device == images.device
    assert float((images.grad * step).sum()) == pytest.approx(expected, rel=2e-3) and expected != 0.0


def slope(case: Case, images: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """How the noise-free acquisition changes along `step`, by its own linearity or by central differences."""
    part = linear_part(SIZE, operator=case.operator, **case.harsh)
    if case.operator == "low-dose-xray":
        return filtered_backprojection(part.forward(step), SIZE)
    at = [part.adjoint(part.forward(images.double() + sign * 1e-5 * step)).abs() for sign in (1, -1)]
    return (at[0] - at[1]) / 2e-5


@pytest.mark.parametrize("operator", OPERATORS)
def test_description_names_the_setting(operator):
    case = next(case for case in CASES if case.operator == operator)
    text = describe(SIZE, operator=operator, **case.harsh)
    assert all(str(value) in text for value in case.harsh.values())


def test_description_has_the_exact_share_of_kspace():
    text = describe(256, operator="radial-kspace", acceleration=8)
    assert "10.73 % of the frequencies of 256 x 256 pixels" in text and "true acceleration 9.3" in text
    golden = kspace.sampled_fraction(kspace.golden_mask(256, 30))
    assert f"{100 * golden:.2f} %" in describe(256, operator="radial-kspace", acceleration=8, angles="golden-angle")


@pytest.mark.parametrize(
    ("operator", "parameters", "named"),
    [
        ("radial-kspace", {}, "acceleration"),
        ("radial-kspace", {"acceleration": 5}, "acceleration"),
        ("radial-kspace", {"acceleration": 0}, "acceleration"),
        ("radial-kspace", {"acceleration": -8}, "acceleration"),
        ("radial-kspace", {"acceleration": math.nan}, "acceleration"),
        ("radial-kspace", {"acceleration": "8"}, "acceleration"),
        ("low-dose-xray", {}, "photons"),
        ("low-dose-xray", {"photons": 0}, "photons"),
        ("low-dose-xray", {"photons": -1}, "photons"),
        ("low-dose-xray", {"photons": math.nan}, "photons"),
        ("low-dose-xray", {"photons": math.inf}, "photons"),
        ("low-dose-xray", {"photons": 2 * photons.MOST_PHOTONS}, "photons"),
        ("low-dose-xray", {"photons": True}, "photons"),
        ("low-dose-xray", {"photons": "1e4"}, "photons"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(operator, parameters, named):
    with pytest.raises(ParameterRangeError, match=f"{operator} needs {named}, which must be") as caught:
        degrade(smooth_images(1), ["a"], seed=1, operator=operator, **parameters)
    assert caught.value.parameter == named


@pytest.mark.parametrize(
    ("operator", "parameters", "named"),
    [
        ("blur", {}, "operator"),
        ("radial-kspace", {"acceleration": 8, "photons": 10}, "photons"),
        ("radial-kspace", {"acceleration": 8, "published_bowtie": False}, "published_bowtie"),
        ("radial-kspace", {"acceleration": 8, "angles": "spiral"}, "angles"),
        ("low-dose-xray", {"photons": 10, "acceleration": 8}, "acceleration"),
        ("low-dose-xray", {"photons": 10, "noise_model": "gaussian"}, "noise_model"),
        ("low-dose-xray", {"photons": 10, "photon": 10}, "photon"),
        ("low-dose-xray", {"photons": 10, "bowtie": True, "published_bowtie": True}, "bowtie"),
        ("low-dose-xray", {"photons": 10, "bowtie": True, "noise_model": "line-integrals"}, "bowtie"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(operator, parameters, named):
    with pytest.raises(ParameterError) as caught:
        degrade(smooth_images(1), ["a"], seed=1, operator=operator, **parameters)
    assert caught.value.parameter == named and not isinstance(caught.value, ParameterRangeError)


def test_bad_images_are_refused(case):
    good = smooth_images(2)
    broken = np.where(np.arange(good.size).reshape(good.shape) == 5, np.nan, good)
    for bad in (good * 255, good - 0.5, broken, good[:, :, :-1], np.repeat(good, 3, axis=1), good[0]):
        for take in (case.degraded, lambda images, ids: tensor_of(case, images, ids)):
            with pytest.raises(ValueError, match="images"):
                take(bad, ["a", "b"])
    with pytest.raises(ValueError, match="images must be float32"):
        tensor_of(case, good.astype(np.float16), ["a", "b"])
    with pytest.raises(ValueError, match="one record id per image"):
        case.degraded(good, ["a"])


def tensor_of(case: Case, images: np.ndarray, ids: list[str]) -> torch.Tensor:
    return degrade_tensor(torch.from_numpy(images), ids, seed=7, operator=case.operator, **case.harsh)


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_odd_side_is_refused_where_spokes_need_a_middle(operator):
    case = next(case for case in CASES if case.operator == operator)
    images = smooth_images(1, size=33)
    if OPERATORS[operator].even_size:
        for use in (lambda: case.degraded(images, ["a"]), lambda: linear_part(33, operator=operator, **case.harsh)):
            with pytest.raises(ValueError, match="even side"):
                use()
    else:
        assert case.degraded(images, ["a"]).shape == images.shape


def test_empty_batch_stays_empty(case):
    assert case.degraded(smooth_images(0), []).shape == (0, 1, SIZE, SIZE)
    assert tensor_of(case, smooth_images(0), []).shape == (0, 1, SIZE, SIZE)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_settings_of_their_operator(name):
    found = preset(name)
    shown = degrade(smooth_images(1), ["a"], seed=1, operator=found.operator, **found.parameters)
    assert shown.shape == (1, 1, SIZE, SIZE) and found.meaning


def test_presets_are_the_published_settings_and_an_unknown_one_lists_them():
    published = {("acceleration", value) for value in (4, 8, 16, 24)} | {
        ("photons", value) for value in (1e5, 1e4, 3e3)
    }
    assert {pair for found in PRESETS.values() for pair in found.parameters.items()} == published
    with pytest.raises(ParameterError, match="mri-8x") as caught:
        preset("mri-6x")
    assert caught.value.parameter == "preset" and all(name in str(caught.value) for name in PRESETS)


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
