"""Gaps between groups, what a candidate pipeline does to them, and how sure either number is.

    simultaneous   limits that hold for many contrasts at once, and the interval of a largest difference
    ratios         ratios of two groups: Fieller and its generalisation
    definitions    the named gaps with point, noise floor, correction and interval; gaps to a reference group
    shrinkage      between-group spread and shrunken estimates, for attributes with many groups
    swaps          within-patient swaps of two pipelines, the null distribution of every change
    changes        candidate minus baseline, for gaps and for metrics over everyone

Only groups that are comparable (ok or wide) in every metric of a definition take part. Zero means equal, and one for
the ratios.
"""
