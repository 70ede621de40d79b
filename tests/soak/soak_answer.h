/* soak_answer.h - what an answer says, whichever API it came by and whether it was streamed. */
#ifndef DS4_SOAK_ANSWER_H
#define DS4_SOAK_ANSWER_H

#include "base/str.h"

typedef enum soak_api { SOAK_CHAT, SOAK_MESSAGES, SOAK_RESPONSES, SOAK_N_APIS } soak_api;

enum { SOAK_MAX_CHOICES = 4 };

/* Collected while it arrives; zeroed is empty but for the api. */
typedef struct soak_answer {
    soak_api api;
    ds4_str  line; /* an event that is not complete, or a whole body */
    ds4_str  thinking[SOAK_MAX_CHOICES], text[SOAK_MAX_CHOICES], calls[SOAK_MAX_CHOICES];
    ds4_str  probs; /* likelihoods, when they were asked for */
    char     finish[SOAK_MAX_CHOICES][40];
    unsigned n_prompt, n_generated;
    unsigned n_events;
    size_t   n_bytes;
    bool     ended;       /* the stream said so */
    bool     bad;         /* something that is no answer */
    double   first, last; /* when the first and the last text came; 0: none did */
} soak_answer;

/* Take bytes of an event stream, or of a whole body that soak_answer_whole() then reads. */
void soak_answer_stream(soak_answer *a, const char *data, size_t n_bytes);
void soak_answer_whole(soak_answer *a);

/* One text that two answers have in common exactly when they say the same. The caller
 * frees it. */
char *soak_answer_said(const soak_answer *a);
void  soak_answer_clear(soak_answer *a);

#endif
