"""A generator's card as one page: whom it draws, how good and how new its images are by group, and what they are for.

Everything on it comes from somewhere that can be asked again: the served model, the report of a prompt grid and the
report of an evaluation, each with its digest. A report of another version is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from evenhand.errors import InvalidInput
from evenhand.generator_cards import verdicts_table
from evenhand.resources.v1 import model_pb2

GRID, EVALUATION = "prompt-grid", "generator-quality"
NOT_THERE = {
    GRID: "No prompt grid was given: evenhand models prompt-grid measures whom it draws, with limits over prompts.",
    EVALUATION: "No evaluation was given: evenhand models evaluate measures quality by group, and copies.",
}
_STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0 1.5rem;font-size:.9rem;display:block;overflow-x:auto}
th,td{padding:.25rem .75rem;border-bottom:1px solid #8888;text-align:left;vertical-align:top}
aside{border:2px solid #b45309;border-radius:.4rem;padding:.5rem 1rem;margin:1rem 0}.quiet{opacity:.75}"""


def model_card(model: model_pb2.Model, reports: Sequence[Mapping[str, Any]] = ()) -> str:
    """HTML; ``reports`` are report.json of a prompt grid and of an evaluation, either or both.

    Raises:
        InvalidInput: for a model that is no generator, another kind of report, or one of another version.
    """
    if not model.HasField("generator_card"):
        raise InvalidInput(f"{model.name} makes no images of nobody; audits are its card", field="model")
    known = {_kind(report, model): report for report in reports}
    card, name = model.generator_card, f"{model.name.removeprefix('models/')}@{model.version}"
    parts = [
        f"<h1>{escape(name)}</h1>",
        f"<aside><strong>Synthetic images.</strong> {escape(card.notice)}</aside>",
        f"<p>{escape(card.intended_use)}</p>",
        _facts(model),
        "<h2>Whom it draws</h2>",
        _verdicts(card.verdicts),
        _grid(known.get(GRID)),
        "<h2>Quality by group</h2>",
        _quality(known.get(EVALUATION)),
        "<h2>Copies of training images</h2>",
        _copies(known.get(EVALUATION)),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(name)}</title><style>{_STYLE}</style>{''.join(parts)}</html>\n"
    )


def read_report(path: Path) -> dict[str, Any]:
    """report.json, or the one in a folder.

    Raises:
        InvalidInput: there is none, or it is not JSON.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} is no report.json", field="report") from error
    return report


def _kind(report: Mapping[str, Any], model: model_pb2.Model) -> str:
    kind = str(report.get("kind", ""))
    if kind not in (GRID, EVALUATION):
        raise InvalidInput(f"a card takes reports of {GRID} and {EVALUATION}, not {kind!r}", field="report")
    told = report["generator"] if kind == EVALUATION else report["models"]["model"]
    if told["digest"] and told["digest"] != model.digest:
        raise InvalidInput(
            f"the report of {kind} is about {told['name']}@{told['version']} with another digest than "
            f"{model.name}@{model.version}",
            field="report",
            reason="MODEL_DIGEST_MISMATCH",
        )
    return kind


def _facts(model: model_pb2.Model) -> str:
    lineage = model.lineage
    facts = {
        "Family": model.family,
        "Digest": model.digest,
        "Licence": model.licence,
        "Came from": lineage.base.removeprefix("models/"),
        "By": f"{lineage.method} of {', '.join(lineage.attributes)}" if lineage.method else "",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in facts.items() if text)
    return f"<table>{rows}</table>"


def _verdicts(verdicts: Sequence[model_pb2.BiasVerdict]) -> str:
    if not verdicts:
        return "<p>It was not tuned to shares of groups.</p>"
    images = f"{verdicts[0].images} images of {verdicts[0].prompts} test prompts, before and after from the same noise."
    return f"<p>When it was tuned: {images}</p>{_table(verdicts_table(verdicts))}"


def _grid(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return _quiet(NOT_THERE[GRID])
    told = [report["headline"], *(str(found["sentence"]) for found in report["findings"])]
    return f"<h3>Prompt grid {report['digest'][:12]}</h3>{_list(told)}"


def _quality(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return _quiet(NOT_THERE[EVALUATION])
    rows = [
        {
            "organ": row["organ"],
            "group": f"{row['attribute']} {row['level']}".strip() or "all images",
            "images": row["n"],
            "KID": row["kid"],
            "95 % limits": "{:.4f} to {:.4f}".format(*row["kid_limits"]),
            "KID of real images": row["kid_floor"],
        }
        for row in report["distances"]
        if row["state"] == "ok"
    ]
    found = [str(one["sentence"]) for one in report["findings"]]
    encoder = f"{report['encoder']['name']}, evaluation {report['digest'][:12]}"
    return f"{_quiet(f'Encoder {encoder}.')}{_table(pd.DataFrame(rows))}{_list(found)}"


def _copies(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return _quiet(NOT_THERE[EVALUATION])
    rows = [
        {
            "organ": row["organ"],
            "space": row["space"],
            "measure": row["measure"],
            "closer than expected": f"{row['closer']} of {row['n']}",
            "share": row["share"],
            "expected": row["expected"],
            "p": row["p_value"],
        }
        for row in report["closeness"]
    ]
    if not rows:
        return _quiet("The training images are not known here, so nothing was compared with them.")
    return _table(pd.DataFrame(rows))


def _table(frame: pd.DataFrame) -> str:
    html: str = frame.to_html(index=False, border=0, na_rep="", float_format=lambda value: format(value, ".3g"))
    return html


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _quiet(sentence: str) -> str:
    return f'<p class="quiet">{escape(sentence)}</p>'
