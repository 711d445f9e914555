#!/usr/bin/env bash
# Installs what a build and its tests need and this machine lacks: PostgreSQL 15 or newer, and Prometheus for the
# metrics copy (without it everything else works). Says what it will do first; never creates a PostgreSQL cluster,
# never starts or enables a service; never calls sudo by itself.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }
stop() { printf 'setup: %s\n' "$*" >&2; exit 4; }

command -v cc >/dev/null || stop "no C compiler (cc) found. Install one first: 'apt-get install gcc libc6-dev' on Debian, 'xcode-select --install' on macOS."
command -v cargo >/dev/null || stop "no cargo found. Install Rust 1.95 or newer (rustup), then run this again."

# The newest PostgreSQL whose server programs are here, as "MAJOR DIRECTORY".
found() {
    local dir version
    for dir in ${NEPHKEEP_PG_BIN:-} $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
        $(ls -d /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin 2>/dev/null | sort -rV) \
        $(command -v postgres >/dev/null && dirname "$(readlink -f "$(command -v postgres)")"); do
        [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] || continue
        version=$("$dir/postgres" --version | sed -E 's/.* ([0-9]+)[.a-z].*/\1/')
        if [ "${version:-0}" -ge 15 ] 2>/dev/null; then echo "$version $dir"; return 0; fi
    done
    return 1
}

# Prometheus from the distribution, its service neither started nor enabled: nephkeep runs its own children of it.
metrics_engine() {
    local program=${NEPHKEEP_PROMETHEUS:-$(type -P prometheus || true)} policy=/usr/sbin/policy-rc.d
    if [ -n "$program" ] && [ -x "$program" ]; then
        say "Prometheus is here ($program); nothing to install."
    elif command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
        say "will install from the distribution: prometheus (its service is neither started nor enabled)."
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        if [ ! -e "$policy" ]; then
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        fi
        apt-get install -y -qq --no-install-recommends prometheus >/dev/null
        if command -v systemctl >/dev/null; then systemctl disable --quiet prometheus 2>/dev/null || true; fi
        say "installed $(prometheus_version)."
    elif command -v brew >/dev/null; then
        say "will install with Homebrew: prometheus (no service is started)."
        brew install --quiet prometheus
    else
        say "no Prometheus here: the metrics copy will be unavailable. Install it (sudo $(cd "$(dirname "$0")" && pwd)/setup.sh), or point NEPHKEEP_PROMETHEUS at its program."
    fi
}

prometheus_version() { prometheus --version 2>&1 | sed -n '1s/ (.*//p'; }

if here=$(found); then
    say "PostgreSQL ${here%% *} is here (${here#* }); nothing to install."
    metrics_engine
    exit 0
fi

if command -v apt-get >/dev/null; then
    conf=/etc/postgresql-common/createcluster.conf
    if [ "$(id -u)" -ne 0 ]; then
        stop "PostgreSQL 15 or newer is missing and this is not root. Run: sudo $(cd "$(dirname "$0")" && pwd)/setup.sh"
    fi
    say "will install from the distribution: postgresql-common, postgresql (server programs only; no cluster is created or started)."
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
    kept=$(mktemp)
    cp "$conf" "$kept"
    trap 'cp "$kept" "$conf"; rm -f "$kept"' EXIT
    printf 'create_main_cluster = false\n' >>"$conf"
    apt-get install -y -qq --no-install-recommends postgresql >/dev/null
    cp "$kept" "$conf"
    rm -f "$kept"
    trap - EXIT
elif command -v brew >/dev/null; then
    say "will install with Homebrew: postgresql@17 (no service is started)."
    brew install --quiet postgresql@17
else
    stop "PostgreSQL 15 or newer is missing, and neither apt-get nor Homebrew is here. Install its server programs and point NEPHKEEP_PG_BIN at their directory."
fi

here=$(found) || stop "the package manager installed no PostgreSQL of version 15 or newer. Install one and point NEPHKEEP_PG_BIN at its bin directory."
say "installed PostgreSQL ${here%% *} (${here#* })."
metrics_engine
