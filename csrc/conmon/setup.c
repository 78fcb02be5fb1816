/* SPDX-License-Identifier: Apache-2.0 */
/* The last of what can be refused while the caller still sees it: log files that can't be opened, paths, terminals. */
#include "conmon/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conmon/conmon.h"
#include "util/fd.h"

#define LOG_MODE 0640

/* Where things are when nobody said so. */
static int find_paths(struct setup *setup)
{
    struct conmon_options *options = &setup->options;
    char folder[CONMON_PATH_MAX];

    if (getcwd(folder, sizeof(folder)) == NULL)
        return -errno;
    /* The old way to execute knew no attach socket, so it needs no bundle. */
    if (options->bundle == NULL && !options->exec)
        options->bundle = strdup(folder);
    if (options->container_pidfile != NULL)
        setup->pidfile = strdup(options->container_pidfile);
    else if (asprintf(&setup->pidfile, "%s/pidfile-%s", folder, options->cid) < 0)
        setup->pidfile = NULL;
    if (setup->pidfile == NULL || (options->bundle == NULL && !options->exec))
        return -ENOMEM;
    return strlen(setup->pidfile) < CONMON_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/*
 * A terminal that is handed to a container lets it type into its owner's shell (TIOCSTI), unless the kernel is told
 * not to know that any more (since 6.2).
 */
static bool gives_dangerous_terminal(void)
{
    CLEANUP_FD int fd = open("/proc/sys/dev/tty/legacy_tiocsti", O_RDONLY | O_CLOEXEC);
    char answer = '1';

    if (fd >= 0 && read(fd, &answer, 1) == 1 && answer == '0')
        return false;
    return isatty(STDIN_FILENO) || isatty(STDOUT_FILENO) || isatty(STDERR_FILENO);
}

/*
 * Whether old files may be kept beside a log: in the folders that were named, if any were. Else the limit holds all the
 * same, but a full file is given up.
 */
static bool may_rotate(const struct setup *setup, const char *path)
{
    const struct conmon_options *options = &setup->options;
    char folder[PATH_MAX], real[PATH_MAX], allowed[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int length = slash == NULL ? 1 : (int)(slash - path) + 1;

    if (!options->log_rotate || options->log_dirs.n == 0)
        return options->log_rotate;
    snprintf(folder, sizeof(folder), "%.*s", length, slash == NULL ? "." : path);
    for (size_t i = 0; i < options->log_dirs.n && realpath(folder, real) != NULL; i++) {
        size_t size = realpath(options->log_dirs.items[i], allowed) != NULL ? strlen(allowed) : 0;

        if (size > 0 && strncmp(real, allowed, size) == 0 && (real[size] == '/' || real[size] == '\0' || size == 1))
            return true;
    }
    message(&setup->messages, MESSAGE_WARNING, "log path %s is in no allowed folder: it is not rotated", path);
    return false;
}

/* The file that a link leads to: it is the caller who named the path, and a link's own place is no place for a log. */
static const char *follow_link(const char *path)
{
    struct stat status;
    char *real = lstat(path, &status) == 0 && S_ISLNK(status.st_mode) ? realpath(path, NULL) : NULL;

    return real != NULL ? real : path;
}

static int open_logs(struct setup *setup, char *refusal)
{
    const struct conmon_options *options = &setup->options;
    struct log_options *log = &setup->log_options;
    const char *what;
    int r;

    *log = (struct log_options){.id = options->cid,
                                .name = options->name,
                                .tag = options->log_tag,
                                .labels = options->log_labels.items,
                                .n_labels = options->log_labels.n,
                                .priority_prefix = true,
                                .no_partial_marks = options->no_partial_message};
    for (size_t i = 0; i < setup->logs.n_files; i++)
        setup->logs.files[i] = follow_link(setup->logs.files[i]);
    for (size_t i = 0; i < setup->logs.n_files; i++)
        log->sinks[log->n_sinks++] = (struct log_sink_options){
            .driver = LOG_K8S_FILE,
            .path = setup->logs.files[i],
            .max_size = options->log_size_max > 0 ? options->log_size_max : 0,
            .max_files = may_rotate(setup, setup->logs.files[i]) ? (unsigned)options->log_max_files + 1 : 1,
            .max_total = options->log_global_size_max > 0 ? options->log_global_size_max : 0,
            .mode = LOG_MODE,
        };
    if (setup->logs.journald)
        log->sinks[log->n_sinks++] = (struct log_sink_options){.driver = LOG_JOURNALD};
    r = log_open(&setup->conmon->log, log, &what);
    if (r < 0)
        snprintf(refusal, CONMON_REFUSAL_MAX, "Failed to open log file %s", strerror(-r));
    return r;
}

int setup_check(struct setup *setup)
{
    char refusal[CONMON_REFUSAL_MAX];
    enum message_level level = MESSAGE_WARNING;
    const struct conmon_options *options = &setup->options;
    int r;

    if (options->log_level != NULL)
        message_level_parse(options->log_level, &level);
    messages_init(&setup->messages, level, options->cid, options->log_tag, options->syslog);
    r = options_check(options, refusal);
    if (r == 0 && (r = find_paths(setup)) < 0)
        snprintf(refusal, sizeof(refusal), "Failed to get working directory %s", strerror(-r));
    if (r == 0)
        r = log_paths_parse(&setup->logs, &options->log_paths, refusal);
    if (r == 0 && setup->logs.passthrough && gives_dangerous_terminal()) {
        snprintf(refusal, sizeof(refusal),
                 "cannot use a tty with passthrough logging mode to prevent attacks via TIOCSTI");
        r = -EINVAL;
    }
    if (r == 0)
        r = open_logs(setup, refusal);
    if (r == 0)
        r = logs_check(&setup->logs, options, refusal);
    if (r < 0)
        message(&setup->messages, MESSAGE_ERROR, "%s", refusal);
    return r;
}
