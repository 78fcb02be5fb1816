/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line and the environment of a runtime call, from conmon's options.
 */
#ifndef REMORA_CONMON_ARGUMENTS_H
#define REMORA_CONMON_ARGUMENTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "conmon/options.h"

/*
 * The argument vector of `create`, `restore` or `exec`; console: path of the console socket, or NULL. To be freed as
 * one piece; the texts are borrowed from the options and from `pidfile` and `console`. NULL without memory.
 */
const char **runtime_arguments(const struct conmon_options *options, const char *pidfile, const char *console);

/*
 * What LISTEN_PID has to become for a runtime process (sd_listen_fds(3)): 1 when it must be that process's own pid, for
 * it named its parent or must always be replaced; 0 when it stays as it is; -EINVAL when it is no positive number.
 */
int listen_pid_check(const char *value, pid_t parent, bool replace);

#endif
