/* show.c - see show.h. */
#include "app/cli/show.h"

#include "app/common/app.h"

#include <stdio.h>

static void put(ds4_show *s, const char *data, size_t n_bytes)
{
    if (n_bytes == 0) return;
    fwrite(data, 1, n_bytes, stdout);
    s->last_byte = data[n_bytes - 1];
}

/* On a terminal, bytes that would steer it are left out; a carriage return too. UTF-8 has
 * its C1 controls as C2 80 .. C2 9F. */
static void put_text(ds4_show *s, ds4_slice text)
{
    size_t begin = 0;

    for (size_t i = 0; s->terminal && i < text.n_bytes; i++) {
        const uint8_t b = (uint8_t)text.data[i];
        const bool    is_c1 = b == 0xc2 && i + 1 < text.n_bytes && (uint8_t)text.data[i + 1] < 0xa0;
        if ((b >= 0x20 && b != 0x7f && !is_c1) || b == '\n' || b == '\t') continue;
        put(s, text.data + begin, i - begin);
        begin = i + (is_c1 ? 2 : 1);
        i = begin - 1;
    }
    put(s, text.data + begin, text.n_bytes - begin);
}

static void set_grey(ds4_show *s, bool grey)
{
    if (s->grey == grey) return;
    s->grey = grey;
    if (s->colour) fputs(grey ? "\033[90m" : "\033[0m", stdout);
}

/* Print what separates one kind of piece from the next. */
static void change(ds4_show *s, ds4_piece_kind to)
{
    if (s->in_call && to != DS4_PIECE_ARGUMENTS) {
        put(s, "]\n", 2);
        s->in_call = false;
    }
    if (!s->any || s->last == to) return;
    if (s->last == DS4_PIECE_THINKING && s->last_byte) {
        set_grey(s, false);
        put(s, "\n\n", s->last_byte == '\n' ? 1 : 2);
    } else if (to == DS4_PIECE_CALL && s->last_byte && s->last_byte != '\n') {
        put(s, "\n", 1);
    }
}

void ds4_show_begin(ds4_show *s, bool silent)
{
    *s = (ds4_show){ .terminal = ds4_term_is(stdout),
                     .colour = ds4_term_colour(stdout),
                     .silent = silent };
}

void ds4_show_piece(void *show, const ds4_piece *piece)
{
    ds4_show *s = show;

    if (s->silent || (piece->kind == DS4_PIECE_THINKING && !s->terminal)) return;
    change(s, piece->kind);
    set_grey(s, piece->kind == DS4_PIECE_THINKING);
    if (piece->kind == DS4_PIECE_CALL) {
        put(s, "[call ", 6);
        s->in_call = true;
    } else if (piece->kind == DS4_PIECE_ARGUMENTS && s->last == DS4_PIECE_CALL) {
        put(s, " ", 1);
    }
    put_text(s, piece->text);
    s->any = true;
    s->last = piece->kind;
    fflush(stdout);
}

void ds4_show_end(ds4_show *s)
{
    if (s->silent) return;
    set_grey(s, false);
    if (s->in_call) put(s, "]", 1);
    s->in_call = false;
    if (s->last_byte && s->last_byte != '\n') put(s, "\n", 1);
    fflush(stdout);
}

void ds4_show_progress(void *show, uint32_t n_done, uint32_t n_total)
{
    (void)show;
    if (n_done >= n_total) {
        ds4_term_progress_end();
    } else {
        ds4_term_progress("reading the prompt: %u of %u tokens (%u %%)", n_done, n_total,
                          (uint32_t)(100 * (uint64_t)n_done / n_total));
    }
}
