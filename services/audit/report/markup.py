"""Escaped elements and the spelling of numbers."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is already HTML. Only ``element`` and ``join`` make it; every other string is escaped by them."""

    __slots__ = ()


Content = str | int | Markup


def element(tag: str, *content: Content, **attributes: str | float) -> Markup:
    """<tag attributes>content</tag>. ``_`` in attribute names becomes ``-``, a trailing one is dropped (``class_``)."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_attribute(value), quote=True)}"'
        for name, value in attributes.items()
    )
    return Markup(f"<{tag}{written}>{join(*content)}</{tag}>")


def join(*content: Content) -> Markup:
    """The contents one after the other, escaped unless they are markup."""
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in content))


def number(value: float | None, metric: str = "") -> str:
    """A value as readers know it: dB with two digits, all else with three; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.2f}" if metric == "psnr" else f"{value:.3f}"


def signed(value: float | None, metric: str = "") -> str:
    """A difference with its sign; a true minus, and no sign on a zero."""
    if value is None:
        return "–"
    text = number(abs(value), metric)
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def _attribute(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
