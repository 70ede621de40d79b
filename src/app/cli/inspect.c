/* inspect.c - ds4 --inspect: what a model file holds. */
#include "app/cli/cli.h"
#include "format/gguf_text.h"

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
    printf("experts     %u, %u used for a token\n", i->n_experts, i->n_experts_used);
    printf("context     %u tokens\n", i->max_context);
    printf("drafts      %s\n",
           i->has_mtp ? "has a multi-token prediction layer" : "no multi-token prediction layer");
    printf("sampling    temperature %g, top-p %g, min-p %g\n", (double)i->temperature,
           (double)i->top_p, (double)i->min_p);
    printf("protocol    %s\n", protocol_name[model->protocol]);
}

static void print_keys(const ds4_gguf *g)
{
    ds4_str text = { 0 };

    printf("\nmetadata, %u keys\n", ds4_gguf_n_keys(g));
    for (uint32_t i = 0; i < ds4_gguf_n_keys(g); i++) {
        ds4_str_truncate(&text, 0);
        ds4_gguf_describe(ds4_gguf_key_at(g, i), &text);
        printf("  %s\n", ds4_str_text(&text));
    }
    ds4_str_clear(&text);
}

static void print_types(const ds4_gguf *g)
{
    uint64_t n[256] = { 0 }, n_bytes[256] = { 0 };

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        n[t->dtype & 255]++;
        n_bytes[t->dtype & 255] += t->n_bytes;
    }
    printf("\ntensors by type\n");
    for (uint32_t type = 0; type < 256; type++) {
        if (n[type] == 0) continue;
        printf("  %-8s %6" PRIu64 " tensors %15" PRIu64 " bytes\n", ds4_dtype_get(type)->name,
               n[type], n_bytes[type]);
    }
}

static void print_tensors(const ds4_gguf *g)
{
    ds4_str name = { 0 };

    printf("\ntensors, %u\n", ds4_gguf_n_tensors(g));
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        char dims[96];
        int  n = 0;
        for (uint32_t d = 0; d < t->n_dims && n < (int)sizeof dims; d++) {
            n += snprintf(dims + n, sizeof dims - (size_t)n, d ? " x %" PRIu64 : "%" PRIu64,
                          t->dim[d]);
        }
        ds4_str_truncate(&name, 0);
        ds4_text_clean(t->name, 80, &name);
        printf("  %-40s %-8s %-24s %15" PRIu64 " bytes\n", ds4_str_text(&name),
               ds4_dtype_get(t->dtype)->name, dims, t->n_bytes);
    }
    ds4_str_clear(&name);
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
        print_keys(g);
        print_types(g);
        print_tensors(g);
    }
    ds4_gguf_close(g);
    ds4_model_close(&model);
    return code;
}
