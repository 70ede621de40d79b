# install.mk - completions for shells, make install and make uninstall.

#: completions       for bash, zsh and fish, from what the programs say to --help; install brings them too
SHELL_DIR := $(OUT)/completions
COMMANDS_OF_ds4-eval := logits diff tokens ppl steer mini
COMMANDS_OF_ds4-quantize := convert requantize splice split merge inspect verify vocab synth
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

#: install           into PREFIX (/usr/local), below DESTDIR if that is given; nothing else is written
#: uninstall         remove what install wrote
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
MODEL_FILES := models/ds4-mini.gguf models/published.txt
RECIPES   := $(wildcard recipes/*.txt)
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
	    $(DATADIR)/eval $(DATADIR)/proxy $(DATADIR)/recipes $(DOCDIR) $(SERVICE_DIR) $(BASHDIR) $(ZSHDIR) $(FISHDIR))
	$(Q)$(INSTALL) -m 755 $(PROGRAMS) $(SCRIPTS) "$(DESTDIR)$(BINDIR)"
	$(Q)$(INSTALL) -m 644 $(LIB) "$(DESTDIR)$(LIBDIR)"
	$(Q)$(INSTALL) -m 644 include/ds4.h "$(DESTDIR)$(INCLUDEDIR)"
	$(Q)$(INSTALL) -m 644 $(MAN_PAGES) "$(DESTDIR)$(MANDIR)/man1"
	$(Q)$(INSTALL) -m 644 $(MODEL_FILES) "$(DESTDIR)$(DATADIR)"
	$(Q)$(INSTALL) -m 644 $(EVAL_FILES) "$(DESTDIR)$(DATADIR)/eval"
	$(Q)$(INSTALL) -m 644 $(PROXIES) "$(DESTDIR)$(DATADIR)/proxy"
	$(Q)$(INSTALL) -m 644 $(RECIPES) "$(DESTDIR)$(DATADIR)/recipes"
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
	    $(addprefix "$(DESTDIR)$(DATADIR)/recipes"/,$(notdir $(RECIPES))) \
	    $(addprefix "$(DESTDIR)$(DOCDIR)"/,$(notdir $(DOCS))) "$(DESTDIR)$(SERVICE_DIR)/$(notdir $(SERVICE))" \
	    $(foreach p,$(notdir $(PROGRAMS)),"$(DESTDIR)$(BASHDIR)/$(p)" "$(DESTDIR)$(ZSHDIR)/_$(p)" "$(DESTDIR)$(FISHDIR)/$(p).fish")
	$(Q)rmdir "$(DESTDIR)$(DATADIR)/eval" "$(DESTDIR)$(DATADIR)/proxy" "$(DESTDIR)$(DATADIR)/recipes" "$(DESTDIR)$(DATADIR)" "$(DESTDIR)$(DOCDIR)" 2>/dev/null || true
