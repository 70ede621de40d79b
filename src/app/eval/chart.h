/* chart.h - a small SVG picture: one row for each file, a point and its interval. */
#ifndef DS4_APP_EVAL_CHART_H
#define DS4_APP_EVAL_CHART_H

#include "app/eval/interval.h"
#include "base/str.h"

typedef struct ds4_chart_row {
    const char  *name;
    ds4_interval value;         /* >= 0 */
} ds4_chart_row;

/* Append a picture whose axis begins at 0. Names and title may hold any characters. */
void ds4_chart_add(ds4_str *out, const char *title, const ds4_chart_row *rows, uint32_t n);

#endif
