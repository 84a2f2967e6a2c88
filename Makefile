# durable: durable execution in PostgreSQL
#
#   make && make install   build for and install into the server of PG_CONFIG
#   make installcheck      run the tests against that server, running (PGHOST, PGPORT, ...)
#   make test              run all tests beside a throwaway server
#   make test-clients      run the tests of the clients beside a throwaway server
#   make demo              run the demo beside a throwaway server
#   make demo-ui           run work and the dashboard beside one, until Ctrl-C
#   make test-scale        run those of several databases, in two such servers
#   make test-ui           run the tests of the dashboard beside one
#   make bench             measure beside a throwaway server
#   make bench-clients     measure the clients beside other libraries
#   make model             compare with a model, by MODEL_SEQUENCES and MODEL_SEED
#   make check-deep        run sanitizers, valgrind, the fuzzer, other versions and
#                          more (test/deep/README.md): an hour or two, and builds
#                          and downloads the first time; DEEP="static fuzz" picks
#
# All but the first two need nothing but make: they install what is missing by apt.
# (The dashboard also needs Node.js 20.19 or later.)
# TESTS="regress isolation tap extra clients" picks kinds of tests, REGRESS="extension a",
# ISOLATION=a and PROVE_TESTS=test/t/a.pl pick single ones; KEEP=1 keeps the
# scratch directory with all results.

EXTENSION = durable
MODULE_big = durable
PGFILEDESC = "durable - durable execution in PostgreSQL"
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" durable.control)
DATA = $(sort $(wildcard durable--*.sql))
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers
SHLIB_EXPORTS = exports.txt

USE_MODULE_DB = 1
# sql/extension.sql makes what the others use.
REGRESS ?= $(patsubst sql/%.sql,%,$(filter sql/extension.sql,$(wildcard sql/*)) \
	$(sort $(filter-out sql/extension.sql,$(wildcard sql/*.sql))))
ISOLATION ?= $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=durable
PROVE_TESTS ?= $(sort $(wildcard test/t/*.pl))
TAP_TESTS := $(if $(PROVE_TESTS),1)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)

# Flags and attributes in the server's makefiles and headers that only gcc knows.
ifneq ($(findstring clang,$(CC)),)
override CFLAGS += -Wno-unknown-warning-option -Wno-ignored-attributes \
	-Wno-ignored-optimization-argument
endif

# PGXS does not know which header a file includes.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)

# The library knows the version of the schema that it needs.
WITH_VERSION = src/init.o src/version.o
$(WITH_VERSION) $(WITH_VERSION:.o=.bc): override CPPFLAGS += -DDURABLE_VERSION='"$(EXTVERSION)"'
$(WITH_VERSION) $(WITH_VERSION:.o=.bc): durable.control
else
all install installcheck clean:
	@echo "No PostgreSQL to build for: $(PG_CONFIG) is missing or knows no PGXS." >&2
	@echo "Install postgresql-server-dev-15 or set PG_CONFIG." >&2
	@false
endif

.PHONY: all install installcheck clean test test-clients test-scale test-ui demo demo-ui bench bench-clients model check-deep

test:
	@scripts/install-packages py:ensurepip=python3-venv pgbouncer=pgbouncer
	@scripts/with-cluster scripts/run-tests

test-clients:
	@scripts/install-packages py:ensurepip=python3-venv pgbouncer=pgbouncer
	@scripts/with-cluster scripts/test-clients

test-scale:
	@scripts/install-packages ext:plproxy=postgresql-@-plproxy
	@scripts/with-cluster test/scale/run $(SCALE)

demo:
	@scripts/install-packages
	@PYTHONPATH=clients/python scripts/with-cluster /usr/bin/python3 examples/demo.py
	@echo
	@echo 'See such work in a browser: "make demo-ui", then open http://localhost:8484/'
	@echo 'The same for your own server: cd ui && npm ci && npx durable-ui postgres://user@host/database'

demo-ui:
	@scripts/install-packages
	@ui/prepare
	@scripts/with-cluster node ui/demo/run.js

test-ui:
	@ui/run-tests

bench:
	@scripts/install-packages
	@scripts/with-cluster test/bench/bench $(BENCH)

# The clients/rust example is built here, where cargo is; all else is installed there.
bench-clients: export CARGO_TARGET_DIR ?= /tmp/durable-rust-target
bench-clients:
	@scripts/install-packages py:ensurepip=python3-venv
	@if command -v cargo >/dev/null; then \
		cargo build -q --release --manifest-path clients/rust/Cargo.toml --example bench && \
		chmod -R a+rX "$$CARGO_TARGET_DIR"; fi
	@BENCH_RUST=$$CARGO_TARGET_DIR/release/examples/bench scripts/with-cluster clients/bench/run $(BENCH)

model:
	@scripts/install-packages
	@scripts/with-cluster test/model/run

check-deep:
	@scripts/check-deep
