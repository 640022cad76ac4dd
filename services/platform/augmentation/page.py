"""index.html of a downstream study: one self-contained page, drawn from report.json."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from itertools import groupby
from typing import Any

from services.audit.report.markup import Markup, element, join
from services.audit.report.spelling import number
from services.audit.report.tables import folded, quiet, section
from services.platform.augmentation import page_tables as tables
from services.platform.augmentation.pictures import gap_figure

NOTICE = (
    "Synthetic images were made by a model and are of nobody. They are for research; whatever a classifier learned "
    "from them needs clinical review before anyone relies on it."
)
_CONTENTS = (
    ("gaps", "Gaps"),
    ("arms", "Arms"),
    ("metrics", "Metrics by group"),
    ("changes", "Changes"),
    ("fidelity", "Fidelity"),
    ("distances", "Distances"),
    ("methods", "Methods"),
)


def study_page(report: Mapping[str, Any], title: str = "Downstream study of synthetic data") -> str:
    """The page; the same report gives the same text."""
    style = resources.files("services.audit.report").joinpath("report.css").read_text(encoding="utf-8")
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        Markup(f"<style>{style}</style>"),
    )
    body = element(
        "main",
        _header(report, title),
        element("nav", *(element("a", words, href=f"#{anchor}") for anchor, words in _CONTENTS)),
        _gaps(report),
        section("What each arm learned from", "arms", tables.arms_table(report)),
        _metrics(report),
        _changes(report),
        _fidelity(report),
        _distances(report),
        _methods(report),
    )
    return "<!doctype html>\n" + element("html", element("head", head), element("body", body), lang="en") + "\n"


def _header(report: Mapping[str, Any], title: str) -> Markup:
    splits = {row["split"]: row for row in report["splits"]}
    test = splits["test"]
    told = (
        f"A classifier of {report['label'].replace('_', ' ')} learns from each arm {len(report['seeds'])} times and is "
        f"judged on {test['records']} real images of {test['patients']} test patients, {test['positives']} positive."
    )
    flagged = [name for name, found in report["fidelity"].items() if found["problems"]]
    words = f"What was asked for is not what {', '.join(flagged)} shows: see Fidelity before reading on."
    notices = [NOTICE, *([words] if flagged else [])]
    told_first = (element("p", notice, class_="notice") for notice in notices)
    return element("header", element("h1", title), element("p", told), *told_first)


def _gaps(report: Mapping[str, Any]) -> Markup:
    figures = []
    for (metric, threshold, attribute, better, worse), rows in groupby(
        sorted(report["gaps"], key=_gap_place), key=_gap_place
    ):
        if threshold == "argmax":
            continue
        words = f"{tables.METRIC_WORDS[metric]} by {attribute}: {better} less {worse}"
        figures.append(gap_figure(list(rows), words))
    lines = [element("li", sentence) for sentence in findings(report)]
    return section(
        "Gaps between groups",
        "gaps",
        element("ul", *lines) if lines else "",
        quiet(
            "Dots: the mean over repeats. Bars: 95 % limits over test patients. The study named these gaps beforehand."
        ),
        *figures,
        tables.gap_table(report),
        folded("Largest gap of each attribute", tables.widest_table(report)),
    )


def _gap_place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("metric", "threshold", "attribute", "better", "worse"))


def findings(report: Mapping[str, Any]) -> list[str]:
    """A sentence for each arm and named gap at the validation threshold: narrower, wider, or no change shown."""
    told = []
    for row in report["gaps"]:
        if row["threshold"] == "argmax" or row.get("change") is None:
            continue
        what = f"{tables.METRIC_WORDS[row['metric']]} gap {row['better']} less {row['worse']}"
        limits = f"{number(row['change'])} [{number(row['change_low'])}, {number(row['change_high'])}]"
        if row["change_low"] <= 0 <= row["change_high"]:
            told.append(f"{row['arm']}: no change of the {what} is shown ({limits}).")
            continue
        gone = "" if row["share_gone"] is None else f"; {row['share_gone']:.0%} of it is gone"
        moved = "widens" if row["verdict"] == "wider" else "narrows"
        told.append(f"{row['arm']} {moved} the {what} (change {limits}{gone}){_AT_WHOSE_COST.get(row['verdict'], '')}.")
    return told


_AT_WHOSE_COST = {
    "levelled down": ", but by levelling down: the better group loses",
    "worse group gains": ", and the worse group gains",
}


def _metrics(report: Mapping[str, Any]) -> Markup:
    parts = [tables.metric_table(report, "balanced_accuracy", "validation"), tables.metric_table(report, "auroc", "")]
    more = [
        folded(f"{tables.METRIC_WORDS[metric]}, {words}", tables.metric_table(report, metric, threshold))
        for metric, threshold, words in (
            ("balanced_accuracy", "argmax", "threshold 0.5"),
            ("tpr", "validation", "threshold of validation patients"),
            ("fpr", "validation", "threshold of validation patients"),
        )
    ]
    words = (
        "SD: over repeats of the training, population SD. 95 %: over patients, of the mean of the repeats. Never mixed."
    )
    return section("Metrics by group", "metrics", quiet(words), *parts, *more)


def _changes(report: Mapping[str, Any]) -> Markup:
    words = f"Paired over the same test patients: each arm less “{report['baseline']}”. SD: of the paired repeats."
    parts = [tables.change_table(report, "balanced_accuracy", "validation"), tables.change_table(report, "auroc", "")]
    return section("What synthetic images change", "changes", quiet(words), *parts)


def _fidelity(report: Mapping[str, Any]) -> Markup:
    parts: list[Markup] = []
    for name, found in report["fidelity"].items():
        parts.append(element("h3", name))
        slopes = ", ".join(f"{which} {value:.3f}" for which, value in found["slope"].items() if value is not None)
        overlap = "not measured" if found["dice"] is None else f"{found['dice']:.3f}"
        parts.append(element("p", f"Slope of the measured ring of fat: {slopes}. Dice of heart and mask: {overlap}."))
        if found["problems"]:
            told = (element("li", problem) for problem in found["problems"])
            parts.append(element("ul", *told, class_="notice"))
        else:
            parts.append(element("p", "Everything that was asked for is shown."))
        parts.append(tables.fidelity_table(found))
    if not parts:
        parts = [element("p", "There is no reader for these images, so nothing is said about what they show.")]
    return section("Does the synthetic cohort show what was asked for?", "fidelity", *parts)


def _distances(report: Mapping[str, Any]) -> Markup:
    words = (
        f"Features of {report['encoder']}. Patients are dealt into two sides, and a synthetic image belongs to the "
        "patient whose mask it was made from, so no patient is on both. A Fréchet distance is never 0 for a finite "
        "number of images: only what lies above the bold floors means anything."
    )
    parts = [
        join(
            element("h3", entry["attribute"].replace("_", " ")),
            tables.distance_table(entry, "frechet"),
            folded("Kernel distance", tables.distance_table(entry, "kid")),
        )
        for entry in report["distances"]
    ]
    if not parts:
        return section("Distances between groups", "distances", element("p", "The study asks for none."))
    return section("Distances between groups", "distances", quiet(words), *parts)


def _methods(report: Mapping[str, Any]) -> Markup:
    order, fit = report["order"], report["order"]["fit"]
    balance = " × ".join([*order["balance"], report["label"]])
    sampler = (
        f"drawn so that every group of {balance} is as likely"
        if order["sampler"] == "group-balanced"
        else "drawn evenly"
    )
    undersampled = (
        ""
        if order["prevalence"] is None
        else f" Healthy patients were left out at random to a prevalence of {order['prevalence']:g}."
    )
    facts = (
        f"ResNet-18 of width {fit['width']}, {order['size']} pixels a side, cross-entropy on logits, Adam, learning "
        f"rate {fit['learning_rate']:g}, {fit['steps']} steps of {fit['batch']} images in every arm, {sampler}."
        f"{undersampled} Seeds {', '.join(map(str, report['seeds']))}. Validation and test images are real, and no "
        "patient, also none whose mask lent itself to a synthetic image, is in two splits. "
        f"Cells below {report['minimums']['patients']} patients or {report['minimums']['cases']} cases say too little."
    )
    return section(
        "Methods", "methods", element("p", facts), element("p", f"Digest of the report: {report['digest'][:16]}…")
    )
