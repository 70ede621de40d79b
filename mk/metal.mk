# metal.mk - the Metal backend: the kernels as one text of Metal's language, the device in Objective-C.

# The preprocessor takes away includes and macros; <metal_stdlib> stays one line at the top. The text does not
# depend on the C compiler or its options, so that every build of this tree shares it.
METAL_DIR   := src/backend/gpu/metal
METAL_TEXT  := build/metal/kernels.metal
METAL_C     := build/metal/kernels_text.c
METAL_PARTS := $(METAL_DIR)/kernels.metal $(METAL_DIR)/head.metal $(METAL_DIR)/text_to_c.awk \
               $(wildcard src/backend/gpu/kernels/*) src/backend/gpu/args.h src/format/iq2xxs_codes_table.h
$(METAL_TEXT): $(METAL_PARTS) mk/metal.mk
	@mkdir -p build/metal/empty
	$(call say,TEXT,$@)
	$(Q): > build/metal/empty/metal_stdlib
	$(Q)$(CC) -E -P -x c -nostdinc -D__METAL_VERSION__=310 -Ibuild/metal/empty -Isrc $(METAL_DIR)/kernels.metal \
	    > $@.part.$(notdir $(OUT))
	$(Q){ cat $(METAL_DIR)/head.metal; \
	    awk 'length > 160 { gsub(/; /, ";\n") } { sub(/ *$$/, "") } length' $@.part.$(notdir $(OUT)); } \
	    > $@.new.$(notdir $(OUT)) && rm $@.part.$(notdir $(OUT)) && mv $@.new.$(notdir $(OUT)) $@
$(METAL_C): $(METAL_TEXT) $(METAL_DIR)/text_to_c.awk
	$(call say,TEXT,$@)
	$(Q)awk -f $(METAL_DIR)/text_to_c.awk $(METAL_TEXT) > $@.part.$(notdir $(OUT)) && mv $@.part.$(notdir $(OUT)) $@
$(OUT)/metal/kernels_text.o: $(METAL_C)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# The backend is left out unless METAL=yes, until somebody with a Mac has run `make metal-check`.
METAL       ?= no
METAL_M     := $(wildcard $(METAL_DIR)/*.m)
ifeq ($(METAL),yes)
METAL_OBJ   := $(METAL_M:%.m=$(OUT)/%.o) $(OUT)/metal/kernels_text.o
CPPFLAGS    += -DDS4_HAVE_METAL
LDLIBS      += -framework Metal -framework Foundation
$(OUT)/%.o: %.m
	@mkdir -p $(@D)
	$(call say,OBJC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -std=c11,$(CFLAGS)) -std=gnu11 -fno-objc-arc -MMD -MP -c -o $@ $<
endif

# Where Apple's SDK is not: the same files against its headers as far as they are used (tests/emulator/apple), for an
# Apple target, and for this system with a device that runs kernels on the emulator.
OBJC_CC     ?= clang
OBJC_FLAGS  := -x objective-c -std=gnu11 -fno-objc-arc -fblocks -Wall -Wextra -Wshadow $(if $(WERROR),-Werror) \
               -Werror=objc-method-access -Werror=int-conversion -Werror=incompatible-pointer-types -Itests/emulator/apple -Isrc -Iinclude
#: check-apple       the Metal device compiled for Apple's chips, against headers of our own; needs clang
.PHONY: check-apple
check-apple: $(METAL_M:%.m=build/apple/%.o)
	$(Q)sh tests/cli/metal_apple.sh
build/apple/%.o: %.m $(wildcard $(METAL_DIR)/*.h tests/emulator/apple/*/*.h)
	@mkdir -p $(@D)
	$(call say,OBJC,$@)
	$(Q)$(OBJC_CC) -target arm64-apple-macos14 -nostdlibinc $(OBJC_FLAGS) -isystem tests/emulator/apple/libc -c -o $@ $<

#: metal-check       on a Mac: every kernel on its GPU, a minute, and a report to paste into an issue
.PHONY: metal-check metal-check-built
metal-check: setup
	$(Q)$(MAKE) METAL=yes OUT=build/metal-check metal-check-built
metal-check-built: $(OUT)/ds4 $(OUT)/tests/emulator/token_ops_test $(OUT)/tests/emulator/state_ops_test
	$(Q)OUT=$(OUT) sh tools/metal_check.sh
