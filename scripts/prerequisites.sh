#!/bin/sh
# Checks that everything for the named purposes (build, run, test, fuzz, vm) is there, and installs what is missing where that is possible
# (Debian and its kin, as root or with sudo). Elsewhere it names the packages. Says what and why.
set -eu

missing=''        # Debian packages
explained=''      # one line each
others=''         # names on other distributions

need() { # Debian package, Fedora's name, Arch's name, reason
    missing="$missing $1"
    others="$others
  $4: Fedora $2, Arch $3"
    explained="$explained
  $1: $4"
}

has() { command -v "$1" >/dev/null 2>&1; }

any() { # whether any of these files exists
    for file in "$@"; do
        if [ -e "$file" ]; then return 0; fi
    done
    return 1
}

PATH="$PATH:/usr/sbin:/sbin"

if ! has cargo; then
    echo "rwsgi: no Rust toolchain found (cargo). Install Rust 1.85 or newer, for example from https://rustup.rs, and try again." >&2
    exit 1
fi
version=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
case "$version" in
    1.[0-9] | 1.[0-7][0-9] | 1.8[0-4])
        echo "rwsgi: rustc $version is too old, 1.85 or newer is needed. Update it (rustup update) and try again." >&2
        exit 1 ;;
esac

for purpose in "$@"; do
    case "$purpose" in
    build)
        has cc || need gcc gcc gcc "C compiler, for the shim around httpd's macros"
        [ -e /usr/include/stdio.h ] || need libc6-dev glibc-devel glibc "the C library's headers"
        has apxs || has apxs2 || need apache2-dev httpd-devel apache "httpd's headers and apxs"
        # Not libclang-cpp, which is another library and comes with others' packages.
        [ -n "${LIBCLANG_PATH:-}" ] || any /usr/lib/llvm-*/lib/libclang.so* /usr/lib/llvm-*/lib/libclang-[0-9]*.so* \
            /usr/lib*/libclang.so* /usr/lib*/libclang-[0-9]*.so* /usr/lib/*/libclang.so* /usr/lib/*/libclang-[0-9]*.so* \
            || need libclang-dev clang-devel clang "libclang, to read httpd's headers (bindgen)" ;;
    run)
        has apache2 || has httpd || need apache2-bin httpd apache "httpd itself"
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null \
            || need python3 python3 python "Python 3.9 or newer, to run applications" ;;
    test)
        has curl || need curl curl curl "HTTP/2 client of the tests"
        has valgrind || need valgrind valgrind valgrind "counts instructions (tests/budget)"
        has pkg-config || need pkg-config pkgconf pkgconf "needed to build mod_wsgi, to compare with"
        /usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv python3 python "virtual environments of the tests"
        any /usr/include/python3*/Python.h || need python3-dev python3-devel python "Python's headers, to build mod_wsgi to compare with"
        # Only root can compare with suexec, and only where Debian's is to be had.
        if [ "$(id -u)" = 0 ] && has apt-cache && apt-cache show apache2-suexec-custom >/dev/null 2>&1; then
            [ -x /usr/lib/apache2/suexec-custom ] || need apache2-suexec-custom - - "suexec, to compare what we refuse with what it does"
        fi ;;
    fuzz)
        has c++ || need g++ gcc-c++ gcc "C++ compiler, for the fuzzer" ;;
    vm)
        has debootstrap || need debootstrap debootstrap debootstrap "makes the disk of a virtual machine"
        has qemu-system-x86_64 || need qemu-system-x86 qemu-system-x86-core qemu-system-x86 "runs a virtual machine"
        has mke2fs || need e2fsprogs e2fsprogs e2fsprogs "makes the file system of a virtual machine" ;;
    esac
done

[ -n "$missing" ] || exit 0

if ! has apt-get; then
    echo "rwsgi: something is missing. Install these and try again:$others" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root=''
elif has sudo; then
    as_root='sudo'
else
    echo "rwsgi: missing, and neither root nor sudo to install it. Ask for: apt-get install$missing$explained" >&2
    exit 1
fi
echo "rwsgi: installing with apt-get:$explained"
$as_root apt-get update -qq || true
# shellcheck disable=SC2086 # words are package names
if ! $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
    echo "rwsgi: apt-get could not install$missing; its message is above." >&2
    exit 1
fi
