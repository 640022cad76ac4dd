"""Subgroup fairness: from rows to cells, from cells to gaps, from gaps to changes.

    grouping         which group each record belongs to (groups.py)
    cell             one metric in one group, with counts and a state (cells.py, auroc.py, rates.py, means.py)
    disaggregation   one metric over all groups of an attribute (disaggregation.py, classification.py)
    gap              one number that says how far groups are apart (gaps.py)
    change           a candidate's gap minus the baseline's (changes.py)

The patient is the sampling unit: every disaggregation carries patient numbers (``cluster``).
"""
