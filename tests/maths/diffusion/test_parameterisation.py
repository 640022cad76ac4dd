"""For each prediction: what a perfect network says costs nothing in training and gives the image back in inference."""

import pytest
import torch

from services.maths.diffusion.parameterisation import PREDICTIONS, Parameterisation
from services.maths.diffusion.schedules import cosine_schedule
from tests.maths.diffusion.gaussian_oracle import normal

SHAPE = (1, 6, 5)
T = torch.tensor([0, 1, 250, 500, 900, 998])


def example(dtype=torch.float64):
    return normal(6, *SHAPE, seed=1, dtype=dtype), normal(6, *SHAPE, seed=2, dtype=dtype)


@pytest.mark.parametrize("prediction", PREDICTIONS)
class TestEveryPrediction:
    def test_perfect_output_has_no_loss_and_gives_the_image_back(self, prediction):
        parameterisation = Parameterisation(prediction, cosine_schedule())
        x0, eps = example()
        x_t = parameterisation.noisy(x0, eps, T)
        perfect = parameterisation.target(x0, eps, T)
        assert float(parameterisation.loss(perfect, x0, eps, T).max()) == 0.0
        torch.testing.assert_close(parameterisation.denoised(perfect, x_t, T), x0, atol=1e-9, rtol=0)

    def test_loss_is_the_error_of_the_denoised_image_in_the_predictions_own_units(self, prediction):
        # Were a scaling of the loss and of the inference to differ, this ratio would not be the known one.
        schedule = cosine_schedule()
        parameterisation = Parameterisation(prediction, schedule)
        x0, eps = example()
        output = parameterisation.target(x0, eps, T) + 0.1 * normal(6, *SHAPE, seed=3, dtype=torch.float64)
        error = parameterisation.denoised(output, parameterisation.noisy(x0, eps, T), T) - x0
        alpha, sigma = (torch.from_numpy(table)[T] for table in (schedule.alphas, schedule.sigmas))
        unit = {"x0": torch.ones(6).double(), "epsilon": (sigma / alpha) ** 2, "v": sigma**2}[prediction]
        loss = parameterisation.loss(output, x0, eps, T)
        assert loss.shape == (6,)
        torch.testing.assert_close(error.square().flatten(1).mean(1), unit * loss, rtol=1e-6, atol=0)

    def test_the_capped_weight_is_the_same_in_every_prediction(self, prediction):
        schedule = cosine_schedule()
        plain = Parameterisation(prediction, schedule)
        weighted = Parameterisation(prediction, schedule, largest_weight=5.0)
        x0, eps = example()
        wrong = plain.target(x0, eps, T) + 0.1
        error = plain.denoised(wrong, plain.noisy(x0, eps, T), T) - x0
        snr = torch.from_numpy(schedule.alphas_bar / (1 - schedule.alphas_bar))[T]
        expected = (snr + 1).clamp(max=5.0) * error.square().flatten(1).mean(1)
        torch.testing.assert_close(weighted.loss(wrong, x0, eps, T), expected, rtol=1e-6, atol=1e-12)

    def test_row_has_its_own_timestep_and_no_neighbours(self, prediction):
        parameterisation = Parameterisation(prediction, cosine_schedule())
        x0, eps = example(torch.float32)
        x_t = parameterisation.noisy(x0, eps, T)
        loss, denoised = parameterisation.loss(x_t, x0, eps, T), parameterisation.denoised(eps, x_t, T)
        for row in range(6):
            one = slice(row, row + 1)
            assert torch.equal(parameterisation.noisy(x0[one], eps[one], T[one])[0], x_t[row])
            assert torch.equal(parameterisation.denoised(eps[one], x_t[one], T[one])[0], denoised[row])
            torch.testing.assert_close(parameterisation.loss(x_t[one], x0[one], eps[one], T[one])[0], loss[row])

    def test_dtype_is_the_images(self, prediction):
        parameterisation = Parameterisation(prediction, cosine_schedule())
        x0, eps = example(torch.float32)
        x_t = parameterisation.noisy(x0, eps, T)
        results = (x_t, parameterisation.target(x0, eps, T), parameterisation.denoised(eps, x_t, T))
        assert {result.dtype for result in results} == {torch.float32}


@pytest.mark.parametrize("prediction", ["v", "x0"])
def test_pure_noise_is_a_level_like_any_other(prediction):
    parameterisation = Parameterisation(prediction, cosine_schedule(zero_terminal_snr=True))
    x0, eps = example()
    last = torch.full((6,), 999)
    assert torch.equal(parameterisation.noisy(x0, eps, last), eps)
    perfect = parameterisation.target(x0, eps, last)
    torch.testing.assert_close(parameterisation.denoised(perfect, eps, last), x0)


def test_noise_prediction_is_refused_where_noise_says_nothing():
    with pytest.raises(ValueError, match="zero terminal SNR"):
        Parameterisation("epsilon", cosine_schedule(zero_terminal_snr=True))


def test_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="prediction must be one of epsilon, v, x0"):
        Parameterisation("score", cosine_schedule())


def test_v_is_the_published_combination():
    schedule = cosine_schedule()
    x0, eps = example()
    alpha, sigma = (torch.from_numpy(table)[T].view(-1, 1, 1, 1) for table in (schedule.alphas, schedule.sigmas))
    torch.testing.assert_close(Parameterisation("v", schedule).target(x0, eps, T), alpha * eps - sigma * x0)
