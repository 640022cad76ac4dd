"""Samplers as tables: one step of any of them is one linear combination of the images that the sampler remembers.

A table of numbers lets rows that are at different steps share a call of the network, and it is computed once in
float64, so a level at which only noise is left (alpha = 0) or none (sigma = 0) is a limit taken here and never a
division by zero on an image.

The probability-flow equation has one exact form that all but DDPM approximate: d(x / sigma) = x0(x, t) d(tau), with tau
= alpha / sigma = exp(lambda), lambda half the log SNR. Were the prediction x0 constant over a step from level s to t,
    x_t = (sigma_t / sigma_s) x_s + (alpha_t - alpha_s sigma_t / sigma_s) x0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from services.maths.diffusion.schedules import Levels

Doubles = npt.NDArray[np.float64]

X, Y, H1, H2, D, Z = range(6)  # the columns of a plan


@dataclass(frozen=True)
class Plan:
    """One sampler on one set of noise levels.

    ``timesteps`` (K,) int64: where the network is asked. ``coefficients`` (K, 2, 6) float64: the new x and the new y
    from x (where the network was asked), y (what the sampler carries beside it: UniPC's corrected image, the start of
    Heun's step), h1 and h2 (the former two predictions of the clean image), d (this one) and z (unit noise).
    """

    sampler: str
    timesteps: npt.NDArray[np.int64]
    coefficients: Doubles

    @property
    def evaluations(self) -> int:
        """K, the number of network calls."""
        return len(self.timesteps)

    @cached_property
    def stochastic(self) -> bool:
        """Whether any step draws noise."""
        return bool(self.coefficients[:, :, Z].any())

    @cached_property
    def used(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The columns that any step of the plan uses; were it of the rows at hand, they would see each other."""
        x, y = np.abs(self.coefficients).max(axis=0)
        return tuple(np.flatnonzero(x).tolist()), tuple(np.flatnonzero(y).tolist())


@dataclass(frozen=True)
class State:
    """What a sampler remembers of each row, all (B, C, H, W) float32: see Plan."""

    x: torch.Tensor
    y: torch.Tensor
    h1: torch.Tensor
    h2: torch.Tensor


def first_state(x: torch.Tensor) -> State:
    """The state before the first step, at pure noise ``x`` (B, C, H, W)."""
    nothing = torch.zeros_like(x)
    return State(x, x, nothing, nothing)


def advance(plan: Plan, k: torch.Tensor, state: State, d: torch.Tensor, z: torch.Tensor | None = None) -> State:
    """The state after evaluation ``k`` (B,) int64 of each row, with ``d`` (B, C, H, W) its prediction of x0.

    Rows may be at different evaluations. Products and sums of single pixels only, in one order: no row's bits depend on
    its neighbours or on how many there are. ``z`` is unit noise, needed when the plan is stochastic.
    """
    if z is None and plan.stochastic:
        raise ValueError(f"{plan.sampler} draws noise at each step: z is needed")
    d = d.to(state.x.dtype)
    table = torch.from_numpy(plan.coefficients)[k.cpu()].to(state.x.dtype).to(state.x.device)
    terms = (state.x, state.y, state.h1, state.h2, d, z)
    new_x, new_y = (_combined(table[:, output], plan.used[output], terms) for output in (0, 1))
    return State(state.x if new_x is None else new_x, state.y if new_y is None else new_y, d, state.h1)


def _combined(
    weights: torch.Tensor, used: tuple[int, ...], terms: tuple[torch.Tensor | None, ...]
) -> torch.Tensor | None:
    """Weighted sum (B, C, H, W) of the terms in use; a product, then a sum, never fused: every bit is fixed."""
    total: torch.Tensor | None = None
    for column in used:
        term = terms[column]
        assert term is not None
        product = weights[:, column].view(-1, *([1] * (term.ndim - 1))) * term
        total = product if total is None else total.add_(product)
    return total


def make_plan(sampler: str, levels: Levels, *, eta: float = 0.0) -> Plan:
    """The plan of ``sampler`` (one of SAMPLERS) on ``levels``; ``eta`` 0..1 is DDIM's share of ancestral noise."""
    if sampler not in _TABLES:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, not {sampler!r}")
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must lie in 0..1, got {eta}")
    if eta and sampler != "ddim":
        raise ValueError(f"eta belongs to ddim, not to {sampler}")
    rows = _TABLES[sampler](levels, **({"eta": eta} if sampler == "ddim" else {}))
    at = levels.timesteps
    timesteps = np.repeat(at, 2)[1:] if sampler == "heun" else at
    return Plan(sampler, timesteps.copy(), np.array(rows))


Row = list[list[float]]


def _row(x: dict[int, float], y: dict[int, float] | None = None) -> Row:
    return [[float(output.get(column, 0.0)) for column in range(6)] for output in (x, y or {})]


def _ddim(levels: Levels, eta: float) -> list[Row]:
    """Song et al. 2021, equations 12 and 16; the predicted noise is (x - alpha d) / sigma, of a clipped d too."""
    rows = []
    for step in _steps(levels):
        drawn = eta * step.ancestral_deviation
        kept = math.sqrt(max(step.to_sigma**2 - drawn**2, 0.0)) / step.sigma
        rows.append(_row({X: kept, D: step.to_alpha - kept * step.alpha, Z: drawn}))
    return rows


def _ddpm(levels: Levels) -> list[Row]:
    """Ho et al. 2020, equations 6 and 7, on any subset of levels: the posterior of x_t given x_s and x0."""
    rows = []
    for step in _steps(levels):
        ratio, remaining = step.alpha / step.to_alpha, step.kept**2
        added = step.to_alpha * (1.0 - ratio**2 * remaining)
        rows.append(_row({X: ratio * remaining, D: added, Z: step.ancestral_deviation}))
    return rows


def _dpmpp_2m(levels: Levels) -> list[Row]:
    """DPM-Solver++(2M), Lu et al. 2022, algorithm 2."""
    return [_row(_predicted(step, X)) for step in _steps(levels)]


def _predicted(step: _Step, start: int) -> dict[int, float]:
    """One step of DPM-Solver++(2M), which is UniP-2 with B2(h) too, as weights of column ``start``, d and h1.

    First order where there is no finite former step to extrapolate from: the first step, the step after pure noise
    (its length in lambda is infinite), and the last, whose own length is infinite.
    """
    second_order = math.isfinite(step.length) and math.isfinite(step.former)
    extrapolated = step.length / (2.0 * step.former) if second_order else 0.0
    return {start: step.kept, D: step.added * (1.0 + extrapolated), H1: -step.added * extrapolated}


def _unipc(levels: Levels) -> list[Row]:
    """UniPC of order 2 with B2(h) = e^h - 1 on the clean image's prediction, Zhao et al. 2023, algorithms 1 and 2.

    x is the predictor's, y the corrected image of the step before. A call's prediction first corrects x (y joins), then
    makes the next x from the corrected image.
    """
    rows = []
    corrected = {X: 1.0}
    for step in _steps(levels):
        ahead = _predicted(step, Y)
        kept = ahead.pop(Y)
        x = {column: kept * weight for column, weight in corrected.items()}
        for column, weight in ahead.items():
            x[column] = x.get(column, 0.0) + weight
        rows.append(_row(x, corrected))
        corrected = _corrected(step)
    return rows


def _corrected(step: _Step) -> dict[int, float]:
    """UniC at the end of ``step``, as weights of y (its start), h1 (the prediction there), h2 and d (at its end).

    Without a finite former step the order is 1 and the weight a half: the trapezoid rule, and from pure noise too, as
    the prediction is then linear in tau.
    """
    kept, added = step.kept, step.added
    if not (math.isfinite(step.former) and math.isfinite(step.length)):
        return {Y: kept, H1: added / 2.0, D: added / 2.0}
    back = -step.former / step.length  # where the former prediction lies, in lengths of this step
    first, second = _unified_weights(step.length)
    of_former, of_new = (first - second) / (1.0 - back) / back, (second - back * first) / (1.0 - back)
    return {Y: kept, H1: added * (1.0 - of_former - of_new), H2: added * of_former, D: added * of_new}


def _unified_weights(length: float) -> tuple[float, float]:
    """UniC's order conditions for k = 1 and 2, right-hand side: k! h phi_{k+1}(-h) / B2(-h); 1/2 and 1/3 at h = 0."""
    if length < 1e-3:  # the closed form loses all its digits; the series has an error of h^3
        return 0.5 + length / 12.0, 1.0 / 3.0 + length / 12.0 + length**2 / 360.0
    grown = math.expm1(-length)
    first = -grown / length - 1.0
    second = -first / length - 0.5
    return first / grown, 2.0 * second / grown


def _heun(levels: Levels) -> list[Row]:
    """Heun's method, two calls a step and one for the last (Karras et al. 2022, algorithm 1).

    Trapezoids need a variable in which the slope is smooth and its weights are small. While noise prevails it is
    tau = alpha / sigma, whose slope is the clean image and which starts at 0 in pure noise; from there on it is Karras'
    sigma / alpha, whose slope is the noise and which ends at 0 in the clean image.
    """
    rows = []
    for step in _steps(levels):
        rows.append(_row({X: step.kept, D: step.added}, {X: 1.0}))
        if step.alpha < step.sigma:
            rows.append(_row({Y: step.kept, H1: step.added / 2.0, D: step.added / 2.0}))
        elif step.to_sigma > 0.0:
            ratio = step.to_alpha / step.alpha
            half = (step.to_sigma - ratio * step.sigma) / 2.0
            start, end = half / step.sigma, half / step.to_sigma
            rows.append(_row({Y: ratio + start, H1: -start * step.alpha, X: end, D: -end * step.to_alpha}))
    # The last step is Euler's: the network has no prediction at a level without noise.
    return rows[: 2 * len(levels.timesteps) - 1]


@dataclass(frozen=True)
class _Step:
    """One step, and the length in lambda of the step before it (``former``), infinite where there is none."""

    alpha: float
    sigma: float
    to_alpha: float
    to_sigma: float
    former: float

    @property
    def kept(self) -> float:
        """What is left of x."""
        return self.to_sigma / self.sigma

    @property
    def added(self) -> float:
        """What is added of the clean image's prediction, were it constant over the step."""
        return self.to_alpha - self.kept * self.alpha

    @property
    def length(self) -> float:
        """h = lambda_t - lambda_s: infinite from pure noise, and to a clean image."""
        if self.alpha == 0.0 or self.to_sigma == 0.0:
            return math.inf
        return math.log(self.to_alpha / self.alpha) - math.log(self.to_sigma / self.sigma)

    @property
    def ancestral_deviation(self) -> float:
        """sqrt(beta-tilde), the noise of ancestral sampling; finite at both ends."""
        return self.kept * math.sqrt(max(1.0 - (self.alpha / self.to_alpha) ** 2, 0.0))


def _steps(levels: Levels) -> list[_Step]:
    steps: list[_Step] = []
    for (alpha, to_alpha), (sigma, to_sigma) in zip(
        pairwise(levels.alphas.tolist()), pairwise(levels.sigmas.tolist()), strict=True
    ):
        steps.append(_Step(alpha, sigma, to_alpha, to_sigma, steps[-1].length if steps else math.inf))
    return steps


_TABLES: dict[str, Callable[..., list[Row]]] = {
    "ddim": _ddim,
    "ddpm": _ddpm,
    "dpmpp-2m": _dpmpp_2m,
    "unipc": _unipc,
    "heun": _heun,
}
SAMPLERS = tuple(_TABLES)
