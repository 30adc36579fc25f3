# SPDX-License-Identifier: Apache-2.0
# Everything a person or CI runs. scripts/ci is the one gate behind test and
# test-long; by hand, `go test ./...` is enough for a quick look.

GO       ?= go
FUZZTIME ?= 10s

.PHONY: all build demo test test-long thrash sim sidebyside bench fuzz lint fmt clean setup

all: build

# build makes bin/pathgate; the version comes from the VCS stamp.
build:
	$(GO) build -trimpath -o bin/pathgate ./cmd/pathgate

# demo needs Go alone: no package of the distribution, no root.
demo: build
	./bin/pathgate demo

# test: lint, unit and race tests, 10 s of fuzzing of each phase of a connection,
# integration tests, at most 25 minutes.
test:
	scripts/ci test

# test-long: race tests in random order, fuzzing, long integration tests, at most 45 minutes.
test-long:
	scripts/ci long

# thrash breaks paths under stamped writes, round after round, until one fails:
# make thrash, or make thrash SEED=n ROUNDS=1 to repeat one.
SEED   ?= 0
ROUNDS ?= 0
thrash: setup
	$(GO) test -tags integration -run '^TestThrash$$' -v -timeout 0 ./integration/thrash -seed $(SEED) -rounds $(ROUNDS)

# sim runs random schedules in virtual time, until one fails; SEED=n repeats one.
sim:
	$(GO) test -run '^TestWireSchedules$$' -v -timeout 0 ./multipath -seed $(SEED) -wire-schedules $(if $(filter 0,$(SEED)),-1,1)

# sidebyside measures failover beside open-iscsi and dm-multipath, in guests, for about
# half an hour: the tables of docs/side-by-side.md. TIMES=n makes n times as many cuts.
TIMES ?= 1
sidebyside: setup
	$(GO) test -tags integration,long -run '^TestTable$$' -v -timeout 0 ./integration/sidebyside -times $(TIMES)

# bench compares the gateway with qemu-nbd, nbdkit, go-nbd, tgtd and gotgt.
bench: build setup
	scripts/bench

# fuzz runs every fuzz target for FUZZTIME.
fuzz:
	scripts/fuzz $(FUZZTIME)

lint:
	scripts/ci lint

# fmt rewrites the files that lint would complain about.
fmt:
	scripts/lint fmt ./...

# setup installs what the integration tests need (root; no-op when all is there).
setup:
	scripts/setup-tests

clean:
	rm -rf bin .cache
	$(GO) clean -testcache
