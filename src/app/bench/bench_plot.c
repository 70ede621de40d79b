/* bench_plot.c - results as an SVG picture: prefill above, decoding below; see bench.h. */
#include "app/bench/bench.h"

#include <math.h>
#include <stdio.h>

/* All in pixels of the picture. */
enum { WIDTH = 860, HEIGHT = 660, LEFT = 84, RIGHT = 24, PANEL = 220, FIRST_TOP = 56, SECOND_TOP = 366,
       LEGEND_LINE = 8 };

static const char *const colours[] = { "#1f5fa8", "#c4561c", "#2a7f4f", "#8a3f8f",
                                       "#7a6a1a", "#b02a4a", "#3f7f8f", "#555555" };
enum { N_COLOURS = sizeof colours / sizeof colours[0] };

/* One panel's scale: values 0 .. top over contexts 0 .. right. */
typedef struct panel {
    ds4_str *out;
    int      top_y;
    double   top, right;
} panel;

static double x_of(const panel *p, double ctx)
{
    return LEFT + ctx / p->right * (WIDTH - LEFT - RIGHT);
}

static double y_of(const panel *p, double value)
{
    return p->top_y + PANEL - value / p->top * PANEL;
}

/* 1, 2 or 5 times a power of ten, so that at most five steps reach `most`. */
static double nice_step(double most)
{
    const double power = pow(10.0, floor(log10(most / 5.0)));
    const double rest = most / 5.0 / power;

    return power * (rest <= 1.0 ? 1.0 : rest <= 2.0 ? 2.0 : rest <= 5.0 ? 5.0 : 10.0);
}

static void text(ds4_str *out, double x, double y, const char *anchor, const char *what)
{
    ds4_str_addf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (const char *c = what; *c; c++) {
        if (*c == '<') ds4_str_add_text(out, "&lt;");
        else if (*c == '&') ds4_str_add_text(out, "&amp;");
        else ds4_str_add_char(out, *c);
    }
    ds4_str_add_text(out, "</text>\n");
}

static void grid_line(ds4_str *out, double x0, double y0, double x1, double y1)
{
    ds4_str_addf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n",
                 x0, y0, x1, y1);
}

/* Contexts are counted in steps of 1024 when they are long enough. */
static void context_axis(const panel *p)
{
    const double bottom = p->top_y + PANEL, unit = p->right >= 4096 ? 1024.0 : 1.0;
    double       step = unit;
    char         label[32];

    if (unit == 1.0) step = nice_step(p->right);
    else while (p->right / step > 8.0) step *= 2.0;
    for (double ctx = 0.0; ctx <= p->right * 1.0001; ctx += step) {
        grid_line(p->out, x_of(p, ctx), p->top_y, x_of(p, ctx), bottom);
        snprintf(label, sizeof label, unit > 1.0 && ctx > 0.0 ? "%.0fk" : "%.0f", ctx / unit);
        text(p->out, x_of(p, ctx), bottom + 18, "middle", label);
    }
    text(p->out, LEFT + (WIDTH - LEFT - RIGHT) / 2.0, bottom + 38, "middle", "context, tokens");
}

static void value_axis(const panel *p)
{
    const double step = nice_step(p->top);
    const int    digits = step < 1.0 ? (int)ceil(-log10(step)) : 0;
    char         label[32];

    for (double v = 0.0; v <= p->top * 1.0001; v += step) {
        grid_line(p->out, LEFT, y_of(p, v), WIDTH - RIGHT, y_of(p, v));
        snprintf(label, sizeof label, "%.*f", digits, v);
        text(p->out, LEFT - 8, y_of(p, v) + 4, "end", label);
    }
    const double middle = p->top_y + PANEL / 2.0;
    ds4_str_addf(p->out, "<text x=\"22\" y=\"%.1f\" text-anchor=\"middle\""
                 " transform=\"rotate(-90 22 %.1f)\">tokens per second</text>\n", middle, middle);
    ds4_str_addf(p->out, "<path d=\"M%d %d V%d H%d\" fill=\"none\" stroke=\"#444444\"/>\n", LEFT,
                 p->top_y, p->top_y + PANEL, WIDTH - RIGHT);
}

static double value_of(const bench_row *w, bool prefill)
{
    return prefill ? w->prefill_tps : w->gen_tps;
}

/* Every n_batches-th row from the first on is one line. */
static void curve(const panel *p, const bench_result *r, uint32_t i_batch, bool prefill)
{
    const char    *colour = colours[prefill ? 0 : (i_batch + 1) % N_COLOURS];
    const uint32_t n_batches = r->options->n_batches;

    ds4_str_addf(p->out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (uint32_t i = i_batch; i < r->n_rows; i += n_batches) {
        const bench_row *w = &r->rows[i];
        ds4_str_addf(p->out, "%.1f,%.1f ", x_of(p, w->ctx_tokens), y_of(p, value_of(w, prefill)));
    }
    ds4_str_add_text(p->out, "\"/>\n");
    for (uint32_t i = i_batch; i < r->n_rows; i += n_batches) {
        const bench_row *w = &r->rows[i];
        ds4_str_addf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
                     x_of(p, w->ctx_tokens), y_of(p, value_of(w, prefill)), colour);
    }
}

/* Above the panel, from the left; sixteen batch sizes take two lines. */
static void legend(const panel *p, const bench_result *r, bool prefill)
{
    const uint32_t n = prefill ? 1 : r->options->n_batches;
    double         x = LEFT;
    char           label[64];

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t batch = r->options->batch[i];
        const int      y = p->top_y - (n > LEGEND_LINE && i < LEGEND_LINE ? 32 : 16);
        if (prefill) snprintf(label, sizeof label, "prefill, from the previous context");
        else if (n == 1 && batch == 1) snprintf(label, sizeof label, "decoding");
        else snprintf(label, sizeof label, i ? "batch %u" : "decoding, batch %u", batch);
        ds4_str_addf(p->out, "<path d=\"M%.1f %d h22\" stroke=\"%s\" stroke-width=\"2\"/>\n", x, y,
                     colours[prefill ? 0 : (i + 1) % N_COLOURS]);
        text(p->out, x + 28, y + 4, "start", label);
        x = i + 1 == LEGEND_LINE ? LEFT : x + (i ? 84.0 : 164.0);
    }
}

static void draw_panel(const bench_result *r, bool prefill, ds4_str *out)
{
    panel p = { .out = out, .top_y = prefill ? FIRST_TOP : SECOND_TOP };

    for (uint32_t i = 0; i < r->n_rows; i++) {
        p.top = fmax(p.top, value_of(&r->rows[i], prefill) * 1.08);
        p.right = fmax(p.right, r->rows[i].ctx_tokens);
    }
    if (!(p.top > 0.0) || !(p.right > 0.0)) return;
    context_axis(&p);
    value_axis(&p);
    legend(&p, r, prefill);
    for (uint32_t i = 0; i < (prefill ? 1 : r->options->n_batches); i++) curve(&p, r, i, prefill);
}

void bench_svg(const bench_result *r, ds4_str *out)
{
    char title[400];

    ds4_str_addf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\""
                 " viewBox=\"0 0 %d %d\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\""
                 " fill=\"#222222\">\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
                 WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    snprintf(title, sizeof title, "%s, %u threads", r->model, r->n_threads);
    text(out, LEFT, 22, "start", title);
    draw_panel(r, true, out);
    draw_panel(r, false, out);
    ds4_str_add_text(out, "</svg>\n");
}
