"""Findings in words, and what finding nothing means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.audit.report.spelling import interval, number, p_words, signed

Row = Mapping[str, Any]


def finding(family: str, row: Row) -> str:
    """One sentence about a row that its test calls a finding."""
    return f"{where(row)}{_SENTENCES[family](row)} ({p_words(row['p_adjusted'])}, adjusted)."


def where(row: Row) -> str:
    """ "chest, sex Female: "; nothing where a row is about all images of a generator without organs."""
    group = "" if not row["attribute"] else f"{spoken(row['attribute'])} {row['level']}"
    return f"{said}: " if (said := ", ".join(part for part in (row["organ"], group) if part)) else ""


def spoken(name: str) -> str:
    """A name without underscores."""
    return name.replace("_", " ")


def verdict(row: Row) -> str:
    """What a row of the distances says, in a few words."""
    if row["state"] != "ok":
        return f"too few images ({row['n']}) to say anything"
    return "differs from real images" if row["found"] else f"no difference found at n={row['n']}"


def unfound(families: list[dict[str, Any]], tables: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """What was looked for and not found, and what was not looked for at all; never "there is none"."""
    said = []
    for family in families:
        name, tests, found = family["name"], family["tests"], family["findings"]
        if not tests:
            said.append(_NOT_TESTED[name])
        elif not found:
            said.append(f"{_NOTHING[name]} ({tests} tests{_size(name, tables[name])}).")
    return said


def _size(name: str, rows: list[dict[str, Any]]) -> str:
    counts = [row["n"] for row in rows if row.get("n") and row["p_value"] is not None]
    if not counts or name == "spreads":
        return ""
    return f", n={min(counts)}" + (f" to {max(counts)}" if max(counts) > min(counts) else "")


def _distance(row: Row) -> str:
    return (
        f"the images differ from real ones: {row['names']['KID']} {number(row['kid'])} "
        f"{interval(*row['kid_limits'])}, real against real {number(row['kid_floor'])}"
    )


def _fidelity(row: Row) -> str:
    return (
        f"{spoken(row['read'])} is read back as asked for in {percent(row['share'])} of {row['n']} images "
        f"[{percent(row['limits'][0])}, {percent(row['limits'][1])}], on real images in {percent(row['real_share'])}"
    )


def _shift(row: Row) -> str:
    size = f" ({signed(row['in_sd'])} SD)" if row["in_sd"] == row["in_sd"] and row["in_sd"] is not None else ""
    return (
        f"{spoken(row['feature'])} is {number(row['synthetic'])} on average, on real images {number(row['real'])}: "
        f"{signed(row['difference'])} {interval(*row['limits'], plus=True)}{size}"
    )


def _spread(row: Row) -> str:
    less = row["ratio"] < 1
    within = "within the same condition" if not row["attribute"] and row["level"] else "among themselves"
    return (
        f"images differ {'less' if less else 'more'} {within} than real ones do: {number(row['ratio'])} times as much "
        f"{interval(*row['limits'])}, over {row['pairs']:,} pairs"
    )


def _closeness(row: Row) -> str:
    share = f"{row['closer']} of {row['n']} images ({percent(row['share'])})"
    usual = f"where {percent(row['expected'])} of new patients' images are so"
    if row["measure"] == "ratio":
        return f"{share} look like copies in {row['space']}, one training image standing out from all others, {usual}"
    return (
        f"{share} lie nearer to a training image in {row['space']} than the closest new patients' images do, {usual}; "
        "images that lack noise and detail do this too"
    )


def percent(share: float | None) -> str:
    """A share as whole percent; one decimal below 10 % and above 99 %."""
    if share is None:
        return "–"
    fine = 0 < share < 0.0995 or 0.99 < share < 1
    return f"{100 * share:.1f} %" if fine else f"{100 * share:.0f} %"


_SENTENCES = {
    "distances": _distance,
    "fidelity": _fidelity,
    "shifts": _shift,
    "spreads": _spread,
    "closeness": _closeness,
}
_NOTHING = {
    "distances": "No difference from real images was found in any group",
    "fidelity": "No attribute was found to be read back less often than from real images",
    "shifts": "No measured feature was found to be elsewhere than in real images",
    "spreads": "No group was found whose images differ less, or more, among themselves than real ones do",
    "closeness": "No sign was found that images are copies of training images",
}
_NOT_TESTED = {
    "distances": "Distances were not tested: no group has enough images.",
    "fidelity": "Whether the images show what was asked for was not tested: there is no reader for them.",
    "shifts": "No feature was measured: there is no reader for these images.",
    "spreads": "Diversity was not tested: too few images share a condition.",
    "closeness": "Whether images are copies was not tested: the training images are not known here.",
}

NOT_ANSWERED = (
    "Whether the images help to train or to test another model.",
    "Whether anything is right that no reader reads and that the feature extractor does not see.",
    "Whether a single image is right: shares and distances are about the generator.",
    "Whether the training images themselves were fair: the reference is another draw of the same world, no ideal.",
)
