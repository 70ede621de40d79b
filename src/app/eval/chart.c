/* chart.c - see chart.h. */
#include "app/eval/chart.h"

#include <math.h>

enum { LEFT = 170, WIDTH = 430, ROW = 26, TOP = 44, RIGHT = 90 };

static void add_escaped(ds4_str *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<') ds4_str_add_text(out, "&lt;");
        else if (*text == '>') ds4_str_add_text(out, "&gt;");
        else if (*text == '&') ds4_str_add_text(out, "&amp;");
        else if (*text == '"') ds4_str_add_text(out, "&quot;");
        else ds4_str_add_char(out, *text);
    }
}

/* The end of the axis: 1, 2 or 5 times a power of ten. */
static double axis_end(double most)
{
    const double power = pow(10, floor(log10(most > 0 ? most : 1)));

    for (int i = 0; i < 4; i++) {
        const double end = power * (double[]){ 1, 2, 5, 10 }[i];
        if (most <= end) return end;
    }
    return 10 * power;
}

static void add_row(ds4_str *out, const ds4_chart_row *row, uint32_t i, double end)
{
    const int    y = TOP + (int)i * ROW + ROW / 2;
    const double half = isfinite(row->value.half) ? row->value.half : 0;
    const double x = LEFT + WIDTH * row->value.value / end;
    const double lo = LEFT + WIDTH * fmax(row->value.value - half, 0) / end,
                 hi = LEFT + WIDTH * (row->value.value + half) / end;

    ds4_str_addf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 8, y + 4);
    add_escaped(out, row->name);
    ds4_str_addf(out, "</text>\n<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#1f77b4\" "
                 "stroke-width=\"3\"/>\n<circle cx=\"%.1f\" cy=\"%d\" r=\"4\" fill=\"#1f77b4\"/>\n"
                 "<text x=\"%.1f\" y=\"%d\">%.4g</text>\n", lo, hi, y, y, x, y, hi + 8, y + 4,
                 row->value.value);
}

void ds4_chart_add(ds4_str *out, const char *title, const ds4_chart_row *rows, uint32_t n)
{
    double most = 0;

    for (uint32_t i = 0; i < n; i++) {
        const double half = isfinite(rows[i].value.half) ? rows[i].value.half : 0;
        most = fmax(most, rows[i].value.value + half);
    }
    const double end = axis_end(most);
    const int    bottom = TOP + (int)n * ROW;
    ds4_str_addf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                 "font-family=\"sans-serif\" font-size=\"12\">\n"
                 "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"22\" "
                 "font-weight=\"bold\">", LEFT + WIDTH + RIGHT, bottom + 30, LEFT);
    add_escaped(out, title);
    ds4_str_add_text(out, "</text>\n");
    for (int i = 0; i <= 4; i++) {
        const int x = LEFT + WIDTH * i / 4;
        ds4_str_addf(out, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#ccc\"/>\n"
                     "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n", x, x, TOP - 6, bottom, x,
                     bottom + 18, end * i / 4);
    }
    for (uint32_t i = 0; i < n; i++) add_row(out, &rows[i], i, end);
    ds4_str_add_text(out, "</svg>\n");
}
