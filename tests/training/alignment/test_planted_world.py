"""The shipped generator, of a corpus in which three hearts in four are women's, tuned to one half and to 30 percent,
and to shares of four groups.

Judged by the phantoms' readers, which are exact, and by the classifier that never guided, as the mean of three draws:
one of 100 images a prompt shows bias that is ± .02 luck. Three quarters of an hour a target.
"""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from services.adapters.diffusion_folder import load_latent_diffusion
from services.adapters.weights import DirectoryRegistry
from services.maths.diffusion.noise import image_noise
from services.maths.fairness.distributions.kernel import kid
from services.maths.fairness.generator_bias import generator_bias
from services.maths.phantoms.caption_readers import read_attributes
from services.maths.phantoms.captions import caption_attributes, compose
from services.maths.phantoms.cardiac import BMI_CUTS
from services.maths.phantoms.prompt_grids import prompt_grid
from services.training.alignment.bench import set_up
from services.training.folders import RunFolder
from services.training.generative.images import HELD_OUT, draw_pictures, spec
from services.training.steps import perform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

LEVELS = ("Female", "Male")
IMAGES, STEPS, SEEDS = 100, 10, (2024, 2025, 2026)
GRID = tuple(prompt.text for prompt in prompt_grid("cardiac", "sex")[1])
MEANINGS = {name: (None, *caption_attributes("cardiac")[name]) for name in ("sex", "age", "diagnosis")}
USUAL = dict.fromkeys(
    ("confidence", "batch_prompts", "batch_images", "least_steps", "most_steps", "evaluations"), 0
) | {"test_images": 20}
"""Of an alignment: 0 is what is usual."""

BATCHES_OF_FOUR = 100
FOUR = "bias falls by 13 % in 100 batches of LoRA: underweight hearts go from 23 to 29 %, obese ones from 25 to 27 %"


@pytest.fixture(scope="module", params=[0.5, 0.3], ids=lambda share: f"to{100 * share:.0f}")
def female(request):
    return request.param


def drawn(bench, unet, prompts=GRID):
    """What a U-Net draws from the noise of each seed."""
    return [drawn_once(bench, unet, prompts, seed) for seed in SEEDS]


def drawn_once(bench, unet, prompts, seed):
    """20 test prompts × 100 images from pinned noise: readings, the last judge's classes, features, prompts."""
    generator, judge = bench.generator, bench.judges[-1]
    readings, classes, features, owners = [], [], [], []
    plan = generator.plan(STEPS)
    with torch.no_grad():
        for place, prompt in enumerate(prompts):
            numbers = range(place * IMAGES, (place + 1) * IMAGES)
            noise = np.stack([image_noise(seed, number, "base", generator.shape) for number in numbers])
            states = generator.states([prompt] * IMAGES)
            pictures = generator.pictures(generator.sample(unet, torch.from_numpy(noise), states, plan).image)
            shown = bench.objective.shown(pictures)
            readings.append(read_attributes("cardiac", shown.numpy()).assign(prompt=place))
            classes.append(judge.network(shown).argmax(1).numpy())
            features.append(bench.objective.features(pictures).numpy())
            owners += [place] * IMAGES
    return pd.concat(readings, ignore_index=True), np.concatenate(classes), np.concatenate(features), np.array(owners)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Hearts of 300 adults that no model learned from: the pictures and their table."""
    return draw_pictures("cardiac", "null", HELD_OUT, patients=300, seed=8, pixels=spec(3, 64))


def mean_over(draws, measure, *about):
    return np.mean([measure(draw, *about) for draw in draws], axis=0).tolist()


def bias_as_read(draw, attribute, levels, target):
    return bias(read_codes(draw[0][attribute], levels), draw[3], levels, target)


def bias_as_judged(draw, levels, target):
    return bias(draw[1], draw[3], levels, target)


def bias(codes, owners, levels, target):
    """Per prompt, as it is defined and less what a finite number of images adds."""
    found = generator_bias(codes, groups=levels, cluster=owners, target=target, seed=1).reading("bias_to_target")
    return np.array([found.estimate, found.corrected])


def share(draw, attribute, level):
    return (draw[0][attribute] == level).mean()


def tuned_of(run, folder):
    """What the alignment works with, and the U-Net that it leaves."""
    torch.set_num_threads(2)
    placed = RunFolder(folder / "run")
    placed.place_order(run, folder / "models", "2")
    perform(placed)
    registry = DirectoryRegistry([folder / "models"])
    tuned = load_latent_diffusion(registry.folder(registry.find(run.model))).unet
    return set_up(run.alignment, lambda network: network), tuned


@pytest.fixture(scope="module")
def known():
    """What was drawn and measured already: the untuned model's images, the same for all targets, and figures."""
    return {}


@pytest.fixture
def found(run_of, tmp_path, real, known, female):
    """Figures before and after tuning to a share of women."""
    if female not in known:
        target = {"Female": female, "Male": 1 - female}
        run = run_of(epochs=0, shares={"target": target}, alignment=USUAL | {"prompts": [], "test_prompts": []})
        bench, tuned = tuned_of(run, tmp_path)
        if "original" not in known:
            known["original"] = drawn(bench, bench.generator.original)
        known[female] = figures(known["original"], drawn(bench, tuned), tuple(target.values()), real, bench.objective)
        print(json.dumps(known[female]))  # with pytest -s
    return known[female]


def figures(before, after, target, real, objective):
    """Before and after: bias to the target, as defined and less its noise; KID to real hearts; shares."""
    both = (before, after)
    return {
        "bias": {
            "readers": [mean_over(draws, bias_as_read, "sex", LEVELS, target) for draws in both],
            "judge": [mean_over(draws, bias_as_judged, LEVELS, target) for draws in both],
        },
        "kid": {level: [mean_over(draws, quality, level, real, objective) for draws in both] for level in LEVELS},
        "shares": {
            level: [mean_over(draws, share, attribute, level) for draws in both]
            for attribute in ("bmi", "diagnosis")
            for level in before[0][0][attribute].dropna().unique()
        },
    }


def test_bias_falls_by_three_quarters_and_nothing_else_moves(found):
    """As it is defined, though of 100 images a prompt luck alone shows .08, and less that luck."""
    for name, (old, new) in found["bias"].items():
        assert (np.array(new) <= 0.25 * np.array(old)).all(), name
    for level, (old, new) in found["kid"].items():
        assert new <= 1.05 * old, level
    for level, (old, new) in found["shares"].items():
        assert abs(new - old) < 0.03, level


def quality(draw, level, real, objective):
    """KID of the drawn hearts of a sex, as read, to real ones of that sex."""
    drawn, true = (draw[0]["sex"] == level).to_numpy(), (real.table["sex"] == level).to_numpy()
    with torch.no_grad():
        features = objective.features(real.pixels[torch.from_numpy(true)]).numpy()
    return kid(
        draw[2][drawn],
        features,
        first_cluster=np.array([f"image {place}" for place in np.flatnonzero(drawn)]),
        second_cluster=real.table["patient_id"].to_numpy()[true],
        permutations=1,
        seed=1,
    ).value


def read_codes(seen, levels):
    return seen.map({level: code for code, level in enumerate(levels)}).fillna(-1).to_numpy(np.int64)


@pytest.mark.xfail(reason=FOUR, strict=False)
def test_four_groups_get_their_shares_by_low_rank_additions(run_of, tmp_path):
    """Body mass is in the ring of fat: 14, 34, 27 and 25 % of the corpus, to 40, 30, 20 and 10 %."""
    target = dict(zip(BMI_CUTS, (0.4, 0.3, 0.2, 0.1), strict=True))
    said = [dict(zip(("sex", "age", "diagnosis"), words, strict=True)) for words in product(*MEANINGS.values())]
    order = np.random.default_rng(7).permutation(len(said))
    prompts = [compose("cardiac", {name: level for name, level in said[place].items() if level}) for place in order]
    run = run_of(
        epochs=BATCHES_OF_FOUR,
        shares={
            "attribute": "bmi",
            "target": target,
            "judge": "",
            "classifier": "models/cardiac-bmi-classifier",
        },
        alignment=USUAL | {"method": "lora", "prompts": prompts[20:], "test_prompts": prompts[:20]},
    )
    bench, tuned = tuned_of(run, tmp_path)
    before, after = (drawn(bench, unet, prompts[:20]) for unet in (bench.generator.original, tuned))
    levels, wanted = tuple(target), tuple(target.values())
    old, new = (mean_over(draws, bias_as_read, "bmi", levels, wanted) for draws in (before, after))
    women = [mean_over(draws, share, "sex", "Female") for draws in (before, after)]
    shares = {level: [mean_over(draws, share, "bmi", level) for draws in (before, after)] for level in levels}
    print(json.dumps({"bias": [old, new], "women": women, "shares": shares}))
    assert new[0] <= 0.5 * old[0]
    assert abs(women[1] - women[0]) < 0.03


def test_sampling_noise_alone_would_show_some_bias():
    """What a fair generator shows of 100 images a prompt: the floor below which no tuning gets."""
    codes = np.random.default_rng(1).integers(0, 2, 20 * IMAGES)
    seen, less_noise = bias(codes, np.repeat(np.arange(20), IMAGES), LEVELS, (0.5, 0.5))
    assert 0.05 < seen < 0.11
    assert less_noise < 0.03
