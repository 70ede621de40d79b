# page.mk - the server's web page, as a table in C.

# Its libraries come from npm where npm is; a build without them (WEB_LIBS/plain) tries again once there is an npm.
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

#: page              build the server's page with its libraries; installs npm if it is missing
.PHONY: page
page: setup-page
	$(Q)$(MAKE) all
