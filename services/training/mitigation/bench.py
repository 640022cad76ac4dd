"""What all values of λ of a sweep share: the base, the predictor, the data and how they are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.adapters.restoration import Restoration, read_restoration
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.maths.fairness.groups import Grouping
from services.maths.mitigation.reweighting import inverse_frequency
from services.training.learning import Epoch
from services.training.mitigation.cases import Cases, Data
from services.training.mitigation.fitting import Fitted, Parts, Plan, fit
from services.training.mitigation.gathering import gather
from services.training.mitigation.judging import Judgement, judge, preference
from services.training.mitigation.models import Predictor, load_predictor, logits_of, threshold_logits
from services.training.mitigation.terms import term_of
from services.training.networks import load_network, pinned
from services.training.objectives import objective_of
from services.training.runs import Run
from services.training.scoring import predict
from services.training.snapshots import State
from services.training.tuning import Mitigation

Prepare = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Bench:
    """``thresholds`` (K,) are logits. ``restoration`` is how the model is asked for an image, None for one pass."""

    run: Run
    mitigation: Mitigation
    models: DirectoryRegistry
    base: ModelRecord
    predictor: Predictor
    restoration: Restoration | None
    data: Data
    thresholds: torch.Tensor
    prepare: Prepare

    @property
    def counts(self) -> list[int]:
        """Groups of each attribute."""
        return [len(grouping.groups) for grouping in self.data.groupings]

    def network(self, state: State | None = None) -> nn.Module:
        """The base, ready to go on from, or with the weights that a fine-tuning left."""
        network = load_network(self.models, self.base)
        if state is not None:
            network.load_state_dict(state)
        return self.prepare(network)

    def judge(self, network: nn.Module, cases: Cases) -> Judgement:
        """What a user of the network would get, read by the predictor."""
        images = cases.degraded.to(next(network.parameters()).device)
        restored = predict(network, images, "reconstruction", restoration=self.restoration)
        return judge(
            restored,
            logits_of(self.predictor, restored),
            cases,
            thresholds=self.thresholds,
            attributes=self.mitigation.attributes,
            counts=self.counts,
            temperature=self.mitigation.temperature,
        )

    def prefer(self, found: Judgement, base: Judgement) -> float:
        """How good a judgement on the validation data is, beside the base's."""
        return preference(found, base, by_fairness=self.mitigation.method != "none")

    def shares(self, weight: float) -> NDArray[np.float64] | None:
        """(N,) how likely each training image is drawn; None: each once an epoch."""
        if self.mitigation.method != "reweighting":
            return None
        codes = [groups.numpy() for groups in self.data.training.groups]
        groupings = [
            Grouping(grouping.attribute, grouping.groups, numbers)
            for grouping, numbers in zip(self.data.groupings, codes, strict=True)
        ]
        return inverse_frequency(groupings, exponent=weight)


def set_up(run: Run, check: Callable[[], None], prepare: Prepare) -> Bench:
    """Load the models and gather the data of a run's tuning. ``prepare`` moves a network to its device."""
    tuning = run.tuning
    assert tuning is not None
    models = DirectoryRegistry([Path(root) for root in tuning.registries])
    base, classifier = pinned(models, tuning.base), pinned(models, tuning.predictor)
    data = gather(run, tuning, base, check)
    labels = tuning.mitigation.labels
    predictor = load_predictor(models, classifier, labels)
    prepare(predictor)
    restoration = read_restoration(run.recipe.restoration)
    restored = predict(load_network(models, base), data.validation.degraded, "reconstruction", restoration=restoration)
    truth, logits = data.validation.labels.numpy(), logits_of(predictor, restored).numpy()
    thresholds = threshold_logits(classifier, labels, truth, logits)
    return Bench(run, tuning.mitigation, models, base, predictor, restoration, data, thresholds, prepare)


def fit_weight(
    bench: Bench,
    weight: float,
    before: Judgement,
    *,
    report: Callable[[Epoch], None],
    check: Callable[[], None],
    resume: State | None,
) -> Fitted:
    """Fine-tune the base with one λ. ``before`` is the base's judgement on the validation data."""
    network = bench.network()
    thresholds = bench.thresholds.to(next(network.parameters()).device)
    term = term_of(bench.mitigation, thresholds, bench.counts, seed=bench.run.seed, weight=weight)
    return fit(
        Parts(network, bench.predictor, objective_of(bench.restoration), term, bench.data.training),
        Plan(bench.run.recipe, weight, bench.run.seed, bench.run.epochs, bench.shares(weight)),
        preferred=lambda tuned: bench.prefer(bench.judge(tuned, bench.data.validation), before),
        report=report,
        check=check,
        resume=resume,
    )
