"""Tuning a text-to-image model until its images have a target distribution over groups (SDAT, Han et al. 2025).

generator     the model that learns, the frozen one that it came from, and how both are sampled
adapters      which weights learn: all, those that meet the prompt, or low-rank additions to them
objective     targets and losses of one batch, and the gradient that they give its latents
fitting       the loop: keyed randomness, averaged weights, checkpoints
judging       shares by prompt before and after, by the guide and by a classifier that never guided
publication   a new version of the base with its lineage
work          a whole job from its folder
"""
