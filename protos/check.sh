#!/usr/bin/env bash
# Lints the protos and compares them with the released API: a field that changed its number or type fails here.
# `protos/check.sh release` makes today's API the released one.
set -euo pipefail
cd "$(dirname "$0")"
buf=../.venv/bin/buf
now=$(mktemp --suffix=.binpb)
trap 'rm -f "$now"' EXIT
$buf lint
$buf build -o "$now" --exclude-source-info
if [ "${1:-}" = release ]; then cp "$now" released.binpb; exit; fi
# One image against one image: a workspace of two modules cannot be compared with a file directly.
$buf breaking "$now" --against released.binpb --config '{"version":"v2","breaking":{"use":["WIRE_JSON"]}}'
