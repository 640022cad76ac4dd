"""The audit's statistics against what people run today, in CPU seconds of one thread, all ratios within one run.

    python loadtests/audit_statistics.py [--quick] [--only bootstrap closed_form permutations frechet ssim] [--json]

    bootstrap     1,000 patient-bootstrap replicates of AUROC, TPR, FPR and their gaps: 200,000 records of 58,000
                  patients, 12 labels, 53 groups of 7 attributes. Ours is the whole job: draws, sorts and gaps included.
                  Against a loop over scikit-learn and numpy, and against Fairlearn's MetricFrame(n_boot=): these take
                  hours and days, so some replicates of some labels are timed and the rest is extrapolated in
                  proportion (labels x replicates; for Fairlearn also attributes).
    closed_form   AUROC with its patient-clustered standard error in all cells, against one pass of scikit-learn's
                  roc_auc_score over the same cells, values alone.
    permutations  1,000 Westfall-Young permutations of all 1,908 tests of that cohort, in units of the bootstrap.
    frechet       the distance of two samples of 500 records with 2,048 features, against torchmetrics and against
                  scipy's matrix square root, whose result is printed because it may not be a number.
    ssim          images of 256 x 256 against torchmetrics and scikit-image (the same Gaussian window).

Both sides of a ratio take turns, so that other work on the machine falls on both alike; the median of the turns counts.
Ends with 1 when a figure is over its budget. --quick takes a tenth of the cohort and fewer turns: it shows in a minute
that everything works, but its ratios are not those of the budgets, so it never fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.metrics import roc_auc_score

from loadtests.figures import Figures, Job, cpu_seconds, in_turns, on_one_thread, ratio, told
from loadtests.score_world import THRESHOLD, ScoreWorld, score_world
from services.maths.fairness.bootstrap import (
    Replicates,
    bootstrap_classification,
    gap_replicates,
    membership,
    resample_patients,
)

REPLICATES = 1000
ATTRIBUTES, GROUPS = 7, 53
GAPS = (
    ("max_min", ("auroc",)),
    ("eodd_half", ("tpr", "fpr")),
    ("eodd_worst", ("tpr", "fpr")),
    ("eop", ("tpr",)),
)
# Rare, middling and frequent labels stand for all twelve in the loops that take too long.
SOME_LABELS = (0, 6, 11)


# --- bootstrap -------------------------------------------------------------------------------------------------------


def bootstrapped(world: ScoreWorld, replicates: int = REPLICATES) -> tuple[list[Replicates], list[np.ndarray]]:
    """Ours, whole: draws, groups, sorts, replicates of every label, and every gap of every attribute."""
    resamples = resample_patients(world.patients, replicates=replicates, seed=1)
    member = membership(world.groupings)
    found, gaps = [], []
    for y_true, y_score in world.labels:
        part = bootstrap_classification(
            y_true, y_score, THRESHOLD, patient=world.patient, member=member, resamples=resamples
        )
        found.append(part)
        for grouping in world.groupings:
            columns = part.columns(grouping.attribute, grouping.groups)
            gaps += [gap_replicates(part, definition, metrics, columns) for definition, metrics in GAPS]
    return found, gaps


def scikit_learn_replicate(world: ScoreWorld, label: int, rng: np.random.Generator) -> None:
    """What one writes by hand: draw rows, then by attribute and group AUROC, TPR and FPR, and the gaps."""
    y_true, y_score = world.labels[label]
    rows = rng.integers(0, len(y_true), size=len(y_true))
    truth, score = y_true[rows], y_score[rows]
    for grouping in world.groupings:
        codes = grouping.codes[rows]
        values = np.full((len(grouping.groups), 3), np.nan)
        for group in range(len(grouping.groups)):
            inside = codes == group
            positive, flagged = truth[inside] == 1, score[inside] >= THRESHOLD
            if positive.any() and not positive.all():
                values[group] = (
                    roc_auc_score(positive, score[inside]),
                    flagged[positive].mean(),
                    flagged[~positive].mean(),
                )
        spread = values.max(axis=0) - values.min(axis=0)
        (spread[0], (spread[1] + spread[2]) / 2, max(spread[1], spread[2]), spread[1])


def fairlearn_frame(world: ScoreWorld, label: int, attribute: int, replicates: int | None) -> None:
    from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate

    y_true, y_score = world.labels[label]
    metrics = {
        "auroc": roc_auc_score,
        "tpr": lambda truth, score: true_positive_rate(truth, score >= THRESHOLD),
        "fpr": lambda truth, score: false_positive_rate(truth, score >= THRESHOLD),
    }
    resampled = {} if replicates is None else {"n_boot": replicates, "ci_quantiles": [0.025, 0.975], "random_state": 1}
    codes = world.groupings[attribute].codes
    frame = MetricFrame(metrics=metrics, y_true=y_true, y_pred=y_score, sensitive_features=codes, **resampled)
    frame.difference()


def bootstrap_error(world: ScoreWorld, replicates: int) -> float:
    """Largest difference from scikit-learn's weighted AUROC and weighted rates, with and without many ties."""
    worst = 0.0
    resamples, member = resample_patients(world.patients, replicates=replicates, seed=1), membership(world.groupings)
    for label in SOME_LABELS:
        y_true, smooth = world.labels[label]
        for y_score in (smooth.astype(np.float32), np.round(smooth * 255) / 255):
            found = bootstrap_classification(
                y_true, y_score, THRESHOLD, patient=world.patient, member=member, resamples=resamples
            )
            weight = resamples.weights[(replicates - 1) // 64, world.patient, (replicates - 1) % 64].astype(float)
            for grouping in world.groupings:
                columns = found.columns(grouping.attribute, grouping.groups)
                for group, column in enumerate(columns):
                    inside = (grouping.codes == group) & (weight > 0)
                    got = [values[-1, column] for values in (found.auroc, found.tpr, found.fpr)]
                    expected = weighted(y_true[inside] == 1, y_score[inside], weight[inside])
                    worst = max(worst, float(np.nanmax(np.abs(np.subtract(got, expected)), initial=0.0)))
    return worst


def weighted(positive: np.ndarray, score: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    if positive.all() or not positive.any():
        return np.nan, np.nan, np.nan
    flagged = score >= THRESHOLD
    tpr = weight[positive & flagged].sum() / weight[positive].sum()
    fpr = weight[~positive & flagged].sum() / weight[~positive].sum()
    return roc_auc_score(positive, score, sample_weight=weight), tpr, fpr


def memory_growth_mib(job: Job) -> float:
    """Peak resident memory during a job less what was resident before it."""
    with contextlib.suppress(OSError):  # without it the peak so far counts, which can only hide growth of the past
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    before = _status_kib("VmRSS")
    kept = job()
    growth = (_status_kib("VmHWM") - before) / 1024
    del kept
    return growth


def _status_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def bootstrap_figures(world: ScoreWorld, quick: bool) -> Figures:
    rng = np.random.default_rng(2)
    bootstrapped(world, 64)  # compile
    growth = memory_growth_mib(lambda: bootstrapped(world))
    seconds = in_turns(
        {
            "ours": lambda: bootstrapped(world),
            **{f"loop {label}": lambda label=label: scikit_learn_replicate(world, label, rng) for label in SOME_LABELS},
        },
        1 if quick else 5,
    )
    # One turn of Fairlearn is a replicate of its bootstrap: a frame with two of them less a frame without any, halved.
    frames = [
        (fairlearn_cost(world, label, 2) - fairlearn_cost(world, label, None)) / 2
        for label in (SOME_LABELS[1:2] if quick else SOME_LABELS[1:])
    ]
    ours = median(seconds["ours"])
    loop = float(np.mean([median(seconds[f"loop {label}"]) for label in SOME_LABELS]))
    label_replicates = len(world.labels) * REPLICATES
    return {
        "bootstrap_seconds": ours,
        "scikit_learn_seconds_per_label_replicate": loop,
        "fairlearn_seconds_per_label_replicate": ATTRIBUTES * float(np.mean(frames)),
        "bootstrap_vs_scikit_learn": label_replicates * loop / ours,
        "bootstrap_vs_fairlearn": label_replicates * ATTRIBUTES * float(np.mean(frames)) / ours,
        "bootstrap_error": bootstrap_error(world, 65),
        "bootstrap_memory_mib": growth,
    }


def fairlearn_cost(world: ScoreWorld, label: int, replicates: int | None) -> float:
    """Mean over the smallest and the largest attribute; the other five lie between them."""
    costs = [cpu_seconds(lambda a=attribute: fairlearn_frame(world, label, a, replicates)) for attribute in (0, 6)]
    return float(np.mean(costs))


# --- closed form and permutations -------------------------------------------------------------------------------------


def closed_form(world: ScoreWorld) -> list[np.ndarray]:
    from services.maths.fairness.metrics.auroc import auroc_by_attribute
    from services.maths.fairness.sums import units_of

    units = units_of(world.patient, world.groupings)
    found = []
    for y_true, y_score in world.labels:
        for estimates in auroc_by_attribute(y_true, y_score, units, units.sensitive_features):
            found.append(np.stack([estimates.value, estimates.standard_error]))  # noqa: PERF401
    return found


def scikit_learn_pass(world: ScoreWorld) -> list[float]:
    return [
        roc_auc_score(y_true[grouping.codes == group], y_score[grouping.codes == group])
        for y_true, y_score in world.labels
        for grouping in world.groupings
        for group in range(len(grouping.groups))
    ]


def closed_form_figures(world: ScoreWorld, quick: bool) -> Figures:
    ours = closed_form(world)  # compiles, too
    points = np.concatenate(
        [part[0, : len(grouping.groups)] for part, grouping in zip(ours, world.groupings * 12, strict=True)]
    )
    error = float(np.abs(points - scikit_learn_pass(world)).max())
    if error > 1e-12:
        raise RuntimeError(f"the closed form differs from scikit-learn by {error}")
    turns = in_turns({"ours": lambda: closed_form(world), "loop": lambda: scikit_learn_pass(world)}, 1 if quick else 3)
    return {
        "closed_form_seconds": median(turns["ours"]),
        "closed_form_vs_scikit_learn": ratio(turns["loop"], turns["ours"]),
    }


def permutation_figures(world: ScoreWorld, quick: bool) -> Figures:
    from services.maths.fairness.cells import Minimums
    from services.maths.fairness.metrics.classification import disaggregate_classification
    from services.maths.fairness.testing.families import group_tests
    from services.maths.fairness.testing.vectors import attribute_vectors

    threshold = np.full(len(world.patient), THRESHOLD)
    measured = {
        label: disaggregate_classification(
            y_true, y_score, threshold, sensitive_features=world.groupings, cluster=world.patient, minimums=Minimums()
        ).sums
        for label, (y_true, y_score) in enumerate(world.labels)
    }
    testable = {
        (label, metric, grouping.attribute): grouping.groups
        for label in measured
        for metric in ("auroc", "tpr", "fpr")
        for grouping in world.groupings
    }

    def permuted(permutations: int = REPLICATES) -> int:
        vectors = attribute_vectors(world.patient, world.groupings)
        tests = group_tests(measured, vectors=vectors, testable=testable, seed=1, permutations=permutations)
        return len(tests.cells)

    if (count := permuted(64)) != len(world.labels) * GROUPS * 3:  # compiles, too
        raise RuntimeError(f"{count} tests are not those of {GROUPS} groups")
    turns = in_turns({"permutations": permuted, "bootstrap": lambda: bootstrapped(world)}, 1 if quick else 3)
    return {
        "permutations_seconds": median(turns["permutations"]),
        "permutations_to_bootstrap": ratio(turns["permutations"], turns["bootstrap"]),
    }


# --- distances and images ---------------------------------------------------------------------------------------------


def square_root_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The formula as most scripts have it, with scipy's matrix square root."""
    from scipy import linalg

    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    apart = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    return float(apart + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root).real)


def torchmetrics_distance(first: np.ndarray, second: np.ndarray) -> float:
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Features(torch.nn.Identity):
        num_features = first.shape[1]

    metric = FrechetInceptionDistance(feature=Features()).set_dtype(torch.float64)
    metric.update(torch.from_numpy(first), real=True)
    metric.update(torch.from_numpy(second), real=False)
    return float(metric.compute())


def frechet_figures(_: ScoreWorld, quick: bool) -> Figures:
    from services.maths.fairness.distributions import frechet_distance

    rng = np.random.default_rng(3)
    # Features as a network's last layer gives them: never negative, with a falling spectrum.
    mixing = rng.normal(size=(2048, 2048)) * np.geomspace(1.0, 0.02, 2048)[:, None] / 8
    first, second = (np.maximum(rng.normal(size=(500, 2048)) @ mixing, 0.0) for _ in range(2))
    distances = [job(first, second) for job in (frechet_distance, torchmetrics_distance)]
    sides = {"ours": frechet_distance, "torchmetrics": torchmetrics_distance}
    turns = in_turns({name: lambda job=job: job(first, second) for name, job in sides.items()}, 1 if quick else 3)
    roots: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the matrix is singular is the point
        slow = [
            cpu_seconds(lambda: roots.append(square_root_distance(first, second))) for _ in range(1 if quick else 2)
        ]
    return {
        "frechet": distances[0],
        "frechet_by_torchmetrics": distances[1],
        "frechet_by_sqrtm": roots[0],
        "frechet_error": abs(distances[0] / distances[1] - 1.0),
        "frechet_vs_torchmetrics": ratio(turns["torchmetrics"], turns["ours"]),
        "frechet_vs_sqrtm": ratio(slow, turns["ours"]),
    }


def ssim_figures(_: ScoreWorld, quick: bool) -> Figures:
    import torch
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import structural_similarity_index_measure

    from services.maths.imaging.quality import ssim

    rng = np.random.default_rng(4)
    images = rng.random((2, 1, 256, 256), dtype=np.float32)
    noisy = np.clip(images + 0.1 * rng.normal(size=images.shape), 0, 1).astype(np.float32)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}

    def scikit_image(kind: type[np.floating] = np.float32) -> list[float]:
        return [
            structural_similarity(x[0].astype(kind), y[0].astype(kind), **options)
            for x, y in zip(noisy, images, strict=True)
        ]

    def torchmetrics() -> None:
        for x, y in zip(noisy, images, strict=True):
            structural_similarity_index_measure(torch.from_numpy(x[None]), torch.from_numpy(y[None]), data_range=1.0)

    error = float(np.abs(ssim(noisy, images) - scikit_image(np.float64)).max())
    passes = 8  # over two pairs, so that it is the arithmetic that is timed and not the first sight of the pixels
    sides: dict[str, Job] = {
        "ours": lambda: [ssim(noisy, images) for _ in range(passes)],
        "torchmetrics": lambda: [torchmetrics() for _ in range(passes)],
        "scikit_image": lambda: [scikit_image() for _ in range(passes)],
    }
    in_turns(sides, 1)
    turns = in_turns(sides, 3 if quick else 15)
    return {
        "ssim_images_per_second": passes * len(images) / median(turns["ours"]),
        "ssim_vs_torchmetrics": ratio(turns["torchmetrics"], turns["ours"]),
        "ssim_vs_scikit_image": ratio(turns["scikit_image"], turns["ours"]),
        "ssim_error": error,
    }


FIGURES: dict[str, Callable[[ScoreWorld, bool], Figures]] = {
    "bootstrap": bootstrap_figures,
    "closed_form": closed_form_figures,
    "permutations": permutation_figures,
    "frechet": frechet_figures,
    "ssim": ssim_figures,
}


def main() -> int:
    on_one_thread()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--quick", action="store_true", help="a tenth of everything; never fails")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    world = score_world(20_000 if options.quick else 200_000)
    found: Figures = {"records": len(world.patient), "patients": world.patients}
    for name in options.only:
        found |= FIGURES[name](world, options.quick)
    found["load_average"] = os.getloadavg()[0]
    within = told(found, "statistics", as_json=options.json)
    return 0 if within or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
