"""report.html of a generator: one self-contained page, drawn from report.json and the pictures beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from services.audit.report.markup import Markup, element, join
from services.audit.report.tables import quiet, section
from services.platform.evaluation.evaluating import Pair, Shown
from services.platform.evaluation.page_tables import (
    closeness_table,
    confusion_tables,
    distance_table,
    fidelity_table,
    manifold_table,
    shift_table,
    spread_table,
)
from services.platform.evaluation.pictures import pair_picture, png, side_by_side
from services.platform.evaluation.wording import NOT_ANSWERED, spoken

# Control characters and lone surrogates are neither HTML nor UTF-8.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_TAUGHT = ("recipe", "world", "organs", "patients", "seed")
_CONTENTS = (
    ("found", "What was found"),
    ("images", "Images"),
    ("distances", "Distance"),
    ("fidelity", "Fidelity"),
    ("shifts", "Features"),
    ("diversity", "Diversity"),
    ("copies", "Copies"),
    ("methods", "Methods"),
    ("provenance", "Provenance"),
)


def quality_page(report: Mapping[str, Any], shown: Sequence[Shown]) -> str:
    """The page; the same report and pictures give the same text."""
    name = report["generator"]["name"]
    style = resources.files("services.audit.report").joinpath("report.css").read_text(encoding="utf-8")
    own = resources.files("services.platform.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{name}: quality of a generator"),
        Markup(f"<style>{style}{own}</style>"),
    )
    links = (element("a", words, href=f"#{anchor}") for anchor, words in _CONTENTS)
    body = element(
        "main",
        _header(report),
        element("nav", *links),
        _found(report),
        _images(shown),
        _distances(report),
        _fidelity(report),
        _shifts(report),
        _diversity(report),
        _copies(report, shown),
        _methods(report),
        _provenance(report),
    )
    page = "<!doctype html>\n" + element("html", element("head", head), element("body", body), lang="en") + "\n"
    return _NO_TEXT.sub("\ufffd", page)


def _header(report: Mapping[str, Any]) -> Markup:
    generator, encoder = report["generator"], report["encoder"]
    facts = {
        "Generator": f"{generator['name']} version {generator['version']}, {generator['task']}",
        "Features": f"{encoder['name']} version {encoder['version']}, layer {encoder['layer']}",
        "Settings": _listed(report["settings"]["sampling"]) or "the model's own",
        "Seed": str(report["settings"]["seed"]),
    }
    return element("header", element("h1", f"Quality of {generator['name']}"), _facts(facts))


def _found(report: Mapping[str, Any]) -> Markup:
    findings, families = report["findings"], report["families"]
    tests = sum(family["tests"] for family in families)
    if findings:
        words = f"{len(findings)} of {tests} tests found a difference from real images."
    else:
        words = f"No difference from real images was found by {tests} tests, at the numbers of images stated below."
    listed = element("ul", *(element("li", one["sentence"]) for one in findings), class_="findings")
    silent = (element("p", sentence) for sentence in report["not_found"])
    chance = "If there were no difference at all, a report like this one would find any with a chance of at most 5 %."
    parts = [element("p", words, class_="headline"), *([listed] if findings else []), *silent, quiet(chance)]
    verdict = Markup(section("What was found", "found", *parts))
    return Markup(verdict.replace("<section ", '<section class="verdict" ', 1)) if findings else verdict


def _images(shown: Sequence[Shown]) -> Markup:
    figures = [
        element(
            "figure",
            element("figcaption", some.organ or "Images"),
            _picture(png(side_by_side(some)), f"{some.organ}: real images above, synthetic ones below"),
        )
        for some in shown
    ]
    words = "Above: real. Below: synthetic, each made under the condition of the real image over it. Chosen blindly."
    return section("Images", "images", quiet(words), *figures)


def _distances(report: Mapping[str, Any]) -> Markup:
    words = (
        f"Features of {report['encoder']['name']}. KID is unbiased: 0 means the same distribution as seen by these "
        "features. The Fréchet distance (FD) is never 0 for a finite number of images: only what lies above its floor, "
        "two halves of real images, means anything."
    )
    return section("Distance from real images", "distances", quiet(words), distance_table(report["distances"]))


def _fidelity(report: Mapping[str, Any]) -> Markup:
    if not report["fidelity"]:
        return section("Fidelity", "fidelity", element("p", _unread(report) or "There is no reader for these images."))
    words = (
        "Share of images in which a reader finds what was asked for, with 95 % limits. The reader errs too: its share "
        "on real images of the same conditions is what a faultless generator would reach."
    )
    told = _unread(report)
    notice = [element("p", told, class_="notice")] if told else []
    return section(
        "Does it show what was asked for?",
        "fidelity",
        quiet(words),
        *notice,
        fidelity_table(report["fidelity"]),
        confusion_tables(report["confusions"]),
    )


def _unread(report: Mapping[str, Any]) -> str:
    by_why: dict[str, list[str]] = {}
    for row in report["unread"]:
        by_why.setdefault(row["why"], []).append(f"{row['organ']} {spoken(row['attribute'])}".strip())
    return " ".join(f"Not read back: {', '.join(names)} ({why})." for why, names in by_why.items())


def _shifts(report: Mapping[str, Any]) -> Markup:
    if not report["shifts"]:
        return section("Measured features", "shifts", element("p", "No feature is measured on these images."))
    words = "Means over images; a difference is synthetic less real of the same condition. SD: of the real images."
    return section("Measured features", "shifts", quiet(words), shift_table(report["shifts"]))


def _diversity(report: Mapping[str, Any]) -> Markup:
    words = (
        "Mean distance of two images, as a ratio to that of the real images of the same conditions: below 1 the images "
        "are more alike than real ones. Precision: share of images within the reach of real ones. Recall: share of "
        "real images within the reach of synthetic ones."
    )
    said = [element("p", _distinct(stated)) for stated in report["samples"]]
    content = [quiet(words), *said, spread_table(report["spreads"]), manifold_table(report["manifolds"])]
    return section("Diversity", "diversity", *content)


def _distinct(stated: Mapping[str, Any]) -> str:
    noises = stated["distinct_noises"]
    told = f", from {noises} different noises" if noises is not None else ""
    return f"{stated['organ'] or 'All'}: {stated['distinct_images']} of {stated['images']} images are different{told}."


def _copies(report: Mapping[str, Any], shown: Sequence[Shown]) -> Markup:
    if not report["closeness"]:
        words = "The training images are not known here, so nothing can be said about copies. --training names them."
        return section("Copies of training images", "copies", element("p", words))
    words = (
        "Nearest: distance to the nearest training image. Ratio: that distance over the distance to the nearest image "
        "of another training patient; near 0 for a copy, near 1 where no training image stands out. Images that lack "
        "noise and detail are near to everything, so only a small ratio speaks of copying."
    )
    figures = [_pair(pair) for some in shown for pair in some.closest]
    pairs = element("div", *figures, class_="closest")
    title = element("h3", "The closest pairs: synthetic left, its nearest training image right")
    return section(
        "Copies of training images", "copies", quiet(words), closeness_table(report["closeness"]), title, pairs
    )


def _pair(pair: Pair) -> Markup:
    row = pair[0]
    caption = f"{row['organ']} image {row['image']}, ratio {row['ratio']:.2f}"
    return element("figure", _picture(png(pair_picture(pair)), caption), element("figcaption", caption))


def _methods(report: Mapping[str, Any]) -> Markup:
    facts = {_sample_title(stated): _sample_words(stated) for stated in report["samples"]}
    tests = {
        family["question"]: f"{family['tests']} tests, {family['findings']} findings" for family in report["families"]
    }
    words = (
        "One image a patient. Synthetic image i was made under the condition of real patient i, and tests exchange the "
        "two: exact for any number of images. Control images are of other patients and show what each number is when "
        f"there is nothing to find. p values are adjusted: {report['settings']['adjusted']}."
    )
    limits = element("ul", *(element("li", sentence) for sentence in NOT_ANSWERED))
    return section(
        "Methods and limits",
        "methods",
        quiet(words),
        _facts(facts),
        _facts(tests),
        element("h3", "Not answered"),
        limits,
    )


def _sample_title(stated: Mapping[str, Any]) -> str:
    return stated["organ"] or "Images"


def _sample_words(stated: Mapping[str, Any]) -> str:
    said = f"{stated['images']} images by {stated['source']}; {stated['reference']}; {stated['control']} control images"
    if stated.get("training_images"):
        said += f"; {stated['training_images']:,} images of {stated['training_patients']:,} training patients"
    if stated.get("left_out"):
        said += f"; {stated['left_out']} images without a real one of their attributes were left out"
    if stated.get("more_images_of_patients"):
        said += f"; {stated['more_images_of_patients']} further images of the same patients were not used"
    return said


def _provenance(report: Mapping[str, Any]) -> Markup:
    told = report["generator"]["training"]
    facts = {
        "Report": f"schema {report['schema_version']}, sha256 {report['digest']}",
        "Generator": f"sha256 {report['generator']['digest']}",
        "Feature extractor": f"sha256 {report['encoder']['digest']}",
        "Trained on": _listed({key: told[key] for key in _TAUGHT if key in told}) or "not stated",
        "Platform": report["platform_version"],
    }
    return section("Provenance", "provenance", _facts(facts))


def _facts(facts: Mapping[str, str]) -> Markup:
    return element(
        "dl", *(join(element("dt", key), element("dd", value)) for key, value in facts.items()), class_="facts"
    )


def _listed(plain: Mapping[str, Any]) -> str:
    spelled = {key: ", ".join(value) if isinstance(value, list) else value for key, value in plain.items()}
    return "; ".join(f"{spoken(key)} {value}" for key, value in spelled.items())


def _picture(data: bytes, alt: str) -> Markup:
    drawn = element("img", src=f"data:image/png;base64,{base64.b64encode(data).decode()}", alt=alt)
    return Markup(drawn.removesuffix("</img>"))
