/* ui_keys.h - bytes of a terminal into keys. */
#ifndef DS4_AGENT_UI_KEYS_H
#define DS4_AGENT_UI_KEYS_H

#include "app/agent/ui_scrub.h"

typedef enum ui_key {
    UI_KEY_NONE,
    UI_KEY_TEXT,                /* text: typed or pasted, clean; newlines only when it was pasted */
    UI_KEY_ENTER,
    UI_KEY_NEWLINE,             /* Alt-Enter, Ctrl-J */
    UI_KEY_ESC,
    UI_KEY_TAB,
    UI_KEY_BACK, UI_KEY_DELETE,
    UI_KEY_LEFT, UI_KEY_RIGHT, UI_KEY_UP, UI_KEY_DOWN, UI_KEY_HOME, UI_KEY_END,
    UI_KEY_WORD_LEFT, UI_KEY_WORD_RIGHT, UI_KEY_WORD_BACK, UI_KEY_WORD_DELETE,
    UI_KEY_CTRL,                /* ctrl: 'A' .. 'Z' without those above */
} ui_key;

typedef struct ui_keys {
    ds4_str  held;              /* bytes that are not keys yet */
    bool     pasting;
    ds4_str  text;              /* of the last key */
    char     ctrl;
} ui_keys;

/* Zeroed is ready. */
void ui_keys_add(ui_keys *k, const char *data, size_t n_bytes);

/* The next key; NONE when more bytes are wanted.
 *
 *   late   nothing came for a while: an Escape that waits for more is the key itself      */
ui_key ui_keys_next(ui_keys *k, bool late);

bool ui_keys_waiting(const ui_keys *k);         /* something is held that time would settle */
void ui_keys_clear(ui_keys *k);

#endif
