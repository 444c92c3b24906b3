#!/bin/sh
# Runs the tests: test.sh all|unit|it|theirs|root|faults|v2|soak. `make test` calls it with everything built. What is behind `--` goes to the
# integration suite (a filter, --list, …).
set -eu
cd "$(dirname "$0")/.."
what=${1:-all}
[ $# -eq 0 ] || shift
[ "${1:-}" != -- ] || shift

step() { printf '\n== %s\n' "$*"; }
cargo=${CARGO:-cargo}

unit() {
    step "unit tests, and the parts against each other"
    $cargo test --locked --workspace --lib --bins --quiet
    $cargo test --locked --workspace --doc --quiet
    $cargo test --locked --quiet -p rwsgi-manager -p rwsgi-gateway --tests
}
it() { # MPM, further arguments
    mpm=$1
    shift
    step "integration tests: this module, $mpm MPM"
    RWSGI_MPM=$mpm RWSGI_UNDER_TEST=ours $cargo test --locked --quiet -p rwsgi --test it -- "$@"
}
theirs() {
    step "integration tests: the original, event MPM"
    RWSGI_MPM=event RWSGI_UNDER_TEST=theirs $cargo test --locked --quiet -p rwsgi --test it -- "$@"
}

# Another build, which speaks another protocol.
other_build() {
    step "a build of another protocol"
    other=$(mkdir -p "${CARGO_TARGET_DIR:-target}/other" && cd "${CARGO_TARGET_DIR:-target}/other" && pwd)
    rm -rf "$other/source" "$other/build"
    mkdir -p "$other/source" "$other/build"
    cp -r Cargo.toml Cargo.lock build.rs src crates tests "$other/source"
    sed -i 's/^pub const VERSION: u16 = /&1/' "$other/source/crates/wire/src/lib.rs"
    (cd "$other/source" && CARGO_TARGET_DIR=$other/target $cargo build --release --locked --quiet -p rwsgi -p rwsgi-manager -p rwsgi-gateway -p rwsgi-ctl)
    scripts/place.sh "$other/target/release" "$other/build" >/dev/null
    RWSGI_OTHER_BUILD=$other/build
    export RWSGI_OTHER_BUILD
}

fuzz() {
    step "fuzzing: every parser of what others have written"
    scripts/fuzz.sh 60
}

budget() {
    step "what a hello request costs in our own code"
    tests/budget/run
}

# The tests that docs/compat.md and docs/security.md name have passed, on the original and here.
proof() {
    step "what docs/compat.md and docs/security.md claim"
    $cargo run --release --locked --quiet -p rwsgi-docs proof
}

case "$what" in
all)
    rm -rf "${CARGO_TARGET_DIR:-target}/outcomes"
    unit
    fuzz
    budget
    tests/prepare.sh apps theirs
    it event
    it worker
    it prefork
    theirs
    proof ;;
unit) unit ;;
it) tests/prepare.sh apps; it "${RWSGI_MPM:-event}" "$@" ;;
theirs) tests/prepare.sh apps theirs; theirs "$@" ;;
root)
    [ "$(id -u)" -eq 0 ] || { echo "rwsgi: the tests of user switching need root." >&2; exit 1; }
    tests/prepare.sh apps
    it event users "$@" ;;
faults)
    [ "$(id -u)" -eq 0 ] || { echo "rwsgi: the attacks need root." >&2; exit 1; }
    tests/prepare.sh apps
    RWSGI_FAULTS=long
    export RWSGI_FAULTS
    $cargo test --locked --quiet -p rwsgi-manager --test racer -- --nocapture
    $cargo test --locked --quiet -p rwsgi-gateway --lib -- r29_
    it "${RWSGI_MPM:-event}" attacks:: --skip noticed_by "$@"
    other_build
    # One at a time: they load the machine by themselves.
    it "${RWSGI_MPM:-event}" noticed_by --test-threads 1 "$@"
    it "${RWSGI_MPM:-event}" faults:: --test-threads 1 "$@" ;;
v2)
    [ "$(id -u)" -eq 0 ] || { echo "rwsgi: a machine's disk is made as root." >&2; exit 1; }
    tests/prepare.sh apps
    step "control groups of version 2, in a virtual machine"
    scripts/vm.sh control_groups:: limits_together:: "$@" ;;
soak)
    [ "$(id -u)" -eq 0 ] || { echo "rwsgi: the soak needs root." >&2; exit 1; }
    it "${RWSGI_MPM:-event}" faults::f58 --nocapture "$@" ;;
*) echo "rwsgi: test.sh all|unit|it|theirs|root|faults|v2|soak, not '$what'." >&2; exit 1 ;;
esac
