"""The prompts of a grid: a file of them, or the built-in grid of phantoms. None may name the audited attribute."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pandas as pd

from services.errors import InvalidInput, NotFound, UnknownAttribute
from services.maths.fairness.generator_bias import MINIMUM_PROMPTS
from services.maths.phantoms import LABELS
from services.maths.phantoms.captions import caption_attributes, parse
from services.maths.phantoms.prompt_grids import prompt_grid
from services.maths.phantoms.worlds import Kind

COLUMN = "prompt"


@dataclass(frozen=True)
class Prompt:
    """``kind`` is the phantom that it asks for, "" for anything else; ``named`` what it says of it."""

    text: str
    kind: Kind | str = ""
    named: Mapping[str, str] = field(default_factory=dict)


def phantom_prompts(kinds: Sequence[str], attribute: str) -> tuple[Prompt, ...]:
    """The 20 test prompts of the built-in grid of each organ that has one.

    UnknownAttribute where an organ has no such attribute, InvalidInput NO_PROMPT_GRID where none has a grid.
    """
    found: list[Prompt] = []
    reasons: list[str] = []
    for kind in kinds:
        check_attribute(kind, attribute)
        try:
            _, test = prompt_grid(cast("Kind", kind), attribute)
        except ValueError as error:  # an organ of which there is less to say
            reasons.append(str(error))
        else:
            found += [Prompt(one.text, one.kind, dict(one.attributes)) for one in test]
    if not found:
        raise InvalidInput(
            f"there is no built-in grid: {'; '.join(reasons)}; give a file of prompts",
            field="prompts",
            reason="NO_PROMPT_GRID",
        )
    return tuple(found)


def check_attribute(kind: str, attribute: str) -> None:
    """UnknownAttribute where phantoms of ``kind`` have no such attribute, InvalidInput where there are no such."""
    if kind not in LABELS:
        raise InvalidInput(
            f"there are phantoms of {', '.join(LABELS)}; not of {kind[:40]!r}", field="organ", reason="NO_PROMPT_GRID"
        )
    known = caption_attributes(cast("Kind", kind))
    if attribute not in known:
        raise UnknownAttribute(
            f"a prompt of a {kind} phantom can leave open {', '.join(known)}; not {attribute[:40]!r}",
            field="attribute",
            reason="ATTRIBUTE_UNKNOWN",
        )


def read_prompts(path: Path) -> tuple[str, ...]:
    """Prompts of a CSV with a column ``prompt``, or of a text file, one a line; # opens a comment."""
    try:
        if path.suffix.lower() == ".csv":
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            if COLUMN not in table:
                raise InvalidInput(f"the table needs a column {COLUMN!r}", field=str(path))
            lines = table[COLUMN].tolist()
        else:
            lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFound("the file of prompts is not there", field=str(path), reason="FILE_NOT_FOUND") from error
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InvalidInput(f"the prompts cannot be read: {error}", field=str(path)) from error
    return tuple(text for line in lines if (text := line.strip()) and not text.startswith("#"))


def understood(texts: Sequence[str]) -> tuple[Prompt, ...]:
    """Prompts with what a phantom's caption says by these words; others are kept as they are."""
    return tuple(_understood(text) for text in texts)


def _understood(text: str) -> Prompt:
    try:
        kind, named = parse(text)
    except ValueError:
        return Prompt(text)
    return Prompt(text, kind, named)


def check_prompts(prompts: Sequence[Prompt], attribute: str, levels: Sequence[str]) -> None:
    """InvalidInput for prompts that are too few, repeated, or that name the attribute that they should leave open.

    Messages say the number of a prompt, never its words.
    """
    if len(prompts) < MINIMUM_PROMPTS:
        raise InvalidInput(
            f"bias over prompts needs at least {MINIMUM_PROMPTS} of them, got {len(prompts)}; prompts are the sample",
            field="prompts",
            reason="PROMPTS_TOO_FEW",
        )
    seen: dict[str, int] = {}
    words = [re.compile(rf"\b{re.escape(level)}\b", re.IGNORECASE) for level in levels]
    for number, prompt in enumerate(prompts, 1):
        first = seen.setdefault(prompt.text, number)
        if first != number:
            raise InvalidInput(f"prompt {number} is prompt {first} again", field="prompts", reason="PROMPT_REPEATED")
        spoken = () if attribute in prompt.named or prompt.kind else words  # a phantom's words are understood
        if attribute in prompt.named or any(word.search(prompt.text) for word in spoken):
            raise InvalidInput(
                f"prompt {number} names {attribute}, which it has to leave open",
                field="prompts",
                reason="PROMPT_NAMES_ATTRIBUTE",
            )
