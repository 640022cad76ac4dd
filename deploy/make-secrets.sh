#!/usr/bin/env bash
# Writes deploy/secrets with fresh random values; what is there already stays. Run it once, as root, before compose.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets && cd secrets
fresh() { [ -s "$1" ] || head -c 32 /dev/urandom | base64 | tr -d '=+/\n' >"$1"; }
for name in s3_access_key s3_secret_key api_keys postgres_password ray_token grafana_password; do fresh "$name"; done
[ -s pgpass ] || printf 'postgres:5432:evenhand:evenhand:%s\n' "$(cat postgres_password)" >pgpass
[ -s s3_config.json ] || printf '{"identities":[{"name":"evenhand","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":["Admin","Read","Write","List"]}]}\n' \
  "$(cat s3_access_key)" "$(cat s3_secret_key)" >s3_config.json
# The platform's containers run as uid 10001; libpq insists that its password file is private to its reader.
[ "$(id -u)" -ne 0 ] || chown 10001 s3_access_key s3_secret_key api_keys pgpass ray_token
echo "secrets are in $PWD"
