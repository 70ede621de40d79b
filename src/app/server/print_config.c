/* print_config.c - see print_config.h. Keys and model names are of
 * characters that need no quoting anywhere, see main.c. */
#include "app/server/print_config.h"

#include <string.h>

typedef struct facts {
    const char *base;           /* http://host:port */
    const char *key, *model;
    uint32_t    n_ctx, n_out;   /* most tokens of a context and of an answer */
} facts;

/* Claude Code takes a smaller window for a mistake and compacts at this one. */
enum { CLAUDE_LEAST_WINDOW = 100000 };

static void print_claude(const facts *f)
{
    printf("# Environment for Claude Code: eval \"$(ds4-server --print-config claude)\" && claude\n"
           "unset ANTHROPIC_API_KEY\n"
           "export ANTHROPIC_BASE_URL=%s\n"
           "export ANTHROPIC_AUTH_TOKEN=%s\n"
           "export ANTHROPIC_MODEL=%s\n",
           f->base, f->key, f->model);
    printf("export ANTHROPIC_DEFAULT_SONNET_MODEL=%s\n"
           "export ANTHROPIC_DEFAULT_HAIKU_MODEL=%s\n"
           "export ANTHROPIC_DEFAULT_OPUS_MODEL=%s\n"
           "export CLAUDE_CODE_SUBAGENT_MODEL=%s\n",
           f->model, f->model, f->model, f->model);
    if (f->n_ctx >= CLAUDE_LEAST_WINDOW) {
        printf("export CLAUDE_CODE_AUTO_COMPACT_WINDOW=%u\n", f->n_ctx);
    } else {
        fprintf(stderr,
                "# Claude Code compacts at %u tokens and no earlier, and this server has %u: start it "
                "with --ctx 131072 or more\n",
                CLAUDE_LEAST_WINDOW, f->n_ctx);
    }
    printf("export CLAUDE_CODE_MAX_OUTPUT_TOKENS=%u\n"
           "export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1\n"
           "export CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK=1\n"
           "export CLAUDE_STREAM_IDLE_TIMEOUT_MS=600000\n",
           f->n_out);
}

static void print_codex(const facts *f)
{
    printf("# ~/.codex/config.toml; the key is read from the environment: export DS4_API_KEY=%s\n"
           "model = \"%s\"\n"
           "model_provider = \"ds4\"\n"
           "model_context_window = %u\n"
           "model_reasoning_summary = \"auto\"\n\n",
           f->key, f->model, f->n_ctx);
    printf("[model_providers.ds4]\n"
           "name = \"ds4\"\n"
           "base_url = \"%s/v1\"\n"
           "wire_api = \"responses\"\n"
           "env_key = \"DS4_API_KEY\"\n"
           "stream_idle_timeout_ms = 1000000\n"
           "stream_max_retries = 2\n", /* it also counts a wrong key as a broken stream */
           f->base);
}

static void print_opencode(const facts *f)
{
    printf("{\n"
           "  \"$schema\": \"https://opencode.ai/config.json\",\n"
           "  \"autoupdate\": false,\n"
           "  \"share\": \"disabled\",\n"
           "  \"model\": \"ds4/%s\",\n"
           "  \"provider\": {\n"
           "    \"ds4\": {\n"
           "      \"npm\": \"@ai-sdk/openai-compatible\",\n"
           "      \"name\": \"ds4\",\n",
           f->model);
    printf("      \"options\": { \"baseURL\": \"%s/v1\", \"apiKey\": \"%s\" },\n"
           "      \"models\": {\n"
           "        \"%s\": { \"name\": \"%s\", \"reasoning\": true, \"tool_call\": true,\n"
           "          \"limit\": { \"context\": %u, \"output\": %u } }\n"
           "      }\n    }\n  }\n}\n",
           f->base, f->key, f->model, f->model, f->n_ctx, f->n_out);
}

static void print_pi(const facts *f)
{
    printf("{\n"
           "  \"providers\": {\n"
           "    \"ds4\": {\n"
           "      \"baseUrl\": \"%s/v1\",\n"
           "      \"api\": \"openai-completions\",\n"
           "      \"apiKey\": \"%s\",\n"
           "      \"compat\": { \"supportsStore\": false, \"supportsDeveloperRole\": false,\n"
           "        \"supportsReasoningEffort\": true, \"supportsUsageInStreaming\": true,\n",
           f->base, f->key);
    printf("        \"maxTokensField\": \"max_tokens\", \"supportsStrictMode\": false,\n"
           "        \"thinkingFormat\": \"deepseek\",\n"
           "        \"requiresReasoningContentOnAssistantMessages\": true },\n"
           "      \"models\": [ { \"id\": \"%s\", \"name\": \"%s\", \"reasoning\": true,\n"
           "        \"input\": [\"text\"], \"contextWindow\": %u, \"maxTokens\": %u,\n"
           "        \"cost\": { \"input\": 0, \"output\": 0, \"cacheRead\": 0, \"cacheWrite\": 0 } } ]\n"
           "    }\n  }\n}\n",
           f->model, f->model, f->n_ctx, f->n_out);
}

static void print_continue(const facts *f)
{
    printf("# ~/.continue/config.yaml; then: cn --config ~/.continue/config.yaml\n"
           "name: ds4\n"
           "version: 1.0.0\n"
           "schema: v1\n"
           "models:\n"
           "  - name: ds4\n"
           "    provider: openai\n"
           "    model: %s\n"
           "    apiBase: %s/v1\n"
           "    apiKey: %s\n",
           f->model, f->base, f->key);
    printf("    roles: [chat, edit, apply]\n"
           "    capabilities: [tool_use]\n"
           "    defaultCompletionOptions:\n"
           "      contextLength: %u\n"
           "      maxTokens: %u\n",
           f->n_ctx, f->n_out);
}

static void print_qwen(const facts *f)
{
    printf("# Environment for Qwen Code: eval \"$(ds4-server --print-config qwen)\" && qwen\n"
           "export OPENAI_BASE_URL=%s/v1\n"
           "export OPENAI_API_KEY=%s\n"
           "export OPENAI_MODEL=%s\n",
           f->base, f->key, f->model);
}

static void print_copilot(const facts *f)
{
    printf("# Environment for Copilot CLI: eval \"$(ds4-server --print-config copilot)\" && copilot\n"
           "export COPILOT_PROVIDER_BASE_URL=%s/v1\n"
           "export COPILOT_PROVIDER_API_KEY=%s\n"
           "export COPILOT_MODEL=%s\n"
           "export COPILOT_OFFLINE=true\n",
           f->base, f->key, f->model);
}

static void print_cline(const facts *f)
{
    printf("# Cline keeps this: eval \"$(ds4-server --print-config cline)\" && cline\n"
           "cline auth openai-compatible -b %s/v1 -k %s -m %s\n",
           f->base, f->key, f->model);
}

bool ds4_print_config(const char *client, const ds4_server_options *opt)
{
    static const struct {
        const char *name;
        void (*print)(const facts *f);
        const char *place, *start;      /* of what cannot say it itself: JSON has no comments */
    } clients[] = {
        { "claude", print_claude, NULL, NULL },
        { "codex", print_codex, NULL, NULL },
        { "opencode", print_opencode, "~/.config/opencode/opencode.json", "opencode -m ds4/" },
        { "kilo", print_opencode, "~/.config/kilo/kilo.json", "kilo -m ds4/" },
        { "qwen", print_qwen, NULL, NULL },
        { "copilot", print_copilot, NULL, NULL },
        { "cline", print_cline, NULL, NULL },
        { "pi", print_pi, "~/.pi/agent/models.json", "pi --provider ds4 --model " },
        { "continue", print_continue, NULL, NULL },
    };
    char       base[300];
    const bool any = !strcmp(opt->host, "0.0.0.0") || !strcmp(opt->host, "::");
    const bool v6 = !any && strchr(opt->host, ':');

    snprintf(base, sizeof base, "http://%s%.200s%s:%u", v6 ? "[" : "",
             any ? "127.0.0.1" : opt->host, v6 ? "]" : "", opt->port);
    const facts f = { .base = base,
                      .key = opt->api_key ? opt->api_key : "ds4",
                      .model = opt->model_id,
                      .n_ctx = opt->n_ctx,
                      .n_out = opt->n_ctx / 4 < 32000 ? opt->n_ctx / 4 : 32000 };
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        if (strcmp(clients[i].name, client) != 0) continue;
        clients[i].print(&f);
        if (clients[i].place) {
            fprintf(stderr, "# for %s; then: %s%s\n", clients[i].place, clients[i].start, f.model);
        }
        return true;
    }
    return false;
}
