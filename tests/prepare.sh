#!/bin/sh
# Makes the virtual environments that the integration suite uses, at the top of the repository:
#   .venvs/apps    Flask, Django, numpy, pydantic, cryptography
#   .venvs/theirs  mod_wsgi from PyPI, compiled against the same Python
# Usage: tests/prepare.sh [apps] [theirs]      (default: apps)
# PYTHON chooses the interpreter; otherwise it is the first Python >= 3.9 that other users can reach.
# Idempotent: a venv is made again only when its Python or its requirements changed.
set -eu
umask 022

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
top=$(dirname -- "$here")
venvs=$top/.venvs

say() { printf 'prepare: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Says whether every directory on the way to $1 lets other users pass, and they may run it.
others_can_run() {
    path=$(readlink -f -- "$1") || return 1
    [ -n "$(find "$path" -maxdepth 0 -perm -o=rx 2>/dev/null)" ] || return 1
    while [ "$path" != / ]; do
        path=$(dirname -- "$path")
        [ -n "$(find "$path" -maxdepth 0 -perm -o=x 2>/dev/null)" ] || return 1
    done
}

usable() {
    command -v "$1" >/dev/null 2>&1 || return 1
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || return 1
    # A shim of a version manager is not a Python; ask the interpreter where it lives.
    real=$("$1" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    [ "$(id -u)" -ne 0 ] || others_can_run "$real"
}

choose_python() {
    for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.13 python3.12 python3.11 python3.10 python3.9}; do
        if usable "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    die "no Python >= 3.9 with venv and pip that other users can reach (Debian: apt-get install python3-venv)"
}

# make_venv NAME: creates .venvs/NAME from requirements-NAME.txt.
make_venv() {
    venv=$venvs/$1
    wanted=$({ "$python" -c 'import sys; print(sys.executable, sys.version)'; cat "$here/requirements-$1.txt"; } | cksum)
    if [ "$(cat "$venv/.made-from" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    say "making $venv with $python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # Not from pip's cache: what was compiled there may be linked to another Python of the same version.
    "$venv/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check -r "$here/requirements-$1.txt" \
        || die "pip could not install tests/requirements-$1.txt"
    chmod -R a+rX "$venv"
    printf '%s\n' "$wanted" > "$venv/.made-from"
}

python=$(choose_python)
mkdir -p "$venvs"
[ $# -gt 0 ] || set -- apps
for name in "$@"; do
    case $name in
        apps) ;;
        theirs) command -v "${APXS:-apxs}" >/dev/null || die "mod_wsgi needs apxs (Debian: apt-get install apache2-dev)" ;;
        *) die "unknown venv '$name': apps or theirs" ;;
    esac
    make_venv "$name"
done
