/* recording.h - recorded requests of a client, made real again; tests/clients/README.md has
 * the form of the files. What goes wrong fails the running test. */
#ifndef DS4_TESTS_RECORDING_H
#define DS4_TESTS_RECORDING_H

#include "base/str.h"

#include <jansson.h>
#include <stdint.h>

enum { RECORDING_MAX_STEPS = 40, RECORDING_MAX_IDS = 64 };

typedef struct recording_step {
    bool        restart;        /* the server is started again; nothing else is set */
    bool        has_tools;      /* a request of the conversation, not one beside it with fewer of them */
    bool        is_head;
    int         status;
    const char *method, *path;
    const char *api;            /* "chat", "messages", "responses", or "" without an answer's form */
    const char *events, *text;  /* as in recording_answer */
    char       *calls;
    char       *id[RECORDING_MAX_IDS];  /* [n_ids] that the answer brought in this run */
    uint32_t    n_ids;
} recording_step;

typedef struct recording {
    json_t        *json;
    recording_step step[RECORDING_MAX_STEPS];
    uint32_t       n_steps;
    uint32_t       part, n_tools;
} recording;

/* What an answer says. */
typedef struct recording_answer {
    ds4_str  events;            /* their names in order, repetitions taken together */
    ds4_str  text;
    ds4_str  calls;             /* "NAME ARGUMENTS\n" of each */
    uint32_t n_prompt, n_cached, n_generated;
} recording_answer;

/* Fillers get 1 / part of their length; of the tools the first n_tools stay and those called. */
void recording_open(recording *r, const char *client, uint32_t part, uint32_t n_tools);
void recording_close(recording *r);

/* The lines of JSON that prescribe what is sampled. */
void recording_script(const recording *r, ds4_str *out);

/* The request of a step: its line, its headers and its body. */
void recording_request(const recording *r, uint32_t i_step, ds4_str *out);

/* Keep the names that an answer gave, since later requests contain them. */
void recording_take_ids(recording *r, uint32_t i_step, const char *answer);

void recording_read(const char *api, const char *answer, recording_answer *out);
void recording_answer_clear(recording_answer *a);

#endif
