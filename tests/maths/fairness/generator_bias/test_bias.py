"""bias(T) by hand, in worlds with planted frequencies, and against the aggregation that hides it."""

from __future__ import annotations

import numpy as np
import pytest

from services.maths.fairness.generator_bias import generator_bias

SEXES = ("female", "male")
AGES = ("old", "young", "middle")
RATES = np.array([[0.88, 0.07, 0.05], [0.06, 0.9, 0.04], [0.1, 0.1, 0.8]])


def images(counts) -> tuple[np.ndarray, np.ndarray]:
    """Codes and prompts of images from (P, K) counts."""
    table = np.asarray(counts)
    places = np.indices(table.shape).reshape(2, -1)
    prompt, code = np.repeat(places, table.ravel(), axis=1)
    return code, prompt


def generated(rng, prompts, per_prompt, shares, *, spread=np.inf, rates=None):
    """(P, K) classified images. Each prompt's own shares are Dirichlet around ``shares``; ``spread`` is how tightly."""
    own = np.tile(shares, (prompts, 1)) if np.isinf(spread) else rng.dirichlet(np.asarray(shares) * spread, prompts)
    return np.array([rng.multinomial(per_prompt, row if rates is None else row @ rates) for row in own])


def measured(rng, rates, per_group):
    return np.array([rng.multinomial(per_group, row) for row in rates])


def test_both_readings_by_hand():
    """Prompts at 3:1, 1:1, 1:3, 4:0, 2:2 of four images: mean |f - m| = (.5 + 0 + .5 + 1 + 0) / 5 = .4."""
    code, prompt = images([[3, 1], [2, 2], [1, 3], [4, 0], [2, 2]])
    found = generator_bias(code, groups=SEXES, cluster=prompt, target=[0.75, 0.25], seed=0)
    assert found.reading("bias_pairwise").estimate == pytest.approx(0.4)
    # to the target .75: 2 |f - .75| = 0, .5, 1, .5, .5
    assert found.reading("bias_to_target").estimate == pytest.approx(0.5)
    assert found.reading("total_variation").estimate == pytest.approx(0.25)
    assert found.reading("bias_pairwise_pooled").estimate == pytest.approx(4 / 20)
    assert found.reading("bias_to_target_pooled").estimate == pytest.approx(2 * 0.15)
    assert found.frequencies[0].observed == found.frequencies[0].estimate == pytest.approx(0.6)


def test_with_equal_targets_both_readings_agree_and_for_three_groups_pairs_are_averaged():
    rng = np.random.default_rng(1)
    table = generated(rng, 12, 40, [0.5, 0.3, 0.2], spread=20)
    code, prompt = images(table)
    found = generator_bias(code, groups=AGES, cluster=prompt, seed=0)
    share = table / 40
    by_hand = np.mean([[abs(f[i] - f[j]) for i, j in ((0, 1), (0, 2), (1, 2))] for f in share])
    assert found.reading("bias_pairwise").estimate == pytest.approx(by_hand)
    assert found.reading("bias_to_target").estimate == pytest.approx(by_hand)


def test_pooling_before_the_absolute_values_hides_a_generator_that_is_one_sided_at_every_prompt():
    """The wrong aggregation as a negative control: its reading is 0 where every prompt gives one sex only."""
    code, prompt = images([[50, 0], [0, 50]] * 6)
    found = generator_bias(code, groups=SEXES, cluster=prompt, seed=0)
    right, wrong = found.reading("bias_pairwise"), found.reading("bias_pairwise_pooled")
    assert right.estimate == 1.0 and right.ci_low > 0.8 and right.corrected > 0.95
    assert wrong.estimate == 0.0 and wrong.ci_low == 0.0
    assert found.frequencies[0].design_effect > 40, "one prompt counts as little more than one image"


def test_a_fair_generator_shows_its_noise_floor_and_intervals_contain_zero():
    raw, floors, covered, corrected = [], [], {}, []
    for world in range(200):
        rng = np.random.default_rng(world)
        code, prompt = images(generated(rng, 20, 50, [0.5, 0.3, 0.2]))
        found = generator_bias(code, groups=AGES, cluster=prompt, target=[0.5, 0.3, 0.2], seed=world)
        raw.append(found.reading("bias_to_target").estimate)
        floors.append(found.reading("bias_to_target").noise_floor)
        corrected.append(found.reading("bias_to_target").corrected)
        for name in ("bias_to_target", "total_variation", "bias_to_target_pooled", "total_variation_pooled"):
            covered.setdefault(name, []).append(found.reading(name).ci_low == 0.0)
    assert np.mean(raw) == pytest.approx(np.mean(floors), rel=0.03)
    assert np.mean(raw) > 0.07, "far from 0, though nothing is biased"
    assert np.mean(corrected) < 0.35 * np.mean(raw)
    assert all(np.mean(hits) >= 0.93 for hits in covered.values())


def test_planted_bias_lies_in_the_intervals_and_above_zero():
    truth = {"bias_to_target": 0.4, "bias_to_target_pooled": 0.4}
    covered = {name: [] for name in truth}
    corrected = []
    for world in range(200):
        rng = np.random.default_rng(5000 + world)
        code, prompt = images(generated(rng, 25, 60, [0.7, 0.3]))
        found = generator_bias(code, groups=SEXES, cluster=prompt, target=[0.5, 0.5], seed=world)
        for name, value in truth.items():
            reading = found.reading(name)
            covered[name].append(0 < reading.ci_low <= value <= reading.ci_high)
        corrected.append(found.reading("bias_to_target").corrected)
    assert all(np.mean(hits) >= 0.93 for hits in covered.values())
    assert np.mean(corrected) == pytest.approx(0.4, abs=0.02)


def test_a_biased_classifier_invents_a_bias_that_its_confusion_table_takes_out():
    rng = np.random.default_rng(7)
    rates = np.array([[0.7, 0.3], [0.05, 0.95]])
    code, prompt = images(generated(rng, 60, 100, [0.5, 0.5], rates=rates))
    naive = generator_bias(code, groups=SEXES, cluster=prompt, seed=0)
    honest = generator_bias(code, groups=SEXES, cluster=prompt, confusion=measured(rng, rates, 800), seed=0)
    assert naive.reading("bias_pairwise_pooled").ci_low > 0.1 and "errors were not measured" in naive.notes[0]
    assert honest.reading("bias_pairwise_pooled").ci_low == 0.0 and honest.notes == ()
    assert honest.reading("bias_pairwise").ci_low == 0.0
    assert honest.frequencies[0].ci_low < 0.5 < honest.frequencies[0].ci_high
    assert honest.frequencies[0].standard_error > naive.frequencies[0].standard_error


def test_corrected_shares_outside_the_simplex_are_moved_to_it_with_a_note():
    code, prompt = images([[0, 40]] * 8)
    found = generator_bias(
        code, groups=SEXES, cluster=prompt, confusion=np.array([[90, 10], [10, 90]]), target=[0.5, 0.5], seed=0
    )
    assert [frequency.estimate for frequency in found.frequencies] == [0.0, 1.0]
    assert "outside [0, 1]" in found.notes[0]
    for frequency in found.frequencies:
        assert 0 <= frequency.ci_low <= frequency.estimate <= frequency.ci_high <= 1
    assert found.reading("bias_pairwise").estimate == 1.0, "no reading leaves its range"


def test_a_group_that_is_never_generated_is_listed_with_an_honest_upper_limit():
    code, prompt = images([[20, 20, 0]] * 10)
    found = generator_bias(code, groups=AGES, cluster=prompt, seed=0)
    never = found.frequencies[2]
    assert never.group == "middle" and never.observed == 0.0 and never.ci_low == 0.0 and never.ci_high > 0.1
    assert never.design_effect is None


def test_prompts_without_any_spread_do_not_prove_that_there_is_none():
    code, prompt = images([[13, 27]] * 6)
    found = generator_bias(code, groups=SEXES, cluster=prompt, seed=0)
    pooled = found.reading("bias_pairwise_pooled")
    assert pooled.estimate == pytest.approx(14 / 40) and pooled.ci_low == 0.0 and pooled.ci_high > 0.6
    assert found.frequencies[0].ci_high - found.frequencies[0].ci_low > 0.3


def test_the_order_of_groups_and_images_and_the_names_of_prompts_do_not_matter():
    rng = np.random.default_rng(8)
    code, prompt = images(generated(rng, 15, 30, [0.5, 0.3, 0.2], spread=10, rates=RATES))
    confusion, target = measured(rng, RATES, 200), [0.4, 0.4, 0.2]
    found = generator_bias(code, groups=AGES, cluster=prompt, target=target, confusion=confusion, seed=3)
    order = [2, 0, 1]
    back = np.argsort(order)
    shuffled = rng.permutation(len(code))
    turned = generator_bias(
        back[code][shuffled],
        groups=[AGES[k] for k in order],
        cluster=np.array([f"prompt {999 - p}" for p in prompt])[shuffled],
        target=[target[k] for k in order],
        confusion=confusion[np.ix_(order, order)],
        seed=3,
    )
    by_name = {frequency.group: frequency for frequency in turned.frequencies}
    for frequency in found.frequencies:
        for field in ("observed", "estimate", "standard_error", "ci_low", "ci_high"):
            assert getattr(by_name[frequency.group], field) == pytest.approx(getattr(frequency, field), rel=1e-10)
    for reading in found.readings:
        same = turned.reading(reading.name)
        for field in ("estimate", "noise_floor", "corrected", "ci_low", "ci_high"):
            assert getattr(same, field) == pytest.approx(getattr(reading, field), rel=1e-8, abs=1e-12)


def test_images_without_a_subject_are_counted_apart():
    code, prompt = images([[3, 1], [2, 2], [1, 3], [4, 0], [2, 2]])
    more = np.concatenate([code, np.full(7, -1)])
    found = generator_bias(more, groups=SEXES, cluster=np.concatenate([prompt, np.arange(7)]), seed=0)
    assert (found.prompts, found.images, found.unclassified) == (5, 20, 7)
    assert found.reading("bias_pairwise") == generator_bias(code, groups=SEXES, cluster=prompt, seed=0).reading(
        "bias_pairwise"
    )


def test_the_prompt_is_the_unit_so_repeating_images_adds_no_evidence():
    rng = np.random.default_rng(9)
    table = generated(rng, 12, 20, [0.6, 0.4], spread=5)
    once, many = (
        generator_bias(images(part)[0], groups=SEXES, cluster=images(part)[1], seed=0).frequencies[0]
        for part in (table, 10 * table)
    )
    assert many.standard_error == pytest.approx(once.standard_error, rel=1e-12)
    assert many.design_effect > 5 * once.design_effect


def coverage(worlds: int, start: int) -> tuple[float, float]:
    """Share of worlds whose intervals hold all three planted frequencies, and the estimates' mean error."""
    truth, hits, errors = np.array([0.6, 0.15, 0.25]), 0, []
    for world in range(start, start + worlds):
        rng = np.random.default_rng(world)
        code, prompt = images(generated(rng, 30, 40, truth, spread=25, rates=RATES))
        found = generator_bias(code, groups=AGES, cluster=prompt, confusion=measured(rng, RATES, 150), seed=world)
        hits += all(f.ci_low <= t <= f.ci_high for f, t in zip(found.frequencies, truth, strict=True))
        errors.append([f.estimate for f in found.frequencies] - truth)
    return hits / worlds, float(np.abs(np.mean(errors, axis=0)).max())


def test_corrected_frequencies_find_the_planted_ones():
    covered, error = coverage(60, 0)
    assert covered >= 0.85 and error < 0.02


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_intervals_of_corrected_frequencies_cover_the_planted_ones_as_often_as_they_say():
    covered, error = coverage(3000, 10_000)
    assert 0.93 <= covered <= 0.98
    assert error < 0.003


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cluster": np.repeat([0, 1], 5)}, "at least 5 prompts"),
        ({"cluster": np.arange(9)}, "one prompt each"),
        ({"predicted": np.full(10, 2)}, r"-1\.\.1"),
        ({"predicted": np.full(10, -2)}, r"-1\.\.1"),
        ({"predicted": np.full(10, -1)}, "got 0"),
        ({"predicted": np.full(10, 0.5)}, "integers"),
        ({"groups": ("female",)}, "two or more"),
        ({"groups": ("female", "female")}, "different names"),
        ({"target": [0.5, 0.6]}, "add up to 1"),
        ({"target": [1.5, -0.5]}, "not negative"),
        ({"target": [1.0]}, "2 shares"),
        ({"target": [float("nan"), 1.0]}, "not negative"),
        ({"confusion": np.eye(3)}, r"must be \(2, 2\)"),
    ],
)
def test_bad_input_is_refused_with_a_reason(change, message):
    settings = {"predicted": np.arange(10) % 2, "groups": SEXES, "cluster": np.arange(10) // 2, "seed": 0}
    with pytest.raises(ValueError, match=message):
        generator_bias(**(settings | change))
