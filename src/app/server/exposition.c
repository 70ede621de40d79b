/* exposition.c - see exposition.h. */
#include "app/server/exposition.h"

void ds4_expose_family(ds4_str *out, const char *name, const char *type, const char *help)
{
    ds4_str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void ds4_expose(ds4_str *out, const char *name, const char *labels, double value)
{
    const bool any = labels && *labels;

    ds4_str_addf(out, "%s%s%s%s %.15g\n", name, any ? "{" : "", any ? labels : "", any ? "}" : "",
                 value);
}

void ds4_expose_one(ds4_str *out, const char *name, const char *type, const char *help,
                    const char *labels, double value)
{
    ds4_expose_family(out, name, type, help);
    ds4_expose(out, name, labels, value);
}

void ds4_expose_histogram(ds4_str *out, const char *name, const char *help, const char *labels,
                          const ds4_histogram *h)
{
    const char        *comma = labels && *labels ? "," : "";
    const char        *open = *comma ? "{" : "", *close = *comma ? "}" : "";
    unsigned long long n = 0;

    if (!labels) labels = "";
    ds4_expose_family(out, name, "histogram", help);
    for (uint32_t i = 0; i < h->n_bounds; i++) {
        n += atomic_load(&h->n[i]);
        ds4_str_addf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, h->bounds[i], n);
    }
    n += atomic_load(&h->n[h->n_bounds]);
    ds4_str_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma, n);
    ds4_str_addf(out, "%s_sum%s%s%s %.15g\n", name, open, labels, close,
                 (double)atomic_load(&h->sum_millionths) / 1e6);
    ds4_str_addf(out, "%s_count%s%s%s %llu\n", name, open, labels, close, n);
}

void ds4_expose_label(ds4_str *labels, const char *name, const char *value)
{
    ds4_str_addf(labels, "%s%s=\"", labels->n_bytes ? "," : "", name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\') ds4_str_add_char(labels, '\\');
        if (*value == '\n') {
            ds4_str_add_text(labels, "\\n");
        } else {
            ds4_str_add_char(labels, *value);
        }
    }
    ds4_str_add_char(labels, '"');
}
