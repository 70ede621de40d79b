# ds4: plain GNU make. `make` builds the programs, `make help` lists the targets.
#
#   make CC=clang         another compiler       V=1                    show the commands
#   make OPT=-O1          less optimization      SAN=address,undefined  sanitizers
#   make WERROR=1         warnings are errors    HARDEN=                without protections
#   make OUT=build/mine   a build beside others  CUDA=no                without CUDA, though nvcc is here
#
# Each part in mk/ has one purpose. A line "#: NAME  what it does" above a target is its line in `make help`.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DEFAULT_GOAL := all

SAN       ?=
OPT       ?= -O2
OUT       ?= build
PREFIX    ?= /usr/local
Q         := $(if $(V),,@)
say        = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

MK_PARTS  := toolchain cuda metal sources page programs test_programs far mac tests checks long_tests install
include $(MK_PARTS:%=mk/%.mk)

.SECONDARY:
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

#: demo              install what is missing, build, and talk to the bundled model
.PHONY: demo
demo: setup-demo
	$(Q)$(MAKE) all
	$(Q)sh tools/demo.sh

#: clean             remove what was built
.PHONY: clean help
clean:
	rm -rf build $(notdir $(PROGRAMS))

help:
	@echo "make                   build all programs (after make setup)"
	@sed -n 's/^#: \([ a-z]\)/make \1/p' Makefile $(MK_PARTS:%=mk/%.mk) | sed 's/^make  /      /'
