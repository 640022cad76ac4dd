"""The audits that judged one model version, as its card shows them: read from the ledger and the audits' own reports.

Nothing is stored here. What is kept in memory is kept under a report's sha256, so it cannot be another's; whether
the audit is still there is asked of the ledger each time.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from evenhand.resources.v1 import model_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.errors import Internal, NotFound, whereabouts
from services.gateway.resources.headlines import changes_of, pipelines_with

MOST_AUDITS = 200
SHOWN = 20
_KEPT = 2 * MOST_AUDITS  # more than one card looks at, or the last would always push out the first
_REPORT = "report.json"
# What a body or report of another make, or a corrupt one, meets here. A store that is away is none of it: a card
# without its audits would say that there are none.
_UNREADABLE = (Internal, LookupError, TypeError, ValueError, AttributeError)
log = logging.getLogger(__name__)


class Cards:
    """Blocking; safe for several threads, since the worst that a race costs is reading a report twice."""

    def __init__(self, ledger: Ledger, store: ObjectStore) -> None:
        self._ledger = ledger
        self._store = store
        self._kept: OrderedDict[tuple[str, str], model_pb2.ModelAudit | None] = OrderedDict()

    def audits_of(self, name: str, digest: str) -> list[model_pb2.ModelAudit]:
        """Finished audits with a stage of the version with ``digest``, newest first. ``name`` is the model's.

        An audit that cannot be read is left out, and the log says which.
        """
        found: list[model_pb2.ModelAudit] = []
        for body in self._finished():
            try:
                audit = self._audit(body, digest) if _names(body, name) else None
            except _UNREADABLE as error:
                log.warning("a card leaves %s out, which cannot be read: %s", body.get("name"), whereabouts(error))
                continue
            if audit is not None:
                found.append(audit)
            if len(found) == SHOWN:
                break
        return found

    def _finished(self) -> Iterator[dict[str, Any]]:
        seen, token = 0, ""
        while seen < MOST_AUDITS:
            bodies, token = self._ledger.list_resources(
                "audit", page_size=50, page_token=token, leave_out=("gauges",), state="STATE_SUCCEEDED"
            )
            yield from bodies
            seen += len(bodies)
            if not token:
                return

    def _audit(self, body: Mapping[str, Any], digest: str) -> model_pb2.ModelAudit | None:
        """None where another version of the name was judged, or the report is gone from the store."""
        report = next((part for part in body.get("artifacts") or () if part["filename"] == _REPORT), None)
        if report is None:
            return None
        key = (report["sha256"], digest)
        with contextlib.suppress(KeyError):
            return self._kept[key]
        try:
            data = self._store.get(report["key"], sha256=report["sha256"])
        except NotFound:
            return None
        audit = self._kept[key] = _read(body, json.loads(data), digest)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return audit


def _names(body: Mapping[str, Any], model: str) -> bool:
    """Whether any stage of the audit's spec names the model, in whichever version."""
    stages = [stage for pipeline in body["spec"]["pipelines"] for stage in pipeline["stages"]]
    named = [str(stage[kind]) for stage in stages for kind in ("reconstruct", "classify", "segment") if kind in stage]
    return any(text.removeprefix("models/").partition("@")[0] == model for text in named)


def _read(body: Mapping[str, Any], report: Mapping[str, Any], digest: str) -> model_pb2.ModelAudit | None:
    pipelines = pipelines_with(report, digest)
    if not pipelines:
        return None
    created = Timestamp()
    created.FromJsonString(body["create_time"])
    return model_pb2.ModelAudit(
        audit=body["name"],
        display_name=body.get("display_name", ""),
        cohort=body["cohort"],
        patients=report["cohort"]["patients"],
        create_time=created,
        report=f"/v1/{body['name']}/artifacts/report.html",
        pipelines=pipelines,
        changes=changes_of(report, pipelines),
    )
