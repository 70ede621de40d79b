# mac.mk - programs and tests on the Metal backend over a fake Metal (tests/emulator/fake_metal.h): the host code of
# a Mac, kernels on the emulator.

MAC       := $(OUT)/mac
ifeq ($(FAKE_TRY),yes)
# The same objects with another table of backends (test_programs.mk), as in far.mk.
MAC_OBJ   := $(MAC)/backends.o $(FAKE_METAL) $(OUT)/tests/emulator/emulator.o $(OUT)/tests/emulator/metal_text.o
$(MAC)/tests/%_test: $(OUT)/tests/%_test.o $(MAC_OBJ) $(TEST_AUX) $(LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(CXXFLAGS) $(LDFLAGS) -o $@ $(sort $(filter %.o,$^)) $(LIB) $(CXXLIBS) $(TEST_LIBS) $(LDLIBS)
define mac_program_rule
$(MAC)/$(call prog,$(1)): $(call app_obj,$(1)) $(COMMON_OBJ) $(MAC_OBJ) $(LIB)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CXX) $$(CXXFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(CXXLIBS) $$(if $$(filter cli,$(1)),$$(EDIT_LIBS)) $$(LDLIBS)
endef
$(foreach a,cli,$(eval $(call mac_program_rule,$(a))))

# Every logit of the golden models, snapshots, the bundled model's answers: minutes, so not in `make test`.
MAC_TESTS := $(patsubst %,$(MAC)/tests/%_test,model/golden engine/snapshot)
#: test-mac          golden models, snapshots and the bundled model on a Mac's host code over a fake Metal (15 minutes)
.PHONY: test-mac
test-mac: setup
	$(Q)$(MAKE) $(OUT)/ds4 $(MAC)/ds4 $(MAC_TESTS)
	$(Q)OUT=$(OUT) LOG=$(MAC)/test_mac.log sh tests/run.sh $(MAC_TESTS) tests/long/mac_answers.sh
endif
