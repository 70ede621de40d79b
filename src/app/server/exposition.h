/* exposition.h - numbers in the text format that Prometheus reads, version 0.0.4. */
#ifndef DS4_APP_SERVER_EXPOSITION_H
#define DS4_APP_SERVER_EXPOSITION_H

#include "base/histogram.h"
#include "base/str.h"

/* Write the head of a name's samples: HELP and TYPE ("counter", "gauge", "histogram"). */
void ds4_expose_family(ds4_str *out, const char *name, const char *type, const char *help);

/* A sample. labels is text as `a="b",c="d"`, whose values were escaped; NULL or "": none. */
void ds4_expose(ds4_str *out, const char *name, const char *labels, double value);

/* A family with one sample. */
void ds4_expose_one(ds4_str *out, const char *name, const char *type, const char *help, const char *labels,
                    double value);

/* The buckets, sum and count of a histogram, with its family. */
void ds4_expose_histogram(ds4_str *out, const char *name, const char *help, const char *labels,
                          const ds4_histogram *h);

/* Append name="value" with what the format asks to be escaped, a comma before it if it is not the
 * first. */
void ds4_expose_label(ds4_str *labels, const char *name, const char *value);

#endif
