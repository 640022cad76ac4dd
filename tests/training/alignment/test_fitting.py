"""One batch of an alignment, and that a run which resumes ends in the weights of one that never stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrize

from services.maths.alignment import class_effects
from services.training.alignment.adapters import make_trainable, merge
from services.training.alignment.fitting import Fitting, _effects, antithetic_noise
from services.training.alignment.objective import _seen_anew, judge, originals
from services.training.tuning import Adapter, Batches
from tests.training.alignment.conftest import TEST_PROMPTS

ADAPTERS = [Adapter(method, part, rank=2) for method in ("full", "lora") for part in ("unet", "prompt-path")]


HOW = Batches(iterations=4, prompts=2, images=4, steps=(2, 3), evaluations=2, learning_rate=1e-3)


def fitting_of(bench, adapter=ADAPTERS[0]):
    return Fitting(bench.generator, make_trainable(bench.generator.unet, adapter, seed=1), HOW)


def test_a_run_that_resumes_ends_in_the_same_weights(bench_of):
    whole, first, second = (bench_of() for _ in range(3))
    fitting = fitting_of(whole)
    fitting.run(whole.objective, TEST_PROMPTS, seed=3)
    kept = {}

    class Killed(Exception):
        pass

    def killed_after_two(done, judged):
        if done == 2:
            kept.update(interrupted.snapshot())
            raise Killed

    interrupted = fitting_of(first)
    with pytest.raises(Killed):
        interrupted.run(first.objective, TEST_PROMPTS, seed=3, report=killed_after_two)
    resumed = fitting_of(second)
    resumed.restore(kept)
    assert resumed.done == 2
    resumed.run(second.objective, TEST_PROMPTS, seed=3)
    for pair in (
        zip(fitting.learning, resumed.learning, strict=True),
        zip(fitting.average, resumed.average, strict=True),
    ):
        assert all(torch.equal(one, other) for one, other in pair)


def test_half_of_a_prompts_noise_is_minus_the_other_half():
    x = antithetic_noise(300, 5, (3, 4), torch.Generator().manual_seed(1)).view(300, 5, 3, 4)
    assert torch.equal(x[:, 3:], -x[:, :2])
    free = x[:, :3].flatten()
    assert abs(float(free.mean())) < 4 / len(free) ** 0.5
    assert abs(float(free.std()) - 1) < 4 / (2 * len(free)) ** 0.5
    apart = torch.corrcoef(x[:, :3].transpose(0, 1).flatten(1))
    assert (apart - torch.eye(3)).abs().max() < 4 / (300 * 12) ** 0.5, "those that are no partners are independent"


def test_a_batch_samples_each_prompt_from_opposite_noises(bench_of, monkeypatch):
    bench, seen = bench_of(), []
    sample = bench.generator.sample

    def seen_by(unet, x, states, plan):
        seen.append(x)
        return sample(unet, x, states, plan)

    monkeypatch.setattr(bench.generator, "sample", seen_by)
    fitting_of(bench).step(bench.objective, TEST_PROMPTS, seed=3, iteration=0)
    original, tuned = seen
    assert torch.equal(original, tuned)
    halves = original.reshape(2, 2, 2, -1)
    assert torch.equal(halves[:, 1], -halves[:, 0])


def test_before_the_first_update_the_images_are_the_originals_to_the_bit(bench_of):
    bench = bench_of()
    generator, objective = bench.generator, bench.objective
    x = torch.randn(6, *generator.shape, generator=torch.Generator().manual_seed(1))
    states, plan = generator.states([TEST_PROMPTS[1]] * 6), generator.plan(2)
    latents = [generator.sample(unet, x, states, plan).image for unet in (generator.original, generator.unet)]
    assert torch.equal(*latents)
    before = originals(objective, generator.pictures(latents[0]).detach(), torch.Generator().manual_seed(1))
    known = {"before": before, "prompts": [TEST_PROMPTS[1]] * 6}
    apart = [torch.randn(2, before.features.shape[1], generator=torch.Generator().manual_seed(2))]
    for effects in ((), apart):
        judged = judge(
            objective, generator.pictures, latents[1], **known, rng=np.random.default_rng(1), effects=effects
        )
        assert (judged.preservation > 0) == bool(effects), "who is to change is not yet what it should be"
    assert judged.gradient.shape == latents[1].shape
    assert judged.gradient.abs().sum() > 0


def test_steps_that_do_not_learn_are_held_to_the_originals_outputs(bench_of):
    bench = bench_of()
    generator, fitting = bench.generator, fitting_of(bench)
    states, plan = generator.states(TEST_PROMPTS[:3]), generator.plan(4)
    x = torch.randn(3, *generator.shape, generator=torch.Generator().manual_seed(1))
    run = generator.sample(generator.unet, x, states, plan)

    def held(weight):
        for parameter in fitting.learning:
            parameter.grad = None
        loss = fitting._hold(weight, run, states, plan, torch.Generator().manual_seed(1))
        return loss, [parameter.grad for parameter in fitting.learning]

    loss, gradients = held(2.0)
    assert loss == 0.0
    assert not any(gradient.any() for gradient in gradients if gradient is not None)
    with torch.no_grad():
        fitting.learning[-1].add_(0.1)
    once, (*_, gradient) = held(1.0)
    twice, (*_, steeper) = held(2.0)
    assert once > 0
    assert twice == pytest.approx(2 * once)
    torch.testing.assert_close(steeper, 2 * gradient)
    assert held(0.0) == (0.0, [None] * len(fitting.learning))
    fitting.how = replace(fitting.how, least_noise=0.0)
    assert held(1.0)[0] == 0.0, "where all steps learn none is held"


@pytest.mark.parametrize("adapter", ADAPTERS, ids=str)
def test_what_is_chosen_learns_and_nothing_else(bench_of, adapter):
    bench = bench_of()
    unet = bench.generator.unet
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    fitting = fitting_of(bench, adapter)
    fitting.run(bench.objective, TEST_PROMPTS, seed=3)
    merge(unet)
    assert not any(parametrize.is_parametrized(layer) for layer in unet.modules())
    changed = {name for name, tensor in unet.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    if adapter.part == "prompt-path":
        assert all("attn2.to_k" in name or "attn2.to_v" in name for name in changed)
    else:
        assert any("attn2" not in name for name in changed)
    text = bench.generator.model.text.model
    assert not any(parameter.requires_grad for parameter in text.parameters())


def test_low_rank_additions_change_nothing_before_the_first_step(bench_of):
    bench = bench_of()
    unet = bench.generator.unet
    x, t = torch.randn(2, *bench.generator.shape, generator=torch.Generator().manual_seed(2)), torch.tensor([500, 20])
    states = bench.generator.states(TEST_PROMPTS[:2])
    before = bench.generator.output(unet, x, t, states)
    make_trainable(unet, Adapter("lora", "unet", 4), seed=1)
    torch.testing.assert_close(bench.generator.output(unet, x, t, states), before, rtol=0, atol=1e-6)


def test_a_batch_whose_gradient_is_no_number_is_left_out(bench_of):
    bench = bench_of()
    fitting = fitting_of(bench)
    weights = [parameter.detach().clone() for parameter in fitting.learning]
    for parameter in fitting.learning:
        parameter.grad = torch.full_like(parameter, float("nan"))
    fitting._update(0)
    assert all(torch.equal(parameter, weight) for parameter, weight in zip(fitting.learning, weights, strict=True))


def test_crossed_attributes_are_aligned_together(bench_of):
    bench = bench_of()
    objective = bench.objective
    one = objective.guides[0]
    both = type(objective)(
        (one, type(one)("again", one.network, (0.5, 0.5))), objective.encoder, 0.6, 8.0, 0.2, joint=True
    )
    generator = bench.generator
    x = torch.randn(12, *generator.shape, generator=torch.Generator().manual_seed(1))
    image = generator.sample(generator.unet, x, generator.states([TEST_PROMPTS[0]] * 12), generator.plan(2)).image
    before = originals(both, generator.pictures(image).detach(), torch.Generator().manual_seed(1))
    assert before.classes.shape == (12, 1)
    assert torch.equal(before.classes, 3 * before.classes.div(2, rounding_mode="floor")), "both read the same sex"
    (sums,) = before.sums(torch.zeros(12), both.levels)
    judged = judge(
        both,
        generator.pictures,
        image,
        before=before,
        prompts=[TEST_PROMPTS[0]] * 12,
        rng=np.random.default_rng(1),
        effects=[class_effects(sums)],
    )
    assert len(judged.shares) == 2
    assert judged.gradient.isfinite().all()


def test_only_noisy_steps_learn_and_the_others_equally_not_at_all(bench_of):
    generator = bench_of().generator
    plan = generator.plan(8)
    effects = _effects(plan, generator.scalings, 0.5)
    learns = plan.timesteps >= 500
    assert learns.sum() == 4
    assert not effects[~learns].any()
    assert np.ptp(effects[learns]) == 0
    assert effects[0] < 0
    assert (_effects(plan, generator.scalings, 1.0) != 0).sum() == 1


def test_views_of_a_picture_differ_in_what_says_nothing(bench_of):
    objective = bench_of().objective
    pictures = torch.linspace(-1, 1, 64).expand(2, 3, 64, 64).contiguous()
    one, other = (_seen_anew(pictures, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(one, other)
    torch.testing.assert_close(one.mean((2, 3)), pictures.mean((2, 3)), atol=0.2, rtol=0)
    logits = objective.logits(pictures, torch.Generator().manual_seed(1))
    assert torch.equal(logits[0], objective.logits(pictures, torch.Generator().manual_seed(1))[0])
