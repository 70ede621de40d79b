/* talk_look.c - see talk.h: what is asked about a talk, and its end. */
#include "agent/talk.h"

#include <stdlib.h>
#include <string.h>

static void clear_item(ds4_talk_item *item)
{
    for (uint32_t i = 0; i < item->n_calls; i++) {
        ds4_str_clear(&item->calls[i].name);
        ds4_str_clear(&item->calls[i].arguments);
        ds4_str_clear(&item->calls[i].result);
    }
    free(item->calls);
    ds4_str_clear(&item->text);
    ds4_str_clear(&item->reasoning);
}

void ds4_talk_close(ds4_talk *t)
{
    ds4_journal_close(t->journal);
    for (uint32_t i = 0; i < t->n_items; i++) clear_item(&t->items[i]);
    for (uint32_t i = 0; i < t->n_queue; i++) ds4_str_clear(&t->queue[i]);
    free(t->items);
    free(t->queue);
    free(t->dir);
    free(t->id);
    ds4_tokens_clear(&t->tokens);
    ds4_str_clear(&t->model);
    ds4_str_clear(&t->root);
    ds4_str_clear(&t->vocabulary);
    *t = (ds4_talk){ 0 };
}

ds4_talk_item *ds4_talk_last(const ds4_talk *t, ds4_talk_record kind)
{
    for (uint32_t i = t->n_items; i > 0; i--) {
        if (t->items[i - 1].kind == kind) return &t->items[i - 1];
    }
    return NULL;
}

uint32_t ds4_talk_n_turns(const ds4_talk *t)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < t->n_items; i++) n += t->items[i].kind == DS4_TALK_USER;
    return n;
}

enum { TITLE_BYTES = 60 };

void ds4_talk_title(const ds4_talk *t, ds4_str *out)
{
    for (uint32_t i = 0; i < t->n_items; i++) {
        const ds4_talk_item *item = &t->items[i];
        if (item->kind != DS4_TALK_USER) continue;
        size_t     n = strcspn(ds4_str_text(&item->text), "\r\n");
        const bool cut = n > TITLE_BYTES;
        if (cut) n = TITLE_BYTES;
        while (cut && n > 0 && ((uint8_t)item->text.data[n] & 0xc0) == 0x80) n--;
        for (size_t k = 0; k < n; k++) {
            const uint8_t b = (uint8_t)item->text.data[k];
            ds4_str_add_char(out, b < 0x20 || b == 0x7f ? '?' : (char)b);
        }
        if (cut) ds4_str_add_text(out, "...");
        return;
    }
}
