"""``python -m services.training.zoo [NAME ...]``: train the models of deploy/zoo again from their recipes."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from services.training.generative.recipes import GENERATIVE_RECIPES
from services.training.generative.runs import train_generative
from services.training.learning import Epoch
from services.training.recipes import RECIPES, find_recipe
from services.training.runs import own_run, train_here

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "deploy" / "zoo"
WORK = ROOT / "out" / "zoo"
VERSION = "1"


def main() -> None:
    names = [*RECIPES, *GENERATIVE_RECIPES]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"recipes, default all: {', '.join(names)}")
    parser.add_argument("--out", type=Path, default=ZOO, help="registry folder to write to")
    parser.add_argument("--work", type=Path, default=WORK, help="where runs keep what they resume from")
    parser.add_argument("--device", default="cpu", help="where generators that go on from another learn, such as cuda")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the weights then do not depend on the number of cores
    console = Console(highlight=False)
    for name in arguments.names or names:
        if name in GENERATIVE_RECIPES:
            _generative(name, arguments, console)
        else:
            _supervised(name, arguments.out, arguments.work, console)


def _supervised(name: str, registry: Path, work: Path, console: Console) -> None:
    def report(epoch: Epoch) -> None:
        console.print(f"{name}: epoch {epoch.done}/{epoch.total}, loss {epoch.loss:.4f}, {epoch.validation:.4f}")

    scores = train_here(
        own_run(find_recipe(name)), registry, VERSION, report, work / f"{name}-{find_recipe(name).digest[:8]}"
    )
    console.print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in scores.items()))


def _generative(name: str, arguments: argparse.Namespace, console: Console) -> None:
    fits = GENERATIVE_RECIPES[name].fits

    def report(part: str, step: int, loss: float) -> None:
        console.print(f"{name}: {part} {step}/{fits[part].steps}, loss {loss:.5f}")

    folder = train_generative(name, arguments.out, VERSION, arguments.work, report, device=arguments.device)
    console.print(f"{name}: {folder}")


if __name__ == "__main__":
    main()
