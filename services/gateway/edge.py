"""The gateway put together, without Ray: give it backends, a ledger and a store, and it serves both transports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from services.adapters.arrivals import ArrivalLog
from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore
from services.adapters.telemetry import Telemetry
from services.gateway.admission import Admission, Limits
from services.gateway.api import SPECIAL_QUEUES, Api
from services.gateway.arrivals import Arrivals
from services.gateway.backends import Backends
from services.gateway.calls import Guard
from services.gateway.catalogue import Catalogue
from services.gateway.metrics import LedgerMetrics
from services.gateway.open_inference import OpenInference
from services.gateway.readiness import Readiness
from services.gateway.resources.artifacts import Artifacts
from services.gateway.resources.cards import Cards
from services.gateway.resources.models import Models
from services.gateway.resources.operations import Operations
from services.gateway.resources.uploads import Uploads, uploads_in_use
from services.gateway.settings import Settings
from services.gateway.tap import Tap


@dataclass(frozen=True)
class Edge:
    """What the two transports share."""

    settings: Settings
    guard: Guard
    api: Api
    protocol: OpenInference
    artifacts: Artifacts
    uploads: Uploads
    readiness: Readiness
    telemetry: Telemetry
    ledger_metrics: LedgerMetrics
    tap: Tap


def open_edge(
    settings: Settings,
    *,
    backends: Backends,
    ledger: Ledger,
    store: ObjectStore,
    telemetry: Telemetry,
    keys: Sequence[str] = (),
) -> Edge:
    """Build the parts and join them."""
    limits = Limits(settings.running_per_queue, settings.waiting_per_queue)
    admission = Admission(limits, per_caller=settings.requests_per_caller, special=SPECIAL_QUEUES)
    catalogue = Catalogue(backends, max_age_s=settings.catalogue_age_s)
    arrival_log = ArrivalLog(ledger, store)
    arrivals = Arrivals(ledger, arrival_log, telemetry)
    tap = Tap(ledger, arrival_log, telemetry)
    operations = Operations(ledger, longest_wait_s=settings.wait_timeout_s)
    return Edge(
        settings=settings,
        guard=Guard(keys, telemetry, timeout_s=settings.call_timeout_s),
        api=Api(backends, admission, Models(catalogue, Cards(ledger, store)), operations, arrivals),
        protocol=OpenInference(catalogue, backends, admission, telemetry, tap, max_elements=settings.max_elements),
        artifacts=Artifacts(ledger, store),
        uploads=Uploads(
            settings.uploads,
            max_file_bytes=settings.max_file_bytes,
            max_upload_bytes=settings.max_upload_bytes,
            max_files=settings.max_upload_files,
            lifetime_s=settings.upload_lifetime_s,
            in_use=partial(uploads_in_use, ledger),
        ),
        readiness=Readiness(catalogue, ledger, store, admission, telemetry),
        telemetry=telemetry,
        ledger_metrics=LedgerMetrics(ledger),
        tap=tap,
    )
