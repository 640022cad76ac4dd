"""How far a generator's groups are from each other or from a target: bias(T), for each prompt and pooled.

With the frequency f_pi of group i among the images of prompt p, a target t, and K groups,

    bias_pairwise       mean over prompts and pairs i < j of |f_pi - f_pj|
    bias_to_target      mean over prompts and pairs i < j of |(f_pi - t_i) - (f_pj - t_j)|; for K = 2 it is 2 |f - t|
    total_variation     mean over prompts of ½ Σ_i |f_pi - t_i|

all 0 for a fair generator. The first two are both in use under one name and agree for a uniform target only. The
``_pooled`` readings take the same of the frequencies over all images. They answer another question: a generator that
gives only men for half of the prompts and only women for the rest is pooled fair and biased at every prompt. Averages
of absolute values are never 0 for a finite number of images, so each reading has its noise floor. Images of one prompt
share what the prompt does, so the prompt is the sampling unit.
"""

from services.maths.fairness.generator_bias.bias import (
    MINIMUM_PROMPTS,
    UNCORRECTED,
    GeneratorBias,
    GroupFrequency,
    generator_bias,
)
from services.maths.fairness.generator_bias.change import BiasChange, ReadingChange, ShareChange, bias_change
from services.maths.fairness.generator_bias.misclassification import Correction, onto_simplex, rogan_gladen
from services.maths.fairness.generator_bias.readings import BiasReading, Reading

__all__ = [
    "MINIMUM_PROMPTS",
    "UNCORRECTED",
    "BiasChange",
    "BiasReading",
    "Correction",
    "GeneratorBias",
    "GroupFrequency",
    "Reading",
    "ReadingChange",
    "ShareChange",
    "bias_change",
    "generator_bias",
    "onto_simplex",
    "rogan_gladen",
]
