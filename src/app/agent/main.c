/* main.c - ds4-agent: a coding agent that lives with its model. */
#include "app/agent/program.h"

#include "base/file.h"
#include "base/knob.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char about[] =
    "A coding agent in the same process as its model. It works in one folder: reads, searches\n"
    "and changes files, runs commands in a sandbox, and can undo all of it. Sessions are kept\n"
    "and go on where they stopped. With -p one task is done; without it messages are typed on\n"
    "a terminal, or are the lines of standard input; those that begin with / are commands\n"
    "(/help lists them).";

static const char after[] =
    "Output: answers go to standard output, everything else to standard error. With --json\n"
    "each event is a line of JSON; docs/AGENT.md describes them.\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong command line or bad model file, 3 ended by a limit\n"
    "before the model was done, 130 interrupted.";

/* Options about how the model answers; p is a ds4_agent_program *. */
#define DS4_AGENT_ANSWER_OPTIONS(p) \
    DS4_OPT_CHOICE("think", &p->think, 0, "reason before answering (default)"), \
    DS4_OPT_CHOICE("think-max", &p->think, 1, "reason with the greatest effort"), \
    DS4_OPT_CHOICE("nothink", &p->think, 2, "answer at once"), \
    DS4_OPT_U32(0, "think-budget", "N", &p->think_budget, 1, 1048576, \
                "close the reasoning after N tokens [no limit]"), \
    DS4_OPT_U32(0, "loop-tokens", "N", &p->loop_tokens, 0, 1048576, \
                "repeated tokens that count as an endless loop; 0: never\n" \
                "[512]"), \
    DS4_APP_SPECULATE_OPTIONS(&p->speculate, &p->model), \
    DS4_OPT_F32(0, "temp", "X", &p->temperature, 0, 100, \
                "temperature, 0 for the likeliest token\n[as the model file advises, else 1]"), \
    DS4_OPT_F32(0, "top-p", "X", &p->top_p, 1e-6, 1, "nucleus sampling [as the file advises, else 1]"), \
    DS4_OPT_U32(0, "top-k", "N", &p->top_k, 0, 1048576, "sample among the N likeliest; 0: all [0]"), \
    DS4_OPT_F32(0, "min-p", "X", &p->min_p, 0, 1, \
                "leave out tokens less likely than X times the\n" \
                "likeliest [as the file advises, else 0.05]"), \
    DS4_OPT_U64(0, "seed", "N", &p->seed, "seed of the random numbers [from the clock]")

static ds4_parsed parse(ds4_agent_program *p, int argc, char **argv)
{
    const ds4_option options[] = {
        DS4_OPT_TEXT('p', "prompt", "TEXT", &p->task, "do this task and exit; - reads standard input"),
        DS4_OPT_FLAG(0, "json", &p->json, "print each event as a line of JSON"),
        DS4_OPT_FLAG(0, "acp", &p->acp,
                     "serve an editor: the Agent Client Protocol over\n"
                     "standard input and output"),
        DS4_OPT_TEXT('C', "chdir", "FOLDER", &p->folder, "the project [the current folder]"),
        DS4_OPT_TEXT('r', "resume", "ID", &p->resume,
                     "open this session again; the beginning of its id is\n"
                     "enough"),
        DS4_OPT_FLAG(0, "continue", &p->go_on,
                     "open the last session of the project, or that of\n"
                     "--resume, and go on with its turn if it was cut"),
        DS4_OPT_TEXT(0, "sessions", "DIR", &p->sessions, "where sessions are kept [~/.ds4/agent]"),
        DS4_OPT_CHOICE("work", &p->mode, DS4_TOOLS_WORK,
                       "change files of the project and run commands in the\n"
                       "sandbox, ask for anything else (default)"),
        DS4_OPT_CHOICE("ask", &p->mode, DS4_TOOLS_ASK, "ask before every change and command"),
        DS4_OPT_CHOICE("read-only", &p->mode, DS4_TOOLS_READ_ONLY, "change nothing"),
        DS4_OPT_CHOICE("yolo", &p->mode, DS4_TOOLS_YOLO, "ask nothing, run commands without a sandbox"),
        DS4_OPT_FLAG(0, "allow-secrets", &p->allow_secrets,
                     "show the model what .env and files like it hold"),
        DS4_OPT_FLAG(0, "no-notes", &p->no_notes, "leave out what AGENTS.md and skills folders say"),
        DS4_OPT_TEXT(0, "mcp", "FILE", &p->mcp_config,
                     "offer the tools of the MCP servers in this file, JSON\n"
                     "with a member mcpServers [none]"),
        DS4_OPT_TEXT(0, "system", "TEXT", &p->instructions, "more instructions for the model, also -sys"),
        DS4_OPT_TEXT('m', "model", "FILE", &p->model.path,
                     "GGUF file [ds4flash.gguf, else the bundled model]"),
        DS4_OPT_U32('c', "ctx", "N", &p->n_ctx, DS4_AGENT_MIN_CTX, 1048576, "context in tokens [32768]"),
        DS4_OPT_U32('n', "tokens", "N", &p->max_tokens, 1, 1048576, "most tokens of an answer [50000]"),
        DS4_OPT_U32(0, "max-answers", "N", &p->max_rounds, 1, 100000,
                    "most answers with calls in a turn [200]"),
        DS4_AGENT_ANSWER_OPTIONS(p),
        DS4_APP_DEVICE_OPTIONS(&p->model),
        DS4_APP_MEMORY_OPTIONS(&p->model),
        DS4_APP_STEERING_OPTIONS(&p->model),
        DS4_APP_KV_OPTIONS(&p->kv),
#ifdef DS4_SCRIPTED_SAMPLING
        DS4_OPT_TEXT(0, "script", "FILE", &p->script_path, "prescribed answers, for tests"),
#endif
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = { .name = DS4_AGENT_NAME,
                                  .usage = "ds4-agent [options]",
                                  .about = about,
                                  .options = options,
                                  .after = after };
    return ds4_command_parse(&command, argc, argv, NULL, NULL);
}

/* ---- parts ---------------------------------------------------------------------------------- */

static int check_model(const ds4_model *model)
{
    ds4_err err = { .code = DS4_OK };

    if (ds4_vocab_check_chat(ds4_engine_vocab(model->engine), &err) == DS4_OK) return DS4_EXIT_OK;
    ds4_app_say(DS4_AGENT_NAME, "%s: %s", ds4_engine_info(model->engine)->path, err.text);
    return DS4_EXIT_WRONG;
}

static uint32_t context_of(const ds4_agent_program *p, const ds4_model *model)
{
    const uint32_t made_for = ds4_engine_info(model->engine)->max_context;

    if (p->n_ctx > 0) return p->n_ctx;
    return made_for >= DS4_AGENT_MIN_CTX && made_for < DS4_AGENT_CTX ? made_for : DS4_AGENT_CTX;
}

/* The text of -p - is standard input. */
static int read_task(ds4_agent_program *p, ds4_str *text)
{
    ds4_err err = { .code = DS4_OK };

    if (!p->task || strcmp(p->task, "-") != 0) return DS4_EXIT_OK;
    if (ds4_file_read("-", DS4_AGENT_MAX_TASK, text, &err) != DS4_OK)
        return ds4_app_failed(DS4_AGENT_NAME, &err);
    while (text->n_bytes > 0 && text->data[text->n_bytes - 1] == '\n')
        ds4_str_truncate(text, text->n_bytes - 1);
    p->task = ds4_str_text(text);
    return DS4_EXIT_OK;
}

static int folders(ds4_agent_program *p, ds4_str *sessions, ds4_str *kv)
{
    const char *home = ds4_knob_text(DS4_KNOB_HOME);

    if (p->sessions) ds4_str_add_text(sessions, p->sessions);
    else if (home && *home) ds4_str_addf(sessions, "%s/.ds4/agent", home);
    if (sessions->n_bytes == 0) {
        ds4_app_say(DS4_AGENT_NAME, "there is no HOME to keep sessions in: give --sessions");
        return DS4_EXIT_WRONG;
    }
    while (sessions->n_bytes > 1 && sessions->data[sessions->n_bytes - 1] == '/') {
        ds4_str_truncate(sessions, sessions->n_bytes - 1);
    }
    if (p->kv.dir) return DS4_EXIT_OK;
    ds4_str_addf(kv, "%s/kv", sessions->data);
    p->kv.dir = ds4_str_text(kv);
    return DS4_EXIT_OK;
}

/* ---- tools from elsewhere ------------------------------------------------------------------- */

typedef struct extras {
    const ds4_agent_program *program;
    ds4_mcp                 *mcp;
    ds4_script              *script;
    const ds4_vocab         *vocab;
} extras;

static ds4_status offer_mcp(void *ctx, ds4_tools *tools, ds4_err *err)
{
    extras  *x = ctx;
    ds4_str  json = { 0 }, told = { 0 };
    ds4_mcp *mcp = NULL;

    ds4_status st = ds4_mcp_create(ds4_tools_root(tools), NULL, &mcp, err);
    if (st == DS4_OK) st = ds4_file_read(x->program->mcp_config, DS4_MCP_MAX_CONFIG, &json, err);
    if (st == DS4_OK) {
        st = ds4_mcp_add_config(mcp, (ds4_slice){ ds4_str_text(&json), json.n_bytes }, x->program->mcp_config,
                                err);
    }
    if (st == DS4_OK) {
        ds4_mcp_start(mcp, NULL, &told);
        ds4_mcp_offer(mcp, tools, &told);
        if (told.n_bytes > 0) ds4_app_say(DS4_AGENT_NAME, "%s", told.data);
        /* The tools that were open before use the servers of before until they are closed. */
        ds4_mcp *old = x->mcp;
        x->mcp = mcp;
        mcp = NULL;
        if (old) ds4_app_say(DS4_AGENT_NAME, "MCP servers were started again for %s", ds4_tools_root(tools));
        ds4_mcp_free(old);
    }
    ds4_mcp_free(mcp);
    ds4_str_clear(&json);
    ds4_str_clear(&told);
    return st;
}

static ds4_status prescribe(void *ctx, ds4_slice prompt, ds4_tokens *out, ds4_err *err)
{
    extras *x = ctx;
    return ds4_script_tokens(x->script, x->vocab, prompt, out, err);
}

static int open_extras(const ds4_agent_program *p, extras *x, ds4_agent_options *opt)
{
    ds4_err err = { .code = DS4_OK };

    x->program = p;
    x->vocab = ds4_engine_vocab(opt->engine);
    if (p->mcp_config) {
        opt->add_tools = offer_mcp;
        opt->add_tools_ctx = x;
    }
    if (!p->script_path) return DS4_EXIT_OK;
    if (ds4_script_open(p->script_path, &x->script, &err) != DS4_OK)
        return ds4_app_failed(DS4_AGENT_NAME, &err);
    opt->prescribe = prescribe;
    opt->prescribe_ctx = x;
    return DS4_EXIT_OK;
}

/* ---- the run -------------------------------------------------------------------------------- */

static ds4_sampling sampling_of(const ds4_agent_program *p, const ds4_model *model)
{
    ds4_sampling s = ds4_model_sampling(model);

    if (p->temperature.given) s.temperature = p->temperature.value;
    if (p->top_p.given) s.top_p = p->top_p.value;
    if (p->min_p.given) s.min_p = p->min_p.value;
    s.top_k = p->top_k;
    return s;
}

/* A person sits there: both ends are a terminal. */
static ds4_front_fn *front_of(const ds4_agent_program *p)
{
    if (p->acp) return ds4_acp_front;
    if (p->json) return ds4_json_front;
    if (p->task || !ds4_term_is(stdin) || !ds4_term_knows_codes(stdout)) return ds4_plain_front;
    return ds4_terminal_front;
}

static int with_model(const ds4_agent_program *p, ds4_model *model, ds4_resume *resume, const char *sessions)
{
    extras            x = { 0 };
    ds4_agent_options opt = {
        .engine = model->engine,
        .resume = resume,
        .protocol = model->protocol,
        .n_ctx = context_of(p, model),
        .dir = sessions,
        .root = p->folder ? p->folder : ".",
        .session = p->resume  ? p->resume
                   : p->go_on ? ""
                              : NULL,
        .mode = (ds4_tools_mode)p->mode,
        .allow_secrets = p->allow_secrets,
        .no_notes = p->no_notes,
        .instructions = p->instructions,
        .sampling = sampling_of(p, model),
        .seed = p->seed.value,
        .thinking = p->think != 2,
        .effort = p->think == 1 ? DS4_EFFORT_MAX : DS4_EFFORT_DEFAULT,
        .max_tokens = p->max_tokens,
        .think_budget = p->think_budget,
        .loop_tokens = p->loop_tokens,
        .max_rounds = p->max_rounds, .speculate = (ds4_speculate)p->speculate,
    };
    int code = open_extras(p, &x, &opt);

    if (code == DS4_EXIT_OK) code = front_of(p)(p, &opt);
    ds4_mcp_free(x.mcp);
    ds4_script_free(x.script);
    return code;
}

static int run(ds4_agent_program *p)
{
    ds4_str     task = { 0 }, sessions = { 0 }, kv = { 0 };
    ds4_model   model = { 0 };
    ds4_resume *resume = NULL;
    ds4_err     err = { .code = DS4_OK };
    int         code = folders(p, &sessions, &kv);

    if (code == DS4_EXIT_OK) code = read_task(p, &task);
    if (code == DS4_EXIT_OK) {
        ds4_app_model want = p->model;
        want.n_ctx = p->n_ctx;
        ds4_app_kv_model(&p->kv, &want);
        code = ds4_app_open(&want, &model);
    }
    if (code == DS4_EXIT_OK) code = check_model(&model);
    if (code == DS4_EXIT_OK && ds4_agent_make_dir(sessions.data, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_AGENT_NAME, &err);
    }
    if (code == DS4_EXIT_OK) code = ds4_app_kv_open(DS4_AGENT_NAME, &p->kv, model.engine, &resume);
    if (code == DS4_EXIT_OK) code = with_model(p, &model, resume, sessions.data);
    ds4_resume_free(resume);
    ds4_model_close(&model);
    ds4_str_clear(&task);
    ds4_str_clear(&sessions);
    ds4_str_clear(&kv);
    return code;
}

int main(int argc, char **argv)
{
    ds4_agent_program p = {
        .model = { .program = DS4_AGENT_NAME, .argv0 = argc > 0 ? argv[0] : NULL },
        .max_tokens = 50000,
        .max_rounds = 200,
        .loop_tokens = 512,
        .mode = DS4_TOOLS_WORK,
    };
    const ds4_parsed parsed = parse(&p, argc, argv);

    if (parsed == DS4_PARSED_DONE) return ds4_app_flush(DS4_AGENT_NAME) ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
    if (parsed == DS4_PARSED_WRONG) return DS4_EXIT_WRONG;
    if (!p.seed.given) p.seed.value = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    ds4_app_begin(DS4_AGENT_NAME);
    const int code = run(&p);
    if (!ds4_app_flush(DS4_AGENT_NAME)) return DS4_EXIT_FAILURE;
    return code;
}
