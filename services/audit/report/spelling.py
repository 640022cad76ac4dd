"""How numbers are spelled: one form each for values, differences, intervals, p values and counts.

What is null is a dash, never 0. A number has the digits that its unit can carry: dB and percent two, all else three.
"""

from __future__ import annotations

NOTHING = "–"
_BANDS = ((0.05, "**"), (0.1, "*"))


def unit(metric: str, definition: str = "") -> str:
    """ "dB", "%" or "" (shares, areas, ratios)."""
    if definition == "percent_max_min":
        return "%"
    return "dB" if metric == "psnr" and definition != "ratio_to_reference" else ""


def number(value: float | None, of: str = "") -> str:
    """A value of unit ``of``, without the unit; a dash where there is none, no sign on a rounded zero."""
    if value is None:
        return NOTHING
    text = f"{value:,.{2 if of else 3}f}"
    return (text.lstrip("-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def signed(value: float | None, of: str = "") -> str:
    """A difference with its sign; a true minus, and no sign on a zero."""
    text = number(value, of)
    return text if value is None or value <= 0 or float(text.replace(",", "")) == 0 else f"+{text}"


def with_unit(text: str, of: str) -> str:
    """``text`` with its unit behind it."""
    return f"{text} {of}" if of and text != NOTHING else text


def interval(low: float | None, high: float | None, of: str = "", *, plus: bool = False) -> str:
    """[low, high], or a dash when there is no interval. ``plus`` writes signs, for differences."""
    if low is None or high is None:
        return NOTHING
    spell = signed if plus else number
    return f"[{spell(low, of)}, {spell(high, of)}]"


def p_value(value: float | None) -> str:
    """A p value with three digits; below 0.001 only that it is."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def p_words(value: float | None) -> str:
    """ "p = 0.013", "p < 0.001"."""
    text = p_value(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def stars(p_adjusted: float | None) -> str:
    """The band of an adjusted p value: ** below 0.05, * below 0.1, nothing otherwise."""
    if p_adjusted is None:
        return ""
    return next((mark for limit, mark in _BANDS if p_adjusted < limit), "")


def count(value: int | None) -> str:
    """A count with thousands separated; a dash where counting makes no sense."""
    return NOTHING if value is None else f"{value:,}"


def clipped(text: str, length: int) -> str:
    """A name of one line and at most ``length`` characters; what a drawing cannot carry becomes U+FFFD.

    Control characters and lone surrogates are no XML and would break the drawing that they stand in.
    """
    line = " ".join(text.split())
    clean = "".join(
        letter if letter.isprintable() or letter in "\u200c\u200d\u200e\u200f" else "\ufffd" for letter in line
    )
    return clean if len(clean) <= length else clean[: length - 1].rstrip() + "…"
