"""The report's rows: every number of a grid, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from services.errors import InvalidInput
from services.maths.fairness.agreement import gwet
from services.maths.fairness.generator_bias import (
    UNCORRECTED,
    GeneratorBias,
    bias_change,
    generator_bias,
    onto_simplex,
    rogan_gladen,
)
from services.platform.evaluation.conditions import is_missing
from services.platform.prompt_grid.auditing import AFTER, BEFORE, Grid, Judge
from services.platform.prompt_grid.judges import UNSEEN, Codes, codes_of
from services.platform.prompt_grid.orders import Target, spelled_target

Rows = list[dict[str, Any]]

_Z = float(stats.norm.ppf(0.975))


def group_codes(grid: Grid, role: str, judge: Judge) -> Codes:
    """(N,) group of each image of a role by one judge."""
    return codes_of(grid.of(role)[f"group_{judge.title}"], grid.levels)


def roles(grid: Grid) -> tuple[str, ...]:
    """The model first."""
    return tuple(grid.models)


def bias_rows(grid: Grid) -> Rows:
    """One row for each judge, target and role: shares of the groups and every reading of bias(T)."""
    rows: Rows = []
    for judge in grid.judges:
        for target in grid.targets:
            for role in roles(grid):
                found = _bias(grid, judge, target, role)
                rows.append(
                    {
                        "judge": judge.title,
                        "target": dict(target),
                        "role": role,
                        "shares": [asdict(one) for one in found.frequencies],
                        "readings": [asdict(one) for one in found.readings],
                        "prompts": found.prompts,
                        "images": found.images,
                        "unread": found.unclassified,
                        "notes": [note for note in found.notes if judge.classifier or note != UNCORRECTED],
                        "pooled_hides": _pooled_hides(found),
                    }
                )
    return rows


def _bias(grid: Grid, judge: Judge, target: Target, role: str) -> GeneratorBias:
    try:
        return generator_bias(
            group_codes(grid, role, judge),
            groups=grid.levels,
            cluster=grid.of(role)["prompt_number"].to_numpy(),
            target=[target[level] for level in grid.levels],
            confusion=judge.confusion,
            seed=grid.order.seed,
        )
    except ValueError as error:  # what the order could not tell: hardly an image in which a judge sees anything
        raise InvalidInput(
            f"{judge.title} cannot say how biased the {role} is ({spelled_target(target)}): {error}",
            field="images",
            reason="TOO_FEW_READ",
        ) from error


def _pooled_hides(found: GeneratorBias) -> bool:
    """Whether the images together look fair, as far as anyone can see, where the prompts are not."""
    each, together = found.reading("bias_to_target"), found.reading("bias_to_target_pooled")
    return each.ci_low > 0 and together.ci_low == 0 and together.corrected < 0.5 * each.corrected


def prompt_rows(grid: Grid) -> Rows:
    """One row for each judge, role and prompt: images, shares with 95 % Wilson limits, distance from each target."""
    rows: Rows = []
    for judge in grid.judges:
        for role in roles(grid):
            codes, numbers = group_codes(grid, role, judge), grid.of(role)["prompt_number"].to_numpy()
            for number, prompt in enumerate(grid.prompts):
                some = codes[numbers == number]
                counts = np.bincount(some[some >= 0], minlength=len(grid.levels))
                place = {"judge": judge.title, "role": role, "prompt_number": number, "prompt": prompt.text}
                rows.append({**place, **_prompt_shares(grid, judge, counts), "unread": int((some < 0).sum())})
    return rows


def _prompt_shares(grid: Grid, judge: Judge, counts: npt.NDArray[np.integer]) -> dict[str, Any]:
    n = int(counts.sum())
    if not n:
        return {"n": 0, "shares": [], "distances": []}
    observed = counts / n
    true = observed if judge.confusion is None else onto_simplex(rogan_gladen(judge.confusion).shares(observed))
    centre, reach = (observed + _Z**2 / (2 * n)), _Z * np.sqrt(observed * (1 - observed) / n + _Z**2 / (4 * n**2))
    low, high = ((centre + side * reach) / (1 + _Z**2 / n) for side in (-1, 1))
    shares = [
        {
            "group": level,
            "observed": float(observed[k]),
            "ci_low": float(max(low[k], 0)),
            "ci_high": float(min(high[k], 1)),
            "corrected": float(true[k]),
        }
        for k, level in enumerate(grid.levels)
    ]
    distances = [float(np.abs(true - [target[level] for level in grid.levels]).sum() / 2) for target in grid.targets]
    return {"n": n, "shares": shares, "distances": distances}


def change_rows(grid: Grid) -> Rows:
    """One row for each judge and target: what changed from the baseline; nothing without one."""
    if BEFORE not in grid.models:
        return []
    cluster = grid.of(AFTER)["prompt_number"].to_numpy()
    rows: Rows = []
    for judge in grid.judges:
        before, after = (group_codes(grid, role, judge) for role in (BEFORE, AFTER))
        for target in grid.targets:
            found = bias_change(
                before,
                after,
                groups=grid.levels,
                cluster=cluster,
                target=[target[level] for level in grid.levels],
                confusion=judge.confusion,
            )
            rows.append({"judge": judge.title, "target": dict(target), **asdict(found)})
    return rows


def flip_rows(grid: Grid) -> Rows:
    """One row for each judge: images by group before and after, from the same noise, and the flips of each prompt."""
    if BEFORE not in grid.models:
        return []
    numbers = grid.of(AFTER)["prompt_number"].to_numpy()
    rows: Rows = []
    for judge in grid.judges:
        before, after = (group_codes(grid, role, judge) for role in (BEFORE, AFTER))
        both = (before >= 0) & (after >= 0)
        table = np.zeros((len(grid.levels), len(grid.levels)), np.int64)
        np.add.at(table, (before[both], after[both]), 1)
        changed = both & (before != after)
        of_prompts = [
            {
                "prompt_number": number,
                "n": int(both[numbers == number].sum()),
                "changed": int(changed[numbers == number].sum()),
            }
            for number in range(len(grid.prompts))
        ]
        counted = {"n": int(both.sum()), "changed": int(changed.sum()), "unread": int((~both).sum())}
        rows.append({"judge": judge.title, **counted, "table": table.tolist(), "prompts": of_prompts})
    return rows


def agreement_rows(grid: Grid) -> Rows:
    """One row for each two judges and role: how often they say the same, and Gwet's AC1."""
    rows: Rows = []
    for first, second in combinations(grid.judges, 2):
        for role in roles(grid):
            images = grid.of(role)
            pair = images[[f"group_{judge.title}" for judge in (first, second)]].to_numpy(object)
            rated = [[None if is_missing(value) else value for value in row] for row in pair]
            both = [row for row in rated if None not in row]
            if len(both) < 2:
                continue
            found = gwet(np.array(both, dtype=object), categories=list(grid.levels), permutations=1, seed=0)
            place = {"first": first.title, "second": second.title, "role": role}
            stated = {"agree": found.percent_agreement, "ac1": found.value}
            rows.append({**place, **stated, "ac1_low": found.ci_low, "ac1_high": found.ci_high, "n": len(both)})
    return rows


def judge_rows(grid: Grid) -> Rows:
    """Who judged, and how each classifier's errors were measured."""
    rows: Rows = []
    for judge in grid.judges:
        row: dict[str, Any] = {"judge": judge.title}
        if judge.classifier is not None:
            of = judge.classifier
            listed = None if of.learned is None else sum(len(one.hashes) for one in of.learned)
            row |= {"name": of.name, "version": of.version, "digest": of.digest, "learned_from": listed}
            row |= {"thresholds": dict(of.thresholds) if of.offsets(grid.levels).any() else {}}
            row |= {"confusion": None if judge.confusion is None else judge.confusion.tolist()}
            row |= {"measured_on": judge.measured_on}
        rows.append(row)
    return rows


def unread_images(grid: Grid) -> Mapping[str, int]:
    """Images in which a judge saw no group, over all roles."""
    return {
        judge.title: sum(int((group_codes(grid, role, judge) == UNSEEN).sum()) for role in roles(grid))
        for judge in grid.judges
    }
