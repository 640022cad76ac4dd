"""The Inception-V3 that the Fréchet inception distance is defined by (Heusel et al. 2017), for its published weights.

It is Szegedy et al.'s network of 2015 with the details of the TensorFlow graph of 2015-12-05: average pools leave the
padding out of their mean, and the last block's pool takes the maximum. Layers are named as in the well-known weights
file, so it loads by key. Definition only; the initial parameters mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

Kernel = int | tuple[int, int]
Layer = tuple[str, int, Kernel]  # name, outputs, kernel
Path = tuple[Layer, ...]

FEATURES = 2048
_CLASSES = 1008


class FidInception(nn.Module):
    """(N, 3, 299, 299) images in [-1, 1] → :meth:`features` (N, 2048), or logits (N, 1008)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, padding=0)
        channels = 192
        for name, paths, pool, stride in _blocks():
            block = _Mixed(channels, paths, pool, stride)
            self.add_module(name, block)
            channels = block.outputs
        self.fc = nn.Linear(FEATURES, _CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(self.features(images))
        return logits

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 2048) averages over the last block's pixels, what FID and KID are computed on."""
        seen = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        seen = functional.max_pool2d(seen, 3, stride=2)
        seen = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(seen)), 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                seen = block(seen)
        pooled: torch.Tensor = seen.mean(dim=(2, 3))
        return pooled


class _Conv(nn.Module):
    """Convolution, batch normalisation, ReLU; padded to keep the extents unless it strides or ``padding`` says else."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, *, stride: int = 1, padding: int | None = None
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        kept = (sides[0] // 2, sides[1] // 2) if padding is None and stride == 1 else (padding or 0, padding or 0)
        self.conv = nn.Conv2d(inputs, outputs, sides, stride=stride, padding=kept, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.bn(self.conv(seen)), inplace=True)


class _Mixed(nn.Module):
    """Paths of convolutions and one pool side by side; a layer that several paths name is one layer.

    With stride 2 the last layer of every path strides, and the pool is passed on as it is.
    """

    def __init__(self, inputs: int, paths: tuple[Path, ...], pool: str, stride: int) -> None:
        super().__init__()
        self.paths = [[name for name, _, _ in path] for path in paths]
        self.pool, self.stride, self.outputs = pool, stride, 0
        for path in paths:
            channels = inputs
            for name, outputs, kernel in path:
                last = name == path[-1][0]
                if name not in self._modules:
                    self.add_module(name, _Conv(channels, outputs, kernel, stride=stride if last else 1))
                channels = outputs
            self.outputs += channels
        if stride > 1:
            self.outputs += inputs

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        parts = []
        for names in self.paths:
            value = self._pooled(seen) if names[0] == "branch_pool" else seen
            for name in names:
                value = self.get_submodule(name)(value)
            parts.append(value)
        if self.stride > 1:
            parts.append(functional.max_pool2d(seen, 3, stride=2))
        return torch.cat(parts, dim=1)

    def _pooled(self, seen: torch.Tensor) -> torch.Tensor:
        if self.pool == "max":
            return functional.max_pool2d(seen, 3, stride=1, padding=1)
        return functional.avg_pool2d(seen, 3, stride=1, padding=1, count_include_pad=False)


def _blocks() -> Iterator[tuple[str, tuple[Path, ...], str, int]]:
    """Name, paths, kind of pool and stride of each block."""
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        yield name, _square_paths(pooled), "average", 1
    yield "Mixed_6a", ((("branch3x3", 384, 3),), _double(64, 96, 96)), "", 2
    for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        yield name, _long_paths(inner), "average", 1
    wide: Path = (("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)))
    yield "Mixed_7a", ((("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)), (*wide, ("branch7x7x3_4", 192, 3))), "", 2
    for name, pool in (("Mixed_7b", "average"), ("Mixed_7c", "max")):
        yield name, _forked_paths(), pool, 1


def _double(first: int, second: int, third: int) -> Path:
    return ("branch3x3dbl_1", first, 1), ("branch3x3dbl_2", second, 3), ("branch3x3dbl_3", third, 3)


def _square_paths(pooled: int) -> tuple[Path, ...]:
    return (
        (("branch1x1", 64, 1),),
        (("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        _double(64, 96, 96),
        (("branch_pool", pooled, 1),),
    )


def _long_paths(inner: int) -> tuple[Path, ...]:
    double = [(f"branch7x7dbl_{k}", inner, kernel) for k, kernel in enumerate((1, (7, 1), (1, 7), (7, 1)), start=1)]
    return (
        (("branch1x1", 192, 1),),
        (("branch7x7_1", inner, 1), ("branch7x7_2", inner, (1, 7)), ("branch7x7_3", 192, (7, 1))),
        (*double, ("branch7x7dbl_5", 192, (1, 7))),  # type: ignore[arg-type]
        (("branch_pool", 192, 1),),
    )


def _forked_paths() -> tuple[Path, ...]:
    stem: Path = (("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3))
    return (
        (("branch1x1", 320, 1),),
        (("branch3x3_1", 384, 1), ("branch3x3_2a", 384, (1, 3))),
        (("branch3x3_1", 384, 1), ("branch3x3_2b", 384, (3, 1))),
        (*stem, ("branch3x3dbl_3a", 384, (1, 3))),
        (*stem, ("branch3x3dbl_3b", 384, (3, 1))),
        (("branch_pool", 192, 1),),
    )
