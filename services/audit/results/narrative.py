"""The statistics section of a paper, written from a report's own rows: it says what was run, and nothing else.

Every sentence is there because something in the report calls for it: no bootstrap sentence without bootstrap columns,
no word on Dice where nothing was segmented. All numbers in it come from the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

_PROPER_NAMES = ("Brier", "Dice")

_CELL_INTERVALS = (
    (
        {"auroc"},
        "Intervals of AUROC use DeLong's variance with patients as clusters (Obuchowski) on the logit scale, with a "
        "t quantile "
        "on the number of patients who have the rarer class.",
    ),
    (
        {"auroc_bpsn", "auroc_bnsp"},
        "So do those of the areas between groups, each group's negatives against all other positives (BPSN) and its "
        "positives against all other negatives (BNSP), which are descriptive and not tested.",
    ),
    (
        {"tpr", "fpr", "prevalence"},
        "Intervals of {names} are Wilson score intervals with the effective number of records and a t quantile "
        "(Korn and Graubard).",
    ),
    ({"balanced_accuracy"}, "Intervals of balanced accuracy combine those of its two rates."),
    (
        {"ece"},
        "Those of the expected calibration error follow from bands over its bins; the error itself is biased upwards "
        "in small "
        "groups.",
    ),
    (
        {"brier", "dice", "psnr", "ssim_gaussian11", "lpips_alex", "lpips_vgg", "perceptual"},
        "Intervals of the means ({names}) use patient-clustered standard errors and a t quantile.",
    ),
)


def paragraphs(report: Mapping[str, Any], *, synthetic: Mapping[str, Any] | None = None) -> list[str]:
    """Paragraphs for a report that has all its rows, families and methods but this text.

    ``synthetic`` tells of the cohort's images, if a model made them: {model, ...}.
    """
    parts = [
        _data(report) + _origin(synthetic),
        _thresholds(report),
        _cells(report),
        _gaps(report),
        _tests(report),
        _changes(report),
    ]
    return [text for text in (*parts, _verdicts(report), _computation(report)) if text]


def _data(report: Mapping[str, Any]) -> str:
    methods, cohort = report["methods"], report["cohort"]
    candidates = methods["candidates"]
    against = f" and compared with {_listed(candidates)}" if candidates else ""
    groups = [_attribute(name, len(members)) for name, members in methods["groups"].items()]
    by = f" Results are given by {_listed(groups)}." if groups else ""
    labels = sorted({row["label"] for row in report["cells"] if row["task"] not in ("segmentation", "reconstruction")})
    read = f" Models scored {_count(len(labels), 'label')}: {_listed(labels)}." if labels else ""
    return (
        f"The audit covers {_count(cohort['records'], 'record')} of {_count(cohort['patients'], 'patient')}, "
        "processed by the "
        f"baseline pipeline {methods['baseline']}{against}.{read}{by} The patient is the sampling unit throughout: "
        "records of one "
        f"patient are added up before any variance is taken.{_varying(methods)}"
    )


def _origin(synthetic: Mapping[str, Any] | None) -> str:
    if not synthetic:
        return ""
    return (
        f" The images are synthetic: {synthetic['model']} drew them from the prompts and masks of these patients. "
        "What is found holds for generated images; shares of groups and of diagnoses were chosen, not observed."
    )


def _attribute(name: str, groups: int) -> str:
    return f"{name.replace(',', ' × ')} ({_count(groups, 'group')})"


def _varying(methods: Mapping[str, Any]) -> str:
    found = [f"{name.replace(',', ' × ')} ({patients:,})" for name, patients in methods["varying_attributes"].items()]
    if not found:
        return ""
    return (
        f" Patients whose group changes between records: {_listed(found)}; each record counts in its own group, and "
        "in the "
        "permutation tests such a patient takes part with the most frequent one."
    )


def _thresholds(report: Mapping[str, Any]) -> str:
    rows = report["methods"]["thresholds"]
    if not rows:
        return ""
    fitted = [row for row in rows if row["fitted_on_audited"]]
    sources = sorted({row["source"] for row in rows if row["threshold"] is not None})
    text = f"Rates use {_count(len(rows), 'operating threshold')} (origin: {'; '.join(sources)})." if sources else ""
    missing = sorted({row["label"] for row in rows if row["threshold"] is None})
    if missing:
        text += f" No threshold was given for {_listed(missing)}, whose rates are therefore undefined."
    if fitted:
        named = sorted({f"{row['label']} ({row['pipeline']})" for row in fitted})
        fitted_on = "the audited records or on test data"
        text += f" Thresholds of {_listed(named)} were fitted on {fitted_on}: these rates are too good."
    return text.strip()


def _cells(report: Mapping[str, Any]) -> str:
    cells, methods = report["cells"], report["methods"]
    found = {row["metric"] for row in cells}
    sentences = [
        sentence.format(names=_listed(_titles(methods, found & of))) for of, sentence in _CELL_INTERVALS if found & of
    ]
    states = Counter(row["state"] for row in cells if row["attribute"])
    shares = [
        f"{states[state]:,} are {state}" for state in ("ok", "wide", "insufficient", "undefined") if states[state]
    ]
    return (
        f"Each metric was estimated in every group with a {_percent(methods['confidence'])} confidence interval. "
        f"{' '.join(sentences)} Of {_count(sum(states.values()), 'group cell')}, {_listed(shares)}. Cells with fewer "
        "than "
        f"{_count(methods['min_patients'], 'deciding patient')} or {_count(methods['min_cases'], 'case')} are "
        "insufficient and enter "
        "no gap, those with fewer than six times as many are wide and are not tested, and what is undefined is never "
        "replaced by a number."
    )


def _gaps(report: Mapping[str, Any]) -> str:
    gaps, methods = report["gaps"], report["methods"]
    definitions = {row["definition"] for row in gaps}
    if not definitions:
        return ""
    between = _titles(methods, definitions - {"difference_to_reference", "ratio_to_reference"}, "gaps")
    text = (
        f"Gaps between groups are {_listed(between)}. Their intervals follow from limits that hold for all pairs of "
        "groups at once "
        "(distribution of the largest studentised difference), so they can contain the absence of a gap; each is "
        "given with the "
        "gap that sampling alone would produce and the gap corrected for it."
    )
    if "ser" in definitions:
        text += " SER is compared on the log scale."
    if "percent_max_min" in definitions:
        text += " Percentage differences have Fieller limits."
    if "between_group_sd" in definitions:
        text += (
            " For attributes with eight or more comparable groups the spread between groups (Lum, Zhang and Bower) is "
            "given too, with a Q-profile interval."
        )
    if "xauc_gap" in definitions:
        text += (
            " The xAUC gap (Kallus and Zhou) compares, for each pair of groups, how the positives of one rank above "
            "the negatives of the other with the reverse; it is not tested."
        )
    if references := methods["reference_groups"]:
        named = [f"{group} for {name}" for name, group in references.items()]
        text += f" Reference groups are {_listed(named)}."
    return text


_FAMILY_SENTENCES = {
    "primary": (
        "Differences of groups from everyone in single attributes form the primary family: {tests}, studentised with "
        "the variance "
        "under no difference, permuting the attributes of whole patients ({permutations}) and adjusted step-down for "
        "the "
        "family-wise error (Westfall and Young)."
    ),
    "exploratory": (
        "Intersections of attributes are exploratory: {tests}, with the false discovery rate controlled (Benjamini "
        "and Hochberg); what no permutation of its own reaches takes its p value from those of all tests together."
    ),
    "cohort": (
        "Differences in prevalence are properties of the cohort and form a family of their own ({tests}, step-down); "
        "unequal "
        "prevalence is not read as unequal error."
    ),
}


def _tests(report: Mapping[str, Any]) -> str:
    sentences = [
        f"{_FAMILY_SENTENCES[family['name']].format(**_numbers(family))} {_findings(family)}"
        for family in report["families"]
        if family["name"] in _FAMILY_SENTENCES and family["tests"]
    ]
    return " ".join(sentences)


def _numbers(family: Mapping[str, Any]) -> dict[str, str]:
    return {
        "tests": _count(family["tests"], "test"),
        "permutations": _count(family["permutations"], "permutation"),
    }


def _findings(family: Mapping[str, Any]) -> str:
    return f"{_count(family['findings'], 'finding')} at {family['alpha']:g}."


def _changes(report: Mapping[str, Any]) -> str:
    changes, methods = report["changes"], report["methods"]
    if not changes:
        return ""
    families = {family["name"]: family for family in report["families"]}
    text = (
        f"Changes from {methods['baseline']} to {_listed(methods['candidates'])} are paired: both pipelines read the "
        "same patients, "
        "and the standard error of a change is that of the paired difference."
    )
    if primary := families.get("changes"):
        text += (
            " p values come from exchanging the two pipelines' readings within patients at random "
            f"({_numbers(primary)['permutations']}); of a gap's change only what exceeds the change in the gap that "
            f"noise alone would show is counted. They are adjusted step-down over {_numbers(primary)['tests']}. "
            f"{_findings(primary)}"
        )
    if exploratory := families.get("changes_exploratory"):
        text += (
            f" {_numbers(exploratory)['tests'].capitalize()} of changes by intersection are exploratory (false "
            "discovery rate). "
            f"{_findings(exploratory)}"
        )
    if any(row["bootstrap_se"] is not None for row in changes):
        text += (
            f" Beside it stand mean and standard deviation of the change over "
            f"{_count(methods['replicates'], 'bootstrap sample')} of "
            "patients, the form that earlier studies print; no interval or test is made of them."
        )
    return text


def _verdicts(report: Mapping[str, Any]) -> str:
    methods = report["methods"]
    tested = {name for row in report["cells"] if row["verdict"] for name in row["metric"].split(",")}
    sizes = [
        f"{title} {methods['tolerances'][name]:g}"
        for name, title in zip(sorted(tested), _titles(methods, tested), strict=True)
        if name in methods["tolerances"]
    ]
    if not sizes:
        return ""
    found = Counter(row["verdict"] for row in chain(report["cells"], report["gaps"]) if row["verdict"])
    shares = [f"{found[name]:,} {name.replace('_', ' ')}" for name in ("gap", "no_gap_shown", "insufficient_evidence")]
    return (
        f"A difference is called a gap when its adjusted p value is at most {methods['alpha']:g}. Otherwise no gap "
        "is shown if the test "
        f"would have found a gap of the stated size with power .8 ({_listed(sizes)}), and the evidence is "
        "insufficient if not. "
        f"Verdicts on cells and gaps: {_listed(shares)}."
    )


def _computation(report: Mapping[str, Any]) -> str:
    methods = report["methods"]
    packages = [f"{name} {version}" for name, version in methods["software"].items()]
    used = f" with {_listed(packages)}" if packages else ""
    return (
        f"Everything was computed{used} from the per-record results, whose digests the report states; the seed of "
        "all permutations "
        f"and resamples is {methods['seed']}, so that the numbers can be derived again from the same records."
    )


def _titles(methods: Mapping[str, Any], names: Iterable[str], cards: str = "metrics") -> list[str]:
    """Titles in the order of the names, as they stand inside a sentence: "EODD, half-sum" becomes "EODD (half-sum)"."""
    titles = []
    for name in sorted(names):
        title, comma, kind = str(methods[cards][name]["title"]).partition(", ")
        kept = title[1:2].isupper() or title.startswith(_PROPER_NAMES)
        titles.append((title if kept else title[:1].lower() + title[1:]) + (f" ({kind})" if comma else ""))
    return titles


def _listed(names: Iterable[str]) -> str:
    *rest, last = [*names] or ["none"]
    return f"{', '.join(rest)} and {last}" if rest else last


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
