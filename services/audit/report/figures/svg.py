"""A matplotlib figure as inline SVG.

matplotlib's own file is rewritten: name spaces, metadata and empty groups go (nothing in the page looks like an
address to fetch), ids are kept only where something refers to them and are made unique by the figure's title, numbers
are cut to a tenth of a pixel, and stand-in colours become CSS variables. Text stays text.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from itertools import groupby
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from services.audit.report.figures.ink import VARIABLES
from services.audit.report.figures.plot import FONT
from services.audit.report.markup import Markup, element

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "evenhand",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": FONT,
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.9,
}
_DROPPED = {"metadata", "style", "title", "double"}
_REFERENCE = re.compile(r"(?<=url\(#)[^)]+|(?<=^#).+")
_DECIMALS = re.compile(r"-?\d+\.\d+")
_SPACE = re.compile(r"\s+")
_LEVEL = re.compile(r"(M[-\d.]+ )([-\d.]+)L([-\d.]+) \2(?![\d.])")
_AROUND_COMMANDS = re.compile(r" ?([A-Za-z]) ?(?![a-z(])")


@contextmanager
def drawing_settings() -> Iterator[None]:
    """matplotlib's settings for the page, put back afterwards. Fonts are the reader's: missing glyphs are no matter."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message=r"(?s).*(Glyph|glyph|font)", category=UserWarning)
        yield


def inline_svg(figure: Figure, title: str, description: str) -> Markup:
    """``figure`` as an <svg> element with title, description and a label for screen readers.

    ``title`` must be unique in the page: the ids are made from it.
    """
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})  # type: ignore[no-untyped-call]
    root = ElementTree.fromstring(text.getvalue())
    prefix = f"f{hashlib.sha256(title.encode('utf-8', 'replace')).hexdigest()[:8]}-"
    same = _same_shapes(root)
    names = dict.fromkeys(same.get(name, name) for name in _references(root))
    ids = {name: f"{prefix}{i}" for i, name in enumerate(names)}
    referred = ids | {double: ids[name] for double, name in same.items() if name in ids}
    width, height = (round(float(side)) for side in figure.get_size_inches() * 72)
    head = Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(f"{title}. {description}", quote=True)}">'
    )
    words = element("title", title) + element("desc", description)
    return Markup(head + words + _content(root, referred) + "</svg>")


def decoration(figure: Figure, name: str) -> Markup:
    """A small drawing beside words that already say it: hidden from screen readers."""
    drawn = inline_svg(figure, name, "")
    start = drawn.index("</desc>") + len("</desc>")
    width, height = (round(float(side)) for side in figure.get_size_inches() * 72)
    opening = f'<svg class="mark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" aria-hidden="true">'
    return Markup(opening + drawn[start:])


def _same_shapes(root: ElementTree.Element) -> dict[str, str]:
    """Ids of shapes that are drawn as an earlier one is, and whose; they are taken out of the drawing."""
    first: dict[tuple[str | None, str | None], str] = {}
    same: dict[str, str] = {}
    for node in root.iter():
        name = node.get("id")
        if name and _tag(node) == "path":
            earlier = first.setdefault((node.get("d"), node.get("style")), name)
            if earlier != name:
                same[name] = earlier
                node.tag = "double"
    return same


def _references(root: ElementTree.Element) -> Iterator[str]:
    for node in root.iter():
        for key, value in node.attrib.items():
            if key.endswith("href") or "url(#" in value:
                yield from _REFERENCE.findall(value)


def _content(nodes: Iterable[ElementTree.Element], referred: dict[str, str]) -> str:
    """Elements one after the other; neighbours that look alike share one path, or one group that carries the style."""
    parts: list[str] = []
    for (tag, style), run in groupby(nodes, key=lambda node: (_tag(node), node.get("style", ""))):
        alike = list(run)
        if len(alike) > 1 and tag == "path" and all(node.attrib.keys() == {"d", "style"} for node in alike):
            joined = {"d": " ".join(node.attrib["d"] for node in alike), "style": style}
            parts.append(_written(ElementTree.Element("path", joined), referred))
        elif len(alike) > 1 and tag in ("use", "text") and style:
            bare = "".join(_written(node, referred, without="style") for node in alike)
            parts.append(f'<g style="{escape(_style(style), quote=True)}">{bare}</g>')
        else:
            parts += (_written(node, referred) for node in alike)
    return "".join(parts)


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _written(node: ElementTree.Element, referred: dict[str, str], *, without: str = "") -> str:
    tag = _tag(node)
    if tag in _DROPPED:
        return ""
    attributes = "".join(
        f' {name}="{escape(text, quote=True)}"' for name, text in _attributes(node, referred) if name != without
    )
    content = _content(node, referred)
    if tag in ("g", "defs") and not content:
        return ""
    if tag == "g" and not attributes:
        return content
    text = escape(node.text, quote=True) if tag == "text" and node.text else ""
    return f"<{tag}{attributes}>{text}{content}</{tag}>" if text or content else f"<{tag}{attributes}/>"


def _attributes(node: ElementTree.Element, referred: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in node.attrib.items():
        name = key.rpartition("}")[2]
        if (name == "id" and value not in referred) or value.startswith("rotate(-0 "):
            continue
        if name == "id":
            yield name, referred[value]
        elif name == "style":
            yield name, _REFERENCE.sub(lambda found: referred[found[0]], _style(value))
        elif name == "href" or value.startswith("url(#"):
            yield name, _REFERENCE.sub(lambda found: referred[found[0]], value)
        elif name in ("d", "x", "y", "transform"):
            yield name, _numbers(value)
        else:
            yield name, value


def _numbers(value: str) -> str:
    """Coordinates in tenths of a pixel, level lines as such, without the space that nobody needs."""
    tight = _SPACE.sub(" ", _DECIMALS.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), value)).strip()
    return _LEVEL.sub(r"\1\2H\3", _AROUND_COMMANDS.sub(r"\1", tight))


@lru_cache(maxsize=4096)
def _style(style: str) -> str:
    """A style with colours by variable and the page's own font."""
    kept = []
    for part in style.split(";"):
        key, _, value = part.strip().partition(": ")
        if not key or key == "font-family":
            continue
        if key == "font":
            key, value = "font-size", next((word for word in value.split() if word.endswith("px")), f"{FONT}px")
        kept.append(f"{key}:{VARIABLES.get(value, value)}")
    return ";".join(kept)
