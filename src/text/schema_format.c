/* schema_format.c - the formats of strings, as regular expressions. Where a format's own rule
 * knows exceptions, these are left out: what is written here always fits it.
 *
 * Sources: RFC 3339 (dates and times), RFC 5321 and HTML (e-mail), RFC 1123 (names of hosts),
 * RFC 4291 (IPv6), RFC 3986 (URI), RFC 9562 (UUID), RFC 6901 (JSON pointers). */
#include "text/schema.h"

#include <string.h>

#define DATE                                                                                 \
    "(?:(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29|" \
    "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|"     \
    "[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8])))"
#define TIME  "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?"
#define ZONE  "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define TOP   "[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
/* Of e-mail addresses: short enough that a model that wanders comes to an end. */
#define NAME  "[A-Za-z0-9_+-]{1,24}"
#define SHORT "[A-Za-z0-9](?:[A-Za-z0-9-]{0,22}[A-Za-z0-9])?"
#define BYTE  "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4  BYTE "(?:\\." BYTE "){3}"
#define H16   "[0-9A-Fa-f]{1,4}"
#define IPV6                                                                                \
    "(?:(?:" H16 ":){7}" H16 "|(?:" H16 ":){1,7}:|(?:" H16 ":){1,6}:" H16 "|(?:" H16        \
    ":){1,5}(?::" H16 "){1,2}|(?:" H16 ":){1,4}(?::" H16 "){1,3}|(?:" H16 ":){1,3}(?::" H16 \
    "){1,4}|(?:" H16 ":){1,2}(?::" H16 "){1,5}|" H16 ":(?::" H16 "){1,6}|:(?:(?::" H16      \
    "){1,7}|:))"
#define PATH_CHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define TAIL      "(?:\\?(?:" PATH_CHAR "|[/?])*)?(?:#(?:" PATH_CHAR "|[/?])*)?"
#define HOST      "(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\\.)*[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
#define URI                                                                               \
    "(?:[A-Za-z][A-Za-z0-9+.-]*://" HOST "(?::[1-9][0-9]{0,3})?(?:/" PATH_CHAR "*)*" TAIL \
    "|(?:mailto:|tel:|urn:[A-Za-z0-9-]{2,31}:)" PATH_CHAR "+)"
#define DATES   "(?:[0-9]+Y(?:[0-9]+M)?(?:[0-9]+D)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
#define TIMES   "T(?:[0-9]+H(?:[0-9]+M)?(?:[0-9]+S)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
#define UUID    "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
#define POINTER "(?:/(?:[^~/\\x00-\\x1f]|~[01])*)*"

static const struct {
    const char *name, *pattern; /* NULL: it only describes */
} FORMATS[] = {
    { "date-time", DATE "T" TIME ZONE },
    { "date", DATE },
    { "time", TIME ZONE },
    { "duration", "P(?:" DATES "(?:" TIMES ")?|" TIMES "|[0-9]+W)" },
    { "email", NAME "(?:\\." NAME "){0,3}@(?:" SHORT "\\.){1,4}[A-Za-z]{2,13}" },
    { "hostname", "(?:" LABEL "\\.){0,2}" TOP },
    { "ipv4", IPV4 },
    { "ipv6", IPV6 },
    { "uuid", UUID },
    { "uri", URI },
    { "url", URI },
    { "iri", URI },
    { "uri-reference", "(?:" URI "|(?:/" PATH_CHAR "+)*/?" TAIL ")" },
    { "json-pointer", POINTER },
    { "relative-json-pointer", "(?:0|[1-9][0-9]*)(?:#|" POINTER ")" },
    { "byte", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?" },
    { "base64", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?" },
    { "base64url", "[A-Za-z0-9_-]*" },
    { "binary", NULL },
    { "password", NULL },
    { "int32", NULL },
    { "int64", NULL },
    { "uint32", NULL },
    { "uint64", NULL },
    { "float", NULL },
    { "double", NULL },
};

const ds4_lang *ds4_schema_format(ds4_schema *s, uint32_t node, bool *known)
{
    const ds4_slice name = s->tree.node[node].string;
    ds4_lang       *l = NULL;

    *known = false;
    for (uint32_t i = 0; i < s->n_langs; i++) {
        const ds4_json_node *other = &s->tree.node[s->lang[i].node];
        if (!s->lang[i].lang || !ds4_slice_eq(other->name, DS4_SLICE("format"))) continue;
        if (!ds4_slice_eq(other->string, name)) continue;
        *known = true;
        return s->lang[i].lang;
    }
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++) {
        const char *pattern = FORMATS[i].pattern;
        if (strlen(FORMATS[i].name) != name.n_bytes ||
            memcmp(FORMATS[i].name, name.data, name.n_bytes) != 0)
            continue;
        *known = true;
        if (!pattern || ds4_lang_from_regex(s->g, (ds4_slice){ pattern, strlen(pattern) }, true, &l,
                                            NULL) != DS4_OK)
            return NULL;
        return ds4_schema_keep_lang(s, node, l);
    }
    return NULL;
}
