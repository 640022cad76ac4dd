"""Prompt templates: fixed words with names of attributes and labels in braces."""

from __future__ import annotations

import string
from collections.abc import Mapping


def template_fields(template: str) -> tuple[str, ...]:
    """The names in braces, each once, in order. ValueError for unbalanced braces, an empty name or a format."""
    found: dict[str, None] = {}
    for _, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name or form or conversion:
            raise ValueError("braces hold the name of an attribute or label and nothing else")
        found[name] = None
    return tuple(found)


def fill_template(template: str, words: Mapping[str, str]) -> str:
    """The prompt: ``words`` has one for every field."""
    parts = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            parts.append(words[name])
    return "".join(parts)
