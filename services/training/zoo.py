"""``python -m services.training.zoo [NAME ...]``: train the models of deploy/zoo again from their recipes."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from services.training.learning import Epoch
from services.training.recipes import RECIPES, find_recipe
from services.training.runs import own_run, train_here

ZOO = Path(__file__).parents[2] / "deploy" / "zoo"
VERSION = "1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"recipes, default all: {', '.join(RECIPES)}")
    parser.add_argument("--out", type=Path, default=ZOO, help="registry folder to write to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the weights then do not depend on the number of cores
    console = Console(highlight=False)
    for name in arguments.names or RECIPES:

        def report(epoch: Epoch, name: str = name) -> None:
            console.print(f"{name}: epoch {epoch.done}/{epoch.total}, loss {epoch.loss:.4f}, {epoch.validation:.4f}")

        scores = train_here(own_run(find_recipe(name)), arguments.out, VERSION, report)
        console.print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in scores.items()))


if __name__ == "__main__":
    main()
