/* model_open.c - see model_open.h. */
#include "service/model_open.h"

#include "base/file.h"
#include "model/vocab_gguf.h"

ds4_status ds4_model_find(const char *program_dir, ds4_str *path, ds4_err *err)
{
    static const struct {
        bool        beside_program;
        const char *name;
    } places[] = {
        { false, "ds4flash.gguf" },
        { false, "models/ds4-mini.gguf" },
        { true,  "models/ds4-mini.gguf" },
        { true,  "../models/ds4-mini.gguf" },
        { true,  "../share/ds4/ds4-mini.gguf" },
    };
    const size_t before = path->n_bytes;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (places[i].beside_program && !*program_dir) continue;
        if (places[i].beside_program) ds4_str_addf(path, "%s/", program_dir);
        ds4_str_add_text(path, places[i].name);
        if (path->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory for the path of a model");
        if (ds4_file_exists(path->data + before)) return DS4_OK;
        ds4_str_truncate(path, before);
    }
    return ds4_fail(
        err, DS4_E_IO,
        "no model given, and neither ds4flash.gguf nor the bundled models/ds4-mini.gguf "
        "was found: name a model file with -m");
}

ds4_status ds4_model_open(const ds4_engine_options *opt, ds4_model *out, ds4_err *err)
{
    ds4_engine *engine = NULL;
    ds4_gguf   *g = NULL;

    DS4_TRY(ds4_engine_open(&engine, opt, err));
    const ds4_status st = ds4_gguf_open(opt->model_path, &g, err);
    if (st != DS4_OK) {
        ds4_engine_close(engine);
        return st;
    }
    out->protocol = ds4_protocol_from_gguf(g, ds4_engine_vocab(engine));
    out->engine = engine;
    ds4_gguf_close(g);
    return DS4_OK;
}

void ds4_model_close(ds4_model *m)
{
    ds4_engine_close(m->engine);
    *m = (ds4_model){ 0 };
}

ds4_sampling ds4_model_sampling(const ds4_model *m)
{
    const ds4_model_info *info = ds4_engine_info(m->engine);
    return (ds4_sampling){ .temperature = info->temperature,
                           .top_p = info->top_p,
                           .min_p = info->min_p };
}
