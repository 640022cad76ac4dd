"""Escaped elements. Everything that comes from outside passes ``element`` or ``join``."""

from __future__ import annotations

import re
from html import escape

_STYLE = re.compile(r' style="([^"]*)"')


class Markup(str):
    """Text that is already HTML. Only this module and ``figures.svg`` make it; every other string is escaped."""

    __slots__ = ()


Content = str | int | Markup


def element(tag: str, *content: Content, **attributes: str | float) -> Markup:
    """<tag attributes>content</tag>. ``_`` in attribute names becomes ``-``, a trailing one is dropped (``class_``)."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for name, value in attributes.items()
        if value != ""
    )
    return Markup(f"<{tag}{written}>{join(*content)}</{tag}>")


def join(*content: Content) -> Markup:
    """The contents one after the other, escaped unless they are markup."""
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in content))


def isolated(text: str) -> Markup:
    """A name within a sentence: isolated, so that right-to-left text cannot reorder what stands around it."""
    return element("bdi", text)


def share_styles(body: Markup) -> tuple[str, Markup]:
    """The body with each distinct ``style`` attribute replaced by a class, and the style sheet of these classes.

    Thousands of marks share a few dozen styles. Quotes in text are always escaped, so no text can match; an element
    with a style must not have a class of its own.
    """
    classes: dict[str, str] = {}

    def short(match: re.Match[str]) -> str:
        return f' class="{classes.setdefault(match[1], f"k{len(classes)}")}"'

    shared = _STYLE.sub(short, body)
    return "".join(f".{class_}{{{style}}}" for style, class_ in classes.items()), Markup(shared)
