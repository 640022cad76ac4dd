"""Models: the list, and one with its card, versions, lineage and audits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenhand.resources.v1 import model_pb2

from services.gateway.console.asking import PAGE_SIZE, Ask
from services.gateway.console.words import moment, title

LIST = "evenhand.resources.v1.ModelService/ListModels"
GET = "evenhand.resources.v1.ModelService/GetModel"


def model_row(model: model_pb2.Model) -> dict[str, Any]:
    """A model in a list."""
    return {
        "name": model.name,
        "title": model.name.removeprefix("models/"),
        "version": model.version,
        "task": model_pb2.Task.Name(model.task).removeprefix("TASK_").lower().replace("_", "-"),
        "family": model.family,
        "backend": model.backend,
        "licence": model.licence,
        "digest": model.digest,
        "tuned_from": model.lineage.base if model.HasField("lineage") else "",
    }


async def models(ask: Ask, query: Mapping[str, str]) -> dict[str, Any]:
    reply = await ask(LIST, page_size=PAGE_SIZE, page_token=query.get("page_token", ""))
    return {"models": [model_row(model) for model in reply.models], "next_page": reply.next_page_token}


async def model(ask: Ask, name: str) -> dict[str, Any]:
    """One version of a model, the highest unless ``name`` has another."""
    found = await ask(GET, name=name, view="MODEL_VIEW_FULL")
    served = await ask.edge.protocol.catalogue.models()
    row = model_row(found)
    return {
        **row,
        "versions": [version.version for version in reversed(served.get(row["title"], []))],
        "input": _pixels(found.input),
        "output": _pixels(found.output) if found.HasField("output") else "",
        "labels": [{"name": label, "threshold": found.thresholds.get(label)} for label in found.labels],
        "scores": sorted(found.scores.items()),
        "training_digest": found.training_digest,
        "sampling": _sampling(found),
        "conditions": [_condition(condition) for condition in found.conditions],
        "lineage": _lineage(found.lineage) if found.HasField("lineage") else None,
        "card": _card(found.generator_card) if found.HasField("generator_card") else None,
        "audits": [_audit(audit) for audit in found.audits],
    }


def _pixels(pixels: model_pb2.PixelSpec) -> str:
    extents = f"{pixels.channels} × {pixels.height} × {pixels.width}"
    return f"{extents}, values {pixels.low:g} to {pixels.high:g}"


def _sampling(model: model_pb2.Model) -> list[tuple[str, str]]:
    """What a sampled model is run with; nothing for the others."""
    told = [
        ("Predicts", model.prediction),
        ("Samplers, default first", ", ".join(model.samplers)),
        ("Steps", str(model.default_steps or "")),
        ("Guidance scale", f"{model.default_guidance_scale:g}" if model.default_guidance_scale else ""),
        ("Enlarges", f"{model.factor} times" if model.factor else ""),
        ("Controls", model.base),
        ("Mask labels", ", ".join(model.mask_labels)),
        ("Prompt", f"at most {model.prompt_tokens} tokens" if model.prompt_tokens else ""),
    ]
    return [(name, text) for name, text in told if text]


def _condition(condition: model_pb2.Condition) -> dict[str, Any]:
    values = ", ".join(condition.levels) if condition.levels else f"{condition.low:g} to {condition.high:g}"
    return {"name": condition.name, "values": values, "optional": condition.optional}


def _lineage(lineage: model_pb2.Lineage) -> dict[str, Any]:
    return {
        "base": lineage.base,
        "base_digest": lineage.base_digest,
        "method": lineage.method,
        "attributes": list(lineage.attributes),
        "weight": lineage.weight,
        "predictor": lineage.predictor,
        "data": lineage.cohort or (f"phantoms of world {lineage.world}" if lineage.world else ""),
        "cohort": lineage.cohort,
        "data_digest": lineage.data_digest,
        "patients": lineage.learned_patients,
        "chosen": lineage.chosen,
    }


def _card(card: model_pb2.GeneratorCard) -> dict[str, Any]:
    return {
        "intended_use": card.intended_use,
        "notice": card.notice,
        "verdicts": [_shares(verdict) for verdict in card.verdicts],
    }


def _shares(verdict: model_pb2.BiasVerdict) -> dict[str, Any]:
    levels = sorted({*verdict.target, *verdict.before, *verdict.after})
    maps = (verdict.target, verdict.before, verdict.after)
    return {
        "attribute": verdict.attribute,
        "classifier": verdict.classifier,
        "guided": verdict.guided,
        "images": verdict.images,
        "prompts": verdict.prompts,
        "levels": [{"level": level, "shares": [shares.get(level) for shares in maps]} for level in levels],
        "bias": [_bias(verdict.bias_before), _bias(verdict.bias_after)],
    }


def _bias(bias: model_pb2.Bias) -> dict[str, float]:
    return {"estimate": bias.estimate, "low": bias.ci_low, "high": bias.ci_high, "floor": bias.noise_floor}


def _audit(audit: model_pb2.ModelAudit) -> dict[str, Any]:
    return {
        "name": audit.audit,
        "title": title(audit.display_name, audit.audit),
        "cohort": audit.cohort,
        "patients": audit.patients,
        "created": moment(audit.create_time),
        "pipelines": list(audit.pipelines),
        "changes": [
            {
                "candidate": change.candidate,
                "baseline": change.baseline,
                "metric": change.metric,
                "attribute": change.attribute,
                "labels": change.labels,
                "before": change.before,
                "after": change.after,
                "change": change.change,
                "low": change.ci_low if change.HasField("ci_low") else None,
                "high": change.ci_high if change.HasField("ci_high") else None,
                "found": change.found,
            }
            for change in audit.changes
        ],
    }
