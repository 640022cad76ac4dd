"""Rows of tables into the log of arrivals, where each record is kept once however often a table is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from services.adapters.arrivals import ArrivalLog, Labels, Predictions, WatchSpec, digest_ids
from services.errors import InvalidInput
from services.monitoring.tables import Kind, TableFault, label_rows, prediction_rows
from services.monitoring.watched import Watched

_ROW = re.compile(r"\[(\d+)\]$")


@dataclass(frozen=True)
class Recorder:
    """Records for one monitor."""

    log: ArrivalLog
    monitor: str
    spec: WatchSpec
    watched: Watched

    def record(self, kind: Kind, table: pa.Table, now: datetime) -> int:
        """Keep the rows; how many say otherwise than rows before, and were left out.

        Raises TableFault for rows that no monitor takes, before any row of the table is kept, and what the log raises.
        """
        if kind == "labels":
            rows = label_rows(table, self.watched)
            batch = Labels(digest_ids(rows.record_ids), rows.values)
            return self.log.append_labels(self.monitor, self.spec, batch, now, contradictions="skip").conflicts
        batches = list(self._predictions(table, now))
        return sum(
            self.log.append_predictions(self.monitor, self.spec, batch, now, contradictions="skip").conflicts
            for batch in batches
        )

    def _predictions(self, table: pa.Table, now: datetime) -> Iterator[Predictions]:
        """A batch for each version of the model."""
        rows = prediction_rows(table, self.watched)
        whole = Predictions(
            digest_ids(rows.record_ids), digest_ids(rows.patient_ids), rows.time, rows.codes, rows.scores
        )
        try:
            self.spec.check(whole, now)
        except InvalidInput as error:
            place = _ROW.search(error.field)
            raise TableFault(error.message, int(place[1]) if place else None) from error
        versions = np.array(rows.versions, object)
        for version in sorted(set(rows.versions)):
            part = whole.take(np.flatnonzero(versions == version))
            yield Predictions(part.records, part.patients, part.time, part.codes, part.scores, version)
