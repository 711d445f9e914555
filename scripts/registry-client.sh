#!/usr/bin/env bash
# Confluent's Python client against our schema registry: a nephkeep of its own, the client in a virtual environment
# (kept between runs), every check named. Needs python3 with venv and its package index.
set -euo pipefail
cd "$(dirname "$0")/.."
version=2.16.1
home=${XDG_CACHE_HOME:-$HOME/.cache}/nephkeep/registry-client-$version
program=${PROGRAM:-target/release/nephkeep}
port=${PORT:-17271}

[ -x "$program" ] || { echo "registry client: no $program; build it with 'cargo build --release -p nephkeep'" >&2; exit 4; }
if [ ! -e "$home/ready" ]; then
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check "confluent-kafka[schemaregistry,avro,json]==$version"
    touch "$home/ready"
fi

directory=$(mktemp -d)
chmod 755 "$directory"
stop() {
    "$program" --dir "$directory/nephkeep" down >/dev/null 2>&1 || true
    rm -rf "$directory"
}
trap stop EXIT
"$program" --dir "$directory/nephkeep" up --detach --listen "127.0.0.1:$port" >/dev/null
"$home/bin/python" scripts/registry-client.py "http://127.0.0.1:$port" "$directory/nephkeep/admin-credential"
