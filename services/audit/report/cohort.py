"""Who was audited: from the rows of the source to the records that were compared, and who is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.audit.report.markup import Content, Markup, element
from services.audit.report.reading import COMPARED, EVERYONE, MISSING, Reading, Target
from services.audit.report.spelling import NOTHING, count
from services.audit.report.tables import folded, panels, quiet, section, table


def cohort_section(reading: Reading) -> Markup:
    """The flow, then the attributes and labels."""
    cohort = reading.report["provenance"].get("cohort", {})
    return section(
        "Who was audited",
        "cohort",
        *_origin(cohort),
        _flow(reading, cohort),
        panels(*_attribute_tables(reading, cohort)),
        *_varying(reading),
        *_label_table(reading, cohort),
    )


def _origin(given: Mapping[str, Any]) -> Iterator[Markup]:
    """Said before any number: nobody was audited."""
    if synthetic := given.get("synthetic"):
        yield element(
            "p",
            element("b", "Synthetic images. "),
            f"{synthetic['model']} drew all {count(synthetic['images'])} images of this cohort from prompts and masks "
            "of the patients that are counted here. None shows a patient. What is found holds for generated images; "
            "shares of groups and of diagnoses were chosen, not observed.",
            class_="notice",
        )


def _flow(reading: Reading, given: Mapping[str, Any]) -> Markup:
    """Ingested, refused, in the cohort, labelled, compared."""
    cohort, refused = reading.report["cohort"], given.get("refused")
    steps: list[Markup] = []
    if refused is not None:
        reasons = Counter(refused) if isinstance(refused, Mapping) else Counter(row["reason"] for row in refused)
        ingested = cohort["records"] + sum(reasons.values())
        told = [element("li", f"{count(n)} ", element("code", reason)) for reason, n in sorted(reasons.items())]
        lost = element("div", f"{count(sum(reasons.values()))} refused", element("ul", *told), class_="lost")
        steps.append(_step(count(ingested), "records ingested", lost))
    steps.append(_step(count(cohort["records"]), f"records of {count(cohort['patients'])} patients in the cohort"))
    if labelled := _labelled(reading):
        total = cohort["records"]
        lost = element("div", f"{_span([total - n for n in labelled])} without the label", class_="lost")
        steps.append(_step(_span(labelled), "records labelled, by label", lost))
    compared = {attribute: _compared(reading, attribute) for attribute in reading.single}
    lines = [element("li", f"{attribute}: {_span(numbers)}") for attribute, numbers in compared.items() if numbers]
    if lines:
        every = [n for numbers in compared.values() for n in numbers]
        details = element("div", "by attribute, over labels", element("ul", *lines), class_="lost")
        steps.append(_step(_span(every), "records in groups large enough to be compared", details))
    return element("ol", *steps, class_="flow")


def _step(number: str, words: str, *more: Content) -> Markup:
    return element("li", element("b", number), element("span", words), *more)


def _first_metric(reading: Reading) -> str:
    """The metric that the records are counted by: AUROC where there is one."""
    return "auroc" if reading.targets("auroc") else next(iter(reading.metrics), "")


def _reader(reading: Reading, target: Target, metric: str, place: tuple[str, str]) -> Mapping[str, Any] | None:
    cells = reading.cells(target, metric, place)
    return cells[0][1] if cells else None


def _labelled(reading: Reading) -> list[int]:
    targets = reading.targets(_first_metric(reading))
    cells = (_reader(reading, target, _first_metric(reading), EVERYONE) for target in targets)
    return [cell["records"] for cell in cells if cell is not None]


def _compared(reading: Reading, attribute: str) -> list[int]:
    """For each label: records in groups that took part in comparisons."""
    metric = _first_metric(reading)
    totals = []
    for target in reading.targets(metric):
        cells = [_reader(reading, target, metric, (attribute, group)) for group in reading.groups[attribute]]
        totals.append(sum(cell["records"] for cell in cells if cell is not None and cell["state"] in COMPARED))
    return totals


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def _attribute_tables(reading: Reading, given: Mapping[str, Any]) -> Iterator[Markup]:
    described = {attribute["name"]: attribute for attribute in given.get("attributes", [])}
    for name in dict.fromkeys([*reading.single, *described]):
        if name in described:
            yield _described(reading, described[name])
        else:
            yield _counted(reading, name)


def _described(reading: Reading, attribute: Mapping[str, Any]) -> Markup:
    """Patients and records as the cohort's manifest counts them."""
    total = max(1, reading.report["cohort"]["records"])
    rows: list[list[Content]] = [
        [level["level"], count(level.get("patients")), count(level["records"]), _share(level["records"], total)]
        for level in attribute["levels"]
    ]
    missing = attribute.get("missing", 0)
    rows.append([MISSING, count(attribute.get("missing_patients")), count(missing), _share(missing, total)])
    assigned = attribute.get("assigned_by")
    caption = attribute["name"] + (f", assigned by: {assigned}" if assigned else "")
    return table(caption, ["Level", "Patients", "Records", "Share of records"], rows, class_="who")


def _counted(reading: Reading, attribute: str) -> Markup:
    """For reports without the cohort's own tables: the most that any metric counted in each group."""
    total = max(1, reading.report["cohort"]["records"])
    records: dict[str, int] = {}
    patients: dict[str, int] = {}
    for cell in reading.report["cells"]:
        if cell["attribute"] == attribute:
            group = cell["group"]
            records[group] = max(records.get(group, 0), cell["records"] + cell["excluded_records"])
            patients[group] = max(patients.get(group, 0), cell["patients"])
    rows = [[group, count(patients[group]), count(n), _share(n, total)] for group, n in records.items()]
    return table(attribute, ["Group", "Patients with a value", "Records", "Share of records"], rows, class_="who")


def _share(part: int, total: int) -> Markup:
    """A share with a bar behind it."""
    share = 100 * part / total
    bar = element("i", style=f"width:{min(share, 100):.1f}%")
    return element("span", bar, element("span", f"{share:.1f}%"), class_="share")


def _varying(reading: Reading) -> Iterator[Markup]:
    varying = reading.methods.get("varying_attributes", {})
    if varying:
        told = ", ".join(f"{name} ({count(patients)} patients)" for name, patients in varying.items())
        yield quiet(f"Groups that change between images of one patient: {told}. Tests use the most frequent group.")


def _label_table(reading: Reading, given: Mapping[str, Any]) -> Iterator[Markup]:
    labels = given.get("labels", [])
    if not labels:
        return
    rows = []
    for label in labels:
        known = label["positives"] + label["negatives"]
        share = f"{100 * label['positives'] / known:.1f}%" if known else NOTHING
        rows.append([label["name"], *(count(label[key]) for key in ("positives", "negatives", "missing")), share])
    columns = ["Label", "Positive", "Negative", "Missing", "Positive share"]
    yield folded(f"{len(rows)} labels: positives, negatives, missing", table("Records", columns, rows), printed=True)
