/* hf_json.h - the JSON files of a checkpoint folder. */
#ifndef DS4_APP_HF_JSON_H
#define DS4_APP_HF_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

/* Read a file that holds one JSON object; *out is to be released by the caller, NULL after a failure.
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT. */
DS4_MUST_CHECK ds4_status hf_json_load(const char *path, json_t **out, ds4_err *err);

/* An integer member in lo..hi.
 *
 *   path   of the file, for the message
 *
 * Returns DS4_OK; DS4_E_FORMAT when it is missing or another value. */
DS4_MUST_CHECK ds4_status hf_json_int(const char *path, const json_t *o, const char *name, uint32_t lo,
                                      uint32_t hi, uint32_t *out, ds4_err *err);

#endif
