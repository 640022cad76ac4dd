"""The bricks of schema.yaml: a part of it, and the text of a cell of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_LONGEST_MATCHED = 256
_MOST_REPEATS = 3

Text = Annotated[str, Field(min_length=1, max_length=200)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(Part):
    r"""The text of a column, or the part of it that ``match`` finds.

    With ``match`` the first group counts, or the whole match if it has none. ``value`` composes a text of groups:
    ``{2}`` is the second one, ``{1:4}`` the first as a number with at least four digits.
    """

    column: Text
    match: str = Field(default="", max_length=200)
    value: str = Field(default="", max_length=500)

    @model_validator(mode="before")
    @classmethod
    def _column_alone(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @field_validator("match")
    @classmethod
    def _quick_to_match(cls, pattern: str) -> str:
        """Only patterns whose matching time is bounded: a caller's pattern runs on the server."""
        bare = re.sub(r"\\.|\[[^\]]*\]", "x", pattern)
        if re.search(r"\)[*+?{]|\(\?", bare) or re.search(r"\\[1-9]", pattern):
            raise ValueError("groups may not be repeated, named or referred to")
        if len(re.findall(r"[*+{]", bare)) > _MOST_REPEATS:
            raise ValueError(f"at most {_MOST_REPEATS} repetitions")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _groups_exist(self) -> Cell:
        groups = re.compile(self.match).groups if self.match else 0
        if any(int(number) > groups for number in re.findall(r"\{(\d)", self.value)):
            raise ValueError(f"value speaks of a group that match does not have (it has {groups})")
        return self

    def of(self, row: Mapping[str, str]) -> str:
        """The text in ``row``; "" if the cell is blank or does not match."""
        text = row[self.column].strip()
        if not self.match or not text:
            return text
        found = re.search(self.match, text[:_LONGEST_MATCHED])
        if found is None:
            return ""
        if not self.value:
            return found.group(1 if found.re.groups else 0) or ""
        return re.sub(r"\{(\d)(?::(\d))?\}", lambda place: _group(found, place), self.value)


def _group(found: re.Match[str], place: re.Match[str]) -> str:
    text = found.group(int(place.group(1))) or ""
    return text if place.group(2) is None else text.lstrip("0").zfill(int(place.group(2)))
