/* syscall_walk.h - a child process that is killed, or whose disk is full, at the N-th
 * system call that changes files. Linux only: with ptrace, so that nothing in the program
 * need know. */
#ifndef DS4_TESTS_SYSCALL_WALK_H
#define DS4_TESTS_SYSCALL_WALK_H

#include <stdbool.h>

typedef enum walk_fault {
    WALK_KILL,                  /* before the call happens */
    WALK_NO_SPACE,              /* the call fails with ENOSPC, and so do all writes after it */
} walk_fault;

typedef struct walk_end {
    bool possible;              /* false: this system does not let us */
    bool reached;               /* there was an N-th call */
    int  status;                /* as waitpid() gives it */
} walk_end;

/* Run fn(ctx) in a child until its n-th such call (1, 2, 3, ...), then to its end. */
walk_end syscall_walk(void (*fn)(void *ctx), void *ctx, walk_fault fault, int n);

#endif
