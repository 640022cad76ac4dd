"""Gradients through a chain of denoising steps without the chain in memory ("adjusted DFT", Shen et al. 2024).

The network's inputs are taken for constants: the path through later calls explodes and is left out. What is left of a
sampler is linear. Its steps are rows of a table (diffusion.plans), and the final image is a sum of the network's
outputs, each times one number, its *effect*. So a run without gradients that keeps the inputs says everything: each
output is computed once more, in any order and any company, and the final image's gradient times the effect goes
back through it. That is the gradient of the frozen-input chain, not an approximation of it.

The effects differ 30-fold and more between steps, which drowns the steps that decide what an image becomes; equalised
ones are alike. An image that the denoiser clips is no linear function: its gradient passes as if it were not clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.plans import H1, H2, D, Plan, X, Y
from services.maths.diffusion.samplers import Denoise, Noise, run_plan

Doubles = npt.NDArray[np.float64]
RawOutput = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Run:
    """One sampling: its ``image`` (B, C, H, W), ``inputs`` (K, B, C, H, W) and ``timesteps`` (K,) of its calls."""

    image: torch.Tensor
    inputs: torch.Tensor
    timesteps: npt.NDArray[np.int64]


def record_run(plan: Plan, denoise: Denoise, x: torch.Tensor, *, noise: Noise | None = None) -> Run:
    """samplers.run_plan without gradients, and what the network saw; the image is that of run_plan to the bit."""
    inputs: list[torch.Tensor] = []

    def recorded(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        inputs.append(x)
        return denoise(x, t)

    with torch.no_grad():
        image = run_plan(plan, recorded, x, noise=noise)
    return Run(image, torch.stack(inputs), plan.timesteps)


def output_effects(plan: Plan, scalings: Parameterisation) -> Doubles:
    """(K,) derivative of the final image with respect to the network's raw output at each evaluation, inputs frozen.

    The adjoint of the plan's table, from the last row to the first. The prediction of x0 is px x + po output, and the x
    in it is the sampler's, which earlier outputs have moved. With prediction "x0" no such x is there: each prediction
    stands alone, the last step keeps nothing but the last, and all other effects are 0. Raises ValueError for
    prediction "epsilon" at a level of pure noise.
    """
    of_x, of_output = _denoising(plan, scalings)
    effects = np.zeros(plan.evaluations)
    x, y, h1, h2 = 1.0, 0.0, 0.0, 0.0
    for k in reversed(range(plan.evaluations)):
        column = plan.coefficients[k].T @ (x, y)
        prediction = column[D] + h1
        effects[k] = of_output[k] * prediction
        x, y, h1, h2 = column[X] + of_x[k] * prediction, column[Y], column[H1] + h2, column[H2]
    return effects


def equalised_effects(plan: Plan, scalings: Parameterisation) -> Doubles:
    """(K,) what to give :func:`chain_gradient` so that every evaluation counts alike.

    All are the geometric mean of the effects' sizes, with the sign that an effect of DDIM has: more noise in an output
    is less of it in the image. With prediction "x0", where there is no such mean, 1 / K each.
    """
    if scalings.prediction == "x0":
        return np.full(plan.evaluations, 1.0 / plan.evaluations)
    size = np.exp(np.log(np.abs(output_effects(plan, scalings))).mean())
    return np.full(plan.evaluations, -size)


def equalised_coefficients(plan: Plan, scalings: Parameterisation) -> Doubles:
    """(K,) factors, of geometric mean 1, that turn the sampler's own effects into equal ones.

    Shen et al. take sqrt(abar) sqrt(1 - abar) / beta. That is exactly 1 / |effect| of ancestral DDPM on all T levels
    with prediction "epsilon"; of DDIM on 20 of them it is 1.02 to 1.26 times as much as it should be but for the last
    two, 1.8 and 0.1; and of other samplers and predictions it is something else. Raises ValueError for prediction
    "x0", whose effects are 0 but for the last.
    """
    if scalings.prediction == "x0":
        raise ValueError("with prediction x0 all effects but the last are 0: no factor makes them equal")
    return np.asarray(equalised_effects(plan, scalings) / output_effects(plan, scalings))


def chain_gradient(
    output: RawOutput,
    run: Run,
    gradient: torch.Tensor,
    effects: Doubles,
    *,
    rows_at_once: int,
    evaluations: int | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Add to the parameters' ``grad`` what a loss of ``gradient`` = dL / d run.image (B, C, H, W) is of them.

    ``output(x, t, rows)`` is the network's raw output, guided if the run was, with a gradient: for (n, C, H, W) inputs,
    (n,) int64 timesteps, and (n,) int64 which row of the run each belongs to, so that it finds the row's condition.
    ``effects`` (K,) are those of :func:`output_effects`, for the exact gradient of the frozen-input chain, or of
    :func:`equalised_effects`. ``rows_at_once`` is n: it bounds the memory, and evaluations share calls.

    With ``evaluations`` m, each row takes part with m of its K evaluations, drawn by ``generator`` and weighted by K /
    m: the same gradient in expectation. What has no gradient or no effect is not evaluated. ValueError for shapes that
    do not fit and for m outside 1..K.
    """
    _check(run, gradient, effects, rows_at_once, evaluations)
    rows = torch.nonzero(gradient.flatten(1).any(1)).flatten().cpu()
    steps = torch.from_numpy(np.flatnonzero(effects))
    numbers, owners, weight = _pairs(steps, rows, evaluations, generator)
    timesteps, factors = torch.from_numpy(run.timesteps), torch.from_numpy(weight * effects)
    for k, row in zip(torch.split(numbers, rows_at_once), torch.split(owners, rows_at_once), strict=True):
        # The indices stay on the processor; where the images are, one copy of each is enough.
        there = row.to(run.inputs.device)
        raw = output(run.inputs[k, row], timesteps[k].to(there.device), there)
        factor = factors[k].to(gradient).view(-1, *([1] * (gradient.ndim - 1)))
        torch.autograd.backward(raw, (factor * gradient[there]).to(raw.dtype))


def _pairs(
    steps: torch.Tensor, rows: torch.Tensor, evaluations: int | None, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """(P,) evaluations and (P,) rows to compute, evaluation by evaluation, and the weight of each."""
    if evaluations is None or evaluations >= len(steps):
        return steps.repeat_interleave(len(rows)), rows.repeat(len(steps)), 1.0
    drawn = torch.rand(len(rows), len(steps), generator=generator).argsort(dim=1)[:, :evaluations]
    return steps[drawn.T.flatten()], rows.repeat(evaluations), len(steps) / evaluations


def _denoising(plan: Plan, scalings: Parameterisation) -> tuple[Doubles, Doubles]:
    """(K,) weights of the sampler's x and of the raw output in the prediction of x0, as in Parameterisation."""
    alphas, sigmas = (table[plan.timesteps] for table in (scalings.schedule.alphas, scalings.schedule.sigmas))
    if scalings.prediction == "x0":
        return np.zeros_like(alphas), np.ones_like(alphas)
    if scalings.prediction == "v":
        return alphas, -sigmas
    if not alphas.all():
        raise ValueError("prediction epsilon has no effect at a level of pure noise (alpha = 0): use v")
    return 1.0 / alphas, -sigmas / alphas


def _check(run: Run, gradient: torch.Tensor, effects: Doubles, rows_at_once: int, evaluations: int | None) -> None:
    if gradient.shape != run.image.shape:
        raise ValueError(f"gradient must be {tuple(run.image.shape)} as the image, got {tuple(gradient.shape)}")
    if effects.shape != (len(run.inputs),):
        raise ValueError(f"effects must be ({len(run.inputs)},), one for each evaluation, got {effects.shape}")
    if rows_at_once < 1:
        raise ValueError(f"rows_at_once must be at least 1, got {rows_at_once}")
    if evaluations is not None and not 1 <= evaluations <= len(run.inputs):
        raise ValueError(f"evaluations must lie in 1..{len(run.inputs)}, got {evaluations}")
