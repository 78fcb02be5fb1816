/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any words are a command line for conmon. They are taken, or refused with a reason in one piece; log
 * paths and labels likewise; a path that is made of them fits.
 *
 * The input: the words, each ended by a NUL.
 */
#include "conmon/attach.h"
#include "conmon/logs.h"
#include "conmon/options.h"
#include "fuzz.h"

enum {
    WORDS_MAX = 64,
    LINK_MAX = 512,
};

/* 0 or more: done; else there is a reason. */
static bool passes(int r, const char *refusal)
{
    const char *end = memchr(refusal, 0, CONMON_REFUSAL_MAX);

    if (r < 0 && (end == NULL || end == refusal))
        abort();
    return r >= 0;
}

static void look_at_logs(const struct conmon_options *options)
{
    char refusal[CONMON_REFUSAL_MAX] = "";
    struct conmon_logs logs;

    if (!passes(log_paths_parse(&logs, &options->log_paths, refusal), refusal))
        return;
    for (size_t i = 0; i < logs.n_files; i++)
        if (logs.n_files > CONMON_FILES_MAX || logs.files[i] == NULL || logs.files[i][0] == 0)
            abort();
    if (options->cid != NULL)
        passes(logs_check(&logs, options, refusal), refusal);
}

static void look_at_link(const struct conmon_options *options)
{
    char link[LINK_MAX];

    if (options->socket_dir == NULL || options->cuuid == NULL)
        return;
    memset(link, 'x', sizeof(link));
    if (attach_link_path(link, sizeof(link), options->socket_dir, options->cuuid) == 0 &&
        memchr(link, 0, sizeof(link)) == NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1), *argv[WORDS_MAX + 2] = {"conmon"};
    char refusal[CONMON_REFUSAL_MAX] = "";
    struct conmon_options options;
    int argc = 1, r;

    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    copy[size] = 0;
    for (size_t at = 0; at < size && argc <= WORDS_MAX; at += strlen(copy + at) + 1)
        argv[argc++] = copy + at;
    r = options_parse(&options, argc, argv, refusal);
    if (passes(r, refusal) && r == CONMON_PARSED_RUN && passes(options_check(&options, refusal), refusal)) {
        if (options.cid == NULL || options.runtime == NULL)
            abort();
        look_at_link(&options);
    }
    look_at_logs(&options);
    options_deinit(&options);
    free(copy);
    return 0;
}
