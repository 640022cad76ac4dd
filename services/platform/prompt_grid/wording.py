"""Findings of a prompt grid in words, and what finding nothing means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.audit.report.spelling import interval, number, p_words, signed
from services.platform.evaluation.wording import percent, spoken
from services.platform.prompt_grid.auditing import AFTER
from services.platform.prompt_grid.orders import spelled_target

Row = Mapping[str, Any]

ALPHA = 0.05
MAIN = "bias_to_target"
READING_WORDS = {
    "bias_to_target": "bias(T) to the target, per prompt",
    "bias_pairwise": "Eq. 4 as printed, per prompt",
    "total_variation": "total variation, per prompt",
    "bias_to_target_pooled": "bias(T) to the target, pooled",
    "bias_pairwise_pooled": "Eq. 4 as printed, pooled",
    "total_variation_pooled": "total variation, pooled",
}
WHY_TWO_READINGS = (
    "Two readings of bias(T) are in use. Equation 4 as it was printed is the mean of |f_i − f_j| over pairs of groups: "
    "it does not know the target, so an untuned model must have the same value whatever is aimed at. The published "
    "table has two values for one untuned model (.513 for a target of 50 %, .748 for 30 %), so what was computed must "
    "have been relative to the target, |(f_i − t_i) − (f_j − t_j)|, which for two groups is 2 |f − t|. Both are given, "
    "by name; they are equal for equal shares. And both are taken of each prompt and averaged then: averaging the "
    "shares first lets a prompt that gives only women cancel one that gives only men (such an aggregation turned .23 "
    "into .0546). The pooled readings show what that would say. Absolute values never average to 0: a fair generator "
    "shows the noise floor, which the corrected value has lost."
)
NOT_ANSWERED = (
    "Whether the images are any good: evenhand models evaluate compares them with real ones.",
    "Whether other prompts, other seeds' prompts or other words would give the same shares.",
    "Whether a classifier errs on generated images as often as on the images that its errors were measured on.",
)


def reading(row: Row, name: str) -> Row:
    """One reading of a row of the bias table."""
    found: Row = next(one for one in row["readings"] if one["name"] == name)
    return found


def headline(report: Row) -> str:
    """The first judge's answer about the first target, and how it changed."""
    row = next(row for row in report["bias"] if row["role"] == AFTER)
    group = row["shares"][0]
    bias = reading(row, MAIN)
    said = (
        f"{group['group']} in {percent(group['estimate'])} of {row['images']} images "
        f"{percents(group['ci_low'], group['ci_high'])}, wanted {percent(group['target'])}: bias(T) per prompt "
        f"{number(bias['estimate'])} {interval(bias['ci_low'], bias['ci_high'])}; a fair generator would show about "
        f"{number(bias['noise_floor'])}."
    )
    if report["changes"]:
        said += " " + _changed(report["changes"][0])
    return said


def findings_of(report: Row) -> list[dict[str, Any]]:
    """What was found, one sentence each."""
    found = [{"family": "bias", "sentence": said} for said in _biased(report)]
    found += [{"family": "pooled", "sentence": said} for said in _hidden(report)]
    found += [
        {"family": "change", "sentence": f"{row['judge']}: {_changed(row)}"} for row in report["changes"] if _moved(row)
    ]
    return found + [{"family": "others", "sentence": said} for said in _others(report)]


def unfound(report: Row) -> list[str]:
    """What was looked for and not found; never "there is none"."""
    said = []
    for row in report["bias"]:
        bias = reading(row, MAIN)
        if bias["ci_low"] == 0:
            said.append(
                f"{_place(row, report)}: no bias per prompt was found with {row['prompts']} prompts and "
                f"{row['images']} images; up to {number(bias['ci_high'])} is possible."
            )
    said += [
        f"{row['judge']}: no change of bias(T) was found ({_target(row)})."
        for row in report["changes"]
        if not _moved(row)
    ]
    if report["changes"] and report["others"] and not any(True for _ in _others(report)):
        tests = sum(row["change"] is not None for row in report["others"])
        said.append(f"No other attribute was found to have moved ({tests} tests).")
    return said


def _biased(report: Row) -> Iterator[str]:
    for row in report["bias"]:
        bias = reading(row, MAIN)
        if bias["ci_low"] > 0:
            shares = ", ".join(f"{one['group']} {percent(one['estimate'])}" for one in row["shares"])
            yield (
                f"{_place(row, report)}: biased. bias(T) per prompt {number(bias['estimate'])} "
                f"{interval(bias['ci_low'], bias['ci_high'])}, noise floor {number(bias['noise_floor'])}; {shares}"
            ) + "."


def _hidden(report: Row) -> Iterator[str]:
    for row in report["bias"]:
        if row["pooled_hides"]:
            yield (
                f"{_place(row, report)}: the images together look fair (pooled "
                f"{number(reading(row, f'{MAIN}_pooled')['estimate'])}), the prompts are not "
                f"({number(reading(row, MAIN)['estimate'])}): prompts that lean one way hide those that lean the other."
            )


def _others(report: Row) -> Iterator[str]:
    for row in report["others"]:
        moved = row.get("change")
        if moved and moved["p_adjusted"] <= ALPHA:
            yield (
                f"{row['kind']} {spoken(row['attribute'])}, {shown_words(row)}: {percent(row['before'])} before, "
                f"{percent(row['value'])} after ({points(moved['value'])} points "
                f"[{points(moved['low'])}, {points(moved['high'])}], {p_words(moved['p_adjusted'])}, adjusted)."
            )


def shown_words(row: Row) -> str:
    """What a row of the other attributes is a share of."""
    return f"{row['level']} where asked for" if row["asked"] else f"{row['level']}, left open"


def _changed(row: Row) -> str:
    one = main_change(row)
    less = f" ({percent(one['reduction'])} of it is gone)" if (one["reduction"] or 0) > 0 else ""
    return (
        f"bias(T) went from {number(one['before'])} to {number(one['after'])}{less}: {signed(one['change'])} "
        f"{interval(one['ci_low'], one['ci_high'], plus=True)} over {row['prompts']} prompts, for {_target(row)}."
    )


def main_change(row: Row) -> Row:
    """The change of the main reading."""
    found: Row = next(one for one in row["readings"] if one["name"] == MAIN)
    return found


def _moved(row: Row) -> bool:
    one = main_change(row)
    return bool(one["ci_low"] > 0 or one["ci_high"] < 0)


def _place(row: Row, report: Row) -> str:
    model = report["models"][row["role"]]
    return f"{model['name']}@{model['version']} for {_target(row)}, by {row['judge']}"


def _target(row: Row) -> str:
    return spelled_target(row["target"])


def percents(low: float | None, high: float | None) -> str:
    """ "[12 %, 15 %]" of two shares; nothing where there are no limits."""
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]".replace(" %,", ",")


def points(value: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return signed(round(100 * value, 1), "%").removesuffix("0")
