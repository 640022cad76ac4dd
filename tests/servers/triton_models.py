"""A real Triton server with one model, a 1×1 convolution in numpy. Run by the environment that has nvidia-pytriton.

usage: triton_models.py GRPC_PORT HTTP_PORT METRICS_PORT WEIGHT BIAS
"""

import signal
import sys

import numpy as np
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main() -> None:
    grpc_port, http_port, metrics_port = map(int, sys.argv[1:4])
    weight, bias = np.float32(sys.argv[4]), np.float32(sys.argv[5])

    def pointwise(requests):
        return [{"output": request["image"] * weight + bias} for request in requests]

    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=grpc_port,
        http_address="127.0.0.1",
        http_port=http_port,
        metrics_address="127.0.0.1",
        metrics_port=metrics_port,
        exit_on_error=True,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="pointwise",
            infer_func=pointwise,
            inputs=[Tensor(name="image", dtype=np.float32, shape=(1, -1, -1))],
            outputs=[Tensor(name="output", dtype=np.float32, shape=(1, -1, -1))],
            config=ModelConfig(max_batch_size=256),
        )
        triton.run()
        print("ready", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
