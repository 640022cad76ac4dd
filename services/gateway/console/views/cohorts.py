"""Cohorts: the list, and one with its flow, its missing values and its counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from evenhand.cohort.v1 import cohort_pb2, synthetic_pb2

from services.gateway.console.asking import PAGE_SIZE, Ask
from services.gateway.console.views.files import listed_files
from services.gateway.console.words import moment, title

LIST = "evenhand.cohort.v1.CohortService/ListCohorts"
GET = "evenhand.cohort.v1.CohortService/GetCohort"

_REFUSED = 50


def cohort_row(cohort: cohort_pb2.Cohort) -> dict[str, Any]:
    """A cohort in a list."""
    return {
        "name": cohort.name,
        "title": title(cohort.display_name, cohort.name),
        "patients": cohort.patients,
        "records": cohort.records,
        "refused": cohort.refused_count,
        "modality": cohort.modality,
        "attributes": [attribute.name for attribute in cohort.attributes],
        "labels": len(cohort.labels),
        "synthetic": cohort.HasField("synthetic"),
        "created": moment(cohort.create_time),
    }


async def cohorts(ask: Ask, query: Mapping[str, str]) -> dict[str, Any]:
    reply = await ask(LIST, page_size=PAGE_SIZE, page_token=query.get("page_token", ""))
    return {"cohorts": [cohort_row(cohort) for cohort in reply.cohorts], "next_page": reply.next_page_token}


async def cohort(ask: Ask, name: str) -> dict[str, Any]:
    """One cohort."""
    found = await ask(GET, name=name)
    records = max(1, found.records)
    reasons = Counter(row.reason for row in found.refused)
    return {
        **cohort_row(found),
        "digest": found.digest,
        "manifest": found.manifest_key,
        "masks": found.has_masks,
        "reasons": sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])),
        "reasons_of": sum(reasons.values()),
        "refused_rows": [
            {"row": row.row, "file": row.file, "reason": row.reason, "message": row.message}
            for row in found.refused[:_REFUSED]
        ],
        "demographics": _demographics(found),
        "missing": [
            *({"name": item.name, "what": "attribute", **_part(item.missing, records)} for item in found.attributes),
            *({"name": item.name, "what": "label", **_part(item.missing, records)} for item in found.labels),
        ],
        "attribute_tables": [_attribute(attribute, records) for attribute in found.attributes],
        "label_rows": [_label(label) for label in found.labels],
        "origin": _origin(found.synthetic) if found.HasField("synthetic") else None,
        "files": listed_files(found.name, found.artifacts),
    }


def _part(records: int, total: int) -> dict[str, Any]:
    return {"records": records, "share": records / total}


def _demographics(cohort: cohort_pb2.Cohort) -> dict[str, int] | None:
    if not cohort.HasField("demographics"):
        return None
    joined = cohort.demographics
    return {"matched": joined.matched, "unmatched": joined.unmatched, "conflicting": joined.conflicting}


def _attribute(attribute: cohort_pb2.Attribute, records: int) -> dict[str, Any]:
    levels = [{"level": row.level, "patients": row.patients, **_part(row.records, records)} for row in attribute.levels]
    return {
        "name": attribute.name,
        "assigned_by": attribute.assigned_by,
        "levels": levels,
        "missing": _part(attribute.missing, records),
    }


def _label(label: cohort_pb2.Label) -> dict[str, Any]:
    known = label.positives + label.negatives
    return {
        "name": label.name,
        "positives": label.positives,
        "negatives": label.negatives,
        "missing": label.missing,
        "share": label.positives / known if known else None,
    }


def _origin(synthetic: synthetic_pb2.Synthetic) -> dict[str, Any]:
    spec = synthetic.spec
    return {
        "source": spec.cohort,
        "source_digest": synthetic.source_digest,
        "model": f"{spec.model}@{synthetic.model_version}",
        "model_digest": synthetic.model_digest,
        "images": synthetic.images,
        "distinct_noise": synthetic.distinct_noise,
        "left_out": synthetic.left_out,
        "template": spec.template,
        "balanced": [*spec.attributes, *spec.labels],
        "sampler": f"{spec.sampler}, {spec.steps} steps, guidance {spec.guidance_scale:g}",
        "seed": spec.seed,
        "cap": spec.cap if spec.HasField("cap") else None,
        "device": synthetic.device,
        "platform": synthetic.platform_version,
        "groups": [
            {
                "name": group.name,
                "patients": group.patients,
                "records": group.records,
                "images": group.images,
                "share": group.share,
                "each": group.images_per_patient,
            }
            for group in synthetic.groups
        ],
    }
