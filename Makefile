# ferroproxy: build, show, test. `make help` says what there is.

CARGO ?= cargo
PROFILE ?= dev
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BUILT := $(TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.DEFAULT_GOAL := help

# The ladder. A rung is the integration tests whose names match its patterns; `unit` has the tests beside the code too.
RUNGS       := unit golden packets convergence kernel binary
unit        := house source_% cli_%
golden      := goldens golden_%
packets     := packets packets_%
convergence := convergence convergence_%
kernel      := kernel kernel_% lab_selftest
binary      := binary binary_% api_%

TESTS := $(sort $(basename $(notdir $(wildcard tests/*.rs))))
STRAY := $(filter-out $(foreach rung,$(RUNGS),$($(rung))),$(TESTS))
on = $(foreach test,$(filter $($(1)),$(TESTS)),--test $(test))

# Prints which rung runs, then runs its files; a rung without files is a mistake.
define climb
@printf '\n== %s: %s\n' '$@' '$(1)'
$(if $(or $(2),$(call on,$@)),,$(error the rung `$@` has no test file: tests/ has $(TESTS)))
$(CARGO) test --no-fail-fast $(2) $(call on,$@)
endef

.PHONY: help build demo test lint bench image setup ladder $(RUNGS)

help: ## what there is
	@printf 'ferroproxy, a kube-proxy replacement. Targets:\n\n'
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 20
	@printf '\nPROFILE=release makes demo and build use the optimised binary.\n'

build: ## the binary, in target/
	$(CARGO) build --profile $(PROFILE) --bin ferroproxy
	@printf 'built %s\n' '$(BUILT)/ferroproxy'

demo: setup ## real requests through real rules in private network namespaces; leaves nothing behind (root)
	$(CARGO) build --profile $(PROFILE) --bin ferroproxy --example demo
	@$(BUILT)/examples/demo

test: ladder $(RUNGS) ## the whole ladder, in order (root for kernel and binary)
	@printf '\nall rungs passed: %s\n' '$(RUNGS)'

# Rungs run one after the other, also under `make -j`: they share the machine.
.NOTPARALLEL:

ladder:
ifneq ($(STRAY),)
	@printf 'tests without a rung; the top of the Makefile says which names go where: %s\n' '$(STRAY)'
	@exit 1
endif
	@:

unit: ladder ## rung 1: each room alone
	$(call climb,each room alone,--lib --bins)
	$(CARGO) test --doc

golden: ladder ## rung 2: manifests in, ruleset text out
	$(call climb,manifests in and ruleset text out)

packets: ladder ## rung 3: packets walk the compiled rules, no kernel needed
	$(call climb,packets walk the compiled rules)

convergence: ladder ## rung 4: any order of events, with failures, ends in the same ruleset
	$(call climb,any order of events ends in the same ruleset)

kernel: ladder setup ## rung 5: real rules and real packets in network namespaces (root)
	$(call climb,real rules and real packets)

binary: ladder setup ## rung 6: the binary itself, against manifests and a fake API server (root)
	$(call climb,the binary itself)

lint: ## format, clippy and documentation, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps

# QUICK=1: smaller sizes and fewer repetitions. SECTION="kernel process huge curves growth packets": only these.
bench: setup ## figures of everything, and benches/RESULTS.md (root); QUICK=1 for every day
	$(CARGO) bench --bench scale -- $(if $(QUICK),--quick) $(SECTION)
	$(if $(QUICK)$(SECTION),,$(CARGO) bench --bench affinity --bench conntrack --bench guard --bench rooms)

VARIANT ?= nftables

image: ## a container image by whatever builder is here, else an OCI archive; VARIANT=iptables has iptables in it
	@scripts/image.sh $(VARIANT)

setup:
	@scripts/setup.sh
