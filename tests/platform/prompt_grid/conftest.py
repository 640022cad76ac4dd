from __future__ import annotations

import pytest

from services.platform.prompt_grid import prompt_grid
from tests.platform.prompt_grid import worlds


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """Two versions of the generator whose shares are planted."""
    root = worlds.write_registry(tmp_path_factory.mktemp("zoo"))
    return worlds.write_registry(root, version="2")


@pytest.fixture
def order(registry, tmp_path):
    """Plain fields of a small order, with changes."""

    def order(**changed):
        prompts = worlds.write_prompts(tmp_path / "prompts.txt")
        plain = {"model": "planted@1", "attribute": "sex", "prompts": prompts, "images": 40, "registry": str(registry)}
        return {**plain, **changed}

    return order


@pytest.fixture
def audit(order):
    """The report and the files of a small order."""
    return lambda platform, **changed: prompt_grid(order(**changed), platform, lambda *_: None)
