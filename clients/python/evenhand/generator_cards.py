"""What a generator's card says of whom it draws, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from evenhand.resources.v1 import model_pb2

COLUMNS = ("attribute", "told by", "target", "before", "after", "bias(T) before", "bias(T) after", "KID to before")


def verdicts_table(verdicts: Iterable[model_pb2.BiasVerdict]) -> pd.DataFrame:
    """One row a classifier: shares of the levels, and bias(T) to the target per prompt with its 95 % limits."""
    return pd.DataFrame([_row(one) for one in verdicts], columns=list(COLUMNS))


def _row(one: model_pb2.BiasVerdict) -> tuple[str, ...]:
    guided = " (guided)" if one.guided else ""
    return (
        one.attribute,
        one.classifier.removeprefix("models/") + guided,
        _shares(one.target),
        _shares(one.before),
        _shares(one.after),
        _bias(one.bias_before),
        _bias(one.bias_after),
        ", ".join(f"{level} {value:.4f}" for level, value in sorted(one.kid.items())),
    )


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{level} {share:.0%}" for level, share in sorted(shares.items()))


def _bias(bias: model_pb2.Bias) -> str:
    return f"{bias.estimate:.3f} ({bias.ci_low:.3f} to {bias.ci_high:.3f}; fair: {bias.noise_floor:.3f})"
