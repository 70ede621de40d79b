/* file_forms.c - see file_forms.h. */
#include "model/file_forms.h"

#include "model/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tensors outside the inventory, by what their names contain. The first row that fits counts. */
typedef struct kind {
    const char *part;
    bool        is_first;           /* the name begins with it */
    bool        is_draft;
    const char *shown, *what;       /* in the line about them */
} kind;

static const kind kinds[] = {
    { "mtp.",                   true,  true,  "mtp.*",              "drafts" },
    { ".nextn.",                false, true,  "*.nextn.*",          "drafts" },
    { "bias_vl",                false, false, "*bias_vl*",          "the router's, for images" },
    { "exp_probs_b_vl",         false, false, "*exp_probs_b_vl*",   "the router's, for images" },
    { "vision.",                true,  false, "vision.*",           "images" },
    { "aligner.",               true,  false, "aligner.*",          "images" },
    { "image_",                 true,  false, "image_*",            "images" },
    { ".exp_probs_b.",          false, false, "*.exp_probs_b.*",    "of layers routed by token" },
};

enum { N_KINDS = sizeof kinds / sizeof kinds[0], UNKNOWN = N_KINDS };

static bool contains(ds4_slice name, const char *part, bool is_first)
{
    const size_t n = strlen(part);

    for (size_t i = 0; i + n <= name.n_bytes && (i == 0 || !is_first); i++) {
        if (memcmp(name.data + i, part, n) == 0) return true;
    }
    return false;
}

/* The number of a block's tensor and the rest of its name; -1 for another name. */
static int32_t block_of(ds4_slice name, ds4_slice *rest)
{
    size_t  i = 4;
    int32_t block = 0;

    if (name.n_bytes < 6 || memcmp(name.data, "blk.", 4) != 0) return -1;
    for (; i < name.n_bytes && name.data[i] >= '0' && name.data[i] <= '9' && i < 9; i++) {
        block = 10 * block + (name.data[i] - '0');
    }
    if (i == 4 || i == name.n_bytes || name.data[i] != '.') return -1;
    *rest = (ds4_slice){ name.data + i, name.n_bytes - i };
    return block;
}

/* The tensor of a block that is at hand, by the end of its name. */
static const ds4_gguf_tensor *find(const ds4_gguf *g, uint32_t block, const char *end)
{
    char name[96];

    snprintf(name, sizeof name, "blk.%u.%s", block, end);
    return ds4_gguf_tensor_find(g, name);
}

uint32_t ds4_file_forms_draft_blocks(const ds4_gguf *g, uint32_t n_blocks)
{
    bool     is_draft[DS4_MAX_LAYERS] = { false };
    uint32_t n = 0;

    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        ds4_slice     rest;
        const int32_t block = block_of(ds4_gguf_tensor_at(g, i)->name, &rest);
        if (block < 0 || (uint32_t)block >= n_blocks) continue;
        is_draft[block] |= contains(rest, ".nextn.", true);
    }
    while (n + 1 < n_blocks && is_draft[n_blocks - 1 - n]) n++;
    return n;
}

uint32_t ds4_file_forms_hash_layers(const ds4_gguf *g, uint32_t n_layers)
{
    uint32_t n = 0;

    while (n < n_layers && find(g, n, "ffn_gate_tid2eid.weight")) n++;
    return n;
}

uint32_t ds4_file_forms_experts(const ds4_gguf *g, uint32_t layer)
{
    enum { MOST = 4096 };
    const ds4_gguf_tensor *t = find(g, layer, "ffn_gate_exps.weight");

    return t && t->dim[2] <= MOST ? (uint32_t)t->dim[2] : 0;
}

bool ds4_file_forms_has_mtp(const ds4_gguf *g, const ds4_shape *s)
{
    if (ds4_gguf_tensor_find(g, "mtp.0.e_proj.weight")) return true;
    return find(g, s->n_layers, "nextn.e_proj.weight") || find(g, s->n_layers, "nextn.eh_proj.weight");
}

/* ---- tensors that are not used ------------------------------------------------------------------ */

/* used[i] for the file's tensors that the inventory names. */
static void mark_used(const ds4_gguf *g, const ds4_shape *s, bool *used)
{
    const ds4_gguf_tensor *first = ds4_gguf_tensor_at(g, 0);
    ds4_tensor_want        wants[DS4_MAX_WANTS];

    for (int32_t layer = -1; layer < (int32_t)s->n_layers; layer++) {
        const uint32_t n = ds4_tensors_list(s, layer, wants);
        for (uint32_t i = 0; i < n; i++) {
            const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, wants[i].name);
            if (t) used[t - first] = true;
        }
    }
}

static uint32_t kind_of(const ds4_shape *s, ds4_slice name)
{
    ds4_slice     rest;
    const int32_t block = block_of(name, &rest);

    /* All of a drafting block serves drafts, whatever its tensors are called. */
    if (block >= (int32_t)s->n_layers) return 0;
    for (uint32_t k = 0; k < N_KINDS; k++) {
        if (contains(name, kinds[k].part, kinds[k].is_first)) return k;
    }
    return UNKNOWN;
}

static void say(ds4_str *out, uint32_t n, ds4_slice shown, const char *what)
{
    if (out->n_bytes) ds4_str_add_text(out, ", ");
    ds4_str_addf(out, "%u %.*s (%s)", n, (int)shown.n_bytes, shown.data, what);
}

ds4_status ds4_file_forms_unused(const ds4_gguf *g, const ds4_shape *s, ds4_str *out, ds4_err *err)
{
    const uint32_t n_tensors = ds4_gguf_n_tensors(g);
    uint32_t       count[N_KINDS + 1] = { 0 };
    ds4_slice      stranger = { "", 0 };

    if (n_tensors == 0) return DS4_OK;
    bool *used = calloc(n_tensors, sizeof *used);
    if (!used) return ds4_fail(err, DS4_E_NOMEM, "no memory to look through %u tensors", n_tensors);
    mark_used(g, s, used);
    for (uint32_t i = 0; i < n_tensors; i++) {
        const ds4_slice name = ds4_gguf_tensor_at(g, i)->name;
        if (used[i]) continue;
        const uint32_t k = kind_of(s, name);
        if (count[k]++ == 0 && k == UNKNOWN) stranger = name;
    }
    free(used);
    for (uint32_t k = 0; k < N_KINDS; k++) {
        if (count[k] == 0 || kinds[k].is_draft) continue;
        say(out, count[k], (ds4_slice){ kinds[k].shown, strlen(kinds[k].shown) }, kinds[k].what);
    }
    if (count[UNKNOWN]) say(out, count[UNKNOWN], stranger, "the first of them; unknown to this program");
    return out->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory to name tensors") : DS4_OK;
}
