import numpy as np
import pytest
import torch

from services.maths.diffusion.guidance import Guidance, guided
from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.schedules import cosine_schedule
from tests.maths.diffusion.gaussian_oracle import normal

SHAPE = (1, 7, 5)


def pair(rows=5):
    return normal(rows, *SHAPE, seed=1), 0.3 * normal(rows, *SHAPE, seed=2) + 0.1


def coupled(cond, null, scale, rescale):
    """The published code's rescale, whose spreads are the batch's: here to show that the test below can fail."""
    combined = null + scale * (cond - null)
    return combined * (rescale * cond.std() / combined.std() + 1 - rescale)


def assert_rows_are_alone(function):
    cond, null = pair()
    whole = function(cond, null, 4.0, 0.7)
    for row in range(len(cond)):
        assert torch.equal(function(cond[row : row + 1], null[row : row + 1], 4.0, 0.7)[0], whole[row])
    strangers = torch.cat([cond[:1], 100 * cond[1:]])
    assert torch.equal(function(strangers, null, 4.0, 0.7)[0], whole[0])


def test_scale_extends_the_line_from_the_null_to_the_conditional():
    cond, null = pair()
    torch.testing.assert_close(guided(cond, null, 4.0), null + 4 * (cond - null))
    torch.testing.assert_close(guided(cond, null, 0.0), null)
    torch.testing.assert_close(guided(cond, null, 4.0), 4 * cond - 3 * null, atol=1e-5, rtol=0)  # w = 3 of the paper


def test_scale_one_is_the_conditional_to_the_bit_with_any_rescale_and_any_null():
    cond, null = pair()
    assert torch.equal(guided(cond, null, 1.0, 0.7), cond)
    mixed = guided(cond, null, torch.tensor([1.0, 4.0, 1.0, 2.0, 1.0]), 0.7)
    assert torch.equal(mixed[[0, 2, 4]], cond[[0, 2, 4]])
    assert torch.equal(guided(cond, torch.full_like(null, torch.nan), 1.0), cond)


def test_rows_may_have_their_own_scale_and_rescale():
    cond, null = pair(3)
    scales, shares = torch.tensor([2.0, 4.0, 4.0]), torch.tensor([0.0, 0.7, 0.0])
    together = guided(cond, null, scales, shares)
    for row in range(3):
        alone = guided(cond[row : row + 1], null[row : row + 1], float(scales[row]), float(shares[row]))
        assert torch.equal(alone[0], together[row])


def test_rescale_keeps_each_samples_own_spread():
    cond, null = pair()
    full = guided(cond, null, 4.0, 1.0)
    torch.testing.assert_close(full.flatten(1).std(1), cond.flatten(1).std(1))
    plain, part = guided(cond, null, 4.0), guided(cond, null, 4.0, 0.7)
    torch.testing.assert_close(part, 0.7 * full + 0.3 * plain)


def test_sample_does_not_depend_on_its_batch():
    assert_rows_are_alone(guided)


def test_rescale_over_the_batch_is_caught():
    with pytest.raises(AssertionError):
        assert_rows_are_alone(coupled)
    cond, null = pair()
    alone = coupled(cond[:1], null[:1], 4.0, 0.7)
    like_their_null = coupled(cond, torch.cat([null[:1], cond[1:]]), 4.0, 0.7)[:1]
    assert float((like_their_null - alone).norm() / alone.norm()) > 0.2  # the published code changed by a quarter


def test_constant_image_has_no_spread_to_keep():
    cond, null = torch.full((1, *SHAPE), 2.0), torch.full((1, *SHAPE), 1.0)
    assert torch.equal(guided(cond, null, 3.0, 0.7), torch.full((1, *SHAPE), 4.0))


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_guiding_an_output_is_guiding_the_image_it_stands_for(prediction):
    parameterisation = Parameterisation(prediction, cosine_schedule())
    x_t, t = normal(4, *SHAPE, dtype=torch.float64), torch.tensor([10, 300, 600, 900])
    cond, null = normal(4, *SHAPE, seed=1, dtype=torch.float64), normal(4, *SHAPE, seed=2, dtype=torch.float64)
    output = parameterisation.denoised(guided(cond, null, 4.0), x_t, t)
    image = guided(parameterisation.denoised(cond, x_t, t), parameterisation.denoised(null, x_t, t), 4.0)
    torch.testing.assert_close(output, image)


def test_interval_says_which_steps_need_a_null_prediction():
    guidance = Guidance(scale=4.0, interval=(0.2, 0.7))
    active = [t for t in range(1000) if guidance.active(t, 1000)]
    assert active == list(range(200, 701))
    assert all(Guidance(scale=4.0).active(t, 1000) for t in (0, 500, 999))
    assert not any(Guidance(scale=1.0).active(t, 1000) for t in (0, 500, 999))


@pytest.mark.parametrize(
    "settings",
    [
        {"scale": -1.0},
        {"scale": np.nan},
        {"scale": np.inf},
        {"interval": (0.7, 0.2)},
        {"interval": (-0.1, 1.0)},
        {"interval": (0.0, np.nan)},
        {"rescale": 1.5},
        {"rescale": np.nan},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Guidance(**settings)
