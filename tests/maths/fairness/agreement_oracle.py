"""How agreement_oracle.json was made: random rating tables and what irrCAC 0.4.4 says about them.

irrCAC pins old versions of numpy, scipy and coverage, so it cannot live beside this project. To make the file again:

    python3.11 -m venv /tmp/oracle && /tmp/oracle/bin/pip install irrCAC==0.4.4
    /tmp/oracle/bin/python tests/maths/fairness/agreement_oracle.py > tests/maths/fairness/agreement_oracle.json

Every table is drawn by a fixed seed: 2 to 5 raters, 3 to 5 categories (words or numbers, evenly spaced or not), skewed
habits, missing ratings (at least one a subject), and all four weightings.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd

SCHEMES = ("identity", "linear", "quadratic", "ordinal")
SCALES = {
    3: [[1, 2, 3], ["mild", "moderate", "severe"], [0, 1, 5]],
    4: [[1, 2, 3, 4], [0, 1, 2, 4]],
    5: [[1, 2, 3, 4, 5]],
}


def table(rng: np.random.Generator) -> tuple[list[list[object]], list[object]]:
    """Ratings that follow a hidden truth some of the time, with None where a rater did not rate."""
    subjects, raters, size = int(rng.integers(6, 40)), int(rng.integers(2, 6)), int(rng.integers(3, 6))
    scale = SCALES[size][int(rng.integers(len(SCALES[size])))]
    habit = rng.dirichlet(np.full(size, 0.7))
    truth = rng.choice(size, subjects, p=habit)
    follows = rng.random((subjects, raters)) < rng.uniform(0.1, 0.95)
    codes = np.where(follows, truth[:, None], rng.choice(size, (subjects, raters), p=habit))
    absent = rng.random((subjects, raters)) < rng.choice([0.0, 0.15, 0.4])
    absent[np.arange(subjects), rng.integers(0, raters, subjects)] = False
    return [[None if absent[i, j] else scale[codes[i, j]] for j in range(raters)] for i in range(subjects)], scale


def main() -> None:
    from irrCAC.raw import CAC

    cases = []
    for seed in range(120):
        ratings, scale = table(np.random.default_rng(seed))
        scheme = SCHEMES[seed % 4]
        # irrCAC reads missing ratings as NaN, and sorts the categories it is given
        frame = pd.DataFrame([[np.nan if value is None else value for value in row] for row in ratings])
        analysis = CAC(frame, weights=scheme, categories=scale, digits=15)
        found = analysis.gwet()["est"]
        if not np.isfinite(found["coefficient_value"]) or found["se"] < 1e-9:
            continue  # perfect agreement: irrCAC puts 1e-15 for the standard error, which is not a value to follow
        keys = ("coefficient_name", "coefficient_value", "pa", "pe", "se", "p_value", "confidence_interval")
        values = {key: found[key] for key in keys}
        values["confidence_interval"] = [float(limit) for limit in found["confidence_interval"]]
        plain = {key: float(value) if isinstance(value, np.floating) else value for key, value in values.items()}
        cases.append({"ratings": ratings, "categories": scale, "weights": scheme, "irrcac": plain})
    json.dump(cases, sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
