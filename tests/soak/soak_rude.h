/* soak_rude.h - clients that do not behave: silent, slow, leaving, or very many. */
#ifndef DS4_SOAK_RUDE_H
#define DS4_SOAK_RUDE_H

typedef struct soak_rude soak_rude;

/* Until stopped: connections that say nothing, that stop in the middle of a request, that
 * send a byte now and then, and that ask for an answer and hardly read it. */
soak_rude *soak_rude_start(int port, unsigned n_each);

/* Returns how many connections there were. */
unsigned soak_rude_stop(soak_rude *r);

/* n connections, one behind the other: some ask, some leave at once, some leave without a
 * farewell or in the middle. Returns how many of those that asked were not answered.    */
unsigned soak_in_turn(int port, unsigned n);

#endif
