# long_tests.mk - tests that take long, much disk or files from elsewhere.

#: kills             two servers on one folder, one of them killed 200 times; the agent likewise
.PHONY: kills
kills: setup
	$(Q)$(MAKE) $(OUT)/ds4 $(OUT)/ds4-server $(OUT)/ds4-agent-scripted
	$(Q)OUT=$(OUT) DS4_KILLS=200 sh tests/cli/server_kills.sh
	$(Q)OUT=$(OUT) DS4_KILLS=200 sh tests/cli/agent_kills.sh

#: test-kv-long      kept conversations and long contexts, for an hour or more
KV_MODELS  ?= tests/golden/flashlike.gguf models/ds4-mini.gguf
KV_WALKS   ?= 200
KV_CONTEXT ?= 131072
.PHONY: test-kv-long
test-kv-long: setup
	$(Q)$(MAKE) $(KV_LONG) $(OUT)/tests/service/store_test $(OUT)/tests/service/store_fault_test
	$(Q)OUT=$(OUT) DS4_KV_WALKS=$(KV_WALKS) sh tests/long/kv_long.sh $(KV_CONTEXT) $(KV_MODELS)

#: test-speculation  10,000 tokens with guesses and without, alone and in company: none may differ
.PHONY: test-speculation
test-speculation: setup
	$(Q)$(MAKE) $(OUT)/tests/long/speculation_long
	$(Q)$(OUT)/tests/long/speculation_long $(SPECULATION_MODEL)

#: test-reference    the golden models that are not in the project: REFERENCE=FOLDER
REFERENCE ?=
.PHONY: test-reference
test-reference: setup
	$(Q)[ -r "$(REFERENCE)/prolike.gguf" ] || { echo "make test-reference REFERENCE=FOLDER: no prolike.gguf in '$(REFERENCE)'"; exit 2; }
	$(Q)$(MAKE) all $(OUT)/tests/model/golden_test
	$(Q)OUT=$(OUT) DS4_REFERENCE="$(REFERENCE)" sh tests/run.sh $(OUT)/tests/model/golden_test tests/cli/golden_logits.sh

#: test-soak         sixteen clients of one server for SOAK_SECONDS (600): right answers, flat memory
.PHONY: test-soak
test-soak: setup
	$(Q)$(MAKE) all $(SOAK)
	$(Q)OUT=$(OUT) sh tests/soak/run.sh

#: test-plan         memory in use against the plan, with PLAN_MODEL or a file of 2.2 GB, written and removed
PLAN_MODEL    ?=
PLAN_CONTEXTS ?= 1024 4096
.PHONY: test-plan
test-plan: setup
	$(Q)$(MAKE) all $(OUT)/tests/engine/plan_test
	$(Q)file=$(PLAN_MODEL); [ -n "$$file" ] || { file=$(OUT)/plan.gguf; \
	    $(OUT)/ds4-quantize synth --like flash-q2 --layers 3 --experts 4 --out $$file || exit 1; }; \
	DS4_PLAN_MODEL=$$file DS4_PLAN_CONTEXTS="$(PLAN_CONTEXTS)" $(OUT)/tests/engine/plan_test; rc=$$?; \
	[ -n "$(PLAN_MODEL)" ] || rm -f $$file; exit $$rc
