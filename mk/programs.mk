# programs.mk - the library, the programs and the examples.

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

app_obj    = $(patsubst %.c,$(OUT)/%.o,$(wildcard src/app/$(1)/*.c)) $(if $(filter server,$(1)),$(WEB_OBJ))
define program_rule
$(OUT)/$(call prog,$(1)): $(call app_obj,$(1)) $(COMMON_OBJ) $(LIB)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ $$(if $$(filter cli,$(1)),$$(EDIT_LIBS)) $$(if $$(filter agent,$(1)),$$(WIDTH_LIBS)) \
	    $$(LDLIBS)
endef
$(foreach a,$(APPS),$(eval $(call program_rule,$(a))))
# As somebody else's program is built: the public header, the library, nothing of ours beside.
EXAMPLES  := $(patsubst %.c,$(OUT)/%,$(wildcard examples/*.c))
USER_LIBS := -lm -lpthread $(URING)
$(OUT)/examples/%: examples/%.c include/ds4.h $(LIB)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -Iinclude $(CFLAGS) $(LDFLAGS) -o $@ $< $(LIB) $(USER_LIBS)
.PHONY: examples
examples: $(EXAMPLES)
