"""The fairness terms with what they carry from step to step: remembered cells, or an adversary and its optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from services.maths.mitigation.correlation import (
    attribute_predictor,
    class_strata,
    one_hot_columns,
    squared_correlation,
)
from services.maths.mitigation.equalised_odds import (
    Cells,
    count_cells,
    equalised_odds_loss,
    pass_degree,
    remembered,
)
from services.training.snapshots import Progress, State
from services.training.tuning import Mitigation

MEMORY = 0.9
"""What is kept of the cells of earlier batches at each step: the rates are those of about ten batches."""
ADVERSARY_STEPS = 3
ADVERSARY_RATE = 0.01


class Term(Protocol):
    """What (N, K) logits of the predictor on restored images cost, given (N, K) labels and the groups by attribute."""

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, groups: Sequence[torch.Tensor]) -> torch.Tensor: ...

    def state(self) -> State:
        """What a resumed run needs to go on with the same bits."""
        ...

    def restore(self, state: State) -> None: ...


class EqualisedOdds:
    """``thresholds`` are (K,) logits; ``counts`` the number of groups of each attribute."""

    def __init__(self, thresholds: torch.Tensor, temperature: float, counts: Sequence[int]) -> None:
        self._thresholds = thresholds
        self._temperature = temperature
        self._counts = counts
        self._memory: list[Cells | None] = [None] * len(counts)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, groups: Sequence[torch.Tensor]) -> torch.Tensor:
        degrees = pass_degree(logits, self._thresholds, self._temperature)
        cells = [
            remembered(memory, count_cells(degrees, labels, codes, count), MEMORY)
            for memory, codes, count in zip(self._memory, groups, self._counts, strict=True)
        ]
        self._memory = [Cells(some.passed.detach(), some.rows) for some in cells]
        return equalised_odds_loss(cells)

    def state(self) -> State:
        known = {index: cells for index, cells in enumerate(self._memory) if cells is not None}
        return {
            f"{index}.{name}": tensor.cpu()
            for index, cells in known.items()
            for name, tensor in cells._asdict().items()
        }

    def restore(self, state: State) -> None:
        device = self._thresholds.device
        self._memory = [
            Cells(state[f"{index}.passed"].to(device), state[f"{index}.rows"].to(device))
            if f"{index}.passed" in state
            else None
            for index in range(len(self._counts))
        ]


class Adversary:
    """A predictor of the attributes from K logits that keeps learning while the reconstruction does."""

    def __init__(
        self, labels: int, counts: Sequence[int], *, label_conditional: bool, seed: int, device: torch.device
    ) -> None:
        self._counts = counts
        self._label_conditional = label_conditional
        outputs = sum(1 if count == 2 else count for count in counts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._predictor = attribute_predictor(labels, outputs).to(device)
        self._optimizer = torch.optim.Adam(self._predictor.parameters(), lr=ADVERSARY_RATE)
        self._run = Progress(self._predictor, self._predictor, self._optimizer)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, groups: Sequence[torch.Tensor]) -> torch.Tensor:
        targets = one_hot_columns(groups, self._counts)
        strata = class_strata(labels) if self._label_conditional else None
        seen = logits.detach()
        for _ in range(ADVERSARY_STEPS):
            reached = squared_correlation(self._predictor(seen), targets, strata)
            if reached.requires_grad:
                self._optimizer.zero_grad(set_to_none=True)
                (-reached).backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
        return squared_correlation(self._predictor(logits), targets, strata)

    def state(self) -> State:
        return self._run.snapshot()

    def restore(self, state: State) -> None:
        self._run.restore(state)


def term_of(
    mitigation: Mitigation, thresholds: torch.Tensor, counts: Sequence[int], *, seed: int, weight: float
) -> Term | None:
    """The term of a method; None where the loss stays the model's own (none, reweighting, λ = 0)."""
    if weight == 0:
        return None
    if mitigation.method == "equalised-odds":
        return EqualisedOdds(thresholds, mitigation.temperature, counts)
    if mitigation.method == "adversarial":
        return Adversary(
            len(thresholds),
            counts,
            label_conditional=mitigation.label_conditional,
            seed=seed,
            device=thresholds.device,
        )
    return None
