"""What the applications of one machine claim of Ray's CPUs."""

from __future__ import annotations

from pathlib import Path

import yaml
from ray.serve import Application

from services.platform.serving import BESIDE_THE_CORES, _build
from services.training.settings import Settings as TrainingSettings

LOCAL = Path(__file__).resolve().parents[2] / "deploy/serve/local.yaml"
FEWEST_CORES = 2


def claimed(app: Application) -> float:
    """CPUs of all replicas of an application and of those it is bound to."""
    deployment = app._bound_deployment
    bound = [part for part in deployment.init_args if isinstance(part, Application)]
    own = (deployment.num_replicas or 1) * deployment.ray_actor_options["num_cpus"]
    return float(own) + sum(map(claimed, bound))


def test_a_machine_of_two_cores_has_one_left_for_a_training() -> None:
    applications = yaml.safe_load(LOCAL.read_text())["applications"]
    claims = [claimed(_build(app["import_path"], app["args"])) for app in applications]
    assert len(claims) == 8 and min(claims) > 0
    left = FEWEST_CORES + BESIDE_THE_CORES - sum(claims)
    assert left >= TrainingSettings().cpus_per_worker
    assert FEWEST_CORES - sum(claims) < TrainingSettings().cpus_per_worker, "or else the CPU beside the cores is idle"
