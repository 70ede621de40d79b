/* ui_style.c - see ui_style.h. Only colours of the terminal's own sixteen: people chose them to be readable.
 * */
#include "app/agent/ui_style.h"

static const struct { const char *colour, *plain; } sgr[UI_N_STYLES] = {
    [UI_PLAIN]       = { "", "" },
    [UI_BOLD]        = { "\033[1m", "\033[1m" },
    [UI_ITALIC]      = { "\033[3m", "\033[3m" },
    [UI_BOLD_ITALIC] = { "\033[1;3m", "\033[1;3m" },
    [UI_STRIKE]      = { "\033[9m", "\033[9m" },
    [UI_CODE]        = { "\033[36m", "\033[1m" },
    [UI_LINK]        = { "\033[4;34m", "\033[4m" },
    [UI_HEADING]     = { "\033[1;35m", "\033[1m" },
    [UI_DIM]         = { "\033[90m", "\033[2m" },
    [UI_USER]        = { "\033[1;34m", "\033[1m" },
    [UI_OK]          = { "\033[32m", "" },
    [UI_WARN]        = { "\033[33m", "" },
    [UI_ERROR]       = { "\033[31m", "\033[1m" },
    [UI_ADDED]       = { "\033[32m", "" },
    [UI_REMOVED]     = { "\033[31m", "" },
    [UI_PLACE]       = { "\033[36m", "\033[2m" },
    [UI_KEYWORD]     = { "\033[35m", "\033[1m" },
    [UI_STRING]      = { "\033[32m", "" },
    [UI_NUMBER]      = { "\033[33m", "" },
    [UI_COMMENT]     = { "\033[90m", "\033[2m" },
};

const char *ui_sgr(const ui_look *look, ui_style style)
{
    return look->colour ? sgr[style].colour : sgr[style].plain;
}

void ui_styled(const ui_look *look, ui_style style, ds4_slice text, ds4_str *out)
{
    const char *on = ui_sgr(look, style);

    ds4_str_add_text(out, on);
    ds4_str_add(out, text.data, text.n_bytes);
    if (*on) ds4_str_add_text(out, UI_RESET);
}

const char *ui_marks(const ui_look *look, ui_mark mark)
{
    static const struct { const char *utf8, *ascii; } marks[] = {
        [UI_MARK_USER] = { "›", ">" },   [UI_MARK_BULLET] = { "•", "*" }, [UI_MARK_QUOTE] = { "│", "|" },
        [UI_MARK_RULE] = { "─", "-" },   [UI_MARK_RUN] = { "●", "*" },    [UI_MARK_OK] = { "✓", "+" },
        [UI_MARK_BAD] = { "✗", "x" },    [UI_MARK_MORE] = { "…", "..." }, [UI_MARK_DOT] = { "·", "-" },
        [UI_MARK_FULL] = { "█", "#" },   [UI_MARK_EMPTY] = { "░", "." },
    };
    return look->utf8 ? marks[mark].utf8 : marks[mark].ascii;
}
