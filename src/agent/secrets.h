/* secrets.h - keys in files such as .env: their names are shown, their values are not.
 *
 * A file's name says whether it holds keys, and each line holds one. Values that look like keys are
 * remembered, and hidden in all output of commands too. A value that a command encodes or splits is not
 * found again. */
#ifndef DS4_AGENT_SECRETS_H
#define DS4_AGENT_SECRETS_H

#include "agent/root.h"

typedef struct ds4_secrets ds4_secrets;

ds4_secrets *ds4_secrets_create(void);              /* NULL without memory */
void         ds4_secrets_free(ds4_secrets *s);

/* Is a file of this name one that holds keys? ".env.example" and the like are not. */
bool ds4_secret_name(const char *name);

/* Append the text of such a file with each value replaced by "<masked, N characters>"; as many lines as
 * before. Values that look like keys are remembered in s; s may be NULL. */
void ds4_secrets_mask(ds4_secrets *s, const char *name, ds4_slice text, ds4_str *out);

/* Look for such files below the root, also ignored ones, and remember their values. */
void ds4_secrets_learn(ds4_secrets *s, const ds4_root *root);

/* Replace the values that are remembered. Returns how many places were replaced. */
size_t ds4_secrets_hide(const ds4_secrets *s, ds4_str *text);

#endif
