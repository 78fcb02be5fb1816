/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests that write a log have in common: opening one with few options, looking at its first target. */
#ifndef TESTS_CORE_LOG_WRITING_H
#define TESTS_CORE_LOG_WRITING_H

#include "log/log.h"
#include "log/target.h"

/* The options outlive the logs that borrow them: so many logs are open at once at the most. */
static inline struct log_options *new_options(enum log_driver driver, const char *path)
{
    static struct log_options pool[64];
    static unsigned used;
    struct log_options *options = &pool[used++ % 64];

    *options = (struct log_options){.n_sinks = 1};
    options->sinks[0] = (struct log_sink_options){.driver = driver, .path = path};
    return options;
}

static inline int open_driver(struct log *log, enum log_driver driver, const char *path)
{
    const char *what = NULL;

    return log_open(log, new_options(driver, path), &what);
}

static inline int open_limited(struct log *log, const char *path, int64_t max_size)
{
    struct log_options *options = new_options(LOG_K8S_FILE, path);
    const char *what = NULL;

    options->sinks[0].max_size = max_size;
    return log_open(log, options, &what);
}

static inline const struct log_cursor *first_cursor(const struct log *log)
{
    return target_cursor(&log->targets[0]);
}

static inline int log_fd(const struct log *log)
{
    return log->n_targets > 0 ? log->targets[0].fd : -1;
}

static inline int64_t log_size(const struct log *log)
{
    return first_cursor(log)->size;
}

static inline int log_error(const struct log *log)
{
    return first_cursor(log)->last_error;
}

#endif
