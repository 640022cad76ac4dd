"""Escaped elements. Everything that comes from outside passes ``element`` or ``join``."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is already HTML or SVG; every other string is escaped."""

    __slots__ = ()


Content = str | int | Markup
_VOID = frozenset(("img", "line", "rect", "circle", "path", "polyline"))


def element(tag: str, *content: Content, **attributes: str | float) -> Markup:
    """<tag attributes>content</tag>. ``_`` in attribute names becomes ``-``, a trailing one is dropped (``class_``)."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value), quote=True)}"'
        for name, value in attributes.items()
        if value != ""
    )
    if tag in _VOID and not content:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{join(*content)}</{tag}>")


def join(*content: Content) -> Markup:
    """The contents one after the other, escaped unless they are markup."""
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in content))
