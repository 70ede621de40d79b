# test_programs.mk - what tests are and what they use, and how it is linked.

# The emulated GPU needs a C++ compiler; without one its tests are left out.
CXX       ?= c++
ifeq ($(origin CXX),default)
CXX       := $(if $(shell command -v g++ 2>/dev/null),g++,c++)
endif
TEST_SRC  := $(filter-out $(if $(shell command -v $(CXX) 2>/dev/null),,tests/emulator/%) tests/engine/far_test.c,\
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
$(OUT)/tests/%.o: CPPFLAGS += -Itests

# The server without its main(), for tests of its parts.
SERVER_LIB := $(OUT)/libserver.a
$(SERVER_LIB): $(patsubst %.c,$(OUT)/%.o,$(filter-out %/main.c,$(wildcard src/app/server/*.c)))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# The server and the agent with prescribed answers: for tests of everything around a model.
SCRIPTED     := $(OUT)/ds4-server-scripted $(OUT)/ds4-agent-scripted
SCRIPTED_OBJ := $(patsubst %.c,$(OUT)/scripted/%.o,src/service/chooser.c src/app/common/script.c) \
             $(filter-out %/script.o,$(COMMON_OBJ)) $(LIB)
$(OUT)/scripted/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) -DDS4_SCRIPTED_SAMPLING $(CFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/ds4-server-scripted: $(patsubst %.c,$(OUT)/scripted/%.o,$(wildcard src/app/server/*.c)) $(WEB_OBJ)
$(OUT)/ds4-agent-scripted: $(patsubst %.c,$(OUT)/scripted/%.o,$(wildcard src/app/agent/*.c))
$(SCRIPTED): $(SCRIPTED_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(if $(filter %agent-scripted,$@),$(WIDTH_LIBS)) $(LDLIBS)

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
# Metal's device code over a fake Metal: needs clang and the GNU runtime of Objective-C, where Apple's is not.
FAKE_TRY  := $(if $(filter Darwin,$(UNAME)),,$(shell t=`mktemp` && echo 'int main(void) { return 0; }' | \
             $(OBJC_CC) -x objective-c -fobjc-runtime=gcc -c -o $$t - 2>/dev/null && echo 'int main() { return 0; }' | \
             $(CXX) -x c++ - -lobjc -o $$t 2>/dev/null && echo yes; rm -f $$t))
ifeq ($(FAKE_TRY),yes)
FAKE_METAL := $(patsubst %.m,$(OUT)/fake/%.o,$(METAL_M) $(wildcard tests/emulator/fake_*.m)) \
             $(patsubst %.c,$(OUT)/%.o,$(wildcard $(METAL_DIR)/*.c)) $(OUT)/metal/kernels_text.o
$(OUT)/fake/%.o: %.m
	@mkdir -p $(@D)
	$(call say,OBJC,$<)
	$(Q)$(OBJC_CC) $(OBJC_FLAGS) -D_GNU_SOURCE -Itests -fobjc-runtime=gcc -g -O1 -fPIE -MMD -MP -c -o $@ $<
# A table of backends that has it, for whole engines; see also mac.mk.
$(OUT)/mac/backends.o: src/backend/backends.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) '-DDS4_BACKENDS=X(metal) X(cpu)' $(CFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/tests/emulator/metal_engine_test: $(OUT)/mac/backends.o
EMULATOR  += $(FAKE_METAL)
CXXLIBS   := -lobjc
$(OUT)/tests/emulator/%.o $(OUT)/tests/ops/%.o: CPPFLAGS += -DDS4_HAVE_METAL -DDS4_HAVE_FAKE_METAL
else
EMULATOR  += $(patsubst %.c,$(OUT)/%.o,$(filter-out %_backend.c,$(wildcard $(METAL_DIR)/*.c)))
endif
METAL_CPP := build/metal/kernels_text.cpp
$(METAL_CPP): $(METAL_TEXT) tests/emulator/text_to_cpp.awk
	$(Q)awk -f tests/emulator/text_to_cpp.awk $(METAL_TEXT) > $@.part.$(notdir $(OUT)) && mv $@.part.$(notdir $(OUT)) $@
$(OUT)/tests/emulator/metal_text.o: CPPFLAGS += -DMETAL_TEXT_CPP='"$(METAL_CPP)"' -I.
$(OUT)/tests/emulator/metal_text.o: KERNEL_CXXFLAGS += -Wno-unknown-pragmas -Wno-misleading-indentation
$(OUT)/tests/emulator/metal_text.o: $(METAL_CPP)
$(filter $(OUT)/tests/emulator/%,$(TEST_BIN)): %: %.o $(EMULATOR) $(TEST_AUX) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(CXXFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(CXXLIBS) $(TEST_LIBS) $(LDLIBS)
# Operations on any backend, the emulated GPU included where it is built.
OPS_OBJ   := $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/ops/*.c))
OPS_GPU   := $(if $(filter tests/emulator/%,$(TEST_SRC)),$(EMULATOR))
$(OUT)/tests/ops/%.o: CPPFLAGS += $(if $(OPS_GPU),-DDS4_HAVE_EMULATOR)
$(OUT)/tests/ops/ops_test: $(OPS_OBJ) $(OPS_GPU) $(OUT)/tests/support/far_device.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(if $(OPS_GPU),$(CXX) $(CXXFLAGS),$(CC) $(CFLAGS)) $(LDFLAGS) -o $@ $^ $(if $(OPS_GPU),$(CXXLIBS)) $(TEST_LIBS) $(LDLIBS)
$(OUT)/tests/agent/loop_test: $(patsubst %,$(OUT)/%,tests/agent/loop_test.o scripted/src/service/chooser.o) \
    $(TEST_AUX) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LDLIBS)
$(OUT)/tests/%_test: $(OUT)/tests/%_test.o $(TEST_AUX) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(LDLIBS)
$(OUT)/tests/%_check: $(OUT)/tests/%_check.o $(CHECK_AUX) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
REPLAY_SERVER := $(patsubst %,$(OUT)/tests/fuzz/%_fuzz_replay,request stored http_head)
$(REPLAY_SERVER): $(SERVER_LIB)
$(patsubst %,$(OUT)/tests/fuzz/%_fuzz_replay,ui acp): %_replay: %.o $(OUT)/tests/fuzz/replay.o $(OUT)/libui.a $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(WIDTH_LIBS) $(LDLIBS)
$(OUT)/tests/fuzz/%_fuzz_replay: $(OUT)/tests/fuzz/%_fuzz.o $(OUT)/tests/fuzz/replay.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %/libserver.a,$^) $(LIB) $(LDLIBS)

$(OUT)/tests/tools/json_lines: TOOL_LIBS = $(LDLIBS)
$(OUT)/tests/tools/%: $(OUT)/tests/tools/%.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TOOL_LIBS)

# The agent's terminal without an agent, for tests of its parts; and with one that plays a script.
UI_LIB     := $(OUT)/libui.a
UI_PLAY    := $(OUT)/tests/ui/ui_play
$(UI_LIB): $(patsubst %.c,$(OUT)/%.o,$(filter-out %/acp_front.c,$(wildcard src/app/agent/ui*.c src/app/agent/acp*.c)))
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^
$(OUT)/tests/ui/%_test: $(OUT)/tests/ui/%_test.o $(OUT)/tests/ui/fake_agent.o $(TEST_AUX) $(UI_LIB) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(TEST_LIBS) $(WIDTH_LIBS) $(LDLIBS)
$(UI_PLAY): $(OUT)/tests/ui/ui_play.o $(OUT)/tests/ui/fake_agent.o $(UI_LIB) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(WIDTH_LIBS) $(LDLIBS)

# The agent's MCP client by hand, for servers from npm.
MCP_CALL   := $(OUT)/tests/agent/mcp_call
$(MCP_CALL): $(OUT)/tests/agent/mcp_call.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

KV_LONG    := $(patsubst %.c,$(OUT)/%,$(wildcard tests/long/*.c))
$(OUT)/tests/long/%: $(OUT)/tests/long/%.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
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

# The kernel checks with the kernels alone: for another architecture, and for quick answers about a kernel.
KERNEL_CHECKS := $(patsubst %.c,$(OUT)/%_bare,$(wildcard tests/kernels/*_check.c))
# No library but the system's: what needs one is no part of a kernel.
BARE_SRC  := $(filter-out src/base/sha256.c,$(wildcard src/base/*.c)) src/format/dtype.c src/format/iq2xxs_table.c \
             $(foreach d,src/kernels src/kernels/ref $(ISA_$(ARCH)),$(wildcard $(d)/*.c))
BARE_OBJ  := $(BARE_SRC:%.c=$(OUT)/%.o)
$(OUT)/tests/%_check_bare: $(OUT)/tests/%_check.o $(CHECK_AUX) $(BARE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lm -lpthread $(URING)
