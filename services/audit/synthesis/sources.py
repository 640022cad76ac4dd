"""The records that may lend prompts and masks: who is in which group, read from the shards' tables alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from evenhand.cohort.v1 import synthetic_pb2

from services.adapters.object_store import ObjectStore
from services.audit.cohort.counts import of_tables
from services.audit.synthesis.request import ALL, TRAIN
from services.errors import FailedPrecondition, InvalidInput, UnknownAttribute, UnknownLabel

MOST_GROUPS = 2000
LABEL_VALUES = ("0", "1")
_TRAIN_SPLITS = ("train", "training")
_SHOWN = 6


@dataclass(frozen=True)
class Sources:
    """``rows``: one a record that may be drawn: ``shard`` and ``row`` (places in the cohort), ``patient`` (number),
    ``group`` (into ``groups``), and the level of every field by its own name. ``groups`` are {name, levels}.

    ``left_out`` records of the split lack a level or label that is needed; ``empty`` names groups without a patient.
    """

    rows: pd.DataFrame
    groups: tuple[dict[str, Any], ...]
    left_out: int
    empty: tuple[str, ...]

    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """(G,) distinct patients and (G,) records of every group."""
        by_group = self.rows.groupby("group")["patient"]
        places = range(len(self.groups))
        return by_group.nunique().reindex(places).to_numpy(), by_group.size().reindex(places).to_numpy()


def check_fields(manifest: Mapping[str, Any], spec: synthetic_pb2.SyntheticSpec, fields: Sequence[str]) -> None:
    """Every attribute, label and field of the template must be the cohort's, every word that of a level.

    UnknownAttribute, UnknownLabel, InvalidInput TEMPLATE_FIELD_UNKNOWN, WORDS_UNUSED, LEVEL_UNKNOWN.
    """
    attributes, labels = levels_of(manifest), [label["name"] for label in manifest["labels"]]
    for place, name in enumerate(spec.attributes):
        if name not in attributes:
            known = ", ".join(attributes)
            raise UnknownAttribute(
                f"the cohort has no attribute {name[:60]!r}; it has {known}", field=f"spec.attributes[{place}]"
            )
    for place, name in enumerate(spec.labels):
        if name not in labels:
            raise UnknownLabel(
                f"the cohort has no label {name[:60]!r}; it has {', '.join(labels)}", field=f"spec.labels[{place}]"
            )
    for name in fields:
        if name not in attributes and name not in labels:
            raise InvalidInput(
                f"the template's {{{name[:60]}}} is neither an attribute nor a label of the cohort; it has "
                f"{', '.join([*attributes, *labels])}",
                field="spec.template",
                reason="TEMPLATE_FIELD_UNKNOWN",
            )
    _check_words(spec, {**dict.fromkeys(labels, LABEL_VALUES), **attributes}, fields)


def levels_of(manifest: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Levels by attribute, in the schema's order."""
    return {entry["name"]: tuple(level["level"] for level in entry["levels"]) for entry in manifest["attributes"]}


def _check_words(spec: synthetic_pb2.SyntheticSpec, levels: Mapping[str, Sequence[str]], fields: Sequence[str]) -> None:
    for name, words in spec.words.items():
        if name not in fields:
            raise InvalidInput(
                f"the template has no {{{name[:60]}}} to use these words for",
                field=f"spec.words.{name[:60]}",
                reason="WORDS_UNUSED",
            )
        for level in words.of_level:
            if level not in levels[name]:
                raise InvalidInput(
                    f"{name} has the levels {', '.join(levels[name])}, not {level[:60]!r}",
                    field=f"spec.words.{name}",
                    reason="LEVEL_UNKNOWN",
                )


def read_sources(
    store: ObjectStore, manifest: Mapping[str, Any], spec: synthetic_pb2.SyntheticSpec, fields: Sequence[str]
) -> Sources:
    """Everybody who may lend a prompt and a mask.

    FailedPrecondition SPLIT_EMPTY without rows in the split, InvalidInput GROUP_EMPTY with the groups' names where a
    group has no patient and ``skip_empty_groups`` is not set, TOO_MANY_GROUPS; and what the store raises.
    """
    labels = {label["name"] for label in manifest["labels"]}
    balanced = [*spec.attributes, *spec.labels]
    needed = list(dict.fromkeys([*balanced, *fields]))
    columns = {f"label_{name}" if name in labels else f"attribute_{name}": name for name in needed}
    rows = _read(store, manifest, columns)
    rows = rows[_in_split(rows["split"], spec.split)]
    known = rows.dropna(subset=needed).reset_index(drop=True)
    levels = {**levels_of(manifest), **dict.fromkeys(labels, LABEL_VALUES)}
    every = list(product(*(levels[name] for name in balanced)))
    if len(every) > MOST_GROUPS:
        raise InvalidInput(
            f"these make {len(every)} groups, at most {MOST_GROUPS} can be balanced; name fewer attributes or labels",
            field="spec.attributes",
            reason="TOO_MANY_GROUPS",
        )
    codes = pd.MultiIndex.from_tuples(every).get_indexer(pd.MultiIndex.from_frame(known[balanced].astype(str)))
    present = np.unique(codes)
    names = [", ".join(f"{name}={level}" for name, level in zip(balanced, group, strict=True)) for group in every]
    empty = tuple(name for place, name in enumerate(names) if place not in set(present.tolist()))
    _refuse_empty(spec, empty, len(known))
    return Sources(
        known.assign(group=np.searchsorted(present, codes), patient=pd.factorize(known["patient"])[0]),
        tuple({"name": names[at], "levels": dict(zip(balanced, every[at], strict=True))} for at in present.tolist()),
        len(rows) - len(known),
        empty,
    )


def _read(store: ObjectStore, manifest: Mapping[str, Any], columns: Mapping[str, str]) -> pd.DataFrame:
    """shard, row, patient, split and the named columns as text, of every record in order."""

    def read(data: io.BytesIO) -> pd.DataFrame:
        table = pq.read_table(data, columns=["patient_id", "split", *columns], use_threads=False)
        frame = pd.DataFrame({"row": np.arange(table.num_rows)})
        for column, name in {"patient_id": "patient", "split": "split", **columns}.items():
            frame[name] = pd.Series(table[column].cast(pa.string()).to_pylist(), dtype="object")
        return frame

    frames = of_tables(store, manifest, read)
    return pd.concat([frame.assign(shard=place) for place, frame in enumerate(frames)], ignore_index=True)


def _in_split(splits: pd.Series, wanted: str) -> pd.Series:
    said = splits.fillna("").str.casefold()
    if wanted == ALL:
        return pd.Series(True, index=splits.index)
    names = _TRAIN_SPLITS if wanted == TRAIN else (wanted.casefold(),)
    chosen: pd.Series = said.isin(names)
    if not chosen.any():
        there = sorted(set(splits.dropna())) or ["none"]
        raise FailedPrecondition(
            f"the cohort has no records of the split {wanted[:40]!r}; its splits are {', '.join(there)}. "
            f"Name one of them, or {ALL!r} to draw from every record",
            field="spec.split",
            reason="SPLIT_EMPTY",
        )
    return chosen


def _refuse_empty(spec: synthetic_pb2.SyntheticSpec, empty: Sequence[str], known: int) -> None:
    if empty and (not spec.skip_empty_groups or not known):
        more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
        raise InvalidInput(
            f"no patient of the split is in the group {'; '.join(empty[:_SHOWN])}{more}. Balance on less, or set "
            "skip_empty_groups to balance over the groups that have somebody",
            field="spec.attributes",
            reason="GROUP_EMPTY",
            details={"groups": "; ".join(empty[:100])},
        )
