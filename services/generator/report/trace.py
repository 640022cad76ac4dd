"""The trace: what was measured in each frame, and what a classifier said of it, as a table and its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.adapters.encoder.record import SYNTHETIC_KEY, SYNTHETIC_VALUE, Record, record_text
from services.errors import InvalidInput, OutOfRange, ShapeMismatch

Values = npt.NDArray[np.float64]
PROBABILITY = "probability: "
_OWN = ("frame", "position")


@dataclass(frozen=True)
class Trace:
    """One value a frame of each feature (NaN: the reader could not measure it) and of each class's probability.

    ``features`` and ``probabilities`` map names ("neck_shaft_angle", "race Black") to (F,) numbers, ``units`` a feature
    to its unit. Raises ShapeMismatch, OutOfRange or InvalidInput naming the column.
    """

    features: Mapping[str, npt.ArrayLike]
    probabilities: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        features = {name: _column(name, values, "features") for name, values in self.features.items()}
        chances = {name: _column(name, values, "probabilities") for name, values in self.probabilities.items()}
        lengths = {len(values) for values in (*features.values(), *chances.values())}
        if len(lengths) != 1 or not max(lengths):
            raise ShapeMismatch("all columns of a trace have one value a frame, and there is a frame", field="trace")
        for name in features:
            if name in _OWN or name.startswith(PROBABILITY):
                raise InvalidInput("this name means something else in a trace", field=f"features.{name}")
        for name, values in chances.items():
            if np.nanmin(values, initial=0.0) < 0 or np.nanmax(values, initial=0.0) > 1:
                raise OutOfRange("probabilities lie between 0 and 1", field=f"probabilities.{name}")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "probabilities", chances)

    @property
    def frames(self) -> int:
        return len(next(iter((*self.features.values(), *self.probabilities.values()))))  # type: ignore[arg-type]

    def feature(self, name: str) -> Values:
        """(F,) float64."""
        return np.asarray(self.features[name], np.float64)

    def probability(self, name: str) -> Values:
        """(F,) float64."""
        return np.asarray(self.probabilities[name], np.float64)


def trace_table(trace: Trace) -> pd.DataFrame:
    """A row a frame: ``frame``, ``position`` (0 at the source, 1 at the target), features, ``probability: …``."""
    frames = np.arange(trace.frames, dtype=np.int64)
    columns: dict[str, npt.NDArray[np.generic]] = {"frame": frames, "position": frames / max(trace.frames - 1, 1)}
    columns |= {name: trace.feature(name) for name in trace.features}
    columns |= {f"{PROBABILITY}{name}": trace.probability(name) for name in trace.probabilities}
    return pd.DataFrame(columns)


def trace_csv(trace: Trace) -> bytes:
    """The table as CSV, UTF-8; an empty cell where nothing could be measured."""
    return trace_table(trace).to_csv(index=False, lineterminator="\n").encode()


def trace_parquet(trace: Trace, record: Record) -> bytes:
    """The table as Parquet: each column's unit in its metadata, the record and ``Synthetic`` in the file's."""
    table = pa.Table.from_pandas(trace_table(trace), preserve_index=False)
    fields = [column.with_metadata({"unit": trace.units.get(column.name, "")}) for column in table.schema]
    words = {SYNTHETIC_KEY: SYNTHETIC_VALUE, "record": record_text(record)}
    table = table.cast(pa.schema(fields)).replace_schema_metadata((table.schema.metadata or {}) | _encoded(words))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _column(name: str, values: npt.ArrayLike, field_name: str) -> Values:
    column = np.asarray(values, np.float64)
    if column.ndim != 1:
        raise ShapeMismatch("a column of a trace is one number a frame", field=f"{field_name}.{name}")
    if np.isinf(column).any():
        raise OutOfRange("a trace holds finite numbers, or NaN for none", field=f"{field_name}.{name}")
    return column


def _encoded(words: Mapping[str, str]) -> dict[bytes, bytes]:
    return {key.encode(): text.encode() for key, text in words.items()}
