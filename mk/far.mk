# far.mk - programs and tests on the far device (tests/support/far_device.h), whose memory nobody else can read.

# The same objects with another table of backends: the far device comes first, so that who names none gets it.
FAR       := $(OUT)/far
FAR_OBJ   := $(FAR)/backends.o $(OUT)/tests/support/far_device.o
$(FAR)/backends.o: src/backend/backends.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) '-DDS4_BACKENDS=X(far) X(cpu)' $(CFLAGS) -MMD -MP -c -o $@ $<
$(FAR)/tests/server/%_test: $(OUT)/tests/server/%_test.o $(FAR_OBJ) $(TEST_AUX) $(SERVER_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(sort $(filter %.o,$^)) $(SERVER_LIB) $(LIB) $(TEST_LIBS) $(LDLIBS)
$(FAR)/tests/%_test: $(OUT)/tests/%_test.o $(FAR_OBJ) $(TEST_AUX) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(sort $(filter %.o,$^)) $(LIB) $(TEST_LIBS) $(LDLIBS)
define far_program_rule
$(FAR)/$(call prog,$(1)): $(call app_obj,$(1)) $(COMMON_OBJ) $(FAR_OBJ) $(LIB)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(if $$(filter cli,$(1)),$$(EDIT_LIBS)) $$(LDLIBS)
endef
$(foreach a,$(APPS),$(eval $(call far_program_rule,$(a))))
FAR_SCRIPTED := $(FAR)/ds4-server-scripted
$(FAR_SCRIPTED): $(SCRIPTED_SRC:%.c=$(OUT)/scripted/%.o) $(WEB_OBJ) $(COMMON_OBJ) $(FAR_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(FAR)/tests/tools/%: $(OUT)/tests/tools/%
	@mkdir -p $(@D)
	$(Q)ln -sf ../../../tests/tools/$* $@

# Left out: plan_test and one_shot.sh look at the CPU's memory and plan; tests below the engine have no device.
far_tests  = $(patsubst %,$(FAR)/tests/%_test,$(1))
FAR_TESTS := $(call far_tests,engine/bits engine/cut engine/far engine/growth engine/public_text engine/snapshot \
             engine/spill model/golden model/mini model/split service/store service/store_writer)
FAR_CLI   := $(patsubst %,tests/cli/%.sh,kv server_calls server_store server_scores)
# Whose steps are smaller than 128 tokens, or who count the tokens of positions between multiples of it.
FAR_ANY_CUT := $(call far_tests,engine/engine engine/stream service/conversation service/resume service/scheduler \
             service/speculation) $(patsubst %,tests/cli/%.sh,golden_logits streamed_experts server)
# In every `make test`.
FAR_QUICK := $(call far_tests,engine/far engine/engine engine/snapshot model/golden)
FAR_PROGRAMS := $(foreach a,$(APPS),$(FAR)/$(call prog,$(a))) $(FAR_SCRIPTED) \
             $(patsubst tests/tools/%.c,$(FAR)/tests/tools/%,$(wildcard tests/tools/*.c))

#: test-far          tests of engine, store, service and server on a device whose memory nobody else can read
.PHONY: test-far
test-far: setup
	$(Q)$(MAKE) $(FAR_TESTS) $(filter %_test,$(FAR_ANY_CUT)) $(FAR_PROGRAMS)
	$(Q)OUT=$(FAR) sh tests/run.sh $(FAR_TESTS) $(FAR_CLI)
	$(Q)OUT=$(FAR) LOG=$(FAR)/test_cut.log DS4_FAR_CUT=1 sh tests/run.sh $(FAR_ANY_CUT)

#: far-faults        faults planted in the engine are found on the far device
.PHONY: far-faults
far-faults: setup
	$(Q)OUT=$(OUT) sh tests/long/far_faults.sh
