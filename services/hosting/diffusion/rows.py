"""An image in work: where it is in its plan, what it still needs from the network, and how it goes one step on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import torch

from services.hosting.diffusion.families import Condition, Denoiser, Shape, Window
from services.maths.diffusion.guidance import Guidance, guided
from services.maths.diffusion.noise import image_noise
from services.maths.diffusion.plans import Plan, State, advance, first_state

OVERLAP = 4  # neighbouring windows share at least a quarter of their side


UNGUIDED = Guidance()


@dataclass(frozen=True, eq=False)
class Order:
    """One image to make. ``index`` and ``stage`` key its noise together with the seed; ``tag`` is the caller's own."""

    condition: Condition
    plan: Plan
    seed: int
    index: int = 0
    stage: str = "base"
    guidance: Guidance = UNGUIDED
    null: Condition | None = None
    previews_every: int = 0
    tag: int = 0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One row of a network call: a window of an image, with its condition or without."""

    row: Row
    window: int
    conditional: bool

    @property
    def condition(self) -> Condition:
        if self.conditional:
            return self.row.order.condition
        assert self.row.order.null is not None
        return self.row.order.null


@dataclass(eq=False)
class Row:
    """An order at work. Its noise is drawn at its first step, so that those who wait take no memory."""

    order: Order
    denoiser: Denoiser
    windows: tuple[Window, ...]
    blend: torch.Tensor | None
    k: int = 0
    state: State | None = None
    noise_digest: str = ""
    gone: bool = False
    wanted: list[Evaluation] = field(default_factory=list)
    received: dict[tuple[int, bool], torch.Tensor] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.k == self.order.plan.evaluations

    @property
    def timestep(self) -> int:
        return int(self.order.plan.timesteps[self.k])

    def ask(self) -> None:
        """List what the network must say before the next step: null predictions only where guidance acts."""
        steps = self.denoiser.parameterisation.schedule.steps
        sides = (True, False) if self.order.guidance.active(self.timestep, steps) else (True,)
        self.wanted = [Evaluation(self, window, side) for window in range(len(self.windows)) for side in sides]

    def begin(self) -> None:
        """Draw the initial noise, on the whole canvas."""
        noise = self._noise(self.order.stage)
        self.noise_digest = hashlib.sha256(noise.astype("<f4").tobytes()).hexdigest()
        self.state = first_state(torch.from_numpy(noise)[None].to(self._device))

    def seen(self, window: int) -> torch.Tensor:
        """What the network is shown of the noisy image."""
        assert self.state is not None
        return _cut(self.state.x[0], self.windows[window], self.denoiser.shape)

    def step_noise(self) -> torch.Tensor:
        """(1, C, H, W) for a sampler that draws at each step."""
        return torch.from_numpy(self._noise(f"{self.order.stage}-step-{self.k}"))[None].to(self._device)

    def _noise(self, stage: str) -> np.ndarray:
        return image_noise(self.order.seed, self.order.index, stage, self.denoiser.canvas(self.order.condition))

    @property
    def _device(self) -> torch.device:
        condition = self.order.condition
        near = condition.embedding if condition.embedding is not None else condition.hint
        assert near is not None
        return near.device


def make_row(order: Order, denoiser: Denoiser) -> Row:
    """``order`` as a row; an image larger than what the network sees gets overlapping windows."""
    canvas, seen = denoiser.canvas(order.condition), denoiser.shape
    windows = windows_of(canvas, seen)
    row = Row(order, denoiser, windows, blending(canvas, seen, windows) if len(windows) > 1 else None)
    row.ask()
    return row


def windows_of(canvas: Shape, seen: Shape) -> tuple[Window, ...]:
    """Evenly spread windows that cover the canvas and overlap by a quarter of their side or more."""
    tops, lefts = (_starts(whole, part) for whole, part in zip(canvas[1:], seen[1:], strict=True))
    return tuple(Window(top, left) for top, left in product(tops, lefts))


def _starts(whole: int, part: int) -> list[int]:
    if whole < part:
        raise ValueError(f"an image of {whole} pixels is smaller than the network's {part}")
    if whole == part:
        return [0]
    stride = part - part // OVERLAP
    count = -(-(whole - part) // stride) + 1
    return [int(start) for start in np.round(np.linspace(0, whole - part, count))]


def blending(canvas: Shape, seen: Shape, windows: Sequence[Window]) -> torch.Tensor:
    """(windows, h, w) weights that add up to 1 at each pixel of the canvas and fall off towards a window's edges."""
    height, width = seen[1:]
    bump = np.outer(*(np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)) for side in (height, width)))
    total = np.zeros(canvas[1:])
    for window in windows:
        total[window.top : window.top + height, window.left : window.left + width] += bump
    shares = [bump / total[window.top : window.top + height, window.left : window.left + width] for window in windows]
    return torch.from_numpy(np.stack(shares).astype(np.float32))


def step(rows: Sequence[Row], denoiser: Denoiser) -> torch.Tensor:
    """Take every row one evaluation on; all have received what they asked for. Returns their estimates of x0.

    Everything here is elementwise, or of one row alone, so no row's bits depend on the others.
    """
    estimates = (
        torch.stack([_estimate(row, denoiser) for row in rows]) if _needs_care(rows) else _estimates(rows, denoiser)
    )
    for plan in {id(row.order.plan): row.order.plan for row in rows}.values():
        places = [place for place, row in enumerate(rows) if row.order.plan is plan]
        _advance([rows[place] for place in places], plan, estimates[places] if len(places) < len(rows) else estimates)
    return estimates


def _needs_care(rows: Sequence[Row]) -> bool:
    return any(len(row.received) > 1 for row in rows)


def _estimates(rows: Sequence[Row], denoiser: Denoiser) -> torch.Tensor:
    """The common case in one go: one window each, no guidance at this step."""
    outputs = torch.stack([row.received[0, True] for row in rows])
    noisy = torch.cat([row.state.x for row in rows if row.state is not None])
    t = torch.tensor([row.timestep for row in rows])
    return _clipped(denoiser.parameterisation.denoised(outputs, noisy, t), denoiser)


def _estimate(row: Row, denoiser: Denoiser) -> torch.Tensor:
    """(C, H, W): windows blended, in their own order whatever order the network answered in."""
    guidance, t = row.order.guidance, torch.tensor([row.timestep])
    canvas = torch.zeros_like(row.state.x[0]) if row.blend is not None and row.state is not None else None
    for number, window in enumerate(row.windows):
        output = row.received[number, True][None]
        if (number, False) in row.received:
            output = guided(output, row.received[number, False][None], guidance.scale, guidance.rescale)
        part = _clipped(denoiser.parameterisation.denoised(output, row.seen(number)[None], t), denoiser)[0]
        if canvas is None or row.blend is None:
            return part
        _cut(canvas, window, denoiser.shape).add_(row.blend[number].to(part.device) * part)
    assert canvas is not None
    return canvas


def _clipped(estimates: torch.Tensor, denoiser: Denoiser) -> torch.Tensor:
    diffusion = denoiser.record.diffusion
    assert diffusion is not None
    return estimates.clamp(-1.0, 1.0) if diffusion.clip else estimates


def _advance(rows: Sequence[Row], plan: Plan, estimates: torch.Tensor) -> None:
    states = [row.state for row in rows if row.state is not None]
    together = State(
        torch.cat([state.x for state in states]),
        torch.cat([state.y for state in states]),
        torch.cat([state.h1 for state in states]),
        torch.cat([state.h2 for state in states]),
    )
    drawn = torch.cat([row.step_noise() for row in rows]) if plan.stochastic else None
    after = advance(plan, torch.tensor([row.k for row in rows]), together, estimates, drawn)
    for place, row in enumerate(rows):
        one = slice(place, place + 1)
        row.state = replace(after, x=after.x[one], y=after.y[one], h1=after.h1[one], h2=after.h2[one])
        row.k += 1
        row.received.clear()
        if not row.done:
            row.ask()


def _cut(image: torch.Tensor, window: Window, seen: Shape) -> torch.Tensor:
    return image[:, window.top : window.top + seen[1], window.left : window.left + seen[2]]
