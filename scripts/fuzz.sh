#!/bin/sh
# Fuzzes every decoder of crates/wire for so many seconds: fuzz.sh [SECONDS]. Stable Rust: the flags are those of cargo-fuzz, without the
# sanitizers. What was found lies in fuzz/ and is run again with: fuzz/target/TRIPLE/release/wire FILE
set -eu
cd "$(dirname "$0")/../fuzz"
seconds=${1:-60}
command -v c++ >/dev/null || { echo "rwsgi: no C++ compiler, which libFuzzer is compiled with; apt-get install g++" >&2; exit 1; }
triple=$(rustc -vV | sed -n 's/^host: //p')
# Not for build scripts: hence --target.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions \
-Coverflow-checks --cfg fuzzing" CARGO_TARGET_DIR=target ${CARGO:-cargo} build --release --locked --quiet --target "$triple"
mkdir -p corpus
"target/$triple/release/wire" corpus seeds -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=512 >log 2>&1 \
    || { tail -30 log; exit 1; }
grep DONE log
