/* pyjson.h - JSON text as prompts need it: written the way Python's json.dumps with
 * ensure_ascii=False writes it, which is what the model was trained on.
 *
 * Works on text. Strict JSON only (RFC 8259, valid UTF-8, depth at most
 * DS4_PYJSON_MAX_DEPTH); errors name the byte. Numbers keep the digits of their source.
 * A lone surrogate escape becomes U+FFFD. Of members with the same name the first gives
 * the place and the last the value, as in a Python dict.                             */
#ifndef DS4_TEXT_PYJSON_H
#define DS4_TEXT_PYJSON_H

#include "base/err.h"
#include "base/str.h"

enum {
    DS4_PYJSON_MAX_DEPTH = 128,
};

typedef enum ds4_json_kind {
    DS4_JSON_NONE,              /* no value begins here */
    DS4_JSON_OBJECT,
    DS4_JSON_ARRAY,
    DS4_JSON_STRING,
    DS4_JSON_NUMBER,
    DS4_JSON_TRUE,
    DS4_JSON_FALSE,
    DS4_JSON_NULL,
} ds4_json_kind;

/* Tell the kind of a text from its first byte that is not white space. */
ds4_json_kind ds4_pyjson_kind(ds4_slice json);

/* Append one JSON value, written anew: ", " and ": " between, members in their order.
 *
 *   out  on failure it is as before
 *
 * Returns DS4_OK; DS4_E_FORMAT with the byte position and what is wrong; DS4_E_LIMIT
 * when nested too deeply; DS4_E_NOMEM.                                               */
DS4_MUST_CHECK ds4_status ds4_pyjson_dump(ds4_slice json, ds4_str *out, ds4_err *err);

/* Check without writing. Returns as ds4_pyjson_dump() does. */
DS4_MUST_CHECK ds4_status ds4_pyjson_check(ds4_slice json, ds4_err *err);

/* Append the text that a JSON string stands for; json is the string with its quotes. */
DS4_MUST_CHECK ds4_status ds4_pyjson_decode_string(ds4_slice json, ds4_str *out, ds4_err *err);

/* Append text as a JSON string with quotes. Damaged UTF-8 becomes U+FFFD. */
void ds4_pyjson_add_string(ds4_str *out, ds4_slice text);

/* Append text as the inside of a JSON string; text must be whole characters. For streams. */
void ds4_pyjson_add_escaped(ds4_str *out, ds4_slice text);

/* Walks over the members of an object or the elements of an array. */
typedef struct ds4_pyjson_iter {
    ds4_slice     json;
    ds4_json_kind kind;         /* DS4_JSON_OBJECT or DS4_JSON_ARRAY */
    size_t        pos;
} ds4_pyjson_iter;

/* Check the whole text and begin. Returns DS4_OK; as ds4_pyjson_check(); DS4_E_FORMAT
 * when it is neither an object nor an array.                                         */
DS4_MUST_CHECK ds4_status ds4_pyjson_open(ds4_pyjson_iter *it, ds4_slice json, ds4_err *err);

/* The next entry, as slices of the source: the name with its quotes (empty in an array;
 * may be NULL) and the value. False at the end.                                      */
bool ds4_pyjson_next(ds4_pyjson_iter *it, ds4_slice *name, ds4_slice *value);

/* The value of the last member called name (plain text); false when there is none or the
 * text is no valid JSON object. Names are compared after decoding.                   */
bool ds4_pyjson_get(ds4_slice json, const char *name, ds4_slice *value);

#endif
