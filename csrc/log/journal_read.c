/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's log in the journal, read by journalctl and printed as that of a file.
 *
 * The last lines are found by a first journalctl that goes backwards; where they begin is a cursor, from which a second
 * one reads. One that follows may not have told the last entries when the container ends: then the journal is asked to
 * take in what was sent to it, and a last journalctl reads on behind the last entry that was printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "log/entry.h"
#include "log/reader.h"
#include "util/fd.h"

enum {
    FIRST_SIZE = 65536,
    ENTRY_MAX = 16 << 20, /* bytes; our own monitor and conmon make entries of some 32 KiB */
    CURSOR_MAX = 256,
    ARGUMENTS_MAX = 16,
};

enum direction {
    BACKWARDS,
    FORWARDS,
    FOLLOWING,
};

struct cursor {
    char text[CURSOR_MAX]; /* "" = none */
};

/* Where the output of a stream begins. */
struct beginning {
    struct cursor at;
    bool waiting; /* that entry has not come yet */
    bool behind; /* it is not printed itself */
};

struct journal {
    const struct remora_log_options *options; /* borrowed, as these: */
    const char *program, *id;
    struct log_output output;
    struct beginning begin[2]; /* by stream */
    struct cursor seen; /* the last entry that needs no second look */
    bool passed_until;
    pid_t pid; /* of journalctl; 0 = none */
    int fd; /* owned; its output */
    bool ended; /* all of it was read */
    size_t size, capacity;
    char *buffer; /* owned; begins with an entry */
};

/* ---- journalctl */

/* In the child: gone with us, and with the signals as they were before we blocked SIGPIPE. */
static void __attribute__((noreturn)) become(const struct journal *journal, char *const *arguments, int out, pid_t us)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &journal->output.signals, NULL);
    if (getppid() == us && dup2(null, 0) == 0 && dup2(out < 0 ? null : out, 1) == 1 && (out >= 0 || dup2(null, 2) == 2))
        execv(journal->program, arguments);
    _exit(127);
}

static pid_t spawn(const struct journal *journal, char *const *arguments, int out)
{
    pid_t us = getpid();
    pid_t pid = fork();

    if (pid == 0)
        become(journal, arguments, out, us);
    return pid < 0 ? -errno : pid;
}

/* Whether journalctl has ended well. */
static bool reap(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* What was sent to the journal before is in it afterwards, where we may ask for that. */
static void sync_journal(const struct journal *journal)
{
    char program[] = "journalctl", sync[] = "--sync";
    char *arguments[] = {program, sync, NULL};
    pid_t pid = spawn(journal, arguments, -1);

    if (pid > 0)
        (void)reap(pid);
}

static void stop(struct journal *journal)
{
    if (journal->pid > 0) {
        kill(journal->pid, SIGKILL);
        (void)reap(journal->pid);
    }
    journal->pid = 0;
    fd_close(&journal->fd);
    journal->size = 0;
}

static void time_argument(char *to, size_t size, const char *option, int64_t time_ns)
{
    snprintf(to, size, "%s=@%lld.%06lld", option, (long long)(time_ns / 1000000000),
             (long long)(time_ns / 1000 % 1000000));
}

/* after: begin behind the cursor rather than with it. 0 or -errno. */
static int start(struct journal *journal, enum direction direction, const struct cursor *cursor, bool after)
{
    static const char *const usual[] = {"journalctl", "--quiet", "--no-pager", "--output=export"};
    const struct remora_log_options *options = journal->options;
    char since[64], until[64], from[CURSOR_MAX + 32], match[128];
    const char *arguments[ARGUMENTS_MAX] = {NULL};
    int pipes[2];
    size_t n = sizeof(usual) / sizeof(usual[0]);
    pid_t pid;

    memcpy(arguments, usual, sizeof(usual));
    arguments[n++] = direction == BACKWARDS ? "--output-fields=PRIORITY,CONTAINER_PARTIAL_MESSAGE"
                                            : "--output-fields=MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE";
    if (direction == BACKWARDS)
        arguments[n++] = "--reverse";
    if (direction == FOLLOWING) {
        arguments[n++] = "--follow";
        arguments[n++] = "--no-tail";
    }
    if (cursor->text[0] != '\0') {
        snprintf(from, sizeof(from), "%s=%s", after ? "--after-cursor" : "--cursor", cursor->text);
        arguments[n++] = from;
    } else if (options->since_ns > 0) {
        time_argument(since, sizeof(since), "--since", options->since_ns);
        arguments[n++] = since;
    }
    if (direction != FOLLOWING && options->until_ns != INT64_MAX) {
        time_argument(until, sizeof(until), "--until", options->until_ns > 0 ? options->until_ns : 0);
        arguments[n++] = until;
    }
    snprintf(match, sizeof(match), "CONTAINER_ID_FULL=%s", journal->id);
    arguments[n] = match;
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return -errno;
    pid = spawn(journal, (char *const *)(void *)arguments, pipes[1]);
    close(pipes[1]);
    if (pid < 0 || fcntl(pipes[0], F_SETFL, O_NONBLOCK) < 0) {
        close(pipes[0]);
        return pid < 0 ? (int)pid : -errno;
    }
    journal->pid = pid;
    journal->fd = pipes[0];
    journal->ended = false;
    return 0;
}

/* ---- entries */

/* One entry: 0, 1 = no further one is wanted, -errno. */
typedef int (*take_function)(struct journal *journal, struct journal_entry *entry, size_t size, void *context);

static void keep_cursor(struct cursor *cursor, const struct journal_entry *entry)
{
    if (entry->cursor_length >= sizeof(cursor->text))
        return;
    memcpy(cursor->text, entry->cursor, entry->cursor_length);
    cursor->text[entry->cursor_length] = '\0';
}

static bool is_at(const struct cursor *cursor, const struct journal_entry *entry)
{
    return strlen(cursor->text) == entry->cursor_length &&
           memcmp(cursor->text, entry->cursor, entry->cursor_length) == 0;
}

static int take_all(struct journal *journal, take_function take, void *context)
{
    size_t at = 0;
    int result = 0;

    while (result == 0) {
        struct journal_entry entry;
        ssize_t used = journal_entry_parse(journal->buffer + at, journal->size - at, &entry);

        if (used == 0)
            break;
        result = used < 0 ? (int)used : take(journal, &entry, (size_t)used, context);
        at += used > 0 ? (size_t)used : 0;
    }
    journal->size -= at;
    memmove(journal->buffer, journal->buffer + at, journal->size);
    return result;
}

static int grow(struct journal *journal)
{
    size_t capacity = journal->capacity > 0 ? 2 * journal->capacity : FIRST_SIZE;
    char *buffer;

    if (journal->size < journal->capacity)
        return 0;
    if (capacity > ENTRY_MAX)
        return -EMSGSIZE;
    buffer = realloc(journal->buffer, capacity);
    if (buffer == NULL)
        return -ENOMEM;
    journal->buffer = buffer;
    journal->capacity = capacity;
    return 0;
}

/* What journalctl has told so far. 0, 1 = no further entry is wanted, -errno; -EIO when journalctl failed. */
static int drain(struct journal *journal, take_function take, void *context)
{
    for (;;) {
        int result = grow(journal);
        ssize_t n;

        if (result < 0)
            return result;
        n = read(journal->fd, journal->buffer + journal->size, journal->capacity - journal->size);
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        if (n == 0) {
            pid_t pid = journal->pid;

            journal->ended = true;
            journal->pid = 0;
            return reap(pid) ? 0 : -EIO;
        }
        journal->size += (size_t)n;
        result = take_all(journal, take, context);
        if (result != 0)
            return result;
    }
}

/* To the end of a journalctl that does not follow. As above, but 0 for 1. */
static int drain_all(struct journal *journal, take_function take, void *context)
{
    int result = drain(journal, take, context);

    while (result == 0 && !journal->ended) {
        struct pollfd ready = {.fd = journal->fd, .events = POLLIN};

        if (poll(&ready, 1, -1) < 0)
            return -errno;
        result = drain(journal, take, context);
    }
    stop(journal);
    return result > 0 ? 0 : result;
}

static int take_printing(struct journal *journal, struct journal_entry *entry, size_t size, void *context)
{
    struct log_record *record = &entry->record;
    bool printed = log_selected(journal->options, record->time_ns);

    (void)size;
    (void)context;
    keep_cursor(&journal->seen, entry);
    if (record->time_ns > journal->options->until_ns) {
        journal->passed_until = true;
        return 1;
    }
    for (int stream = 0; stream < 2; stream++) {
        struct beginning *begin = &journal->begin[stream];
        bool before = begin->waiting;

        if (begin->waiting && is_at(&begin->at, entry))
            begin->waiting = false;
        if (stream == record->stream && (begin->waiting || (before && begin->behind)))
            printed = false;
    }
    return printed ? output_record(&journal->output, record) : 0;
}

struct search {
    struct tail tail;
    struct cursor first; /* the beginning of both streams' lines */
};

/* Entries come last one first. */
static int take_counting(struct journal *journal, struct journal_entry *entry, size_t size, void *context)
{
    struct search *search = context;
    const struct log_record *record = &entry->record;

    for (int stream = 0; stream < 2 && search->first.text[0] == '\0'; stream++) {
        journal->begin[stream] = (struct beginning){.waiting = true, .behind = true};
        keep_cursor(&journal->begin[stream].at, entry);
    }
    if (search->first.text[0] == '\0')
        keep_cursor(&search->first, entry);
    if (log_selected(journal->options, record->time_ns) && tail_take(&search->tail, record->stream, record->partial)) {
        keep_cursor(&journal->begin[record->stream].at, entry);
        journal->begin[record->stream].behind = false;
        keep_cursor(&search->first, entry);
    }
    tail_pass(&search->tail, size);
    return tail_done(&search->tail) ? 1 : 0;
}

/* ---- the parts together */

static bool runs(const struct journal *journal)
{
    const char *run_dir = journal->options->run_dir;

    return journal->options->follow && (run_dir == NULL || remora_lock_held(run_dir) > 0);
}

/* Until the container has ended or the time is up: 0. */
static int follow(struct journal *journal)
{
    const struct remora_log_options *options = journal->options;
    struct log_watch watch;
    int result = watch_init(&watch, NULL, options->run_dir);

    while (result == 0 && !journal->passed_until && !journal->ended) {
        bool held = true;

        if (watch.recheck || watch.fd < 0) {
            watch_renew(&watch, -1);
            held = runs(journal);
        }
        result = held ? drain(journal, take_printing, NULL) : 1;
        if (result == 0)
            result = output_flush(&journal->output, false);
        if (result == 0)
            result = watch_wait(&watch, journal->fd, options->out, options->until_ns);
    }
    watch_deinit(&watch);
    stop(journal);
    return result > 0 ? 0 : result;
}

static int print(struct journal *journal)
{
    const struct remora_log_options *options = journal->options;
    struct search search = {.tail.wanted = options->tail};
    bool running = runs(journal);
    int result = 0;

    if (!running)
        sync_journal(journal);
    if (options->tail >= 0) {
        result = start(journal, BACKWARDS, &search.first, false);
        if (result == 0)
            result = drain_all(journal, take_counting, &search);
    }
    if (result < 0 || (!running && options->tail >= 0 && search.first.text[0] == '\0'))
        return result;
    if (running) {
        result = start(journal, FOLLOWING, &search.first, false);
        if (result == 0)
            result = follow(journal);
        if (result < 0 || journal->passed_until)
            return result;
        sync_journal(journal);
    }
    result = journal->seen.text[0] != '\0' ? start(journal, FORWARDS, &journal->seen, true)
                                           : start(journal, FORWARDS, &search.first, false);
    return result < 0 ? result : drain_all(journal, take_printing, NULL);
}

int remora_log_print_journal(const char *program, const char *id, const struct remora_log_options *options)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    int result, flushed;

    if (journal == NULL)
        return -ENOMEM;
    journal->options = options;
    journal->program = program;
    journal->id = id;
    journal->fd = -1;
    output_init(&journal->output, options);
    result = print(journal);
    stop(journal);
    if (result != -EPIPE && result != -EINTR) {
        flushed = output_flush(&journal->output, true);
        result = result < 0 ? result : flushed;
    }
    output_deinit(&journal->output);
    free(journal->buffer);
    free(journal);
    return result;
}
