# checks.mk - the rules of the tree, the tests under sanitizers, other compilers and the other architecture.

#: check             the tree's rules, the tests under sanitizers, the Arm kernels emulated, both compilers
#: check-tree        the tree's rules alone
.PHONY: check check-tree check-san
check: setup-check
	$(Q)$(MAKE) check-tree
	$(Q)$(MAKE) WERROR=1 check-san
	$(Q)$(MAKE) WERROR=1 check-arm
	$(Q)$(MAKE) check-compilers
	$(Q)$(MAKE) check-lint
check-tree:
	$(Q)sh tools/check_tree.sh
check-san:
	$(Q)$(MAKE) OUT=build/san SAN=address,undefined OPT=-O1 test-built

#: check-threads     the agent's loop, jobs, servers of tools and escapes under the thread sanitizer
THREADED  := $(patsubst %,$(OUT)/tests/agent/%_test,tools mcp loop escape)
.PHONY: check-threads check-threads-built
check-threads: setup-check
	$(Q)$(MAKE) OUT=build/tsan SAN=thread OPT=-O1 check-threads-built
# Where addresses are random the sanitizer may find its own taken.
check-threads-built: $(THREADED) $(TEST_TOOLS)
	$(Q)OUT=$(OUT) RUN="$(if $(shell command -v setarch),setarch -R)" LOG=$(OUT)/check_threads.log sh tests/run.sh $(THREADED)

#: check-lint        what mandoc, man, the shells and promtool say of pages, completions and /metrics
.PHONY: check-lint check-lint-built
check-lint: setup-check
	$(Q)$(MAKE) check-lint-built
check-lint-built: all
	$(Q)OUT=$(OUT) LOG=$(OUT)/check_lint.log sh tests/run.sh $(wildcard tests/lint/*.sh)

#: check-compilers   no warning with each of COMPILERS (gcc clang) that is here
COMPILERS ?= gcc clang
.PHONY: check-compilers
check-compilers:
	$(Q)for cc in $(COMPILERS); do \
	    command -v $$cc >/dev/null || { echo "not checked: no $$cc here"; continue; }; \
	    $(MAKE) CC=$$cc OUT=build/$$cc WERROR=1 test-programs || exit 1; \
	    echo "$$cc: no warning"; \
	done

#: check-arm         the Arm kernels, cross-compiled and run under an emulator
ARM_CC    ?= aarch64-linux-gnu-gcc
ARM_RUN   ?= qemu-aarch64
.PHONY: check-arm arm-checks
check-arm: setup-check
	$(Q)if command -v $(ARM_CC) >/dev/null && command -v $(ARM_RUN) >/dev/null; then \
	    $(MAKE) OUT=build/arm CC=$(ARM_CC) ARCH=aarch64 LDFLAGS=-static arm-checks; \
	else \
	    echo "Arm kernels not checked: no $(ARM_CC) or no $(ARM_RUN) here"; \
	    echo "0 passed, 0 failed, 1 skipped"; \
	fi
arm-checks: $(KERNEL_CHECKS)
	$(Q)OUT=$(OUT) RUN=$(ARM_RUN) sh tests/run.sh $(KERNEL_CHECKS)

#: fuzz              fuzz every parser for FUZZ_SECONDS (60) each; needs clang
FUZZ_CC   ?= clang
FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: setup-fuzz
	$(Q)CC=$(FUZZ_CC) OUT=build/fuzz sh tools/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_SRC)

#: fuzz-http         damaged requests at the socket of a server under sanitizers
.PHONY: fuzz-http fuzz-http-built
fuzz-http: setup
	$(Q)$(MAKE) OUT=build/san SAN=address,undefined OPT=-O1 fuzz-http-built
fuzz-http-built: $(OUT)/ds4-server $(HTTP_FUZZ)
	$(Q)OUT=$(OUT) FUZZ_SECONDS=$(FUZZ_SECONDS) sh tests/soak/fuzz_http.sh
