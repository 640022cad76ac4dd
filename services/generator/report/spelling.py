"""How the numbers of a page are spelled: one scale a row, a true minus, a dash where there is no value."""

from __future__ import annotations

import math

NOTHING = "–"
_MOST_DECIMALS = 8
_ABBREVIATIONS = {"bmi": "BMI", "lv": "LV", "rv": "RV", "ed": "ED", "es": "ES"}


def title(name: str) -> str:
    """ "neck_shaft_angle" → "Neck shaft angle"."""
    words = " ".join(_ABBREVIATIONS.get(word, word) for word in name.replace("_", " ").split())
    return words[:1].upper() + words[1:]


def within(name: str) -> str:
    """The title as it stands within a sentence: "BMI", "neck shaft angle"."""
    words = title(name)
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]


def decimals_for(scale: float) -> int:
    """Decimals that give a number of size ``scale`` three digits."""
    if not math.isfinite(scale) or scale <= 0:
        return 3
    return min(max(2 - math.floor(math.log10(scale)), 0), _MOST_DECIMALS)


def number(value: float | None, decimals: int) -> str:
    """A value; a dash for none or NaN, no sign on a rounded zero."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:,.{decimals}f}"
    return (text.lstrip("-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def signed(value: float | None, decimals: int) -> str:
    """A difference with its sign; none on a zero."""
    text = number(value, decimals)
    rises = value is not None and value > 0 and text != NOTHING and float(text.replace(",", "")) != 0
    return f"+{text}" if rises else text


def percent(share: float | None) -> str:
    """A share as whole percent; one decimal below 10 %."""
    if share is None or not math.isfinite(share):
        return NOTHING
    return f"{number(100 * share, 1 if 0 < abs(share) < 0.0995 else 0)} %"
