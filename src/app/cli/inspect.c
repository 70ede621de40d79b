/* inspect.c - ds4 --inspect: what a model file holds. */
#include "app/cli/cli.h"
#include "app/common/gguf_show.h"

#include <inttypes.h>
#include <stdio.h>

static void print_text(const char *label, const char *text)
{
    printf("%-11s ", label);
    ds4_app_print(stdout, text);
    printf("\n");
}

static void print_shape(const ds4_model *model)
{
    static const char *const protocol_name[] = { "V4", "V4-0731", "V4.1" };
    const ds4_model_info *i = ds4_engine_info(model->engine);

    print_text("file", i->path);
    print_text("name", *i->name ? i->name : "(none)");
    printf("bytes       %" PRIu64 "\n", i->file_bytes);
    printf("parameters  %" PRIu64 ", %" PRIu64 " active for a token\n", i->n_params,
           i->n_params_active);
    printf("shape       %u layers, width %u, vocabulary %u\n", i->n_layers, i->n_embd, i->n_vocab);
    if (i->least_experts == i->n_experts) printf("experts     %u", i->n_experts);
    else printf("experts     %u to %u in a layer", i->least_experts, i->n_experts);
    printf(", %u used for a token\n", i->n_experts_used);
    printf("context     %u tokens\n", i->max_context);
    printf("drafts      %s\n",
           i->has_mtp ? "has a multi-token prediction layer" : "no multi-token prediction layer");
    if (*i->unused) print_text("not used", i->unused);
    printf("sampling    temperature %g, top-p %g, min-p %g\n", (double)i->temperature,
           (double)i->top_p, (double)i->min_p);
    printf("protocol    %s\n", protocol_name[model->protocol]);
}

int ds4_cli_inspect(const ds4_cli *cli)
{
    ds4_model model = { 0 };
    ds4_gguf *g = NULL;
    ds4_err   err = { .code = DS4_OK };
    int       code = ds4_app_open(&cli->model, &model);

    if (code != DS4_EXIT_OK) return code;
    if (ds4_gguf_open(ds4_engine_info(model.engine)->path, &g, &err) != DS4_OK) {
        code = ds4_app_failed(DS4_CLI_NAME, &err);
    } else {
        print_shape(&model);
        ds4_gguf_show_keys(g);
        ds4_gguf_show_types(g);
        ds4_gguf_show_tensors(g);
    }
    ds4_gguf_close(g);
    ds4_model_close(&model);
    return code;
}
