"""One counterfactual as one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import re
from importlib import resources

from services.generator.report.findings import Findings
from services.generator.report.markup import Content, Markup, element, join
from services.generator.report.sections import (
    NOT_A_CAUSE,
    conditions_section,
    effect_section,
    guidance_section,
    headline,
    record_section,
    settings,
)
from services.generator.report.trace_figure import trace_svg

__all__ = ["Findings", "counterfactual_page"]

# Control characters and lone surrogates are neither HTML nor UTF-8.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def counterfactual_page(findings: Findings) -> str:
    """The page: what was found, video, difference map, filmstrip, trace, effects, guidance, conditions, record."""
    title = findings.display_name or f"Counterfactual: {findings.change}"
    style = resources.files("services.generator.report").joinpath("report.css").read_text(encoding="utf-8")
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{title} (synthetic)"),
        Markup(f"<style>{style}</style>"),
    )
    body = element(
        "main",
        _header(findings, title),
        _found(findings),
        _pictures(findings),
        _trace(findings),
        effect_section(findings),
        guidance_section(findings),
        conditions_section(findings),
        record_section(findings),
    )
    page = "<!doctype html>\n" + element("html", element("head", head), element("body", body), lang="en") + "\n"
    return _NO_TEXT.sub("\ufffd", page)


def _header(findings: Findings, title: str) -> Markup:
    facts = [("Changed", findings.change), *settings(findings)]
    listed = (join(element("dt", key), element("dd", value)) for key, value in facts)
    return element("header", element("h1", title), element("dl", *listed))


def _found(findings: Findings) -> Markup:
    warning = element("p", element("strong", "An association, not a cause. "), NOT_A_CAUSE, class_="notice")
    more = [element("p", text, class_="notice") for text in findings.warnings]
    return element("section", element("h2", "What was found"), headline(findings), warning, *more, id="found")


def _pictures(findings: Findings) -> Markup:
    first, last = findings.ends
    strip = element("figcaption", f"From {first} to {last}")
    frames = f"Frames of the path from {first} to {last}"
    words = "Orange is brighter in the last frame, blue is darker; grey is their mean."
    pair = element(
        "div", _video(findings), _image(findings.difference, "Difference: last frame minus first", words), class_="pair"
    )
    film = element("figure", strip, _png(findings.filmstrip, frames), class_="film")
    return element("section", element("h2", "Frames"), pair, film, id="frames")


def _video(findings: Findings) -> Markup:
    source = _href(findings.video_name) if findings.video is None else _data("video/mp4", findings.video)
    label = f"Synthetic video: {findings.change}"
    video = Markup(
        element("video", src=source, aria_label=label).replace("<video ", "<video controls loop muted playsinline ", 1)
    )
    links: list[Content] = [element("a", findings.video_name, href=_href(findings.video_name))]
    if findings.back_video_name:
        links += [" · the way back: ", element("a", findings.back_video_name, href=_href(findings.back_video_name))]
    return element("figure", element("figcaption", "Synthetic video"), video, element("small", *links))


def _trace(findings: Findings) -> Markup:
    """The figure, drawn into the page."""
    source, target = findings.ends
    drawn = trace_svg(findings.trace, spreads=findings.spreads, source=source, target=target)
    words = "Each scale spans at least one standard deviation of the cohort (the bar at its right, where one is known)."
    note = element("p", words, class_="quiet")
    return element("section", element("h2", "Trace"), note, element("div", Markup(drawn), class_="scroll"), id="trace")


def _image(png: bytes, caption: str, words: str) -> Markup:
    return element("figure", element("figcaption", caption), _png(png, f"{caption}. {words}"), element("small", words))


def _png(png: bytes, alt: str) -> Markup:
    return element("img", src=_data("image/png", png), alt=alt)


def _data(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _href(name: str) -> str:
    """A file beside the page; never a scheme, whatever the name."""
    return f"./{name}"
