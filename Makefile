# The contributor's day in verbs. `make run` and `make test` install what is missing and say why.
#
#   make run [APP=path/to/app.wsgi] [PORT=8000] [PYTHON=/path/to/venv]
#   make install [DESTDIR=]

PORT    ?= 8000
BUILD   ?= build
CARGO   ?= cargo
PROFILE := release
TARGET  := $(or $(CARGO_TARGET_DIR),target)/$(PROFILE)

.PHONY: build run test test-unit test-it test-theirs test-root test-faults test-v2 soak budget fuzz check fmt doc bench install clean prerequisites
.DEFAULT_GOAL := build

prerequisites:
	@scripts/prerequisites.sh build

# The three parts must lie side by side: the module finds the other two beside itself. The tool may lie anywhere.
build: prerequisites
	$(CARGO) build --release --locked -p rwsgi -p rwsgi-manager -p rwsgi-gateway -p rwsgi-ctl
	@mkdir -p $(BUILD)
	@scripts/place.sh $(TARGET) $(BUILD)

run: export APP := $(APP)
run: export PORT := $(PORT)
run: export PYTHON := $(PYTHON)
run: export BUILD := $(BUILD)
run:
	@scripts/prerequisites.sh build run
	@scripts/run.sh --check
	@$(MAKE) --no-print-directory build
	@scripts/run.sh

test:
	@scripts/prerequisites.sh build run test fuzz
	@$(MAKE) --no-print-directory build
	@scripts/test.sh all

test-unit test-it test-theirs test-root test-faults:
	@scripts/prerequisites.sh build run test
	@$(MAKE) --no-print-directory build
	@scripts/test.sh $(@:test-%=%)

# Control groups of version 2, by a kernel that has all of them.
test-v2:
	@scripts/prerequisites.sh build run test vm
	@$(MAKE) --no-print-directory build
	@scripts/test.sh v2

# All faults by chance: make soak MINUTES=30 SEED=7
soak: export MINUTES := $(or $(MINUTES),30)
soak: export SEED := $(SEED)
soak:
	@scripts/prerequisites.sh build run test
	@$(MAKE) --no-print-directory build
	@scripts/test.sh soak

# What a hello request costs in our own code, beside tests/budget/budget.toml: make budget, make budget ACCEPT=1.
budget:
	@scripts/prerequisites.sh build run test
	@$(MAKE) --no-print-directory build
	@RWSGI_BUILD_DIR='$(BUILD)' tests/budget/run $(if $(ACCEPT),--accept)

# Coverage-guided, for every parser of what others have written.
fuzz:
	@scripts/prerequisites.sh fuzz
	@scripts/fuzz.sh $(or $(SECONDS),60)

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(MAKE) --no-print-directory doc
	git diff --exit-code -- docs

fmt:
	$(CARGO) fmt --all

# docs/directives/, docs/codes.md, docs/rwsgictl.md: generated from the tables in the source; docs/compat.md, docs/security.md, docs/reliability.md: from the .toml beside them.
doc:
	$(CARGO) run --release --locked -q -p rwsgi-docs

bench:
	@scripts/prerequisites.sh build run test
	@$(MAKE) --no-print-directory build
	@bench/run $(BENCH)

install: build
	@DESTDIR='$(DESTDIR)' BUILD='$(BUILD)' scripts/install.sh

clean:
	$(CARGO) clean
	rm -rf $(BUILD) .venvs
