"""The loop of an alignment, keyed by (seed, iteration), so that a run that resumes ends in the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from services.maths.alignment import Run, chain_gradient, class_effects, equalised_effects
from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.plans import Plan
from services.training.alignment.generator import Generator, States
from services.training.alignment.objective import Judged, Objective, judge, originals
from services.training.snapshots import State
from services.training.tuning import Batches

EMA = 0.95
ROWS_AT_ONCE = 64


class Fitting:
    """The state of a run: the parameters that learn, their average and the optimiser."""

    def __init__(self, generator: Generator, learning: Sequence[nn.Parameter], how: Batches) -> None:
        self.generator = generator
        self.how = how
        self.learning = list(learning)
        self.average = [parameter.detach().clone() for parameter in self.learning]
        self.optimizer = torch.optim.AdamW(self.learning, lr=how.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
        self.sums: list[torch.Tensor] = []
        self.done = 0

    def run(
        self,
        objective: Objective,
        prompts: Sequence[str],
        *,
        seed: int,
        report: Callable[[int, Judged], None] = lambda done, judged: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """From where it stands to the end; ``report`` after each iteration may take a :meth:`snapshot`."""
        while self.done < self.how.iterations:
            check()
            judged = self.step(objective, prompts, seed, self.done)
            self.done += 1
            report(self.done, judged)

    def step(self, objective: Objective, prompts: Sequence[str], seed: int, iteration: int) -> Judged:
        """One batch: sample both models from one noise, judge, and go back through some of the steps."""
        how, generator = self.how, self.generator
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, iteration))))
        draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
        chosen = rng.choice(len(prompts), size=min(how.prompts, len(prompts)), replace=False)
        batch = [prompts[row] for row in np.repeat(chosen, how.images).tolist()]
        plan = generator.plan(int(rng.integers(how.steps[0], how.steps[1] + 1)))
        x = antithetic_noise(len(chosen), how.images, generator.shape, draws)
        x = x.to(generator.device).contiguous(memory_format=torch.channels_last)
        states = generator.states(batch)
        with torch.no_grad():
            drawn = generator.sample(generator.original, x, states, plan).image
            before = originals(objective, generator.pictures(drawn), draws)
        found = before.sums(torch.from_numpy(np.repeat(chosen, how.images)), objective.levels)
        self.sums = [old + new for old, new in zip(self.sums, found, strict=True)] if self.sums else found
        effects = [class_effects(sums) for sums in self.sums]
        run = generator.sample(generator.unet, x, states, plan)
        judged = judge(objective, generator.pictures, run.image, before=before, prompts=batch, rng=rng, effects=effects)
        self.optimizer.zero_grad(set_to_none=True)
        chain_gradient(
            _output(generator, states),
            run,
            judged.gradient,
            _effects(plan, generator.scalings, how.least_noise),
            rows_at_once=ROWS_AT_ONCE,
            evaluations=min(how.evaluations, plan.evaluations),
            generator=draws,
        )
        held = self._hold(objective.holding, run, states, plan, draws)
        self._update(iteration)
        return replace(judged, loss=judged.loss + held)

    def _hold(self, weight: float, run: Run, states: States, plan: Plan, draws: torch.Generator) -> float:
        """Weigh how far the outputs of steps that do not learn are from the original's, and add its gradient.

        All steps share their weights: one that learns whom to draw changes how the others draw, which shows as grain.
        They are held where the model is now, of each image at one step, so that details of a changed image are the
        original's own.
        """
        still = torch.from_numpy(np.flatnonzero(~_learn(plan, self.generator.scalings, self.how.least_noise)))
        if not (weight and len(still)):
            return 0.0
        generator, count = self.generator, len(run.image)
        steps = still[torch.randint(len(still), (count,), generator=draws)]
        loss = 0.0
        for rows in torch.split(torch.arange(count), ROWS_AT_ONCE):  # bounds the memory, as in chain_gradient
            x, t, some = run.inputs[steps[rows], rows], torch.from_numpy(run.timesteps)[steps[rows]], states.of(rows)
            t = t.to(x.device)
            with torch.no_grad():
                wanted = generator.raw(generator.original, x, t, some)
            apart = (generator.raw(generator.unet, x, t, some) - wanted).square().mean()
            part = weight * len(rows) / count * apart
            torch.autograd.backward(part)
            loss += float(part.detach())
        return loss

    def _update(self, iteration: int) -> None:
        """A step of the optimiser, unless a gradient is not finite: one bad batch must not end the model."""
        for group in self.optimizer.param_groups:
            group["lr"] = _rate(self.how, iteration)
        norm = torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        if not bool(torch.isfinite(norm)):
            return
        self.optimizer.step()
        kept = min(EMA, (1 + iteration) / (10 + iteration))
        with torch.no_grad():
            for average, parameter in zip(self.average, self.learning, strict=True):
                average.lerp_(parameter, 1.0 - kept)

    def use_average(self) -> None:
        """Put the averaged weights in the place of the last ones."""
        with torch.no_grad():
            for average, parameter in zip(self.average, self.learning, strict=True):
                parameter.copy_(average)

    def snapshot(self) -> State:
        """All that :meth:`restore` needs, on the CPU."""
        state = {"done": torch.tensor(self.done)}
        state |= {f"sums.{index}": sums.clone() for index, sums in enumerate(self.sums)}
        for index, (parameter, average) in enumerate(zip(self.learning, self.average, strict=True)):
            state |= {f"parameter.{index}": _kept(parameter), f"average.{index}": _kept(average)}
            moments = self.optimizer.state.get(parameter, {})
            state |= {f"moment.{index}.{name}": _kept(moment) for name, moment in moments.items()}
        return state

    def restore(self, state: State) -> None:
        self.done = int(state["done"])
        self.sums = [state[f"sums.{index}"] for index in range(sum(name.startswith("sums.") for name in state))]
        moments: dict[int, dict[str, torch.Tensor]] = {}
        with torch.no_grad():
            for index, (parameter, average) in enumerate(zip(self.learning, self.average, strict=True)):
                parameter.copy_(state[f"parameter.{index}"])
                average.copy_(state[f"average.{index}"])
        for name, tensor in state.items():
            if name.startswith("moment."):
                _, index_, moment = name.split(".")
                moments.setdefault(int(index_), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def antithetic_noise(prompts: int, images: int, shape: Sequence[int], draws: torch.Generator) -> torch.Tensor:
    """(prompts * images, *shape) float32 standard normal: of a prompt's images, the second half is minus the first.

    Noise of opposite sign mostly draws the other group, so that a few images show how a prompt's shares truly are, and
    less of a batch's gradient is luck (antithetic variates, Hammersley and Morton 1956). Of an odd number the one in
    the middle has no partner.
    """
    half = torch.randn(prompts, (images + 1) // 2, *shape, generator=draws)
    return torch.cat([half, -half], dim=1)[:, :images].flatten(0, 1)


def _rate(how: Batches, iteration: int) -> float:
    """Linear up over the first twentieth and, so that shares settle, linear down over the second half."""
    up = (iteration + 1) / max(1, how.iterations // 20)
    down = 2.0 * (1.0 - iteration / how.iterations)
    return how.learning_rate * min(1.0, up, down)


def _effects(plan: Plan, scalings: Parameterisation, least_noise: float) -> np.ndarray:
    """(K,) equal effects of the steps that learn, 0 of the others; at least the first one learns."""
    return np.where(_learn(plan, scalings, least_noise), equalised_effects(plan, scalings), 0.0)


def _learn(plan: Plan, scalings: Parameterisation, least_noise: float) -> np.ndarray:
    """(K,) bool: the noisy steps, which learn."""
    learn: np.ndarray = plan.timesteps >= min(least_noise * scalings.schedule.steps, plan.timesteps.max())
    return learn


def _output(generator: Generator, states: States) -> Callable[..., torch.Tensor]:
    def output(x: torch.Tensor, t: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return generator.output(generator.unet, x, t, states.of(rows))

    return output


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().clone().contiguous()
