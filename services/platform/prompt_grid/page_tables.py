"""The page's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.audit.report.markup import Content, Markup, element
from services.audit.report.spelling import NOTHING, interval, number, p_value, signed
from services.audit.report.tables import grouped_table, table
from services.platform.evaluation.wording import percent, spoken
from services.platform.prompt_grid.orders import spelled_target
from services.platform.prompt_grid.wording import MAIN, READING_WORDS, percents, points, reading, shown_words

Row = Mapping[str, Any]


def bias_table(report: Row) -> Markup:
    """The two readings, per prompt and pooled, a row for each judge, target and model."""
    groups = [("", 3), ("To the target, per prompt", 4), ("To the target, pooled", 2), ("Eq. 4 as printed", 2)]
    columns = ["Judge", "Target", "Model", "bias(T)", "95 %", "Noise floor", "Less noise", "bias(T)", "95 %"]
    columns += ["Per prompt", "Pooled"]
    rows = (
        [
            row["judge"],
            spelled_target(row["target"]),
            model_title(report, row["role"]),
            *_reading_cells(reading(row, MAIN)),
            *_reading_cells(reading(row, f"{MAIN}_pooled"))[:2],
            number(reading(row, "bias_pairwise")["estimate"]),
            number(reading(row, "bias_pairwise_pooled")["estimate"]),
        ]
        for row in report["bias"]
    )
    caption = "0 is fair; each interval is for the true value and can contain 0"
    return grouped_table(caption, groups, columns, rows, text_columns=3)


def _reading_cells(one: Row) -> list[str]:
    floor, corrected = number(one["noise_floor"]), number(one["corrected"])
    return [number(one["estimate"]), interval(one["ci_low"], one["ci_high"]), floor, corrected]


def reading_table(report: Row) -> Markup:
    """Every reading of every judge, target and model."""
    columns = ["Judge", "Target", "Model", "Reading", "Value", "95 %", "Noise floor", "Less noise"]
    rows = (
        [
            row["judge"],
            spelled_target(row["target"]),
            model_title(report, row["role"]),
            READING_WORDS[one["name"]],
            number(one["estimate"]),
            interval(one["ci_low"], one["ci_high"]),
            number(one["noise_floor"]),
            number(one["corrected"]),
        ]
        for row in report["bias"]
        for one in sorted(row["readings"], key=lambda one: list(READING_WORDS).index(one["name"]))
    )
    return table("0 is fair; the interval is for the true value and can contain 0", columns, rows, text_columns=4)


def share_table(report: Row) -> Markup:
    """The groups' shares of all images, once for each judge and model."""
    columns = [
        "Judge",
        "Model",
        "Group",
        "As judged",
        "Corrected",
        "95 %, all groups at once",
        "Design effect",
        "Images",
    ]
    target = report["bias"][0]["target"]
    rows = (
        [
            row["judge"],
            model_title(report, row["role"]),
            one["group"],
            percent(one["observed"]),
            percent(one["estimate"]),
            percents(one["ci_low"], one["ci_high"]),
            NOTHING if one["design_effect"] is None else f"{one['design_effect']:.1f}",
            f"{row['images']:,}" + (f" ({row['unread']} unread)" if row["unread"] else ""),
        ]
        for row in report["bias"]
        if row["target"] == target
        for one in row["shares"]
    )
    return table("Shares of all images; prompts are the unit of the limits", columns, rows, text_columns=3)


def prompt_table(report: Row, judge: str) -> Markup:
    """One judge's shares of each prompt."""
    groups = report["groups"][: 1 if len(report["groups"]) == 2 else None]
    columns: list[Content] = ["Prompt", "Model", "n", "Unread"]
    for group in groups:
        columns += [f"{group}", "95 %", "Corrected"]
    columns += [f"TV to {spelled_target(target)}" for target in report["targets"]]
    rows = (_prompt_cells(report, row, len(groups)) for row in report["by_prompt"] if row["judge"] == judge)
    ordered = sorted(rows, key=lambda cells: cells[0])
    caption = "Limits are Wilson's for one prompt by itself; TV is half the sum of absolute differences of shares"
    return table(caption, columns, ((cells[1:]) for cells in ordered), text_columns=2)


def _prompt_cells(report: Row, row: Row, groups: int) -> list[Any]:
    head = [row["prompt_number"], row["prompt"], model_title(report, row["role"]), str(row["n"]), str(row["unread"])]
    if not row["n"]:
        return [*head, *[NOTHING] * (3 * groups + len(report["targets"]))]
    shares = [
        cell
        for one in row["shares"][:groups]
        for cell in (percent(one["observed"]), percents(one["ci_low"], one["ci_high"]), percent(one["corrected"]))
    ]
    return [*head, *shares, *(number(value) for value in row["distances"])]


def change_table(report: Row, *, others: bool = False) -> Markup:
    """The main reading for each target and the shares, before and after; or the ``others`` of the readings."""
    columns = ["Judge", "Target", "Of", "Before", "After", "Change", "95 %", "Gone"]
    rows = []
    for row in report["changes"]:
        place = [row["judge"], spelled_target(row["target"])]
        rows += [
            [*place, READING_WORDS[one["name"]], *_changed(one, number, signed), _gone(one["reduction"])]
            for one in row["readings"]
            if (one["name"] != MAIN) == others
        ]
        if row["target"] == report["targets"][-1] and not others:
            shares = ([f"share of {one['group']}", *_changed(one, percent, points)] for one in row["shares"])
            rows += [[row["judge"], "", *cells, ""] for cells in shares]
    return table("After less before, paired by prompt", columns, rows, text_columns=3)


def _changed(one: Row, plain: Any, difference: Any) -> list[str]:
    low, high = difference(one["ci_low"]), difference(one["ci_high"])
    return [plain(one["before"]), plain(one["after"]), difference(one["change"]), f"[{low}, {high}]"]


def _gone(reduction: float | None) -> str:
    return NOTHING if reduction is None or reduction < 0 else percent(reduction)


def flip_table(report: Row, row: Row) -> Markup:
    """One judge's images by group before and after."""
    groups = report["groups"]
    caption = f"{row['judge']}: rows before, columns after; {row['changed']} of {row['n']} images changed group"
    cells = ([group, *map(str, counts)] for group, counts in zip(groups, row["table"], strict=True))
    return table(caption, ["", *groups], cells)


def flips_by_prompt(report: Row) -> Markup:
    """How many images of each prompt changed group, by each judge."""
    judges = [row["judge"] for row in report["flips"]]
    rows = (
        [prompt["text"], *(_flips(row["prompts"][number]) for row in report["flips"])]
        for number, prompt in enumerate(report["prompts"])
    )
    return table("Images that changed group", ["Prompt", *judges], rows)


def _flips(row: Row) -> str:
    return f"{row['changed']} of {row['n']}" if row["n"] else NOTHING


def other_table(report: Row) -> Markup:
    """Fidelity to what is named, and shares of what is left open; with a baseline the change."""
    compared = bool(report["changes"])
    columns = ["Organ", "Attribute", "Shown", "Images", "Share", "95 %"]
    columns += ["Before", "Change, points", "95 %", "p adj."] if compared else []
    rows = []
    for row in report["others"]:
        limits = percents(row["low"], row["high"]) or NOTHING
        cells = [
            row["kind"],
            spoken(row["attribute"]),
            shown_words(row),
            f"{row['n']:,}",
            percent(row["value"]),
            limits,
        ]
        rows.append([*cells, *(_moved(row) if compared else [])])
    return table(
        "Where asked for: over the prompts that name it; left open: over those that do not",
        columns,
        rows,
        text_columns=3,
    )


def _moved(row: Row) -> list[str]:
    moved = row["change"]
    if moved is None:
        return [percent(row["before"]), NOTHING, NOTHING, NOTHING]
    limits = f"[{points(moved['low'])}, {points(moved['high'])}]"
    return [percent(row["before"]), points(moved["value"]), limits, p_value(moved["p_adjusted"])]


def confusion_table(report: Row, row: Row) -> Markup:
    """What one classifier says of images whose group is known."""
    cells = ([group, *map(str, counts)] for group, counts in zip(report["groups"], row["confusion"], strict=True))
    return table(f"{row['judge']}: rows true, columns said; {row['measured_on']}", ["", *report["groups"]], cells)


def agreement_table(report: Row) -> Markup:
    """Judges two by two."""
    columns = ["Judge", "Judge", "Model", "Same group", "AC1", "95 %", "Images"]
    rows = (
        [
            row["first"],
            row["second"],
            model_title(report, row["role"]),
            percent(row["agree"]),
            number(row["ac1"]),
            interval(row["ac1_low"], row["ac1_high"]),
            f"{row['n']:,}",
        ]
        for row in report["agreement"]
    )
    return table("How often two judges say the same of an image", columns, rows, text_columns=3)


def model_title(report: Row, role: str) -> str:
    """ "phantom-diffusion@2"."""
    model = report["models"][role]
    return f"{model['name']}@{model['version']}"


def legend(colours: Sequence[tuple[str, str]]) -> Markup:
    """What the frames of pictures mean: (words, CSS colour)."""
    marks = (
        element("span", element("i", "", style=f"background:{colour}"), f" {words}", class_="key")
        for words, colour in colours
    )
    return element("p", *marks, class_="keys")
