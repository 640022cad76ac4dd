"""Paths between two condition embeddings, for the frames of a counterfactual.

The embedding is interpolated and not the label: the midpoint of two embeddings is not the embedding of the midpoint.
"""

from __future__ import annotations

from typing import Literal

import torch

PathKind = Literal["linear", "spherical"]
PATHS: tuple[PathKind, ...] = ("linear", "spherical")

_PARALLEL = 1e-6  # radians; below it a turn is a straight line, to more digits than an embedding has


def embedding_path(
    source: torch.Tensor, target: torch.Tensor, frames: int, *, kind: PathKind = "linear"
) -> torch.Tensor:
    """(frames, E) from ``source`` (E,) to ``target`` (E,), of the source's dtype; the first and the last are exact.

    "linear" moves at constant speed, and a coordinate that both ends share does not move at all. "spherical" (Shoemake
    1985) turns the direction at constant speed and changes the length linearly. Computed in float64. ValueError for
    fewer than two frames, other shapes, an unknown kind, and a turn that is not defined: from or to zero, or to the
    exact opposite.
    """
    if source.ndim != 1 or source.shape != target.shape:
        raise ValueError(
            f"source and target must be (E,) of one length, got {tuple(source.shape)} and {tuple(target.shape)}"
        )
    if frames < 2:
        raise ValueError(f"frames must be at least 2, both ends, got {frames}")
    if kind not in PATHS:
        raise ValueError(f"kind must be one of {', '.join(PATHS)}, not {kind!r}")
    share = torch.linspace(0.0, 1.0, frames, dtype=torch.float64, device=source.device)[:, None]
    start, end = source.double(), target.double()
    path = (_linear(start, end, share) if kind == "linear" else _spherical(start, end, share)).to(source.dtype)
    path[0], path[-1] = source, target
    return path


def _linear(start: torch.Tensor, end: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return start + share * (end - start)


def _spherical(start: torch.Tensor, end: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    lengths = start.norm(), end.norm()
    if not (lengths[0] > 0 and lengths[1] > 0):
        raise ValueError("a spherical path needs two embeddings that are not zero")
    first, last = start / lengths[0], end / lengths[1]
    # Kahan's form: exact for small and for wide angles, where the arc cosine of a product is neither.
    angle = 2 * torch.atan2((first - last).norm(), (first + last).norm())
    if angle < _PARALLEL:
        return _linear(start, end, share)
    if torch.pi - angle < _PARALLEL:
        raise ValueError("a spherical path between opposite embeddings has no one direction to turn in")
    direction = (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * last) / torch.sin(angle)
    lengthened: torch.Tensor = direction * _linear(lengths[0], lengths[1], share)
    return lengthened
