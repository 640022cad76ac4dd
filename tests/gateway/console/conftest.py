"""Pages over a real ledger, store and model hosts, furnished once."""

import asyncio
import shutil

import httpx
import pytest

from tests.gateway.console.stage import Stage, furnish


@pytest.fixture(scope="session")
def furnished(tmp_path_factory):
    """(folder, names): what :func:`furnish` left."""
    folder = tmp_path_factory.mktemp("console")
    return folder, asyncio.run(furnish(folder))


@pytest.fixture
def open_stage(furnished, tmp_path):
    """Start a gateway over a copy of the furnished folder; settings as of the gateway's World, ``keys`` besides."""
    started = []

    def start(**settings):
        folder = tmp_path / f"stage{len(started)}"
        shutil.copytree(furnished[0], folder)
        started.append(Stage(folder, drain_s=1.0, **settings))
        return started[-1].start()

    yield start
    for stage in started:
        stage.stop()


@pytest.fixture(scope="module")
def stage(furnished, tmp_path_factory):
    """A gateway without keys, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("stage") / "world"
    shutil.copytree(furnished[0], folder)
    stage = Stage(folder, drain_s=1.0).start()
    yield stage
    stage.stop()


@pytest.fixture
def web(stage):
    with httpx.Client(base_url=stage.http, follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="session")
def names(furnished):
    """Resource names by what they are: audit, running, failed, cohort, counterfactual, audit_operation, …"""
    return furnished[1]
