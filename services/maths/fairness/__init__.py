"""Subgroup fairness: from rows to cells, from cells to gaps, tests and changes.

    grouping         which group each record belongs to (groups.py)
    sums             per patient, mergeable between sites (sums.py)
    estimates        one metric in G groups with every patient's influence (estimates.py), its limits (limits.py)
    cell             one metric in one group, with counts, interval and a state (cells.py)
    disaggregation   one metric over all groups of an attribute (disaggregation.py, metrics/)
    gap, change      how far groups are apart, and what a candidate does to it (gaps/)
    tests            which cells and gaps are findings (testing/)
    bootstrap        all of it once more without a formula, for those who want to see the same errors (bootstrap/)

The patient is the sampling unit: whatever is computed here asks for ``cluster``, the patient of every record.
"""
