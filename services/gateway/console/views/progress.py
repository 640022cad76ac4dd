"""An operation, whatever it works on, as pages show it."""

from __future__ import annotations

from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.message import Message
from google.protobuf.symbol_database import Default

from services.gateway.console.words import count, duration, number, short

CANCELLED = 1  # google.rpc.Code

_THINGS = ("rows", "images", "frames", "tiles", "epochs")
_OWNERS = ("audit", "cohort", "training", "generation", "counterfactual", "upscaling", "window")
PAGED = ("audits", "cohorts", "counterfactuals", "monitors")
"""Collections whose resources have a page of their own."""


def progress_of(operation: operations_pb2.Operation) -> dict[str, Any]:
    """Name, state, owner, done and total of what it counts, rate, time to go, retries, error; texts included."""
    told = _metadata(operation)
    fields = told.DESCRIPTOR.fields_by_name if told is not None else {}
    known = {name: getattr(told, name) for name in fields}
    things = next((thing for thing in _THINGS if f"{thing}_done" in known), "")
    done, total = int(known.get(f"{things}_done", 0)), int(known.get(f"{things}_total", 0))
    owner = next((str(known[kind]) for kind in _OWNERS if known.get(kind)), "")
    state = _state(operation, str(known.get("stage", "")))
    rate, eta_s = float(known.get(f"{things}_per_s", 0.0)), float(known.get("eta_s", -1.0))
    retries = int(known.get("retries", max(0, int(known.get("attempt", 1)) - 1)))
    share = done / total if total else float(state == "succeeded")
    return {
        "name": operation.name,
        "id": operation.name.rpartition("/")[2],
        "owner": owner,
        "page": f"/{owner}" if _has_page(owner, state) else "",
        "kind": owner.partition("/")[0].removesuffix("s"),
        "state": state,
        "done": operation.done,
        "stage": str(known.get("stage", "")),
        "share": min(share, 1.0),
        "counted": f"{count(done)} of {count(total)} {things}" if total else "",
        "rate": f"{number(rate)} {things}/s" if rate and not operation.done else "",
        "left": duration(eta_s) if not operation.done and eta_s >= 0 else "",
        "retries": retries,
        "error": _error(operation),
        "title": short(owner or operation.name),
    }


def _has_page(owner: str, state: str) -> bool:
    """A cohort exists once its operation has succeeded; the others from the beginning."""
    collection = owner.partition("/")[0]
    return collection in PAGED and (collection != "cohorts" or state == "succeeded")


def _metadata(operation: operations_pb2.Operation) -> Message | None:
    if not operation.HasField("metadata"):
        return None
    kind = Default().GetSymbol(operation.metadata.TypeName())
    told: Message = kind()
    operation.metadata.Unpack(told)
    return told


def _state(operation: operations_pb2.Operation, stage: str) -> str:
    if not operation.done:
        return "queued" if stage == "queued" else "running"
    if not operation.HasField("error"):
        return "succeeded"
    return "cancelled" if operation.error.code == CANCELLED else "failed"


def _error(operation: operations_pb2.Operation) -> str:
    return operation.error.message if operation.HasField("error") and operation.error.code != CANCELLED else ""
