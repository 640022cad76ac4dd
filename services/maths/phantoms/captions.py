"""Captions of phantoms: from a row of the table to words and back.

A caption names only what the picture shows. Each organ has attributes with a few levels; a level is said by one of a
few phrases, so that a text encoder meets paraphrases and is no lookup. Where the drawing is ambiguous (a shallow
necrosis, a slightly wide heart, a middle grade of osteoarthritis) the attribute is None: :func:`is_clear` leaves such a
record out of training. The templates are those of the papers: "Axial ... image of a glioma patient showing ..." (Han et
al. 2025) and "{Sex}, age in {decade}, {level} BMI, {diagnosis}" (Skorupko et al. 2024).

The grammar is deterministic: :func:`parse` gives back what :func:`compose` was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.maths.phantoms.cardiac import BMI_CUTS, bmi_level
from services.maths.phantoms.worlds import Kind

Attributes = Mapping[str, str | None]
Phrases = Mapping[str, tuple[str, ...]]

# Attributes that are in a caption but that no reader takes from the pixels.
UNREAD = {"cardiac": ("age",)}


@dataclass(frozen=True)
class Language:
    """How an organ is spoken of: openings, then attribute -> level -> phrases (the first is the usual one).

    ``join`` puts the opening and the chosen phrases, one an attribute and None where it is not given, together.
    """

    openings: tuple[str, ...]
    attributes: Mapping[str, Phrases]
    join: Callable[[str, list[str | None]], str]


def _listed(opening: str, phrases: list[str | None]) -> str:
    said = ", ".join(phrase for phrase in phrases if phrase)
    return f"{opening}. {said}" if said else opening


def _showing(opening: str, phrases: list[str | None]) -> str:
    lesion, side = phrases
    if not (lesion or side):
        return opening
    return f"{opening} showing {lesion or 'a lesion'}{f' {side}' if side else ''}"


_SEX: Phrases = {"Female": ("Female", "a woman"), "Male": ("Male", "a man")}
_DECADES = tuple(f"{decade}s" for decade in range(20, 100, 10))

_LANGUAGES: Mapping[str, Language] = {
    "chest": Language(
        ("Frontal chest radiograph", "Chest X-ray, frontal view"),
        {
            "sex": _SEX,
            "cardiomegaly": {
                "absent": ("heart of normal size", "no cardiomegaly"),
                "present": ("with cardiomegaly", "with an enlarged heart"),
            },
            "pleural_effusion": {
                "none": ("no pleural effusion", "clear costophrenic angles"),
                "left": ("left pleural effusion", "effusion on the left"),
                "right": ("right pleural effusion", "effusion on the right"),
            },
        },
        _listed,
    ),
    "brain": Language(
        ("Axial FLAIR image of a glioma patient", "Axial FLAIR slice of a patient with glioma"),
        {
            "lesion": {
                "homogeneous": ("a homogeneous lesion", "a uniformly bright lesion"),
                "necrotic": ("a lesion with a necrotic core", "a ring-like lesion with a dark centre"),
            },
            "hemisphere": {
                "left": ("in the left hemisphere", "on the left side"),
                "right": ("in the right hemisphere", "on the right side"),
            },
        },
        _showing,
    ),
    "pelvis": Language(
        ("Pelvis radiograph", "X-ray of the pelvis"),
        {
            "sex": _SEX,
            "osteoarthritis": {
                "none": ("no osteoarthritis", "healthy hips"),
                "severe": ("severe osteoarthritis", "with advanced osteoarthritis"),
            },
            "laterality": {"left": ("left marker", "marked left"), "right": ("right marker", "marked right")},
        },
        _listed,
    ),
    "cardiac": Language(
        ("Short-axis cardiac MRI", "Cardiac MRI in short axis"),
        {
            "sex": _SEX,
            "age": {decade: (f"age in {decade}", f"in the {decade}") for decade in _DECADES},
            "bmi": {level: (f"{level} BMI", f"{level} body mass index") for level in BMI_CUTS},
            "diagnosis": {
                "healthy": ("healthy", "no heart failure"),
                "heart failure": ("heart failure", "a failing heart"),
            },
        },
        _listed,
    ),
}


def caption_attributes(kind: Kind) -> dict[str, tuple[str, ...]]:
    """Every attribute that a caption of ``kind`` can name, with its levels. ValueError for an unknown kind."""
    return {name: tuple(phrases) for name, phrases in _language(kind).attributes.items()}


def compose(kind: Kind, attributes: Attributes, rng: np.random.Generator | None = None) -> str:
    """The prompt that names the given attributes; None, or not there, is not named. With ``rng`` a paraphrase.

    Raises ValueError for an unknown kind, attribute or level.
    """
    language = _language(kind)
    for name, level in attributes.items():
        if name not in language.attributes:
            raise ValueError(f"a caption of {kind} names {', '.join(language.attributes)}, not {name!r}")
        if level is not None and level not in language.attributes[name]:
            raise ValueError(f"{name} must be one of {', '.join(language.attributes[name])}, not {level!r}")
    opening = _pick(language.openings, rng)
    phrases: list[str | None] = []
    for name, levels in language.attributes.items():
        level = attributes.get(name)
        phrases.append(None if level is None else _pick(levels[level], rng))
    return language.join(opening, phrases)


def caption(kind: Kind, row: Mapping[str, Any], rng: np.random.Generator | None = None) -> str:
    """The caption of a phantom by its row; what is ambiguous is not named. With ``rng`` a paraphrase."""
    return compose(kind, attributes_of(kind, row), rng)


def parse(prompt: str) -> tuple[Kind, dict[str, str]]:
    """The organ and the attributes that a prompt names; other words are passed over.

    Raises ValueError where no organ is named, or an attribute with two levels.
    """
    text = prompt.lower()
    kind = next((kind for kind, spoken in _LANGUAGES.items() if any(o.lower() in text for o in spoken.openings)), None)
    if kind is None:
        raise ValueError(
            f"a prompt opens with one of: {'; '.join(spoken.openings[0] for spoken in _LANGUAGES.values())}"
        )
    meanings = [
        (phrase, name, level)
        for name, levels in _LANGUAGES[kind].attributes.items()
        for level, phrases in levels.items()
        for phrase in phrases
    ]
    found: dict[str, str] = {}
    for phrase, name, level in sorted(meanings, key=lambda meaning: -len(meaning[0])):  # "no X" before "X"
        text, times = re.subn(rf"\b{re.escape(phrase.lower())}\b", " ", text)
        if times and found.setdefault(name, level) != level:
            raise ValueError(f"a prompt names one {name}, not both {found[name]} and {level}")
    return kind, {name: found[name] for name in _LANGUAGES[kind].attributes if name in found}  # type: ignore[return-value]


def random_attributes(kind: Kind, rng: np.random.Generator) -> dict[str, str]:
    """A level of every attribute, each as likely as the next."""
    return {name: str(rng.choice(levels)) for name, levels in caption_attributes(kind).items()}


def is_clear(attributes: Attributes) -> bool:
    """Whether every attribute has a level, that is, the picture shows all that its caption should say."""
    return all(level is not None for level in attributes.values())


def attributes_of(kind: Kind, row: Mapping[str, Any]) -> dict[str, str | None]:
    """The attributes of a phantom by its row, None where the drawing is ambiguous. ValueError for an unknown kind."""
    _language(kind)
    return _TRUTHS[kind](row)


def _language(kind: str) -> Language:
    if kind not in _LANGUAGES:
        raise ValueError(f"kind must be one of {', '.join(_LANGUAGES)}, not {kind!r}")
    return _LANGUAGES[kind]


def _pick(phrases: tuple[str, ...], rng: np.random.Generator | None) -> str:
    return phrases[0] if rng is None else phrases[int(rng.integers(len(phrases)))]


def _between(value: float, low: float, high: float, names: tuple[str, str]) -> str | None:
    """The first name up to ``low``, the second from ``high`` on, None between."""
    return names[0] if value <= low else names[1] if value >= high else None


def _chest_truth(row: Mapping[str, Any]) -> dict[str, str | None]:
    heart = _between(row["heart_ratio"], 0.485, 0.53, ("absent", "present"))
    fluid = _between(row["strength_Pleural Effusion"], 0.0, 0.8, ("none", row["effusion_side"]))
    sex = _between(row["breast"], 0.05, 0.09, ("Male", "Female"))  # some women's shadows hardly show
    return {"sex": sex if sex == row["sex"] else None, "cardiomegaly": heart, "pleural_effusion": fluid}


def _brain_truth(row: Mapping[str, Any]) -> dict[str, str | None]:
    strength = row["strength_tumour"]
    shown = strength >= 0.6
    depth = row["necrosis"] * strength
    lesion = _between(depth, 0.0, 0.5, ("homogeneous", "necrotic"))
    if depth > 0 and row["tumour_radius"] < 0.125:  # a core of less than two of a generator's pixels does not show
        lesion = None
    return {"lesion": lesion if shown else None, "hemisphere": row["tumour_side"] if shown else None}


def _pelvis_truth(row: Mapping[str, Any]) -> dict[str, str | None]:
    grade = _between(row["osteoarthritis"], 1, 3, ("none", "severe"))
    sex = _between(row["ring_eccentricity"], 1.16, 1.22, ("Male", "Female"))  # the shapes of inlets overlap a little
    return {"sex": sex if sex == row["sex"] else None, "osteoarthritis": grade, "laterality": row["laterality"]}


def _cardiac_truth(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        "sex": row["sex"],
        "age": f"{row['age'] // 10 * 10}s",
        "bmi": bmi_level(row["bmi"]),
        "diagnosis": _between(row["radius_ratio"], 0.70, 0.76, ("healthy", "heart failure")),
    }


_TRUTHS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, str | None]]] = {
    "chest": _chest_truth,
    "brain": _brain_truth,
    "pelvis": _pelvis_truth,
    "cardiac": _cardiac_truth,
}
