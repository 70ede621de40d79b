# metal.mk - the kernels as one text of Metal's language.

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
