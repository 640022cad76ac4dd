"""report.html of a prompt grid: one self-contained page, drawn from report.json and a few pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from services.audit.report.figures.svg import drawing_settings
from services.audit.report.markup import Markup, element, join
from services.audit.report.tables import folded, quiet, section
from services.platform.evaluation.pictures import png
from services.platform.evaluation.wording import spoken
from services.platform.prompt_grid import page_tables as tables
from services.platform.prompt_grid.auditing import AFTER, BEFORE, Shown
from services.platform.prompt_grid.dots import key, roles_of, share_dots
from services.platform.prompt_grid.orders import spelled_target
from services.platform.prompt_grid.sheet import FRAMES, UNREAD_FRAME, rows_of, sheet
from services.platform.prompt_grid.wording import NOT_ANSWERED, WHY_TWO_READINGS

Report = Mapping[str, Any]

# Control characters and lone surrogates are neither HTML nor UTF-8.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_CONTENTS = (
    ("found", "What was found"),
    ("shares", "Shares"),
    ("bias", "Bias"),
    ("changes", "Before and after"),
    ("images", "Images"),
    ("others", "Other attributes"),
    ("judges", "Judges"),
    ("methods", "Methods"),
    ("provenance", "Provenance"),
)


def grid_page(report: Report, shown: Sequence[Shown]) -> str:
    """The page; the same report and pictures give the same text."""
    title = f"{tables.model_title(report, AFTER)}: {spoken(report['attribute'])} of its images"
    style = resources.files("services.audit.report").joinpath("report.css").read_text(encoding="utf-8")
    own = resources.files("services.platform.prompt_grid").joinpath("page.css").read_text(encoding="utf-8")
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        Markup(f"<style>{style}{own}</style>"),
    )
    with drawing_settings():
        parts = {
            "found": _found(report),
            "shares": _shares(report),
            "bias": _bias(report),
            "changes": _changes(report),
            "images": _images(report, shown),
            "others": _others(report),
            "judges": _judges(report),
            "methods": _methods(report),
            "provenance": _provenance(report),
        }
    links = (element("a", words, href=f"#{anchor}") for anchor, words in _CONTENTS if parts[anchor])
    body = element("main", _header(report, title), element("nav", *links), *parts.values())
    page = "<!doctype html>\n" + element("html", element("head", head), element("body", body), lang="en") + "\n"
    return _NO_TEXT.sub("\ufffd", page)


def _header(report: Report, title: str) -> Markup:
    settings = report["settings"]
    sampling = "; ".join(f"{spoken(name)} {value}" for name, value in settings["sampling"].items())
    facts = {
        "Left open": f"{spoken(report['attribute'])} ({', '.join(report['groups'])})",
        "Wanted": "; ".join(spelled_target(target) for target in report["targets"]),
        "Grid": f"{len(report['prompts'])} prompts × {settings['images_per_prompt']:g} images, seed {settings['seed']}",
        "Sampling": sampling or "the model's own",
        "Judged by": ", ".join(row["judge"] for row in report["judges"]),
    }
    if BEFORE in report["models"]:
        facts["Compared with"] = tables.model_title(report, BEFORE)
    return element("header", element("h1", title), _facts(facts))


def _found(report: Report) -> Markup:
    listed = [element("ul", *(element("li", one["sentence"]) for one in report["findings"]), class_="findings")]
    silent = (element("p", sentence) for sentence in report["not_found"])
    parts = [element("p", report["headline"], class_="headline"), *(listed if report["findings"] else []), *silent]
    found = Markup(section("What was found", "found", *parts))
    return Markup(found.replace("<section ", '<section class="verdict" ', 1)) if report["findings"] else found


def _shares(report: Report) -> Markup:
    words = "Each mark is one prompt: the share of its images that a judge gives to the group, with 95 % limits."
    groups = range(1 if len(report["groups"]) == 2 else len(report["groups"]))
    drawn: list[Markup] = []
    for place, judge in enumerate(row["judge"] for row in report["judges"]):
        panels = [
            join(element("h3", f"{report['groups'][group]}, by {judge}"), share_dots(report, judge, group))
            for group in groups
        ]
        drawn += panels if not place else [folded(f"By {judge}", *panels)]
        drawn.append(folded(f"All prompts, by {judge}", tables.prompt_table(report, judge)))
    return section("Shares by prompt", "shares", quiet(words), _keys(report), *drawn, tables.share_table(report))


def _keys(report: Report) -> Markup:
    """Which mark is which model, where there are two."""
    roles = roles_of(report)
    if len(roles) < 2:
        return Markup("")
    named = ((key(place), f" {tables.model_title(report, role)}") for place, role in enumerate(roles))
    return element("p", *(element("span", *pair, class_="key") for pair in named), class_="keys")


def _bias(report: Report) -> Markup:
    notes = dict.fromkeys(f"{row['judge']}: {note}" for row in report["bias"] for note in row["notes"])
    said = [element("p", note, class_="quiet") for note in notes]
    every = folded("All readings, with total variation", tables.reading_table(report))
    return section("bias(T)", "bias", tables.bias_table(report), every, *said, element("p", WHY_TWO_READINGS))


def _changes(report: Report) -> Markup:
    if not report["changes"]:
        return Markup("")
    shared = report["noise"]["shared"]
    noise = (
        "Both models drew every image from the same noise."
        if shared
        else "Whether both models drew from the same noise is not known: the images came from folders, paired by order."
    )
    words = (
        f"{noise} Prompts are the unit of the intervals. Chance inflates a small bias more than a large one, so a "
        "reduction is understated, and the intervals are widened by the most that this can be."
    )
    flips = element("div", *(tables.flip_table(report, row) for row in report["flips"]), class_="side-by-side")
    every = folded("Other readings", tables.change_table(report, others=True))
    by_prompt = folded("Changed images of each prompt", tables.flips_by_prompt(report))
    return section("Before and after", "changes", quiet(words), tables.change_table(report), flips, every, by_prompt)


def _images(report: Report, shown: Sequence[Shown]) -> Markup:
    order = ", then ".join(f"{tables.model_title(report, role)}" for role in rows_of(shown[0]))
    paired = " Each column is one noise." if BEFORE in report["models"] else ""
    words = f"The first prompts and their first images, none chosen. Rows: {order}.{paired} The frame is the group."
    groups = [(group, _css(FRAMES[place % len(FRAMES)])) for place, group in enumerate(report["groups"])]
    figures = (
        element(
            "figure",
            element("figcaption", some.prompt.text),
            _picture(png(sheet(some)), f"synthetic images of prompt {number}"),
        )
        for number, some in enumerate(shown, 1)
    )
    keys = tables.legend([*groups, ("not read", _css(UNREAD_FRAME))])
    return section("Images", "images", quiet(words), keys, element("div", *figures, class_="sheets"))


def _others(report: Report) -> Markup:
    if not report["others"]:
        return section("Other attributes", "others", element("p", "No reader reads these images."))
    words = "What else the readers see. Changing one attribute should leave these where they were."
    if report["changes"]:
        words += " Limits count prompts; p is of no change at these prompts (McNemar over pairs of images, Holm)."
    return section("Other attributes", "others", quiet(words), tables.other_table(report))


def _judges(report: Report) -> Markup:
    facts = {row["judge"]: _judge_words(row) for row in report["judges"]}
    measured = [tables.confusion_table(report, row) for row in report["judges"] if row.get("confusion")]
    agreement = [tables.agreement_table(report)] if report["agreement"] else []
    side_by_side = element("div", *measured, class_="side-by-side")
    return section("Who judged", "judges", _facts(facts), side_by_side, *agreement)


def _judge_words(row: Report) -> str:
    if "digest" not in row:
        return "read the pixels of phantoms and are exact on them; nothing was corrected"
    listed = row["learned_from"]
    known = "whom it learned from is not known" if listed is None else f"learned from {listed:,} listed patients"
    version = f"version {row['version']}, {'at the thresholds of its package' if row['thresholds'] else 'at even odds'}"
    if row["confusion"] is None:
        return f"{version}; its errors were not measured and are in the shares"
    met = "" if listed is None else ", none of whom it was measured on"
    return f"{version}; {known}{met}; its errors, measured below, are taken out (Rogan and Gladen)"


def _methods(report: Report) -> Markup:
    noise = report["noise"]
    distinct = (
        f" The {noise['images']:,} images of the model come from {noise['distinct']:,} different noises."
        if noise["distinct"]
        else ""
    )
    words = (
        "The noise of an image depends on the seed, the words of its prompt and its number; grid.parquet has each "
        f"image's.{distinct} Prompts are a sample of the prompts that there could be: images of one prompt resemble "
        "each other, so limits count prompts. Shares of all groups have limits that hold at once. A classifier's "
        "errors were measured on a finite sample, and that uncertainty is in the limits."
    )
    limits = element("ul", *(element("li", sentence) for sentence in NOT_ANSWERED))
    return section("Methods and limits", "methods", quiet(words), element("h3", "Not answered"), limits)


def _provenance(report: Report) -> Markup:
    facts = {"Report": f"schema {report['schema_version']}, sha256 {report['digest']}"}
    for role, model in report["models"].items():
        facts[tables.model_title(report, role)] = f"sha256 {model['digest']}; images from {model['images_from']}"
    facts |= {row["judge"]: f"sha256 {row['digest']}" for row in report["judges"] if "digest" in row}
    return section("Provenance", "provenance", _facts(facts | {"Platform": report["platform_version"]}))


def _facts(facts: Mapping[str, str]) -> Markup:
    pairs = (join(element("dt", key), element("dd", value)) for key, value in facts.items())
    return element("dl", *pairs, class_="facts")


def _css(colour: tuple[int, int, int]) -> str:
    return f"rgb{colour}"


def _picture(data: bytes, alt: str) -> Markup:
    drawn = element("img", src=f"data:image/png;base64,{base64.b64encode(data).decode()}", alt=alt)
    return Markup(drawn.removesuffix("</img>"))
