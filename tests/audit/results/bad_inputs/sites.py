"""Reports of several sites that do not fit together."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from services.audit.results.formats import predictions_table, quality_table
from services.audit.results.merging import Site, merge_reports
from services.audit.results.reduce import report_json
from services.errors import DuplicateRecord, InvalidInput, Undecodable, UnsupportedFormat
from tests.audit.results.bad_inputs.cases import Cases, Kept, Refused, audit, quality
from tests.audit.results.worlds import world

Plain = dict[str, Any]


@cache
def _site(name: str, seed: int, **changed: Any) -> Site:
    given = {**world(seed, patients=20), "quality": quality()[:0], "provenance": {}, **changed}
    return Site(
        name, report_json(audit(**given), {}), predictions_table(given["predictions"]), quality_table(given["quality"])
    )


def _merged(*sites: Site, ids: Any = "local"):
    return merge_reports(sites, ids=ids).report


def _damaged(change: Callable[[Plain], object]) -> Site:
    site = _site("south", 6)
    plain = json.loads(site.report)
    change(plain)
    return Site(site.name, json.dumps(plain).encode(), site.predictions, site.quality)


def _differs(name, value):
    return Refused(
        lambda: _merged(_site("north", 5), _damaged(lambda plain: plain["methods"].update({name: value}))),
        InvalidInput,
        f"methods.{name}",
        f"'south' was audited with {name}",
    )


def _sites(match, *names):
    return Refused(lambda: _merged(*(Site(name, *[b""] * 3) for name in names)), InvalidInput, "sites", match)


def _uncounted(change, field="cohort"):
    return Refused(lambda: _merged(_site("north", 5), _damaged(change)), InvalidInput, field, "report of 'south'")


CASES: Cases = {
    "two sites": Kept(
        lambda: _merged(_site("north", 5), _site("south", 6)), lambda report: report["cohort"]["patients"] == 40
    ),
    "no site": _sites("two or more"),
    "one site": _sites("two or more", "north"),
    "two sites of one name": _sites("two or more", "north", "north"),
    "a site without a name": _sites("must not be empty", "north", ""),
    "a site's name with a slash": _sites("slash", "north", "north/p1"),
    "ids of an unknown kind": Refused(
        lambda: _merged(_site("north", 5), _site("south", 6), ids="both"), InvalidInput, "ids", "local or global"
    ),
    "the same records at two sites": Refused(
        lambda: _merged(_site("north", 5), _site("south", 5), ids="global"),
        DuplicateRecord,
        "predictions.record_id",
        "repeat",
    ),
    "another baseline": _differs("baseline", "unet"),
    "other attributes": _differs("attributes", ["sex"]),
    "other levels": _differs("levels", {"sex": ["Male", "Female"], "age": ["young", "middle", "old"]}),
    "another seed": _differs("seed", 99),
    "other minimums": _differs("min_patients", 9),
    "other permutations": _differs("permutations", 10),
    "other replicates": _differs("replicates", 9),
    "other reference groups": _differs("reference_groups", {"sex": "Male"}),
    "thresholds fitted at one site": Kept(
        lambda: _merged(
            _site("north", 5),
            _damaged(lambda plain: [row.update(fitted_on_audited=True) for row in plain["methods"]["thresholds"]]),
        ),
        lambda report: "fitted on the audited records" in " ".join(report["methods"]["text"]),
    ),
    "a site without its cohort": Refused(
        lambda: _merged(_site("north", 5), _damaged(lambda plain: plain.pop("cohort"))),
        Undecodable,
        "report.json",
        "no cohort",
    ),
    "a site that does not count patients": _uncounted(lambda plain: plain["cohort"].pop("patients")),
    "a site that counts patients in words": _uncounted(lambda plain: plain["cohort"].update(patients="many")),
    "a site without a digest of its cohort": _uncounted(lambda plain: plain["cohort"].pop("digest")),
    "a site without digests of its rows": _uncounted(lambda plain: plain["provenance"].pop("rows"), "provenance.rows"),
    "a site that refused words": _uncounted(
        lambda plain: plain["provenance"].update(cohort={"refused": {"UNDECODABLE": "two"}})
    ),
    "a site's rows missing": Refused(
        lambda: _merged(_site("north", 5), Site("south", _site("south", 6).report, b"", b"")),
        UnsupportedFormat,
        "predictions.parquet",
        "not a readable Parquet",
    ),
}
