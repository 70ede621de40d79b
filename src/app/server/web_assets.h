/* web_assets.h - the files of the web page, inside the program.
 *
 * The table is made from src/app/server/web/ and the page's libraries (tools/web_libs.sh) by
 * tools/embed_web.sh when the program is built, so that a server is one file and its page
 * needs nothing from elsewhere.
 *
 * A server does this with it: answer GET and HEAD for each path with the type, bytes and
 * etag (304 when If-None-Match names it) and the headers below, without asking for the API
 * key: the pages ask for it themselves when an answer of the API has status 401.
 * web/README.md says which endpoints the pages call and what they read from the answers.   */
#ifndef DS4_SERVER_WEB_ASSETS_H
#define DS4_SERVER_WEB_ASSETS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct ds4_web_asset {
    const char    *path;        /* "/", "/dashboard", "/assets/chat.js" ... */
    const char    *type;        /* for Content-Type */
    const uint8_t *bytes;       /* [n_bytes] */
    size_t         n_bytes;
    const char    *etag;        /* with its quotes; changes with the bytes */
} ds4_web_asset;

extern const ds4_web_asset ds4_web_assets[];
extern const size_t        ds4_web_n_assets;

/* Headers of every asset. The pages need no inline code, no plug-ins and no other host; what
 * a model writes is inserted as text, and this is the second line of defence.              */
#define DS4_WEB_CSP "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " \
                    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; " \
                    "form-action 'none'; frame-ancestors 'none'"
#define DS4_WEB_CACHE "no-cache"            /* ask each time, by etag */
#define DS4_WEB_NOSNIFF "nosniff"           /* X-Content-Type-Options */
#define DS4_WEB_REFERRER "no-referrer"      /* Referrer-Policy */

/* The asset of a path without its query; NULL when there is none. */
static inline const ds4_web_asset *ds4_web_asset_find(const char *path)
{
    for (size_t i = 0; i < ds4_web_n_assets; i++) {
        if (strcmp(ds4_web_assets[i].path, path) == 0) return &ds4_web_assets[i];
    }
    return NULL;
}

#endif
