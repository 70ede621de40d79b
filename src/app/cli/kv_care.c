/* kv_care.c - ds4 kv verify and prune. */
#include "app/cli/kv.h"

#include <stdio.h>

typedef struct verdict {
    uint32_t n_good, n_bad;
} verdict;

static void judge(void *ctx, const char *name, const char *wrong)
{
    verdict *v = ctx;

    (void)name;
    if (wrong) ds4_app_say(DS4_KV_NAME, "%s", wrong);
    v->n_good += !wrong;
    v->n_bad += wrong != NULL;
}

int ds4_kv_verify(int argc, char **argv)
{
    const char      *dir = NULL;
    const ds4_option options[] = { DS4_KV_DIR_OPTION(&dir), { .kind = DS4_OPTION_END } };
    const ds4_command command = {
        .name = DS4_KV_NAME " verify", .usage = "ds4 kv verify --kv-disk-dir DIR",
        .about = "Read every file and check it. Bad ones are set aside as NAME.bad; nothing that\n"
                 "is good is lost by that. Exit code 1 if there were any.",
        .options = options,
    };
    ds4_store *s = NULL;
    verdict    v = { 0 };
    ds4_err    err = { .code = DS4_OK };

    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);
    if (parsed != DS4_PARSED_RUN) return parsed == DS4_PARSED_WRONG ? DS4_EXIT_WRONG : DS4_EXIT_OK;
    int code = ds4_kv_open(dir, &s);
    if (code == DS4_EXIT_OK) {
        if (ds4_store_verify(s, judge, &v, &err) != DS4_OK) code = ds4_app_failed(DS4_KV_NAME, &err);
        else printf("%u files are good, %u are bad\n", v.n_good, v.n_bad);
        if (v.n_bad > 0) code = DS4_EXIT_FAILURE;
    }
    ds4_store_close(s);
    return code;
}

int ds4_kv_prune(int argc, char **argv)
{
    const char      *dir = NULL;
    uint32_t         space_mb = UINT32_MAX;
    const ds4_option options[] = {
        DS4_KV_DIR_OPTION(&dir),
        DS4_OPT_U32(0, "kv-disk-space-mb", "N", &space_mb, 0, 1 << 30, "MiB to leave; required"),
        { .kind = DS4_OPTION_END },
    };
    const ds4_command command = {
        .name = DS4_KV_NAME " prune", .usage = "ds4 kv prune --kv-disk-dir DIR --kv-disk-space-mb N",
        .about = "Evict what was not used for longest, conversations as well as stored responses,\n"
                 "until the folder is small enough.",
        .options = options,
    };
    ds4_store     *s = NULL;
    ds4_index_sums sums = { 0 };
    ds4_err        err = { .code = DS4_OK };

    const ds4_parsed parsed = ds4_command_parse(&command, argc, argv, NULL, NULL);
    if (parsed != DS4_PARSED_RUN) return parsed == DS4_PARSED_WRONG ? DS4_EXIT_WRONG : DS4_EXIT_OK;
    if (space_mb == UINT32_MAX) {
        ds4_app_say(DS4_KV_NAME, "say how much to leave with --kv-disk-space-mb");
        return DS4_EXIT_WRONG;
    }
    int code = ds4_kv_open(dir, &s);
    if (code == DS4_EXIT_OK) {
        ds4_status st = ds4_store_prune(s, (uint64_t)space_mb << 20, &err);
        /* An empty folder still has its index. */
        if (st == DS4_OK || st == DS4_E_LIMIT) {
            const ds4_status sum = ds4_index_sum(ds4_store_index(s), &sums, &err);
            if (sum != DS4_OK || sums.n_tails == 0) st = sum;
        }
        if (st != DS4_OK) code = ds4_app_failed(DS4_KV_NAME, &err);
        else printf("%llu positions, %llu blocks, %llu responses and %llu turns are left, %.1f MiB\n",
                    (unsigned long long)sums.n_tails, (unsigned long long)sums.n_blocks,
                    (unsigned long long)sums.n_responses, (unsigned long long)sums.n_turns,
                    (double)(sums.tail_bytes + sums.block_bytes + sums.database) / (1 << 20));
    }
    ds4_store_close(s);
    return code;
}
