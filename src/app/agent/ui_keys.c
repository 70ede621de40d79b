/* ui_keys.c - see ui_keys.h. The sequences are those of xterm and the VT220, which all others send too. */
#include "app/agent/ui_keys.h"

#include <string.h>

#define PASTE_BEGIN "\033[200~"
#define PASTE_END   "\033[201~"

enum { MAX_SEQUENCE = 64, MAX_PASTE = 1 << 20 };

void ui_keys_add(ui_keys *k, const char *data, size_t n_bytes)
{
    ds4_str_add(&k->held, data, n_bytes);
}

void ui_keys_clear(ui_keys *k)
{
    ds4_str_clear(&k->held);
    ds4_str_clear(&k->text);
    *k = (ui_keys){ 0 };
}

bool ui_keys_waiting(const ui_keys *k)
{
    return k->held.n_bytes > 0 && !k->pasting;
}

static void drop(ui_keys *k, size_t n)
{
    memmove(k->held.data, k->held.data + n, k->held.n_bytes - n);
    ds4_str_truncate(&k->held, k->held.n_bytes - n);
}

static ui_key give_text(ui_keys *k, size_t n)
{
    ds4_str_truncate(&k->text, 0);
    ui_scrub_text((ds4_slice){ k->held.data, n }, false, &k->text);
    drop(k, n);
    return k->text.n_bytes ? UI_KEY_TEXT : UI_KEY_NONE;
}

/* "\033[" parameters final: the key, and NONE for one that is not known. */
static ui_key of_sequence(const char *seq, size_t n)
{
    static const struct { const char *tail; ui_key key;
    } known[] = {
        { "A", UI_KEY_UP },
        { "B", UI_KEY_DOWN },
        { "C", UI_KEY_RIGHT },
        { "D", UI_KEY_LEFT },
        { "H", UI_KEY_HOME },
        { "F", UI_KEY_END },
        { "1~", UI_KEY_HOME },
        { "7~", UI_KEY_HOME },
        { "4~", UI_KEY_END },
        { "8~", UI_KEY_END },
        { "3~", UI_KEY_DELETE },
        { "1;5C", UI_KEY_WORD_RIGHT },
        { "1;3C", UI_KEY_WORD_RIGHT },
        { "1;5D", UI_KEY_WORD_LEFT },
        { "1;3D", UI_KEY_WORD_LEFT },
        { "3;5~", UI_KEY_WORD_DELETE },
        { "3;3~", UI_KEY_WORD_DELETE },
        { "27;2;13~", UI_KEY_NEWLINE },
        { "13;2u", UI_KEY_NEWLINE },
        { "27;5;13~", UI_KEY_NEWLINE },
        { "13;5u", UI_KEY_NEWLINE },
        { "27u", UI_KEY_ESC },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (n == 2 + strlen(known[i].tail) && memcmp(seq + 2, known[i].tail, n - 2) == 0) return known[i].key;
    }
    return UI_KEY_NONE;
}

/* Bytes of a sequence that begins with "\033[" or "\033O"; 0 when its end has not come. */
static size_t sequence_bytes(const char *data, size_t n)
{
    if (n < 3) return 0;
    if (data[1] == 'O') return 3;
    for (size_t i = 2; i < n && i < MAX_SEQUENCE; i++) {
        if (data[i] >= 0x40 && data[i] <= 0x7e) return i + 1;
        if ((unsigned char)data[i] < 0x20 || (data[i] & 0x80)) return i;
    }
    return n >= MAX_SEQUENCE ? MAX_SEQUENCE : 0;
}

static ui_key of_alt(char c)
{
    if (c == 'b') return UI_KEY_WORD_LEFT;
    if (c == 'f') return UI_KEY_WORD_RIGHT;
    if (c == 'd') return UI_KEY_WORD_DELETE;
    if (c == 0x7f || c == '\b') return UI_KEY_WORD_BACK;
    if (c == '\r' || c == '\n') return UI_KEY_NEWLINE;
    return UI_KEY_NONE;
}

static ui_key after_escape(ui_keys *k, bool late, bool *more)
{
    const char  *data = k->held.data;
    const size_t n = k->held.n_bytes;

    *more = false;
    if (n == 1 || data[1] == 0x1b) {
        if (n == 1 && !late) return UI_KEY_NONE;
        drop(k, 1);
        return UI_KEY_ESC;
    }
    if (data[1] != '[' && data[1] != 'O') {
        const ui_key key = of_alt(data[1]);
        /* Escape, and then typed text: two keys. */
        drop(k, key == UI_KEY_NONE ? 1 : 2);
        return key == UI_KEY_NONE ? UI_KEY_ESC : key;
    }
    const size_t n_seq = sequence_bytes(data, n);
    if (n_seq == 0 && !late) return UI_KEY_NONE;
    if (n_seq == strlen(PASTE_BEGIN) && memcmp(data, PASTE_BEGIN, n_seq) == 0) k->pasting = true;
    const ui_key key = n_seq ? of_sequence(data, n_seq) : UI_KEY_NONE;
    drop(k, n_seq ? n_seq : n);
    *more = key == UI_KEY_NONE;
    return key;
}

static ui_key of_control(ui_keys *k, char c)
{
    drop(k, 1);
    switch (c) {
    case '\r': return UI_KEY_ENTER;
    case '\n': return UI_KEY_NEWLINE;
    case '\t': return UI_KEY_TAB;
    case '\b': case 0x7f: return UI_KEY_BACK;
    case 1: return UI_KEY_HOME;
    case 2: return UI_KEY_LEFT;
    case 5: return UI_KEY_END;
    case 6: return UI_KEY_RIGHT;
    case 14: return UI_KEY_DOWN;
    case 16: return UI_KEY_UP;
    case 23: return UI_KEY_WORD_BACK;
    default: break;
    }
    if (c < 1 || c > 26) return UI_KEY_NONE;
    k->ctrl = (char)('A' + c - 1);
    return UI_KEY_CTRL;
}

static ui_key of_paste(ui_keys *k)
{
    const char *end = memmem(k->held.data, k->held.n_bytes, PASTE_END, strlen(PASTE_END));

    if (!end && k->held.n_bytes < MAX_PASTE) return UI_KEY_NONE;
    const ui_key key = give_text(k, end ? (size_t)(end - k->held.data) : k->held.n_bytes);
    if (end) drop(k, strlen(PASTE_END));
    k->pasting = !end;
    return key;
}

ui_key ui_keys_next(ui_keys *k, bool late)
{
    while (k->held.n_bytes > 0) {
        const char c = k->held.data[0];
        ui_key     key = UI_KEY_NONE;
        bool       more = true;
        if (k->pasting) {
            const size_t before = k->held.n_bytes;
            key = of_paste(k);
            more = key == UI_KEY_NONE && k->held.n_bytes != before;
        } else if (c == 0x1b) {
            key = after_escape(k, late, &more);
        } else if ((unsigned char)c < 0x20 || c == 0x7f) {
            key = of_control(k, c);
        } else {
            size_t n = 0;
            while (n < k->held.n_bytes && (unsigned char)k->held.data[n] >= 0x20 && k->held.data[n] != 0x7f)
                n++;
            const size_t safe = n == k->held.n_bytes && !late ? ds4_utf8_safe_bytes(k->held.data, n) : n;
            if (safe == 0) return UI_KEY_NONE;
            key = give_text(k, safe);
        }
        if (key != UI_KEY_NONE || !more) return key;
    }
    return UI_KEY_NONE;
}
