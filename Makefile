# ds4: plain GNU make. `make` builds the programs, `make help` lists the targets.
#
#   make BUILD=debug      -O1, assertions        SAN=address,undefined  sanitizers
#   make CC=clang         another compiler       V=1                    show the commands
#   make WERROR=1         warnings are errors    HARDEN=                without protections
#   make CUDA=no             without CUDA, though nvcc is here;  CUDA_ARCH="sm_90a"  for one chip

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DEFAULT_GOAL := all

CC        ?= cc
ifeq ($(origin CC),default)
CC        := cc
endif
SAN       ?=
OPT       ?= -O2
OUT       ?= build
PREFIX    ?= /usr/local
Q         := $(if $(V),,@)
say        = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

UNAME     := $(shell uname -s)
ARCH      ?= $(shell $(CC) -dumpmachine 2>/dev/null | sed 's/-.*//; s/arm64/aarch64/')
PKG       ?= pkg-config

# Warnings stop the developers' builds (make check), never a user's with a newer compiler.
WARN      := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
WARN      += $(if $(WERROR),-Werror)
# No contraction: a product and a sum are two roundings unless the kernel asks for one,
# so that compilers agree with each other.
CFLAGS    += -std=c11 $(OPT) -g $(WARN) -ffp-contract=off -fno-math-errno
CPPFLAGS  += -D_GNU_SOURCE -Isrc -Iinclude -Itests
LDLIBS    += -lm -lpthread
# Against what a fault in a parser could become. Sanitizers bring checks of their own.
HARDEN    ?= $(if $(SAN),,1)
ifneq ($(HARDEN),)
CFLAGS    += -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE
ifeq ($(UNAME),Linux)
LDFLAGS   += -pie -Wl,-z,relro,-z,now
endif
endif
ifneq ($(SAN),)
CFLAGS    += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS   += -fsanitize=$(SAN)
endif

# Flags of packages, asked for once. Only the files that see a library need its flags.
pkg        = $(shell $(PKG) $(1) $(2) 2>/dev/null)
LIB_PKGS  := jansson
# The KV store's index and checksums; a system may have SQLite without a package file.
KV_LIBS   := $(or $(call pkg,--libs,sqlite3),-lsqlite3) $(or $(call pkg,--libs,libxxhash),-lxxhash)
PKG_LIBS  := $(call pkg,--libs,$(LIB_PKGS)) $(KV_LIBS)
PKG_FLAGS := $(call pkg,--cflags,$(LIB_PKGS)) $(call pkg,--cflags,sqlite3) $(call pkg,--cflags,libxxhash) \
             $(call pkg,--cflags,cmocka)
EDIT_LIBS := $(or $(call pkg,--libs,libedit),-ledit)
TEST_LIBS := $(call pkg,--libs,cmocka)
# Used where this compiler can link it, so that a cross build does not take the host's.
URING_TRY := \#include <liburing.h>\nint main(void) { struct io_uring r; return io_uring_queue_init(1, &r, 0); }\n
URING     := $(shell printf '$(URING_TRY)' | $(CC) -x c - -luring -o /dev/null 2>/dev/null && echo -luring)
LDLIBS    += $(URING)
CPPFLAGS  += $(if $(URING),-DDS4_HAVE_URING)
LDLIBS    += $(PKG_LIBS)
CPPFLAGS  += $(PKG_FLAGS)

# ---- what there is ----------------------------------------------------------------

ISA_x86_64  := src/kernels/x86
ISA_aarch64 := src/kernels/arm
# The CUDA backend is built where NVIDIA's compiler and header are. The driver is looked for when the program
# runs. The compiler says where its toolkit lies, since the one in PATH may be a script that calls another.
NVCC      ?= $(or $(shell command -v nvcc 2>/dev/null),$(wildcard /usr/local/cuda/bin/nvcc))
CUDA_TOP  := $(if $(NVCC),$(shell $(NVCC) --dryrun -E -x cu /dev/null 2>&1 | sed -n 's/^.. TOP=//p'))
CUDA_HEADERS ?= $(patsubst %/cuda.h,%,$(firstword $(wildcard $(CUDA_TOP:%=%/include/cuda.h) \
             $(CUDA_TOP:%=%/targets/*/include/cuda.h) /usr/include/cuda.h)))
CUDA      ?= $(if $(CUDA_HEADERS),$(if $(filter $(ARCH),$(subst arm64,aarch64,$(shell uname -m))),yes))
# As many of these chips as the toolkit knows, and PTX of the newest for later ones.
CUDA_ARCH ?= sm_80 sm_90a sm_100 sm_120
CUDA_DIR  := $(if $(filter yes,$(CUDA)),src/backend/gpu/cuda)

LIB_DIRS  := src/base src/format src/kernels src/kernels/ref $(ISA_$(ARCH)) src/text \
             src/backend src/backend/cpu src/backend/gpu $(CUDA_DIR) src/model src/engine src/service src/service/store src/agent
LIB_SRC   := $(foreach d,$(LIB_DIRS),$(wildcard $(d)/*.c))
LIB_OBJ   := $(LIB_SRC:%.c=$(OUT)/%.o)
LIB       := $(OUT)/libds4.a

COMMON_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard src/app/common/*.c))
APPS      := $(notdir $(patsubst %/main.c,%,$(wildcard src/app/*/main.c)))
prog       = $(if $(filter cli,$(1)),ds4,ds4-$(1))
PROGRAMS  := $(foreach a,$(APPS),$(OUT)/$(call prog,$(a)))

# The emulated GPU needs a C++ compiler; without one its tests are left out.
CXX       ?= c++
ifeq ($(origin CXX),default)
CXX       := $(if $(shell command -v g++ 2>/dev/null),g++,c++)
endif
TEST_SRC  := $(filter-out $(if $(shell command -v $(CXX) 2>/dev/null),,tests/emulator/%),\
             $(wildcard tests/*/*_test.c tests/*/*_check.c))
TEST_BIN  := $(TEST_SRC:%.c=$(OUT)/%)
CLI_TESTS := $(wildcard tests/cli/*.sh)
FUZZ_SRC  := $(wildcard tests/fuzz/*_fuzz.c)
REPLAY    := $(FUZZ_SRC:%.c=$(OUT)/%_replay)
# Clients of a server that ask much, and ones that misbehave.
SOAK      := $(OUT)/tests/soak/soak
HTTP_FUZZ := $(OUT)/tests/soak/http_fuzz
RAW       := $(OUT)/tests/soak/raw
# The GPU kernels on the CPU, for tests: the same text as C++, and fibers that run it.
CXXFLAGS  += -std=c++17 $(if $(filter -O1,$(OPT)),-O1,-O2) -g -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno
# Metal's attributes mean nothing to a C++ compiler; a kernel may leave some of its parameters alone.
KERNEL_CXXFLAGS := -DKD_EMULATED -Itests/emulator -Wno-attributes -Wno-unknown-attributes -Wno-unused-function \
             -Wno-unused-parameter $(if $(shell grep -sqw fma /proc/cpuinfo && echo fma),$(if $(filter x86_64,$(ARCH)),-mfma))
EMULATOR  := $(patsubst %.cpp,$(OUT)/%.o,$(wildcard tests/emulator/*.cpp)) \
             $(patsubst %.c,$(OUT)/%.o,$(filter-out $(TEST_SRC),$(wildcard tests/emulator/*.c)))
# What scripts of tests/cli use beside the system's own programs.
TEST_TOOLS := $(patsubst %.c,$(OUT)/%,$(wildcard tests/tools/*.c))
# What tests share: the kernel checks run without cmocka, also on the other architecture.
CHECK_AUX := $(patsubst %.c,$(OUT)/%.o,$(filter-out $(TEST_SRC),$(wildcard tests/kernels/*.c)))
TEST_AUX  := $(CHECK_AUX) $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/support/*.c))

# Backends of this build, the preferred ones first.
BACKENDS  := cpu $(if $(filter yes,$(CUDA)),cuda)

# ---- building -----------------------------------------------------------------------

AVX2      := -mavx2 -mfma -mf16c -mbmi2 -mpopcnt
AVX512    := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
VBMI      := $(AVX512) -mavx512vbmi -mgfni
$(OUT)/tests/%.o: CPPFLAGS += -Itests
$(OUT)/%_avx2.o:   CFLAGS += $(AVX2)
$(OUT)/%_avx512.o: CFLAGS += $(AVX512)
$(OUT)/%_vbmi.o:   CFLAGS += $(VBMI)
$(OUT)/%_amx.o:    CFLAGS += $(VBMI)
$(OUT)/%_neon.o:   CFLAGS += -march=armv8.2-a+dotprod+fp16
$(OUT)/src/backend/backends.o: CPPFLAGS += '-DDS4_BACKENDS=$(foreach b,$(BACKENDS),X($(b)))'

.PHONY: all
# ./ds4 and the others are those of the usual build, whatever was built beside it since.
all: $(PROGRAMS)
ifeq ($(OUT),build)
	$(Q)for p in $(PROGRAMS); do ln -sf $$p .; done
endif

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# Kernels for NVIDIA's GPUs: one file of machine code for all chips, embedded by cuda_image.c. It does not
# depend on the C compiler or its options, so that every build of this tree shares it.
ifeq ($(CUDA),yes)
comma       := ,
CUDA_IMAGE  := build/cuda/kernels.fatbin
CUDA_KNOWN  := $(shell $(NVCC) --list-gpu-code 2>/dev/null)
# nvcc does not list the variants with instructions of one chip alone: sm_90a is known where sm_90 is.
CUDA_CHIPS  := $(foreach a,$(CUDA_ARCH),$(if $(filter $(a:a=),$(CUDA_KNOWN)),$(a)))
CUDA_NEWEST := $(patsubst sm_%,compute_%,$(lastword $(filter-out %a,$(CUDA_CHIPS))))
CUDA_CODE   := $(foreach a,$(CUDA_CHIPS),-gencode=arch=$(a:sm_%=compute_%),code=$(a)) \
               $(patsubst %,-gencode=arch=%$(comma)code=$(CUDA_NEWEST),$(CUDA_NEWEST))
NVCCFLAGS   += -std=c++17 -O3 -fmad=false -Isrc
$(CUDA_IMAGE): src/backend/gpu/cuda/kernels.cu $(wildcard src/backend/gpu/kernels/*) src/format/iq2xxs_codes_table.h
	@mkdir -p $(@D)
	$(call say,NVCC,$@)
	$(Q)$(NVCC) $(NVCCFLAGS) $(CUDA_CODE) -fatbin -o $@.part.$(notdir $(OUT)) $< && mv $@.part.$(notdir $(OUT)) $@
$(OUT)/$(CUDA_DIR)/%.o: CPPFLAGS += -isystem $(CUDA_HEADERS)
$(OUT)/$(CUDA_DIR)/cuda_image.o: CPPFLAGS += -DCUDA_IMAGE_FILE='"$(CUDA_IMAGE)"'
$(OUT)/$(CUDA_DIR)/cuda_image.o: $(CUDA_IMAGE)
CPPFLAGS    += -DDS4_HAVE_CUDA
LDLIBS      += -ldl
endif

# The web page of the server, as a table in C. Its libraries come from npm where npm is; a build
# without them (WEB_LIBS/plain) tries again once there is an npm.
WEB_LIBS  := build/web
WEB_FILES := $(wildcard src/app/server/web/*.*)
WEB_OBJ   := $(OUT)/gen/web_assets.o
WEB_RETRY := $(if $(and $(wildcard $(WEB_LIBS)/plain),$(shell command -v npm 2>/dev/null)),again)
.PHONY: again
$(WEB_LIBS)/stamp: tools/web_libs.sh $(wildcard src/app/server/web/libs/*.json) $(WEB_RETRY)
	$(call say,WEB,$@)
	$(Q)sh tools/web_libs.sh $(@D)
$(OUT)/gen/web_assets.c: tools/embed_web.sh $(WEB_FILES) $(WEB_LIBS)/stamp
	@mkdir -p $(@D)
	$(call say,WEB,$@)
	$(Q)sh tools/embed_web.sh src/app/server/web $(WEB_LIBS)/files >$@.part && mv $@.part $@
$(WEB_OBJ): $(OUT)/gen/web_assets.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

app_obj    = $(patsubst %.c,$(OUT)/%.o,$(wildcard src/app/$(1)/*.c)) $(if $(filter server,$(1)),$(WEB_OBJ))
define program_rule
$(OUT)/$(call prog,$(1)): $(call app_obj,$(1)) $(COMMON_OBJ) $(LIB)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(if $$(filter cli,$(1)),$$(EDIT_LIBS)) $$(LDLIBS)
endef
$(foreach a,$(APPS),$(eval $(call program_rule,$(a))))

# The server without its main(), for tests of its parts.
SERVER_LIB := $(OUT)/libserver.a
$(SERVER_LIB): $(patsubst %.c,$(OUT)/%.o,$(filter-out %/main.c,$(wildcard src/app/server/*.c)))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# The server with prescribed answers: for tests of everything around a model.
SCRIPTED     := $(OUT)/ds4-server-scripted
SCRIPTED_SRC := $(wildcard src/app/server/*.c) src/service/chooser.c
$(OUT)/scripted/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) -DDS4_SCRIPTED_SAMPLING $(CFLAGS) -MMD -MP -c -o $@ $<
$(SCRIPTED): $(SCRIPTED_SRC:%.c=$(OUT)/scripted/%.o) $(WEB_OBJ) $(COMMON_OBJ) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/tests/server/%_test: $(OUT)/tests/server/%_test.o $(TEST_AUX) $(SERVER_LIB) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LDLIBS)
# The thread sanitizer watches kernels; the emulator's own doings order nothing for them.
$(OUT)/tests/emulator/%.o: tests/emulator/%.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) $(if $(filter %emulator.cpp,$<),$(if $(filter thread,$(SAN)),-DEMULATOR_TSAN,\
	    $(if $(SAN),-fsanitize=$(SAN))),$(KERNEL_CXXFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)) \
	    -MMD -MP -c -o $@ $<
$(filter $(OUT)/tests/emulator/%,$(TEST_BIN)): %: %.o $(EMULATOR) $(TEST_AUX) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(CXXFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LDLIBS)
$(OUT)/tests/%_test: $(OUT)/tests/%_test.o $(TEST_AUX) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LDLIBS)
$(OUT)/tests/%_check: $(OUT)/tests/%_check.o $(CHECK_AUX) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
REPLAY_SERVER := $(patsubst %,$(OUT)/tests/fuzz/%_fuzz_replay,request stored http_head)
$(REPLAY_SERVER): $(SERVER_LIB)
$(OUT)/tests/fuzz/%_fuzz_replay: $(OUT)/tests/fuzz/%_fuzz.o $(OUT)/tests/fuzz/replay.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %/libserver.a,$^) $(LIB) $(LDLIBS)

$(OUT)/tests/tools/%: $(OUT)/tests/tools/%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# As somebody else's program is built: the public header, the library, nothing of ours beside.
EXAMPLES  := $(patsubst %.c,$(OUT)/%,$(wildcard examples/*.c))
USER_LIBS := -lm -lpthread $(URING)
$(OUT)/examples/%: examples/%.c include/ds4.h $(LIB)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -Iinclude $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIB) $(USER_LIBS)
.PHONY: examples
examples: $(EXAMPLES)

.SECONDARY:
-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

# ---- set-up and tests -----------------------------------------------------------------

# Says what it installs and installs it, if anything is missing.
.PHONY: setup setup-demo setup-check setup-fuzz setup-page setup-web
setup:
	@sh tools/setup.sh build test
setup-demo:
	@sh tools/setup.sh build
setup-check:
	@sh tools/setup.sh build test check
setup-fuzz:
	@sh tools/setup.sh build fuzz
setup-page:
	@sh tools/setup.sh build page
setup-web:
	@sh tools/setup.sh build page web

.PHONY: test test-built test-programs
test: setup
	$(Q)$(MAKE) test-built
# Everything that the tests run, built and not run.
test-programs: all $(SCRIPTED) $(TEST_BIN) $(REPLAY) $(EXAMPLES) $(SOAK) $(HTTP_FUZZ) $(RAW) $(TEST_TOOLS)
test-built: test-programs
	$(Q)OUT=$(OUT) sh tests/run.sh $(TEST_BIN) $(REPLAY) $(CLI_TESTS)

# The server with its page's libraries, after npm was installed if it was missing.
.PHONY: page
page: setup-page
	$(Q)$(MAKE) all

# The server behind nginx, Caddy and HAProxy; two servers with one folder, one of which is killed.
.PHONY: test-proxy test-proxy-built setup-proxy
setup-proxy:
	@sh tools/setup.sh build test proxy
test-proxy: setup-proxy
	$(Q)$(MAKE) test-proxy-built
test-proxy-built: $(OUT)/ds4-server
	$(Q)OUT=$(OUT) LOG=$(OUT)/test_proxy.log sh tests/run.sh tests/proxy/run.sh

# The pages of the server in a real browser.
.PHONY: test-web test-web-built
test-web: setup-web
	$(Q)$(MAKE) test-web-built
test-web-built: $(OUT)/ds4-server $(SCRIPTED)
	$(Q)OUT=$(OUT) LOG=$(OUT)/test_web.log sh tests/run.sh tests/web/run.sh

# The JavaScript SDKs of OpenAI, Anthropic and Vercel against a running server; needs node.
.PHONY: test-sdk
test-sdk: setup
	$(Q)$(MAKE) all $(SCRIPTED)
	$(Q)OUT=$(OUT) sh tests/run.sh tests/sdk/run.sh tests/sdk/schemas.sh

# Coding agents as they are on npm, each with a task; takes some minutes. record-clients also
# keeps their requests for tests/clients/replay_test.c. CLIENTS="pi codex" chooses some.
.PHONY: test-clients record-clients
test-clients: setup
	$(Q)$(MAKE) all $(SCRIPTED)
	$(Q)OUT=$(OUT) LOG=$(OUT)/test_clients.log sh tests/run.sh tests/clients/run.sh
record-clients:
	$(Q)RECORD=tests/clients/recorded $(MAKE) test-clients

# The tree's own rules, then every test again under the address and undefined-behaviour
# sanitizers.
.PHONY: check check-tree check-san
check: setup-check
	$(Q)$(MAKE) check-tree
	$(Q)$(MAKE) WERROR=1 check-san
	$(Q)$(MAKE) WERROR=1 check-arm
	$(Q)$(MAKE) check-compilers
check-tree:
	$(Q)sh tools/check_tree.sh
check-san:
	$(Q)$(MAKE) OUT=build/san SAN=address,undefined OPT=-O1 test-built

# Every compiler of these that is here builds everything without a warning: COMPILERS="gcc-14 clang-19".
COMPILERS ?= gcc clang
.PHONY: check-compilers
check-compilers:
	$(Q)for cc in $(COMPILERS); do \
	    command -v $$cc >/dev/null || { echo "not checked: no $$cc here"; continue; }; \
	    $(MAKE) CC=$$cc OUT=build/$$cc WERROR=1 test-programs || exit 1; \
	    echo "$$cc: no warning"; \
	done

# The kernels of the other architecture, cross-compiled and run under an emulator.
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
ARM_CHECKS := $(patsubst %.c,$(OUT)/%_bare,$(wildcard tests/kernels/*_check.c))
BARE_OBJ  := $(patsubst %.c,$(OUT)/%.o,$(foreach d,src/base src/kernels src/kernels/ref $(ISA_$(ARCH)),$(wildcard $(d)/*.c)) \
             src/format/dtype.c src/format/iq2xxs_table.c)
$(OUT)/tests/%_check_bare: $(OUT)/tests/%_check.o $(CHECK_AUX) $(BARE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm -lpthread $(URING)
arm-checks: $(ARM_CHECKS)
	$(Q)OUT=$(OUT) RUN=$(ARM_RUN) sh tests/run.sh $(ARM_CHECKS)

# Hours of what `make test` does in seconds: many more walks, other models, long contexts.
KV_MODELS  ?= tests/golden/flashlike.gguf models/ds4-mini.gguf
KV_WALKS   ?= 200
KV_CONTEXT ?= 131072
KV_LONG    := $(patsubst %.c,$(OUT)/%,$(wildcard tests/long/*.c))
$(OUT)/tests/long/%: $(OUT)/tests/long/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
.PHONY: kills
kills: setup
	$(Q)$(MAKE) $(OUT)/ds4 $(OUT)/ds4-server
	$(Q)OUT=$(OUT) DS4_KILLS=200 sh tests/cli/server_kills.sh

.PHONY: test-kv-long
test-kv-long: setup
	$(Q)$(MAKE) $(KV_LONG) $(OUT)/tests/service/store_test $(OUT)/tests/service/store_fault_test
	$(Q)OUT=$(OUT) DS4_KV_WALKS=$(KV_WALKS) sh tests/long/kv_long.sh $(KV_CONTEXT) $(KV_MODELS)

# Tests with golden models that are too large for the project (tests/golden/README.md).
REFERENCE ?=
.PHONY: test-reference
test-reference: setup
	$(Q)[ -r "$(REFERENCE)/prolike.gguf" ] || { echo "make test-reference REFERENCE=FOLDER: no prolike.gguf in '$(REFERENCE)'"; exit 2; }
	$(Q)$(MAKE) all $(OUT)/tests/model/golden_test
	$(Q)OUT=$(OUT) DS4_REFERENCE="$(REFERENCE)" sh tests/run.sh $(OUT)/tests/model/golden_test tests/cli/golden_logits.sh

# Hashes of logits on each instruction set: BITS_FILE of an older build must be met, or is written.
BITS_MOVES ?= 10000
BITS_FILE  ?= tests/golden/bits.txt
.PHONY: test-bits
test-bits: setup
	$(Q)$(MAKE) $(OUT)/tests/engine/bits_test
	$(Q)OUT=$(OUT) CC="$(CC)" sh tests/long/bits.sh $(BITS_MOVES) $(BITS_FILE)

# Many clients of one server for SOAK_SECONDS: the same answers as alone, and flat memory.
SOAK_OBJ  := $(patsubst %.c,$(OUT)/%.o,$(filter-out %/http_fuzz.c %/raw.c,$(wildcard tests/soak/*.c)))
$(SOAK): $(SOAK_OBJ) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(HTTP_FUZZ): $(patsubst %,$(OUT)/tests/soak/%.o,http_fuzz soak_http soak_rude) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(RAW): $(OUT)/tests/soak/raw.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^
.PHONY: test-soak
test-soak: setup
	$(Q)$(MAKE) all $(SOAK)
	$(Q)OUT=$(OUT) sh tests/soak/run.sh

# The plan against the memory in use, on a file of full width: PLAN_MODEL, or one of 2.2 GB that
# is written and removed.
PLAN_MODEL    ?=
PLAN_CONTEXTS ?= 1024 4096
.PHONY: test-plan
test-plan: setup
	$(Q)$(MAKE) all $(OUT)/tests/engine/plan_test
	$(Q)file=$(PLAN_MODEL); [ -n "$$file" ] || { file=$(OUT)/plan.gguf; \
	    $(OUT)/ds4-quantize synth --like flash-q2 --layers 3 --experts 4 --out $$file || exit 1; }; \
	DS4_PLAN_MODEL=$$file DS4_PLAN_CONTEXTS="$(PLAN_CONTEXTS)" $(OUT)/tests/engine/plan_test; rc=$$?; \
	[ -n "$(PLAN_MODEL)" ] || rm -f $$file; exit $$rc

# Coverage-guided fuzzing, FUZZ_SECONDS for each target.
FUZZ_CC   ?= clang
FUZZ_SECONDS ?= 60
.PHONY: fuzz
fuzz: setup-fuzz
	$(Q)CC=$(FUZZ_CC) OUT=build/fuzz sh tools/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_SRC)

# Damaged requests at the socket of a server under sanitizers.
.PHONY: fuzz-http fuzz-http-built
fuzz-http: setup
	$(Q)$(MAKE) OUT=build/san SAN=address,undefined OPT=-O1 fuzz-http-built
fuzz-http-built: $(OUT)/ds4-server $(HTTP_FUZZ)
	$(Q)OUT=$(OUT) FUZZ_SECONDS=$(FUZZ_SECONDS) sh tests/soak/fuzz_http.sh

.PHONY: demo
demo: setup-demo
	$(Q)$(MAKE) all
	$(Q)sh tools/demo.sh

# Completion for shells, from what the programs say to --help.
SHELL_DIR := $(OUT)/completions
COMMANDS_OF_ds4-eval := logits diff tokens ppl mini
COMMANDS_OF_ds4-quantize := convert vocab synth
COMPLETIONS := $(foreach p,$(notdir $(PROGRAMS)),$(SHELL_DIR)/$(p).bash $(SHELL_DIR)/_$(p) $(SHELL_DIR)/$(p).fish)
.PHONY: completions
completions: $(COMPLETIONS)
$(SHELL_DIR)/%.help: $(OUT)/%
	@mkdir -p $(@D)
	$(Q)for command in "" $(COMMANDS_OF_$*); do $< $$command --help || exit 1; done >$@.part && mv $@.part $@
$(SHELL_DIR)/%.bash: $(SHELL_DIR)/%.help tools/completions.awk
	$(Q)awk -v shell=bash -v program=$* -f tools/completions.awk $< >$@
$(SHELL_DIR)/_%: $(SHELL_DIR)/%.help tools/completions.awk
	$(Q)awk -v shell=zsh -v program=$* -f tools/completions.awk $< >$@
$(SHELL_DIR)/%.fish: $(SHELL_DIR)/%.help tools/completions.awk
	$(Q)awk -v shell=fish -v program=$* -f tools/completions.awk $< >$@

# ---- installing -------------------------------------------------------------------------

# make install PREFIX=/usr DESTDIR=package    nothing outside DESTDIR/PREFIX is written
INSTALL   ?= install
BINDIR    ?= $(PREFIX)/bin
LIBDIR    ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR    ?= $(PREFIX)/share/man
DATADIR   ?= $(PREFIX)/share/ds4
DOCDIR    ?= $(PREFIX)/share/doc/ds4
UNITDIR   ?= $(PREFIX)/lib/systemd/system
BASHDIR   ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR    ?= $(PREFIX)/share/zsh/site-functions
FISHDIR   ?= $(PREFIX)/share/fish/vendor_completions.d
VERSION   := $(shell sed -n 's/^.define DS4_VERSION "\(.*\)"/\1/p' include/ds4.h)

MAN_PAGES := $(wildcard man/*.1)
SCRIPTS   := $(wildcard contrib/claude-ds4)
MODEL_FILES := models/ds4-mini.gguf
EVAL_FILES := $(wildcard models/eval/cases.jsonl models/eval/filler.txt)
PROXIES   := $(wildcard contrib/proxy/*)
DOCS      := README.md LICENSE $(wildcard docs/*.md)
ifeq ($(UNAME),Darwin)
SERVICE   := contrib/org.ds4.server.plist
SERVICE_DIR := $(DATADIR)
else
SERVICE   := contrib/ds4-server.service
SERVICE_DIR := $(UNITDIR)
endif
# Paths below the prefix are written as such, so that the folder can be moved.
below      = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
fill       = sed -e 's|@PREFIX@|$(PREFIX)|; s|@BINDIR@|$(BINDIR)|; s|@LIBDIR@|$(call below,$(LIBDIR))|' \
             -e 's|@INCLUDEDIR@|$(call below,$(INCLUDEDIR))|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(USER_LIBS)|'

.PHONY: install uninstall
install: $(PROGRAMS) $(LIB) $(COMPLETIONS)
	$(Q)$(INSTALL) -d $(addprefix "$(DESTDIR)",$(BINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR) $(MANDIR)/man1 \
	    $(DATADIR)/eval $(DATADIR)/proxy $(DOCDIR) $(SERVICE_DIR) $(BASHDIR) $(ZSHDIR) $(FISHDIR))
	$(Q)$(INSTALL) -m 755 $(PROGRAMS) $(SCRIPTS) "$(DESTDIR)$(BINDIR)"
	$(Q)$(INSTALL) -m 644 $(LIB) "$(DESTDIR)$(LIBDIR)"
	$(Q)$(INSTALL) -m 644 include/ds4.h "$(DESTDIR)$(INCLUDEDIR)"
	$(Q)$(INSTALL) -m 644 $(MAN_PAGES) "$(DESTDIR)$(MANDIR)/man1"
	$(Q)$(INSTALL) -m 644 $(MODEL_FILES) "$(DESTDIR)$(DATADIR)"
	$(Q)$(INSTALL) -m 644 $(EVAL_FILES) "$(DESTDIR)$(DATADIR)/eval"
	$(Q)$(INSTALL) -m 644 $(PROXIES) "$(DESTDIR)$(DATADIR)/proxy"
	$(Q)$(INSTALL) -m 644 $(DOCS) "$(DESTDIR)$(DOCDIR)"
	$(Q)for p in $(notdir $(PROGRAMS)); do \
	    $(INSTALL) -m 644 $(SHELL_DIR)/$$p.bash "$(DESTDIR)$(BASHDIR)/$$p" && \
	    $(INSTALL) -m 644 $(SHELL_DIR)/_$$p "$(DESTDIR)$(ZSHDIR)" && \
	    $(INSTALL) -m 644 $(SHELL_DIR)/$$p.fish "$(DESTDIR)$(FISHDIR)" || exit 1; done
	$(Q)$(fill) contrib/ds4.pc.in >"$(DESTDIR)$(LIBDIR)/pkgconfig/ds4.pc"
	$(Q)$(fill) $(SERVICE) >"$(DESTDIR)$(SERVICE_DIR)/$(notdir $(SERVICE))"
	$(Q)chmod 644 "$(DESTDIR)$(LIBDIR)/pkgconfig/ds4.pc" "$(DESTDIR)$(SERVICE_DIR)/$(notdir $(SERVICE))"

# What install writes, and folders of ours that are empty then.
uninstall:
	$(Q)rm -f $(addprefix "$(DESTDIR)$(BINDIR)"/,$(notdir $(PROGRAMS) $(SCRIPTS))) \
	    "$(DESTDIR)$(LIBDIR)/libds4.a" "$(DESTDIR)$(LIBDIR)/pkgconfig/ds4.pc" "$(DESTDIR)$(INCLUDEDIR)/ds4.h" \
	    $(addprefix "$(DESTDIR)$(MANDIR)/man1"/,$(notdir $(MAN_PAGES))) \
	    $(addprefix "$(DESTDIR)$(DATADIR)"/,$(notdir $(MODEL_FILES))) \
	    $(addprefix "$(DESTDIR)$(DATADIR)/eval"/,$(notdir $(EVAL_FILES))) \
	    $(addprefix "$(DESTDIR)$(DATADIR)/proxy"/,$(notdir $(PROXIES))) \
	    $(addprefix "$(DESTDIR)$(DOCDIR)"/,$(notdir $(DOCS))) "$(DESTDIR)$(SERVICE_DIR)/$(notdir $(SERVICE))" \
	    $(foreach p,$(notdir $(PROGRAMS)),"$(DESTDIR)$(BASHDIR)/$(p)" "$(DESTDIR)$(ZSHDIR)/_$(p)" "$(DESTDIR)$(FISHDIR)/$(p).fish")
	$(Q)rmdir "$(DESTDIR)$(DATADIR)/eval" "$(DESTDIR)$(DATADIR)/proxy" "$(DESTDIR)$(DATADIR)" "$(DESTDIR)$(DOCDIR)" 2>/dev/null || true

.PHONY: clean help
clean:
	rm -rf build $(notdir $(PROGRAMS))
help:
	@echo "make            build all programs (after make setup)"
	@echo "make demo       install what is missing, build, and talk to the bundled model"
	@echo "make test       install what is missing, build and run the tests"
	@echo "make test-sdk   the SDKs that programs use, from npm, against a running server"
	@echo "make page       build the server's page with its libraries; installs npm if it is missing"
	@echo "make test-proxy  the server behind nginx, Caddy and HAProxy, which it installs if they are missing"
	@echo "make test-web   the server's pages in Chromium; installs it and npm if they are missing"
	@echo "make test-clients  coding agents from npm, each with a task (minutes); record-clients"
	@echo "make check      the tree's rules, the tests under sanitizers, the Arm kernels emulated"
	@echo "make check-arm  the Arm kernels alone"
	@echo "make kills      two servers on one folder, one of them killed 200 times"
	@echo "make test-kv-long  kept conversations and long contexts, for an hour or more"
	@echo "make test-reference  the golden models that are not in the project: REFERENCE=FOLDER"
	@echo "make check-compilers  no warning with each of COMPILERS (gcc clang)"
	@echo "make test-bits  hashes of logits on each instruction set, against those of an older build"
	@echo "make test-plan  memory in use against the plan, with a model of full width"
	@echo "make fuzz       fuzz every parser for FUZZ_SECONDS (60) each; needs clang"
	@echo "make fuzz-http  the same at a server's socket"
	@echo "make test-soak  sixteen clients of one server for SOAK_SECONDS (600)"
	@echo "make completions  for bash, zsh and fish, into $(SHELL_DIR); make install brings them too"
	@echo "make install    into PREFIX ($(PREFIX)), below DESTDIR if that is given; make uninstall"
	@echo "make clean      remove what was built"
