/* eval_diff.c - ds4-eval diff: how far two files of logits are apart. */
#include "app/eval/eval.h"
#include "base/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct limits {
    ds4_option_f32 max, median, within;
} limits;

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The largest difference in a row; infinity when one side is not finite. */
static float row_distance(const float *a, const float *b, size_t n)
{
    float most = 0;

    for (size_t i = 0; i < n; i++) {
        const float d = fabsf(a[i] - b[i]);
        if (!(d <= most)) most = isnan(d) ? INFINITY : d;
    }
    return most;
}

/* Print the measures; false when one is past a limit that was given. */
static bool judge(float *worst, size_t n_rows, float bound, const limits *lim)
{
    size_t n_within = 0;

    for (size_t i = 0; i < n_rows; i++) n_within += worst[i] <= bound;
    qsort(worst, n_rows, sizeof *worst, by_value);
    const float  max = worst[n_rows - 1];
    const float  median =
        n_rows % 2 ? worst[n_rows / 2] : (worst[n_rows / 2 - 1] + worst[n_rows / 2]) / 2;
    const double share = (double)n_within / (double)n_rows;

    printf("rows=%zu max=%.9g median_row_max=%.9g within_%g=%.6f\n", n_rows, (double)max,
           (double)median, (double)bound, share);
    return (!lim->max.given || max <= lim->max.value) &&
           (!lim->median.given || median <= lim->median.value) &&
           (!lim->within.given || share >= (double)lim->within.value);
}

static int compare(const char *const *names, const ds4_map *maps, uint32_t n_cols, float bound,
                   const limits *lim)
{
    const uint64_t row_bytes = 4 * (uint64_t)n_cols;

    if (maps[0].n_bytes != maps[1].n_bytes) {
        ds4_app_say(DS4_EVAL_NAME, "%s has %llu bytes and %s %llu: they cannot be compared",
                    names[0], (unsigned long long)maps[0].n_bytes, names[1],
                    (unsigned long long)maps[1].n_bytes);
        return DS4_EXIT_FAILURE;
    }
    if (maps[0].n_bytes == 0 || maps[0].n_bytes % row_bytes != 0) {
        ds4_app_say(DS4_EVAL_NAME, "%s: %llu bytes are not whole rows of %u float32 values",
                    names[0], (unsigned long long)maps[0].n_bytes, n_cols);
        return DS4_EXIT_FAILURE;
    }
    const size_t n_rows = (size_t)(maps[0].n_bytes / row_bytes);
    const float *a = (const float *)(const void *)maps[0].data;
    const float *b = (const float *)(const void *)maps[1].data;
    float       *worst = malloc(n_rows * sizeof *worst);
    if (!worst) {
        ds4_app_say(DS4_EVAL_NAME, "no memory for %zu rows", n_rows);
        return DS4_EXIT_FAILURE;
    }
    for (size_t i = 0; i < n_rows; i++) {
        worst[i] = row_distance(a + i * n_cols, b + i * n_cols, n_cols);
    }
    const bool good = judge(worst, n_rows, bound, lim);
    free(worst);
    return good ? DS4_EXIT_OK : DS4_EXIT_FAILURE;
}

int ds4_eval_diff(const char *argv0, int argc, char **argv)
{
    uint32_t       n_cols = 0, n_words = 0;
    ds4_option_f32 bound = { .value = 1e-2f };
    limits         lim = { .max = { .given = false } };
    const char    *names[2] = { NULL, NULL };
    ds4_map        maps[2] = { { 0 }, { 0 } };
    ds4_err        err = { .code = DS4_OK };
    const ds4_option options[] = {
        DS4_OPT_U32(0, "cols", "N", &n_cols, 1, 1 << 30, "values in a row: the vocabulary"),
        DS4_OPT_F32(0, "bound", "X", &bound, 0, 1e30,
                    "count the rows whose largest difference is at\n"
                    "most X [0.01]"),
        DS4_OPT_F32(0, "max", "X", &lim.max, 0, 1e30, "fail when a difference is larger"),
        DS4_OPT_F32(0, "median", "X", &lim.median, 0, 1e30,
                    "fail when the median of the rows' largest\n"
                    "differences is larger"),
        DS4_OPT_F32(0, "within", "X", &lim.within, 0, 1,
                    "fail when a smaller share of rows is within the\n"
                    "bound"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_EVAL_NAME,
        .usage = "ds4-eval diff A.f32 B.f32 --cols N [options]",
        .about =
            "Compare two files of float32 rows and print rows=, max=, median_row_max= and the\n"
            "share of rows within the bound. Exit code 1 when a limit is not kept.",
        .options = options,
        .min_words = 2,
        .max_words = 2,
    };

    (void)argv0;
    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, names, &n_words);
    if (parsed != DS4_PARSED_RUN) return ds4_eval_parsed(parsed);
    if (n_cols == 0) {
        ds4_app_say(DS4_EVAL_NAME, "diff needs --cols");
        return DS4_EXIT_WRONG;
    }
    ds4_status st = ds4_map_open(&maps[0], names[0], &err);
    if (st == DS4_OK) st = ds4_map_open(&maps[1], names[1], &err);
    int code = st == DS4_OK ? compare(names, maps, n_cols, bound.value, &lim) : DS4_EXIT_OK;
    for (int i = 0; st == DS4_OK && i < 2; i++) st = ds4_map_check(&maps[i], names[i], &err);
    if (st != DS4_OK) code = ds4_app_failed(DS4_EVAL_NAME, &err);
    ds4_map_close(&maps[0]);
    ds4_map_close(&maps[1]);
    return code;
}
