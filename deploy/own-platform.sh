#!/usr/bin/env bash
# own-platform.sh OUT COMMAND…: starts a platform of its own on free ports, runs `evenhand COMMAND… --out OUT` against it,
# stops it again, whatever happened.
set -euo pipefail
out=$1
shift
bin=.venv/bin
mkdir -p "$out"
state=$(mktemp -d)
read -r http grpc < <("$bin/python" - <<'PY'
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
)
export EVENHAND_DATA_DIR=$state EVENHAND_HTTP_PORT=$http EVENHAND_GRPC_PORT=$grpc EVENHAND_ADDRESS=127.0.0.1:$grpc
finish() {
  code=$?
  "$bin/evenhand" platform down || true
  [ $code -eq 0 ] || { cp "$state/platform.log" "$out/platform.log" 2>/dev/null && echo "the platform's log: $out/platform.log" >&2; }
  rm -rf "$state"
  exit $code
}
trap finish EXIT
"$bin/evenhand" platform up
"$bin/evenhand" "$@" --out "$out"
