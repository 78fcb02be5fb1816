/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --log-path asks for: drivers and files, in conmon's notation `DRIVER:PATH`, `PATH` or `DRIVER`.
 */
#ifndef REMORA_CONMON_LOGS_H
#define REMORA_CONMON_LOGS_H

#include <stdbool.h>
#include <stddef.h>

#include "conmon/options.h"

#define CONMON_FILES_MAX 3 /* log files; journald is one sink more */

struct conmon_logs {
    const char *files[CONMON_FILES_MAX]; /* k8s-file; borrowed from the options; each path once */
    size_t n_files;
    bool journald, passthrough;
};

/*
 * Which logs are to be written. 0, or -EINVAL with a text in `refusal`: the first path, in their order, that can't be
 * understood. Unlike in conmon every file is written (there: the last one only), and a path may have colons in it.
 */
int log_paths_parse(struct conmon_logs *logs, const struct conmon_list *paths, char refusal[CONMON_REFUSAL_MAX]);

/*
 * What these logs can't be given: a tag or labels without journald, an id that is too short for journald, labels of
 * another form. To be asked once the files are open, as conmon does. 0, or -EINVAL with a text.
 */
int logs_check(const struct conmon_logs *logs, const struct conmon_options *options, char refusal[CONMON_REFUSAL_MAX]);

#endif
