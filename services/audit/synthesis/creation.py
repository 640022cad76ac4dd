"""CreateSyntheticCohort: every check and the whole plan before any image, then one transaction."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

from evenhand.cohort.v1 import cohort_service_pb2, synthetic_pb2
from google.protobuf.json_format import MessageToDict

from services.adapters.ledger import ChunkSpec, Ledger, Operation
from services.adapters.object_store import ObjectStore
from services.audit.cohort.ingest import MOST_SHARD_BYTES
from services.audit.settings import Settings
from services.audit.synthesis.chunks import IMAGES, PUBLISH
from services.audit.synthesis.maker import ImageMaker
from services.audit.synthesis.planning import Plan, check_masks, draw, draws_file, find_model
from services.audit.synthesis.request import SyntheticRequest, synthetic_request
from services.audit.synthesis.sources import Sources, check_fields, read_sources
from services.errors import FailedPrecondition, NotFound
from services.hosting.calls import ModelCalls
from services.hosting.operations import SYNTHETIC_COHORT, operation_proto
from services.hosting.requests import parsed

_OF_SOURCE = ("digest", "attributes", "schema", "mask_labels", "mask_planes")


class SyntheticCohorts:
    """The call of CohortService that makes synthetic cohorts. No Ray in here."""

    def __init__(
        self, ledger: Ledger, store: ObjectStore, calls: ModelCalls, maker: ImageMaker, settings: Settings
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._calls = calls
        self._maker = maker
        self._settings = settings

    async def create(self, data: bytes) -> bytes:
        """CreateSyntheticCohortRequest → Operation."""
        asked = synthetic_request(parsed(cohort_service_pb2.CreateSyntheticCohortRequest, data))
        repeated = await asyncio.to_thread(
            self._ledger.repeated_operation, SYNTHETIC_COHORT, asked.request_id, asked.body_digest
        )
        if repeated is not None:
            return await asyncio.to_thread(self._answer, repeated)
        manifest = await asyncio.to_thread(self._manifest, asked.spec.cohort)
        check_fields(manifest, asked.spec, asked.fields)
        check_masks(manifest, find_model(await self._calls.catalogue(), asked.spec.model))
        sources, plan = await asyncio.to_thread(self._plan, manifest, asked)
        resolved = await self._maker.resolve(_sampling(asked.spec), plan.prompts)
        return await asyncio.to_thread(self._create, asked, manifest, sources, plan, resolved)

    def _manifest(self, cohort: str) -> dict[str, Any]:
        body = self._ledger.get_resource(cohort)
        if body is None:
            raise NotFound(f"there is no {cohort[:80]}", field="spec.cohort", reason="COHORT_NOT_FOUND")
        if body.get("synthetic"):
            raise FailedPrecondition(
                f"{cohort} is synthetic itself; draw from the cohort that it was made from",
                field="spec.cohort",
                reason="COHORT_SYNTHETIC",
            )
        manifest: dict[str, Any] = json.loads(self._store.get(body["manifest_key"]))
        return manifest

    def _plan(self, manifest: Mapping[str, Any], asked: SyntheticRequest) -> tuple[Sources, Plan]:
        sources = read_sources(self._store, manifest, asked.spec, asked.fields)
        return sources, draw(sources, asked.spec, asked.fields, [label["name"] for label in manifest["labels"]])

    def _create(
        self,
        asked: SyntheticRequest,
        manifest: Mapping[str, Any],
        sources: Sources,
        plan: Plan,
        resolved: Mapping[str, Any],
    ) -> bytes:
        per_chunk = self._images_per_chunk(resolved)
        request = {
            "display_name": asked.display_name,
            "spec": spec_document(asked.spec, resolved),
            "source": {key: manifest[key] for key in _OF_SOURCE if key in manifest}
            | {"labels": [label["name"] for label in manifest["labels"]]},
            "resolved": dict(resolved),
            "groups": list(plan.groups),
            "said": list(dict.fromkeys([*asked.spec.attributes, *asked.spec.labels, *asked.fields])),
            "left_out": sources.left_out,
            "empty_groups": list(sources.empty),
            "draws": self._store.put(draws_file(plan)).key,
            "shards": {str(place): manifest["shards"][place] for place in sorted(set(plan.draws["shard"].tolist()))},
            "images_per_chunk": per_chunk,
        }
        images = len(plan.draws)
        parts = [{"first": first, "count": min(per_chunk, images - first)} for first in range(0, images, per_chunk)]
        operation, _ = self._ledger.create_operation(
            SYNTHETIC_COHORT,
            f"cohorts/{uuid.uuid4()}",
            request,
            [*(ChunkSpec(IMAGES, part, rows=part["count"]) for part in parts), ChunkSpec(PUBLISH, {}, last=True)],
            request_id=asked.request_id,
            body_digest=asked.body_digest,
        )
        return self._answer(operation)

    def _images_per_chunk(self, resolved: Mapping[str, Any]) -> int:
        """As many as are committed together, and fewer of large ones: a worker holds two chunks in memory."""
        image_bytes = 4 * int(resolved["channels"]) * int(resolved["height"]) * int(resolved["width"])
        return max(1, min(self._settings.images_per_chunk, MOST_SHARD_BYTES // image_bytes))

    def _answer(self, operation: Operation) -> bytes:
        return bytes(operation_proto(operation, self._ledger).SerializeToString())


def _sampling(spec: synthetic_pb2.SyntheticSpec) -> dict[str, Any]:
    """What the generator is asked to resolve."""
    names = ("model", "seed", "steps", "sampler", "guidance_scale", "negative_prompt")
    return {name: getattr(spec, name) for name in names}


def spec_document(spec: synthetic_pb2.SyntheticSpec, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as JSON with nothing left open; numbers are numbers."""
    document: dict[str, Any] = MessageToDict(
        spec, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    sampling = {name: resolved[name] for name in ("seed", "steps", "sampler", "guidance_scale", "negative_prompt")}
    return {**document, "model": f"models/{resolved['model']}", **sampling}
