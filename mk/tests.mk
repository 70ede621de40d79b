# tests.mk - the tests that are run while one works, and what they need to be installed.

# Says what it installs and installs it, if anything is missing.
.PHONY: setup setup-demo setup-check setup-fuzz setup-page setup-web
setup:
	@sh tools/setup.sh build test
setup-demo:
	@sh tools/setup.sh build
setup-check:
	@sh tools/setup.sh build test check lint
setup-fuzz:
	@sh tools/setup.sh build fuzz
setup-page:
	@sh tools/setup.sh build page
setup-web:
	@sh tools/setup.sh build page web

#: test              install what is missing, build and run the tests
.PHONY: test test-built test-programs
test: setup
	$(Q)$(MAKE) test-built
# Everything that the tests run, built and not run.
test-programs: all $(SCRIPTED) $(TEST_BIN) $(REPLAY) $(EXAMPLES) $(SOAK) $(HTTP_FUZZ) $(RAW) $(TEST_TOOLS) $(MCP_CALL) $(UI_PLAY) \
    $(FAR_QUICK)
test-built: test-programs
	$(Q)OUT=$(OUT) DS4_FAR_CUT=1 sh tests/run.sh $(TEST_BIN) $(FAR_QUICK) $(REPLAY) $(CLI_TESTS)

#: test-proxy        the server behind nginx, Caddy and HAProxy, which it installs if they are missing;
#:                   two servers with one folder, one of which is killed
.PHONY: test-proxy test-proxy-built setup-proxy
setup-proxy:
	@sh tools/setup.sh build test proxy
test-proxy: setup-proxy
	$(Q)$(MAKE) test-proxy-built
test-proxy-built: $(OUT)/ds4-server
	$(Q)OUT=$(OUT) LOG=$(OUT)/test_proxy.log sh tests/run.sh tests/proxy/run.sh

#: test-web          the server's pages in Chromium; installs it and npm if they are missing
.PHONY: test-web test-web-built
test-web: setup-web
	$(Q)$(MAKE) test-web-built
test-web-built: $(OUT)/ds4-server $(SCRIPTED)
	$(Q)OUT=$(OUT) LOG=$(OUT)/test_web.log sh tests/run.sh tests/web/run.sh

#: test-sdk          the SDKs of OpenAI, Anthropic and Vercel, from npm, against a running server
.PHONY: test-sdk
test-sdk: setup
	$(Q)$(MAKE) all $(SCRIPTED)
	$(Q)OUT=$(OUT) sh tests/run.sh tests/sdk/run.sh tests/sdk/schemas.sh

#: test-agent-npm    the agent with MCP servers and the protocols' own clients from npm
.PHONY: test-agent-npm
test-agent-npm: setup
	$(Q)$(MAKE) all $(MCP_CALL) $(SCRIPTED)
	$(Q)OUT=$(OUT) LOG=$(OUT)/test_agent_npm.log sh tests/run.sh tests/agent/npm.sh

#: test-languages    the agent's tasks in all languages; installs Node, Python, Rust, Tcl, SQLite and bc
.PHONY: test-languages
test-languages: setup
	$(Q)sh tools/setup.sh languages
	$(Q)$(MAKE) all $(SCRIPTED)
	$(Q)OUT=$(OUT) LANGUAGES=all LOG=$(OUT)/test_languages.log sh tests/run.sh tests/cli/agent_tasks.sh

#: test-clients      coding agents from npm, each with a task (minutes): CLIENTS="pi codex" chooses some
#: record-clients    the same, and keep their requests for tests/clients/replay_test.c
.PHONY: test-clients record-clients
test-clients: setup
	$(Q)$(MAKE) all $(SCRIPTED)
	$(Q)OUT=$(OUT) LOG=$(OUT)/test_clients.log sh tests/run.sh tests/clients/run.sh
record-clients:
	$(Q)RECORD=tests/clients/recorded $(MAKE) test-clients

#: ops               every operation of a backend against the reference: BACKEND=cpu|cuda|emulated|far OP=NAME
BACKEND   ?= cpu
OP        ?=
.PHONY: ops
ops: setup
	$(Q)$(MAKE) $(OUT)/tests/ops/ops_test
	$(Q)$(OUT)/tests/ops/ops_test --all --backend $(BACKEND) --op "$(OP)"

#: ops-mutants       a changed sign in any operation of the CPU makes the tests of operations fail (half an hour)
.PHONY: ops-mutants
ops-mutants: setup
	$(Q)OUT=$(OUT) sh tests/ops/mutants.sh $(MUTANTS)

#: test-bits         hashes of logits on each instruction set, against those of an older build (BITS_FILE)
BITS_MOVES ?= 10000
BITS_FILE  ?= tests/golden/bits.txt
.PHONY: test-bits
test-bits: setup
	$(Q)$(MAKE) $(OUT)/tests/engine/bits_test
	$(Q)OUT=$(OUT) CC="$(CC)" sh tests/long/bits.sh $(BITS_MOVES) $(BITS_FILE)

#: kernels           is a changed kernel right (SLOT=q8_0 SET=avx2), how fast (BENCH=1), faster than BASE=COMMIT?
.PHONY: kernels
kernels: $(KERNEL_CHECKS)
	$(Q)OUT=$(OUT) SLOT="$(SLOT)" SET="$(SET)" BENCH="$(BENCH)" BASE="$(BASE)" sh tools/kernels.sh
