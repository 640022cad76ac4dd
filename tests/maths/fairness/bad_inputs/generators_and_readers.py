"""Bad features for distances of distributions, bad counts of generated images, and bad tables of readers' ratings."""

from __future__ import annotations

import numpy as np

from services.maths.fairness.agreement import agreement_weights, gwet
from services.maths.fairness.distributions import frechet_distance, frechet_matrix, kid, kid_matrix
from services.maths.fairness.generator_bias import generator_bias, rogan_gladen
from services.maths.fairness.groups import Grouping
from tests.maths.fairness.bad_inputs.cases import DRAW, Cases, Kept, Refused, spoiled

REAL, FAKE = DRAW.normal(size=(2, 12, 3))
IDS = np.arange(12)
TWO = Grouping("sex", ("F", "M"), np.arange(12) % 2)
PREDICTED, PROMPTS = np.arange(24) % 2, np.repeat(np.arange(6), 4)
RATINGS = DRAW.integers(1, 4, size=(15, 3)).astype(object)


def _kid(first=REAL, second=FAKE, **changed):
    given = {"first_cluster": IDS[: len(first)], "second_cluster": 100 + IDS[: len(second)], "permutations": 19}
    return kid(first, second, **{**given, "seed": 1, **changed})


def _kid_matrix(features=REAL, groups=TWO, cluster=IDS, **changed):
    return kid_matrix(features, groups, cluster=cluster, **{"permutations": 19, "seed": 1, **changed})


def _fid_matrix(features=REAL, groups=TWO, cluster=IDS, **changed):
    return frechet_matrix(features, groups, cluster=cluster, **{"n": 3, "seed": 1, **changed})


def _bias(predicted=PREDICTED, groups=("F", "M"), cluster=PROMPTS, **changed):
    return generator_bias(predicted, groups=groups, cluster=cluster, **{"seed": 1, **changed})


def _agreed(ratings=RATINGS, categories=(1, 2, 3), **changed):
    return gwet(ratings, categories=categories, **{"permutations": 19, "seed": 1, **changed})


def _bad(value):
    features = REAL.copy()
    features[0, 0] = value
    return features


def _rated(value, *places):
    ratings = RATINGS.copy()
    ratings[places or (0, 0)] = value
    return ratings


DISTANCES: Cases = {
    "KID of one record": Refused(lambda: _kid(REAL[:1]), "at least 2 records"),
    "KID of two patients": Refused(lambda: _kid(REAL[:2]), "needs 5 patients a sample"),
    "KID of one patient": Refused(lambda: _kid(first_cluster=np.zeros(12)), "needs 5 patients a sample"),
    "KID of unequal sizes": Kept(lambda: _kid(REAL[:7]), lambda found: found.patients == (7, 12)),
    "KID of NaN": Refused(lambda: _kid(_bad(np.nan)), "first holds NaN or infinite features"),
    "KID of infinity": Refused(lambda: _kid(second=_bad(np.inf)), "second holds NaN or infinite features"),
    "KID of words": Refused(lambda: _kid(REAL.astype(str)), "first must hold numbers"),
    "KID of huge features": Refused(lambda: _kid(_bad(1e150)), "features beyond 1e[+]40"),
    "KID of one row": Refused(lambda: _kid(REAL[0]), "at least 2 records"),
    "KID of no features": Refused(lambda: _kid(REAL[:, :0]), r"got shape \(12, 0\)"),
    "KID of other features": Refused(lambda: _kid(second=FAKE[:, :2]), "the same features, got 3 and 2"),
    "KID of constant features": Kept(
        lambda: _kid(np.ones((12, 3)), np.ones((12, 3))), lambda found: abs(found.value) < 1e-9 and found.p_value == 1.0
    ),
    "KID of a sample and itself": Kept(lambda: _kid(REAL, REAL), lambda found: found.value < 0 and found.p_value > 0.5),
    "KID with a patient moved to the other sample": Refused(
        lambda: _kid(first_cluster=IDS[1:], second_cluster=np.arange(13)), r"its own cluster .* \[12, 11, 12, 13\]"
    ),
    "KID without a patient": Refused(lambda: _kid(first_cluster=spoiled(IDS, np.nan)), "a patient for every record"),
    "KID without permutations": Refused(lambda: _kid(permutations=0), "at least 1"),
    "KID of a negative seed": Refused(lambda: _kid(seed=-1), "seed must not be negative"),
    "KID matrix of fewer groups": Refused(
        lambda: _kid_matrix(groups=TWO.take(IDS[1:])), "differ in length: 12, 11, 12"
    ),
    "KID matrix of fewer patients": Refused(lambda: _kid_matrix(cluster=IDS[1:]), "differ in length: 12, 12, 11"),
    "KID matrix with an empty group": Kept(
        lambda: _kid_matrix(groups=Grouping("sex", ("F", "M", "X"), TWO.codes)),
        lambda found: found.states == ("ok", "ok", "insufficient") and np.isnan(found.value[2]).all(),
    ),
    "KID matrix of nobody's group": Kept(
        lambda: _kid_matrix(groups=Grouping("sex", ("F", "M"), np.full(12, -1))),
        lambda found: found.states == ("insufficient",) * 2 and np.isnan(found.p_adjusted).all(),
    ),
    "FID of one record": Refused(lambda: frechet_distance(REAL[:1], FAKE[:1]), "at least 2 records"),
    "FID of unequal sizes": Refused(lambda: frechet_distance(REAL, FAKE[:-1]), "depends on sample size"),
    "FID of NaN": Refused(lambda: frechet_distance(_bad(np.nan), FAKE), "NaN or infinite"),
    "FID of huge features": Refused(lambda: frechet_distance(_bad(1e200), FAKE), "features beyond"),
    "FID of other features": Refused(lambda: frechet_distance(REAL, FAKE[:, :2]), "the same features"),
    "FID of constant features": Kept(
        lambda: frechet_distance(np.ones((12, 3)), np.ones((12, 3))), lambda distance: distance == 0.0
    ),
    "FID of fewer records than features": Kept(
        lambda: frechet_distance(np.ones((2, 9)), np.eye(2, 9)), lambda distance: np.isfinite(distance) and distance > 0
    ),
    "FID matrix of one patient": Kept(
        lambda: _fid_matrix(cluster=np.zeros(12, dtype=int)),
        lambda found: found.states == ("insufficient",) * 2 and np.isnan(found.distance).all(),
    ),
    "FID matrix of one record a side": Refused(lambda: _fid_matrix(n=1), "n must be at least 2"),
    "FID matrix without draws": Refused(lambda: _fid_matrix(draws=0), "draws at least 1"),
    "FID matrix of a negative seed": Refused(lambda: _fid_matrix(seed=-1), "seed must lie in"),
    "FID matrix of fewer patients": Refused(lambda: _fid_matrix(cluster=IDS[1:]), "differ in length"),
    "FID matrix without a patient": Refused(
        lambda: _fid_matrix(cluster=spoiled(IDS, np.nan)), "a patient for every record"
    ),
}

BIAS: Cases = {
    "an unknown group": Refused(lambda: _bias(PREDICTED + 1), r"must lie in -1\.\.1"),
    "a group below -1": Refused(lambda: _bias(PREDICTED - 2), r"must lie in -1\.\.1"),
    "groups as words": Refused(lambda: _bias(PREDICTED.astype(str)), r"\(N,\) integers"),
    "groups with a fraction": Refused(lambda: _bias(PREDICTED / 2), r"\(N,\) integers"),
    "groups in a table": Refused(lambda: _bias(PREDICTED[:, None]), r"\(N,\) integers"),
    "one group": Refused(lambda: _bias(groups=("F",)), "two or more different names"),
    "one name twice": Refused(lambda: _bias(groups=("F", "F")), "two or more different names"),
    "fewer prompts than images": Refused(lambda: _bias(cluster=PROMPTS[1:]), "one prompt each"),
    "one prompt": Refused(lambda: _bias(cluster=np.zeros(24)), "at least 5 prompts"),
    "no images": Refused(lambda: _bias(PREDICTED[:0], cluster=PROMPTS[:0]), "at least 5 prompts"),
    "nothing found in any image": Refused(lambda: _bias(np.full(24, -1)), "at least 5 prompts with images, got 0"),
    "an image without a prompt": Refused(lambda: _bias(cluster=spoiled(PROMPTS, np.nan)), "for every record"),
    "a target above 1": Refused(lambda: _bias(target=(0.7, 0.7)), "add up to 1"),
    "a target below 0": Refused(lambda: _bias(target=(-0.5, 1.5)), "not negative and add up to 1"),
    "a target of NaN": Refused(lambda: _bias(target=(np.nan, 1.0)), "add up to 1"),
    "a target of more groups": Refused(lambda: _bias(target=(0.2, 0.3, 0.5)), "must be 2 shares"),
    "a target of words": Refused(lambda: _bias(target=("half", "half")), "target must hold numbers"),
    "a classifier that guesses": Refused(
        lambda: _bias(confusion=np.full((2, 2), 50)), "does not tell the groups apart"
    ),
    "a classifier of other groups": Refused(lambda: _bias(confusion=np.eye(3, dtype=int)), r"must be \(2, 2\)"),
    "a negative seed": Refused(lambda: _bias(seed=-1), "seed must not be negative"),
    "rates for counts": Refused(lambda: rogan_gladen(np.array([[0.9, 0.1], [0.1, 0.9]])), "not rates"),
    "counts below 0": Refused(lambda: rogan_gladen(np.array([[9, -1], [1, 9]])), "counts of images"),
    "counts NaN": Refused(lambda: rogan_gladen(np.array([[9, np.nan], [1, 9]])), "counts of images"),
    "counts as words": Refused(lambda: rogan_gladen(np.array([["9", "x"], ["1", "9"]])), "confusion must hold numbers"),
    "counts in a row": Refused(lambda: rogan_gladen(np.array([9, 1])), r"got shape \(2,\)"),
    "no image of a group": Refused(lambda: rogan_gladen(np.array([[9, 1], [0, 0]])), "no image .* number 1"),
    "a group never generated": Kept(
        lambda: _bias(groups=("F", "M", "X")),
        lambda found: (
            found.frequencies[2].observed == 0.0
            and found.frequencies[2].ci_high > 0
            and found.frequencies[2].design_effect is None
        ),
    ),
    "only one group generated": Kept(
        lambda: _bias(np.zeros(24, dtype=int)),
        lambda found: all(np.isfinite((each.estimate, each.ci_low, each.ci_high)).all() for each in found.readings),
    ),
}

AGREEMENT: Cases = {
    "an unknown category": Refused(lambda: _agreed(_rated(9)), "row 0, column 0 is none of the categories"),
    "a rating in words": Refused(lambda: _agreed(_rated("mild")), "none of the categories"),
    "one rater": Refused(lambda: _agreed(RATINGS[:, :1]), "at least 2 raters"),
    "ratings in one row": Refused(lambda: _agreed(RATINGS[:, 0]), r"ratings must be \(subjects, raters\)"),
    "one subject": Refused(lambda: _agreed(RATINGS[:1]), "at least 2 rated subjects"),
    "nothing rated": Refused(lambda: _agreed(np.full((5, 2), None)), "at least 2 rated subjects"),
    "no subject rated twice": Refused(
        lambda: _agreed(np.array([[1, None], [None, 2], [3, None]], dtype=object)), "one that two raters rated"
    ),
    "one category": Refused(lambda: _agreed(categories=(1,)), "two or more, each once"),
    "a category twice": Refused(lambda: _agreed(categories=(1, 2, 2)), "two or more, each once"),
    "a category NaN": Refused(lambda: agreement_weights((1.0, np.nan), "linear"), "finite numbers, or words"),
    "a category infinite": Refused(lambda: agreement_weights((1.0, np.inf), "quadratic"), "finite numbers, or words"),
    "unknown weights": Refused(lambda: _agreed(weights="cubic"), "not 'cubic'"),
    "weights NaN": Refused(lambda: _agreed(weights=np.full((3, 3), np.nan)), "symmetric"),
    "weights all 1": Refused(lambda: _agreed(weights=np.ones((3, 3))), "not all 1"),
    "weights of fewer categories": Refused(lambda: _agreed(weights=np.eye(2)), r"symmetric \(3, 3\)"),
    "weights in words": Refused(lambda: _agreed(weights=np.array([["a"]])), "weights must hold numbers"),
    "no permutations": Refused(lambda: _agreed(permutations=0), "at least 1"),
    "a negative seed of readers": Refused(lambda: _agreed(seed=-1), "seed must not be negative"),
    "perfect agreement": Kept(
        lambda: _agreed(np.repeat(RATINGS[:, :1], 3, axis=1)),
        lambda found: (
            (found.value, found.state, found.standard_error, found.ci_low) == (1.0, "no_variance", None, None)
        ),
    ),
    "one category only used": Kept(
        lambda: _agreed(np.full((5, 2), 1, dtype=object)),
        lambda found: found.value == 1.0 and found.state == "no_variance" and found.p_permutation == 1.0,
    ),
    "missing ratings of every kind": Kept(
        lambda: _agreed(_rated([None, np.nan, ""], 0)),
        lambda found: found.unrated_subjects == 1 and found.subjects == 14,
    ),
}

CASES: Cases = {**DISTANCES, **BIAS, **AGREEMENT}
