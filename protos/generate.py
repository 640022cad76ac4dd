"""Compile evenhand/**/*.proto into protos/gen. Run by `make protos`; the result is committed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
OWN = "evenhand"


def main() -> int:
    out = HERE / "gen"
    shutil.rmtree(out / OWN, ignore_errors=True)
    out.mkdir(exist_ok=True)
    sources = sorted(str(path.relative_to(HERE)) for path in (HERE / OWN).rglob("*.proto"))
    include = Path(grpc_tools.__file__).parent / "_proto"
    return protoc.main(
        [
            "protoc",
            f"--proto_path={HERE}",
            f"--proto_path={HERE / 'third_party'}",
            f"--proto_path={include}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            *sources,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
