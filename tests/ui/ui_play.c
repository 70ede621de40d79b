/* ui_play.c - the terminal front with an agent that plays a script (fake_agent.h), for tests with tmux.
 *
 *   ui_play SCRIPT [HISTORY]      files are completed below the current folder */
#include "app/agent/ui.h"
#include "base/file.h"
#include "ui/fake_agent.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    ds4_ui_options opt = {
        .history_path = argc > 2 ? argv[2] : NULL, .colour = !getenv("NO_COLOR"), .in = 0, .out = 1
    };
    ds4_str        script = { 0 };
    ds4_err        err = { .code = DS4_OK };
    ds4_ui        *ui = NULL;

    if (argc < 2 || ds4_file_read(argv[1], 1 << 20, &script, &err) != DS4_OK ||
        ds4_ui_open(&opt, &ui, &err) != DS4_OK) {
        fprintf(stderr, "ui_play: %s\n", err.text);
        return 1;
    }
    ds4_agent      *agent = fake_agent_new(ds4_str_text(&script));
    const ds4_front front = ds4_ui_front(ui);
    if (ds4_ui_start(ui, agent, &err) == DS4_OK) fake_agent_run(agent, &front);
    ds4_ui_close(ui);
    fake_agent_free(agent);
    ds4_str_clear(&script);
    printf("bye\n");
    return 0;
}
