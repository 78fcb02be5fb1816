/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "log/target.h"
#include "util/fd.h"

const char log_stream_names[2][7] = {[LOG_STDOUT] = "stdout", [LOG_STDERR] = "stderr"};

int64_t log_monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

bool log_scratch(struct log *log)
{
    void *memory;

    if (log->scratch != NULL)
        return true;
    /* A mapping rather than malloc: what is given back really goes. */
    memory = mmap(NULL, SCRATCH_FORMAT + SCRATCH_TEXT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    log->scratch = memory;
    return true;
}

void target_close_next(struct log_target *target)
{
    int saved = errno;

    if (target->next >= 0)
        close(target->next);
    LOG_PUBLISH(target->next, -1);
    errno = saved;
}

/* ---- losses ---- */

void cursor_lose(struct log_cursor *cursor, enum log_stream stream, uint64_t bytes, const char *cause)
{
    size_t used = strlen(cursor->cause);

    cursor->dropped[stream] += bytes;
    if (cause == NULL || bytes == 0)
        return;
    cursor->gap[stream] += bytes;
    /* One gap may have several causes. */
    if (strstr(cursor->cause, cause) == NULL)
        snprintf(cursor->cause + used, sizeof(cursor->cause) - used, "%s%s", used > 0 ? ", " : "", cause);
}

void target_lose_rest(struct log *log, struct log_target *target, int error, const char *cause)
{
    struct log_cursor *next = target_step(target);

    if (error != 0)
        next->last_error = error;
    if (log->call.kind == LOG_CALL_WRITE)
        cursor_lose(next, log->call.stream, log->call.end - next->done, error != 0 ? strerror(error) : cause);
    next->done = log->call.end;
    target_commit(target);
}

size_t cursor_gap_text(const struct log_cursor *cursor, char *to)
{
    uint64_t lost = cursor->gap[LOG_STDOUT] + cursor->gap[LOG_STDERR];
    int size = snprintf(to, NOTE_MAX, "remora: %llu bytes of output were not logged: %s", (unsigned long long)lost,
                        cursor->cause);

    return size < NOTE_MAX ? (size_t)size : NOTE_MAX - 1;
}

/* ---- calls ---- */

/* The counters stay readable after log_deinit. */
static bool is_open(const struct log *log)
{
    return log->n_targets > 0 && log->targets[0].fd >= 0;
}

/* What the policy took from the call counts once for each target. */
static void begin_call(struct log *log, struct log_target *target)
{
    const struct log_call *call = &log->call;
    struct log_cursor *next = target_step(target);

    next->call = call->sequence;
    next->done = call->kind == LOG_CALL_WRITE ? call->begin : 0;
    cursor_lose(next, call->stream, call->begin, call->cause);
    target_commit(target);
}

static void end_call(struct log *log, struct log_target *target)
{
    const struct log_call *call = &log->call;
    struct log_cursor *next;

    if (call->kind != LOG_CALL_WRITE || target_cursor(target)->done >= call->size)
        return;
    next = target_step(target);
    cursor_lose(next, call->stream, call->size - call->end, call->cause);
    next->done = call->size;
    target_commit(target);
}

/* Deal with the call, from wherever that stands. */
static void run_call(struct log *log)
{
    for (size_t i = 0; i < log->n_targets; i++) {
        struct log_target *target = &log->targets[i];

        if (target_cursor(target)->call != log->call.sequence)
            begin_call(log, target);
        if (log->call.kind != LOG_CALL_GAP && target->driver == LOG_JOURNALD)
            journal_call(log, target);
        else if (log->call.kind != LOG_CALL_GAP)
            file_call(log, target);
        end_call(log, target);
    }
    LOG_PUBLISH(log->call.sequence, log->call.sequence + 1);
}

/* log->call is filled in: from here on, it is the log's. */
static void start_call(struct log *log)
{
    LOG_PUBLISH(log->call.sequence, log->call.sequence + 1);
    run_call(log);
}

static void new_call(struct log *log, enum log_call_kind kind, enum log_stream stream, const struct timespec *time)
{
    struct log_call *call = &log->call;

    call->kind = kind;
    call->stream = stream;
    if (time != NULL)
        call->time = *time;
    else
        clock_gettime(CLOCK_REALTIME, &call->time);
    call->bytes = NULL;
    call->size = call->begin = call->end = 0;
    call->cause[0] = '\0';
}

void log_write(struct log *log, enum log_stream stream, const struct timespec *time, const void *bytes, size_t size)
{
    const struct log_stream_options *options;
    struct log_call *call = &log->call;

    if (size == 0 || !is_open(log))
        return;
    options = &log->options->streams[stream];
    new_call(log, LOG_CALL_WRITE, stream, time);
    call->bytes = bytes;
    call->size = call->end = size;
    if (options->policy == LOG_RATE) {
        bucket_take(&log->buckets[stream], options->rate, log_monotonic(), bytes, size, &call->begin, &call->end);
        snprintf(call->cause, sizeof(call->cause), "more than %lld bytes in a second", (long long)options->rate);
    }
    start_call(log);
}

void log_gap(struct log *log, enum log_stream stream, uint64_t bytes, const char *cause)
{
    if (bytes == 0 || !is_open(log))
        return;
    new_call(log, LOG_CALL_GAP, stream, NULL);
    log->call.begin = bytes;
    snprintf(log->call.cause, sizeof(log->call.cause), "%s", cause);
    start_call(log);
}

void log_finish(struct log *log)
{
    if (!is_open(log))
        return;
    new_call(log, LOG_CALL_FINISH, LOG_STDOUT, NULL);
    log->call.size = log->call.end = 1;
    start_call(log);
}

uint64_t log_calls(const struct log *log)
{
    return (log->call.sequence + 1) / 2;
}

/* ---- life ---- */

static int check_attributes(const struct log_options *options)
{
    char text[JSON_ATTRS_MAX];

    return json_attributes(text, sizeof(text), options->tag, options->labels, options->n_labels) < 0 ? -E2BIG : 0;
}

static int open_target(struct log *log, struct log_target *target)
{
    int r = 0;

    switch (target->driver) {
    case LOG_JSON_FILE:
        r = check_attributes(log->options);
        return r < 0 ? r : file_open(log, target);
    case LOG_K8S_FILE:
        return file_open(log, target);
    case LOG_JOURNALD:
        return journal_open(log, target);
    case LOG_NONE:
    case LOG_PASSTHROUGH:
        break;
    }
    return -EINVAL;
}

static void target_init(struct log_target *target, const struct log_sink_options *options)
{
    *target = (struct log_target){.driver = options->driver, .options = options, .fd = -1, .next = -1};
    target->cursors[0].priority[LOG_STDOUT] = target->cursors[0].priority[LOG_STDERR] = -1;
}

void log_init(struct log *log, const struct log_options *options)
{
    /* The rest is only touched by who needs it. */
    memset(log, 0, offsetof(struct log, journal));
    log->journal.n = 0;
    log->journal.batch = 0;
    log->options = options;
    for (size_t i = 0; i < options->n_sinks; i++) {
        enum log_driver driver = options->sinks[i].driver;

        if (driver != LOG_NONE && driver != LOG_PASSTHROUGH)
            target_init(&log->targets[log->n_targets++], &options->sinks[i]);
    }
    /* The time zone's file is read now, for a confined worker can't. */
    tzset();
}

int log_open(struct log *log, const struct log_options *options, const char **what)
{
    log_init(log, options);
    for (size_t i = 0; i < log->n_targets; i++) {
        struct log_target *target = &log->targets[i];
        int r = open_target(log, target);

        *what = target->driver == LOG_JOURNALD ? "journald" : target->options->path;
        if (r < 0) {
            log_deinit(log);
            return r;
        }
    }
    return 0;
}

int log_reopen(struct log *log)
{
    int result = 0;

    for (size_t i = 0; i < log->n_targets; i++) {
        struct log_target *target = &log->targets[i];
        int r = target->driver != LOG_JOURNALD && target->regular ? file_reopen(target) : 0;

        result = result < 0 ? result : r;
    }
    return result;
}

void log_resume(struct log *log)
{
    tzset();
    log->scratch = NULL;
    log->local.text[0] = log->utc.text[0] = '\0';
    for (size_t i = 0; i < log->n_targets; i++) {
        struct log_target *target = &log->targets[i];

        if (target->driver == LOG_JOURNALD) {
            journal_resume(log, target);
        } else {
            file_rotate_resume(target);
            file_resume(log, target);
        }
    }
    if (log->call.sequence & 1)
        run_call(log);
}

void log_idle(struct log *log)
{
    if (log->scratch != NULL)
        munmap(log->scratch, SCRATCH_FORMAT + SCRATCH_TEXT);
    log->scratch = NULL;
}

int log_sync(struct log *log)
{
    int result = 0;

    for (size_t i = 0; i < log->n_targets; i++) {
        const struct log_target *target = &log->targets[i];

        if (target->driver != LOG_JOURNALD && target->regular && fsync(target->fd) < 0)
            result = -errno;
    }
    return result;
}

void log_deinit(struct log *log)
{
    log_idle(log);
    for (size_t i = 0; i < log->n_targets; i++) {
        fd_close(&log->targets[i].fd);
        fd_close(&log->targets[i].next);
    }
}
