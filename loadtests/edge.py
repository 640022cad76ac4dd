"""The edge against a bare server: one 256 x 256 float32 image over the Open Inference Protocol's gRPC.

    python loadtests/edge.py [--rounds 5] [--json]

The platform's way is client → gateway replica → model replica on a local Ray; the bare way is client → one grpc.aio
process that runs the same network. Both take turns in every round, with the same environment and the same client, so
that what else the machine does falls on both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import yaml
from safetensors.numpy import save
from tritonclient.grpc import service_pb2

from services.platform.settings import Settings as PlatformSettings
from services.platform.settings import ray_environment

HERE = Path(__file__).resolve().parent
SIZE = 256
METHOD = "/inference.GRPCInferenceService/ModelInfer"
CONCURRENT = 16

Infer = Callable[[], Awaitable[bytes]]


def write_model(registry: Path) -> None:
    """``pointwise``: 0.5 x + 0.25 in each pixel, so that nearly all of the time is the way there and back."""
    folder = registry / "pointwise" / "1"
    folder.mkdir(parents=True)
    weights = save({"mix.weight": np.full((1, 1, 1, 1), 0.5, np.float32), "mix.bias": np.full((1,), 0.25, np.float32)})
    (folder / "weights.safetensors").write_bytes(weights)
    pixels = {"channels": 1, "height": SIZE, "width": SIZE}
    record = {
        "name": "pointwise",
        "version": "1",
        "task": "reconstruction",
        "family": "pointwise",
        "architecture": {"in_channels": 1, "out_channels": 1},
        "input": pixels,
        "output": pixels,
        "licence": "Apache-2.0",
        "files": {"weights.safetensors": hashlib.sha256(weights).hexdigest()},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(record), "utf-8")


def request_bytes() -> bytes:
    pixels = np.random.default_rng(0).random((1, 1, SIZE, SIZE), dtype=np.float32)
    request: Any = service_pb2.ModelInferRequest(model_name="pointwise", raw_input_contents=[pixels.tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=pixels.shape)
    return bytes(request.SerializeToString())


def check_reply(payload: bytes) -> None:
    """Both servers must have computed the right thing."""
    reply: Any = service_pb2.ModelInferResponse.FromString(payload)
    pixels = np.random.default_rng(0).random((1, 1, SIZE, SIZE), dtype=np.float32)
    got = np.frombuffer(reply.raw_output_contents[0], np.float32).reshape(pixels.shape)
    np.testing.assert_allclose(got, 0.5 * pixels + 0.25, atol=1e-6)


async def bare_server(registry: Path) -> None:
    """What one would write by hand: parse, run the network, serialize, in one process."""
    import torch

    from services.adapters.weights import DirectoryRegistry
    from services.maths.networks import build_network

    torch.set_num_threads(1)
    models = DirectoryRegistry([registry])
    record = models.find("pointwise")
    network = build_network(record.family, dict(record.architecture))
    network.load_state_dict({key: torch.from_numpy(value) for key, value in models.load_tensors(record).items()})

    async def infer(request: Any, context: Any) -> Any:
        shape = tuple(request.inputs[0].shape)
        pixels = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(shape)
        with torch.inference_mode():
            output = network(torch.from_numpy(pixels.copy())).numpy()
        reply: Any = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
        reply.outputs.add(name="image", datatype="FP32", shape=output.shape)
        reply.raw_output_contents.append(output.tobytes())
        return reply

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=service_pb2.ModelInferRequest.FromString,  # type: ignore[attr-defined]
        response_serializer=service_pb2.ModelInferResponse.SerializeToString,  # type: ignore[attr-defined]
    )
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


@contextlib.contextmanager
def started_bare(folder: Path) -> Iterator[str]:
    command = [sys.executable, __file__, "--bare-server", str(folder / "models")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def started_platform(folder: Path, *, replicas: int) -> Iterator[str]:
    """Gateway and model host on a Ray of their own."""
    import ray
    from ray import serve

    from services.classifiers import app as classifiers
    from services.classifiers.settings import Settings as ClassifierSettings
    from services.gateway import app as gateway
    from services.gateway.settings import Settings as GatewaySettings
    from services.reconstruction import app as reconstruction
    from services.reconstruction.settings import Settings as ReconstructionSettings

    port = free_port()
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=128 * 2**20,
        num_cpus=4,
        _temp_dir=str(folder / "ray"),
        _node_ip_address="127.0.0.1",
    )
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False})
    applications = {
        "reconstruction": reconstruction.build(
            ReconstructionSettings(registries=(folder / "models",), num_replicas=replicas)
        ),
        "classifiers": classifiers.build(ClassifierSettings(registries=(folder / "none",))),
        "gateway": gateway.build(GatewaySettings(data_dir=folder / "data", grpc_port=port, http_port=0)),
    }
    try:
        for name, application in applications.items():
            serve.run(application, name=name, route_prefix=None)
        yield f"127.0.0.1:{port}"
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def latencies(infer: Infer, seconds: float) -> list[float]:
    """Milliseconds of one call after another."""
    found, until = [], time.perf_counter() + seconds
    while (started := time.perf_counter()) < until:
        await infer()
        found.append(1000 * (time.perf_counter() - started))
    return found


async def throughput(infer: Infer, seconds: float) -> float:
    """Calls per second with sixteen under way."""
    until, done = time.perf_counter() + seconds, 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await infer()
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONCURRENT)))
    return done / (time.perf_counter() - started)


async def measure(addresses: dict[str, str], rounds: int, seconds: float) -> dict[str, Any]:
    payload = request_bytes()
    async with contextlib.AsyncExitStack() as stack:
        targets: dict[str, Infer] = {}
        for name, address in addresses.items():
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            call = channel.unary_unary(METHOD)  # type: ignore[call-arg]
            targets[name] = lambda call=call: call(payload, timeout=30.0)  # type: ignore[misc]
            await ready(targets[name])
        p50: dict[str, list[float]] = {name: [] for name in targets}
        p99: dict[str, list[float]] = {name: [] for name in targets}
        rate: dict[str, list[float]] = {name: [] for name in targets}
        for _ in range(rounds):
            for name, infer in targets.items():
                times = sorted(await latencies(infer, seconds))
                p50[name].append(times[len(times) // 2])
                p99[name].append(times[int(0.99 * len(times))])
                rate[name].append(await throughput(infer, seconds))
    ratios_p50 = [ours / bare for ours, bare in zip(p50["gateway"], p50["bare"], strict=True)]
    ratios_rate = [ours / bare for ours, bare in zip(rate["gateway"], rate["bare"], strict=True)]
    return {
        "load_average": os.getloadavg()[0],
        "p50_ms": {name: statistics.median(values) for name, values in p50.items()},
        "p99_ms": {name: statistics.median(values) for name, values in p99.items()},
        "calls_per_s": {name: statistics.median(values) for name, values in rate.items()},
        "p50_ratio": statistics.median(ratios_p50),
        "throughput_ratio": statistics.median(ratios_rate),
        "p50_ratios": ratios_p50,
        "throughput_ratios": ratios_rate,
    }


async def ready(infer: Infer) -> None:
    """Wait until a target answers, then check what it answers and warm it up."""
    deadline = time.monotonic() + 60
    while True:
        try:
            check_reply(await infer())
            break
        except grpc.aio.AioRpcError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
    for _ in range(100):
        await infer()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--replicas", type=int, default=1, help="of the model host")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare-server", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare_server:
        asyncio.run(bare_server(options.bare_server))
        return 0
    budgets = tomllib.loads((HERE / "budgets.toml").read_text("utf-8"))["edge"]
    folder = Path(tempfile.mkdtemp(prefix="edge-"))
    (folder / "data").mkdir()
    (folder / "none").mkdir()
    write_model(folder / "models")
    os.environ.update(ray_environment(PlatformSettings(data_dir=folder / "data", config=folder / "none")))
    try:
        with started_bare(folder) as bare, started_platform(folder, replicas=options.replicas) as gateway:
            found = asyncio.run(measure({"bare": bare, "gateway": gateway}, options.rounds, options.seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    within = (
        found["p50_ratio"] <= budgets["p50_ratio_at_most"]
        and found["throughput_ratio"] >= budgets["throughput_ratio_at_least"]
    )
    if options.json:
        print(json.dumps({**found, "budgets": budgets, "within": within}))
    else:
        show(found, budgets)
    return 0 if within else 1


def show(found: dict[str, Any], budgets: dict[str, float]) -> None:
    for name in ("bare", "gateway"):
        print(
            f"{name:8} p50 {found['p50_ms'][name]:6.2f} ms   p99 {found['p99_ms'][name]:6.2f} ms   "
            f"{found['calls_per_s'][name]:7.1f} calls/s at {CONCURRENT} concurrent"
        )
    print(f"p50 ratio        {found['p50_ratio']:5.2f}   budget at most  {budgets['p50_ratio_at_most']}")
    print(f"throughput ratio {found['throughput_ratio']:5.2f}   budget at least {budgets['throughput_ratio_at_least']}")
    print(f"load average     {found['load_average']:5.2f}")


if __name__ == "__main__":
    sys.exit(main())
