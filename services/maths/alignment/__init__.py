"""Subgroup-distribution-aligned tuning of a generator (Han et al. 2025, SDAT, after Shen et al. 2024): its mathematics.

targets   which group each image of a batch should belong to, and how sure that is: optimal transport to a distribution
pools     whose images are aligned with one another: prompt by prompt, attribute by attribute, or over their crossing
chain     gradients through the sampler's steps from stored inputs, with effects derived for the sampler in use
losses    cross-entropy with the targets, what keeps the images what they were, and how much each image counts in both
cuts      where a classifier changes its mind, as its package says
differences  how classes differ in the original's images: where an image that changes its class should go

The one supervision is the classifier that guides: judge the outcome with another one.
"""

from services.maths.alignment.chain import (
    Run,
    chain_gradient,
    equalised_coefficients,
    equalised_effects,
    output_effects,
    record_run,
)
from services.maths.alignment.cuts import cut_offsets
from services.maths.alignment.differences import class_effects, class_sums, features_of_class
from services.maths.alignment.losses import (
    FLIPPED_WEIGHT,
    alignment_loss,
    balanced_weights,
    crossed_logits,
    equal_weights,
    preservation_loss,
    preservation_weights,
)
from services.maths.alignment.pools import by_attribute, by_prompt, crossed
from services.maths.alignment.targets import (
    DRAWS,
    aligned_targets,
    binomial_targets,
    checked_target,
    checked_threshold,
    expected_targets,
    fixed_targets,
    pseudo_labels,
)

__all__ = [
    "DRAWS",
    "FLIPPED_WEIGHT",
    "Run",
    "aligned_targets",
    "alignment_loss",
    "balanced_weights",
    "binomial_targets",
    "by_attribute",
    "by_prompt",
    "chain_gradient",
    "checked_target",
    "checked_threshold",
    "class_effects",
    "class_sums",
    "crossed",
    "crossed_logits",
    "cut_offsets",
    "equal_weights",
    "equalised_coefficients",
    "equalised_effects",
    "expected_targets",
    "features_of_class",
    "fixed_targets",
    "output_effects",
    "preservation_loss",
    "preservation_weights",
    "pseudo_labels",
    "record_run",
]
