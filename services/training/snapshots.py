"""Everything that a run needs to go on after an epoch, as one flat dictionary of tensors that safetensors can hold."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

State = dict[str, torch.Tensor]


@dataclass
class Progress:
    """A run between two epochs. ``average`` is ``network`` itself in a run that keeps no average of its weights."""

    network: torch.nn.Module
    average: torch.nn.Module
    optimizer: torch.optim.Optimizer
    done: int = 0
    best_score: float = float("-inf")
    best: State = field(default_factory=dict)

    def judge(self, score: float) -> None:
        """An epoch has ended with this score on the validation data; the best one's weights are kept."""
        self.done += 1
        if score > self.best_score:
            self.best_score = score
            self.best = {name: tensor.clone() for name, tensor in _cpu(self.average.state_dict()).items()}

    def snapshot(self) -> State:
        flat = {f"network/{name}": tensor.clone() for name, tensor in _cpu(self.network.state_dict()).items()}
        if self.average is not self.network:
            flat |= {f"average/{name}": tensor.clone() for name, tensor in _cpu(self.average.state_dict()).items()}
        flat |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            flat |= {f"optimizer/{index}/{name}": tensor.clone() for name, tensor in _cpu(moments).items()}
        flat["progress"] = torch.tensor([float(self.done), self.best_score], dtype=torch.float64)
        return flat

    def restore(self, snapshot: State) -> None:
        """Go on from a snapshot of the same recipe's run."""
        self.network.load_state_dict(_part(snapshot, "network/"))
        if self.average is not self.network:
            self.average.load_state_dict(_part(snapshot, "average/"))
        moments: dict[int, State] = {}
        for name, tensor in _part(snapshot, "optimizer/").items():
            index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        done, self.best_score = snapshot["progress"].tolist()
        self.done = int(done)
        self.best = _part(snapshot, "best/")


def _cpu(state: State) -> State:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _part(snapshot: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in snapshot.items() if name.startswith(prefix)}
