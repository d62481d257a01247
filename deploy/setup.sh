#!/bin/sh
# Make the environment of a checkout: setup.sh DIR
# Needs any Python >= 3.11 with venv, or root on Debian (then it installs python3-venv itself).
# What is installed is requirements.lock to the hash; where from is the user's own pip or uv setting.
set -eu

venv=${1:-.venv}
started=$(date +%s)

say() { printf '== %s\n' "$*"; }

new_enough() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Prints the first Python that is new enough and can make an environment.
find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if new_enough "$name" && "$name" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    return 1
}

# Debian keeps venv in a package of its own.
install_venv() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing python3-venv (Debian keeps it apart)"
    apt-get update -qq >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        python3 python3-venv >/dev/null
}

no_python() {
    if new_enough python3; then
        echo 'setup: this Python cannot make an environment. On Debian or Ubuntu run:' >&2
        echo '    apt-get install python3-venv' >&2
    else
        echo 'setup: needs Python 3.11 or newer with venv; PYTHON=/path/to/python3 make setup' >&2
    fi
    exit 1
}

if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
    python=$(find_python) || { install_venv && python=$(find_python); } || no_python
    say "environment in $venv ($("$python" --version))"
    "$python" -m venv --clear "$venv"
fi

# uv is ten times quicker than pip; the lock pins it with its hashes like everything else.
if ! "$venv/bin/uv" --version >/dev/null 2>&1; then
    say 'fetching uv'
    awk '/^[a-z0-9]/ { wanted = /^uv==/ } wanted' requirements.lock >"$venv/uv.lock.txt"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        -r "$venv/uv.lock.txt" || say 'no uv for this machine: going on with pip'
fi

# uv does not read pip's settings: hand it the index a person gave pip, and the system's certificates.
index=$("$venv/bin/pip" config list 2>/dev/null | sed -n "s/^[^ ]*\.index.url='\(.*\)'\$/\1/p" | tail -n 1)
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"

say 'installing the locked packages'
if ! { "$venv/bin/uv" --version >/dev/null 2>&1 &&
    "$venv/bin/uv" pip install --python "$venv/bin/python" --require-hashes -r requirements.lock; }; then
    say 'with pip'
    "$venv/bin/pip" install --disable-pip-version-check --progress-bar on --require-hashes \
        -r requirements.lock
fi

say 'installing this checkout'
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
say "ready in $(($(date +%s) - started)) s"
