#!/bin/sh
# Fuzzes every parser for so many seconds, two at a time: fuzz.sh [SECONDS [TARGET...]]. Stable Rust: the flags are those of cargo-fuzz, without
# the sanitizers. What was found lies in fuzz/ and is run again with: fuzz/target/TRIPLE/release/TARGET FILE
set -eu
cd "$(dirname "$0")/../fuzz"
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- wire configuration request manager
triple=$(rustc -vV | sed -n 's/^host: //p')
# Not for build scripts: hence --target.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions \
-Coverflow-checks --cfg fuzzing" CARGO_TARGET_DIR=target ${CARGO:-cargo} build --release --locked --quiet --target "$triple"

one() { # target, seconds
    mkdir -p "corpus/$1"
    "target/$triple/release/$1" "corpus/$1" "seeds/$1" -artifact_prefix="$1-" -max_total_time="$2" -max_len=4096 -timeout=10 \
        -rss_limit_mb=512 >"$1.log" 2>&1 || { tail -30 "$1.log"; echo "rwsgi: fuzzing $1 found something: fuzz/$1-*" >&2; return 1; }
    echo "$1: $(grep DONE "$1.log")"
}

# Two halves, each one after the other.
share=$(((seconds * 2 + $# - 1) / $#))
[ "$share" -le "$seconds" ] || share=$seconds
halves() {
    for target in "$@"; do one "$target" "$share"; done
}
first='' second=''
for target in "$@"; do
    next=$second
    second="$first $target" first=$next
done
# shellcheck disable=SC2086 # names of targets
halves $first &
# shellcheck disable=SC2086
if halves $second; then wait $!; else wait $! || true; exit 1; fi
