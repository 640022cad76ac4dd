"""The sections of a counterfactual's page that are words and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from services.adapters.encoder import record_digest
from services.generator.report.effects import Effect, Excess, crossing, effects, excesses
from services.generator.report.findings import Findings
from services.generator.report.markup import Content, Markup, element, join
from services.generator.report.spelling import NOTHING, decimals_for, number, percent, signed, title, within

# Below a tenth of the cohort's spread a change is said to be none: the bar that null features are held to.
_NO_MOVE = 0.1
_NOTHING_FREE = "No attribute that the model knows. What the model has no attribute for was not held either."

NOT_A_CAUSE = (
    "This shows what the model associates with the change, as its training data taught it. It does not show what the "
    "change causes in a person. No patient was imaged: every picture here is synthetic and must not be used for "
    "diagnosis."
)


def headline(findings: Findings) -> Markup:
    """What moved, in the order of how far it moved, and what the classifier made of it."""
    measured = effects(findings.trace, findings.spreads)
    moved = [effect for effect in measured if effect.in_sd is not None and abs(effect.in_sd) >= _NO_MOVE]
    moved.sort(key=lambda effect: -abs(effect.in_sd or 0.0))
    still = [effect for effect in measured if effect.in_sd is not None and abs(effect.in_sd) < _NO_MOVE]
    sentences = []
    if moved:
        told = "; ".join(f"{within(e.feature)} {_direction(e)} by {number(abs(e.in_sd or 0), 2)} SD" for e in moved)
        sentences.append(f"From the first frame to the last, {told}.")
    if still:
        names = _listed([within(effect.feature) for effect in still])
        sentences.append(f"Hardly moved (less than {_NO_MOVE:g} SD): {names}.")
    unread = [within(e.feature) for e in measured if e.change is None]
    if unread:
        sentences.append(f"Not measurable at one end or both: {_listed(unread)}.")
    sentences += [_classified(findings, name) for name in findings.trace.probabilities]
    return element("p", " ".join(sentences) or "Nothing was measured.", class_="headline")


def effect_section(findings: Findings) -> Markup:
    """Each feature at both ends, its change, and that change beside the cohort's spread."""
    measured = effects(findings.trace, findings.spreads)
    if not measured:
        return Markup("")
    columns = ["Feature", "First frame", "Last frame", "Change", "Cohort's SD", "Change in SD", "Order", "Not measured"]
    rows = [_effect_row(effect) for effect in measured]
    source = findings.spread_source or "no cohort was given, so no change is put in proportion"
    words = f"SD: standard deviation of the feature ({source}). Order: Spearman's correlation of value and frame."
    return _section("Effect on each feature", "effects", _table(words, columns, rows))


def guidance_section(findings: Findings) -> Markup:
    """The exaggeration by guidance: the effect at scale 1 beside the effect at the scale that was used."""
    heading = ("Exaggeration by guidance", "guidance")
    if findings.scale == 1.0:
        return _section(*heading, element("p", "Guidance was off (scale 1), so nothing was exaggerated by it."))
    if findings.unguided is None:
        words = (
            f"Guidance of scale {findings.scale:g} was used and what it adds was not measured. Guidance exaggerates an "
            "effect, above all at the end that the model saw less of: do not read sizes from these frames."
        )
        return _section(*heading, element("p", words, class_="notice"))
    found = excesses(findings.trace, findings.unguided)
    first, last = findings.ends
    columns = [
        *("Feature", "Effect at scale 1", f"Effect at scale {findings.scale:g}", "Ratio"),
        *(f"Moved at {first}", f"Moved at {last}", "Minority's share of the excess"),
    ]
    rows = [_excess_row(excess, findings.spreads.get(excess.feature)) for excess in found]
    words = (
        "Both with the same noise. Ratio and share are left out where the effect at scale 1 is below "
        f"{_NO_MOVE:g} SD or guidance changed it by less than 5 %."
    )
    return _section(*heading, element("p", _minority(findings, found)), _table(words, columns, rows))


def conditions_section(findings: Findings) -> Markup:
    """What changed, what all frames share, and what nobody set."""
    changed = {name: f"{level} → {findings.target[name]}" for name, level in findings.source.items()}
    shared = {**findings.held, "noise": "the same in every frame"}
    held = element("div", element("h3", "Held"), _facts(shared))
    names = _listed([within(name) for name in findings.free]) if findings.free else ""
    free = (
        f"{names[:1].upper()}{names[1:]}: may move along with the change, as in the training data."
        if names
        else _NOTHING_FREE
    )
    columns = [
        element("div", element("h3", "Changed"), _facts(changed)),
        held,
        element("div", element("h3", "Free"), element("p", free)),
    ]
    return _section(
        "What changed, what was held, what was free", "conditions", element("div", *columns, class_="sides")
    )


def record_section(findings: Findings) -> Markup:
    """The record from which every frame can be made again, and the files beside the page."""
    text = json.dumps(dict(findings.record), indent=2, sort_keys=True, ensure_ascii=False, default=str)
    digest = element(
        "p", "From this record every frame can be made again. sha256 ", element("code", record_digest(findings.record))
    )
    files = [_facts(findings.files)] if findings.files else []
    folded = element("details", element("summary", "The record"), element("pre", text))
    return _section("Record", "record", digest, *files, folded)


def settings(findings: Findings) -> list[tuple[str, str]]:
    """How the frames were made, for the head of the page."""
    spec, record = findings.spec, findings.record
    made = [("Model", _model(spec.get("model"), record.get("model_version")))]
    frames = f"{findings.trace.frames}, {spec.get('path') or 'linear'} path between embeddings"
    made += [
        ("Frames", frames),
        ("Sampler", f"{spec.get('sampler')}, {spec.get('steps')} steps, seed {spec.get('seed')}"),
    ]
    made += [("Guidance", "none" if findings.scale == 1.0 else f"scale {findings.scale:g}{_guidance_rest(spec)}")]
    if spec.get("upscale_model"):
        steps = f", {spec['upscale_steps']} steps" if spec.get("upscale_steps") else ""
        made += [("Super-resolution", _model(spec["upscale_model"], record.get("upscale_model_version")) + steps)]
    if spec.get("classifier_model"):
        made += [("Classifier", _model(spec["classifier_model"], record.get("classifier_model_version")))]
    return made


def _guidance_rest(spec: Mapping[str, object]) -> str:
    guidance = spec.get("guidance")
    if not isinstance(guidance, Mapping):
        return ""
    low, high = float(guidance.get("low") or 0), float(guidance.get("high") or 1)
    words = "" if (low, high) == (0, 1) else f", within {low:g} to {high:g} of the noise levels"
    return words + (f", rescale {guidance['rescale']:g}" if guidance.get("rescale") else "")


def _direction(effect: Effect) -> str:
    return "rises" if (effect.change or 0) > 0 else "falls"


def _classified(findings: Findings, name: str) -> str:
    values = findings.trace.probability(name)
    if not np.isfinite(values[[0, -1]]).all():
        return f"The classifier gave no probability of {name} at one end or both."
    passed = crossing(values)
    half = (
        f", passing one half at frame {passed} of {len(values) - 1}" if passed is not None else ", not passing one half"
    )
    return f"The classifier's probability of {name} goes from {number(values[0], 2)} to {number(values[-1], 2)}{half}."


def _effect_row(effect: Effect) -> list[Content]:
    scale = effect.spread if effect.spread is not None else abs(effect.change or effect.last or 0.0)
    decimals = decimals_for(scale) if scale else 3
    name = title(effect.feature)
    moved = effect.in_sd is not None and abs(effect.in_sd) >= _NO_MOVE
    in_sd = signed(effect.in_sd, 2)
    return [
        join(name, " ", element("small", effect.unit)) if effect.unit else name,
        number(effect.first, decimals),
        number(effect.last, decimals),
        signed(effect.change, decimals),
        number(effect.spread, decimals),
        element("td", in_sd, class_="moved") if moved else in_sd,
        signed(effect.order, 2),
        f"{effect.missing} frames" if effect.missing else "0",
    ]


def _excess_row(excess: Excess, spread: float | None) -> list[Content]:
    scale = spread if spread is not None else abs(excess.unguided or 0.0)
    decimals = decimals_for(scale) if scale else 3
    told = spread is None or abs(excess.unguided or 0.0) >= _NO_MOVE * spread
    ratio = f"× {number(excess.ratio, 2)}" if told and excess.ratio is not None else NOTHING
    return [
        title(excess.feature),
        signed(excess.unguided, decimals),
        signed(excess.used, decimals),
        ratio,
        signed(excess.first_moved, decimals),
        signed(excess.last_moved, decimals),
        percent(excess.minority_part) if told else NOTHING,
    ]


def _minority(findings: Findings, found: Sequence[Excess]) -> str:
    """The largest exaggeration in a sentence, and who bears it."""
    words = f"Guidance of scale {findings.scale:g} pushes each end away from the average that the model knows."
    spreads = findings.spreads
    told = [e for e in found if e.ratio is not None and abs(e.unguided or 0) >= _NO_MOVE * spreads.get(e.feature, 0.0)]
    if told:
        most = max(
            told, key=lambda excess: abs((excess.used or 0) - (excess.unguided or 0)) / abs(excess.unguided or 1)
        )
        words += f" Most for {within(most.feature)}: × {number(most.ratio, 2)} the effect at scale 1."
    if findings.unguided is not None and findings.unguided.minority:
        name = findings.ends[0 if findings.unguided.minority == "first" else 1]
        share = findings.unguided.minority_share
        seen = f" ({percent(share)} of the training images)" if share is not None else ""
        words += f" The minority is {name}{seen}; its share of what guidance added stands in the last column."
    return words


def _facts(facts: Mapping[str, str] | Iterable[tuple[str, str]]) -> Markup:
    pairs = facts.items() if isinstance(facts, Mapping) else facts
    return element(
        "dl",
        *(
            join(element("dt", title(key) if " " not in key and "." not in key else key), element("dd", value))
            for key, value in pairs
        ),
    )


def _table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Content]]) -> Markup:
    head = element("thead", element("tr", *(element("th", column, scope="col") for column in columns)))
    lines = [element("tr", element("th", row[0], scope="row"), *(_cell(cell) for cell in row[1:])) for row in rows]
    table = element("table", element("caption", caption), head, element("tbody", *lines))
    return element("div", table, class_="scroll")


def _cell(cell: Content) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else element("td", cell)


def _section(heading: str, anchor: str, *content: Content) -> Markup:
    return element("section", element("h2", heading), *content, id=anchor)


def _model(name: object, version: object) -> str:
    return f"{str(name or NOTHING).removeprefix('models/')}" + (f", version {version}" if version else "")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
