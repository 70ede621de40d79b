/* server.h - the running server: what all its parts share.
 *
 * The way of a request, on the thread of its connection:
 *
 *     http.c              takes it from the socket
 *     route.c             decides who may ask what, first by its head alone
 *     request.c           reads the body, with the reader of its API (*_request.c), into one
 *                         structure for all of them; or refuse.c says what is wrong with it
 *     generate.c          gives back earlier turns as they were sampled, renders the prompt, and
 *                         puts a job into the line (service/scheduler.h)
 *     answer.c            listens to the job's channel, and remembers the turn at its end
 *     *_write.c           say what happens in the words of the API
 *     http.c              sends it
 *
 * Pages that need no model are in pages.c and metrics_page.c. say.c writes the log, in which every
 * request has a line (route.c, at its end). main.c starts and ends it all, as command_line.c has
 * read it. */
#ifndef DS4_APP_SERVER_SERVER_H
#define DS4_APP_SERVER_SERVER_H

#include "app/server/http.h"
#include "app/server/keys.h"
#include "app/server/metrics.h"
#include "app/server/request.h"
#include "app/server/say.h"
#include "service/model_open.h"
#include "service/turn_replay.h"
#include "service/scheduler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

typedef struct ds4_script ds4_script;           /* see script.h */

/* As the command line gives it. */
typedef struct ds4_server_options {
    const char *host;
    uint32_t    port, n_ctx, n_parallel, max_queue, max_tokens, max_connections, loop_tokens;
    int         speculate;      /* a ds4_speculate */
    uint32_t    max_body_mb;
    uint32_t    max_chunk;      /* prompt tokens of a step; 0: as the engine likes it */
    uint32_t    max_turns;      /* remembered */
    bool        no_replay;      /* of turns as they were sampled */
    bool        keys_apart;     /* a key's prompts are never resumed for another key */
    bool        official_sampling;      /* temperature and top_p mean nothing while reasoning is on */
    const ds4_keys *keys;       /* lent; without any nobody is asked */
    const char *api_key;        /* the first of them, NULL without; what configurations show */
    const char *const *origins; /* [n_origins] that a browser page may come from */
    const char *const *hosts;   /* [n_hosts] under which the server is known, beside its address */
    uint32_t    n_origins, n_hosts;
    uint64_t    request_bytes;  /* memory of all requests together */
    bool        vllm_metrics;   /* also under vLLM's names */
    const char *trace_path, *script_path;
    uint64_t    turn_bytes;     /* memory for sampled turns and responses */
    const char *model_id;       /* what /v1/models calls it */
} ds4_server_options;

typedef struct ds4_server {
    ds4_server_options opt;
    ds4_model          model;
    const ds4_vocab   *vocab;
    ds4_resume        *resume;
    ds4_scheduler     *scheduler;
    ds4_texts         *texts;   /* sampled turns and stored responses */
    ds4_script        *script;  /* NULL in ordinary builds */
    ds4_http          *http;
    ds4_trace         *trace;   /* NULL: none */
    ds4_metrics        metrics;
    ds4_budget         budget;  /* of the requests' memory */
    uint64_t           start_ns;
    long               start_time;      /* seconds since 1970 */
    atomic_bool        ready;   /* the model is open: before, there is nothing but ds4_http */
    atomic_bool        draining;
    atomic_ullong      n_replayed;      /* turns given back as they were sampled */
} ds4_server;

/* ---- owner.c ---------------------------------------------------------------------------------- */

/* The key that a request shows, lent; NULL for none or a wrong one. */
const char *ds4_key_of(const ds4_server *s, const ds4_http_request *rq);

/* Name the owner of a request: the name comes from its key and does not tell it; zero without keys. */
ds4_kv_key ds4_owner_of(const ds4_server *s, const ds4_http_request *rq);

/* ---- route.c ---------------------------------------------------------------------------------- */

bool ds4_route_check(void *server, const ds4_http_request *rq, ds4_http_answer *a);
void ds4_route_handle(void *server, const ds4_http_request *rq, ds4_http_answer *a);
void ds4_route_refuse(void *server, const ds4_http_request *rq, int status, const char *message,
                      ds4_http_answer *a);
void ds4_route_done(void *server, const ds4_http_request *rq, const ds4_http_outcome *o);

/* ---- refuse.c ----------------------------------------------------------------------------------- */

/* The API whose shapes a path speaks. */
ds4_api     ds4_api_of(const char *path);
const char *ds4_api_name(ds4_api api);  /* in logs and metrics */

typedef struct ds4_problem {
    int         status;         /* HTTP */
    const char *message;
    const char *param;          /* "" or NULL: none */
    const char *code;           /* of OpenAI's errors; NULL: none */
    uint32_t    n_prompt, n_ctx;        /* of a prompt that is too long; 0: another problem */
    const char *id;             /* of the request, in Anthropic's errors; NULL: none */
} ds4_problem;

/* An error in the shape of its API, as a whole answer or as the JSON alone. */
void ds4_refuse_with(ds4_api api, const ds4_problem *p, ds4_http_answer *a);
void ds4_problem_json(ds4_api api, const ds4_problem *p, ds4_str *out);
int  ds4_http_status_of(ds4_status st);

/* ---- pages.c: everything that asks nothing of the model ------------------------------------------ */

void ds4_page_models(ds4_server *s, const char *id, ds4_http_answer *a);    /* id NULL: the list */
void ds4_page_health(ds4_server *s, ds4_http_answer *a);
void ds4_page_stats(ds4_server *s, ds4_http_answer *a);
void ds4_page_tokenize(ds4_server *s, const ds4_http_request *rq, ds4_http_answer *a);
void ds4_page_asset(const ds4_http_request *rq, const char *path, ds4_http_answer *a);

/* ---- stored.c: responses that were stored ----------------------------------------------------------- */

/* GET and DELETE of /responses/ID, GET of /responses/ID/input_items. */
void ds4_page_stored(ds4_server *s, const ds4_http_request *rq, const char *path, ds4_http_answer *a);

/* ---- metrics_page.c ------------------------------------------------------------------------------ */

void ds4_page_metrics(ds4_server *s, ds4_http_answer *a);

/* ---- generate.c --------------------------------------------------------------------------------- */

void ds4_generate(ds4_server *s, ds4_api api, const ds4_http_request *rq, ds4_http_answer *a);
void ds4_count_tokens(ds4_server *s, const ds4_http_request *rq, ds4_http_answer *a);

/* ---- ids.c -------------------------------------------------------------------------------------- */

void ds4_random_id(const char *prefix, uint32_t n_hex, char *out, size_t n_bytes);

#endif
