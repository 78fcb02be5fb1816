/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): each line is an entry, one datagram of fields as
 * `KEY=value\n`, or `KEY\n`, a 64-bit length, the value and `\n` where it holds a newline. An entry too large for that
 * goes in a sealed memfd. The socket is never connected, so a journal that is started again needs nothing from us.
 *
 * Fields and their order are conmon's: MESSAGE (with its newline), CONTAINER_ID_FULL, PRIORITY, CONTAINER_ID,
 * CONTAINER_TAG, CONTAINER_NAME, SYSLOG_IDENTIFIER, CONTAINER_PARTIAL_MESSAGE, then the labels. A line's beginning
 * waits for its end in log->joined, up to LOG_LINE_MAX bytes.
 *
 * Entries are sent by sendmmsg from headers in shared memory: the kernel writes msg_len of each one that it took, so
 * after a kill it is known which are sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "log/journal_fields.h"
#include "log/target.h"
#include "util/fd.h"

#define SOCKET_PATH "/run/systemd/journal/socket"
#define NOT_SENT UINT32_MAX
#define SEND_BUFFER (8 * 1024 * 1024)
#define PATIENCE_SECONDS 5 /* for a journal that is there but reads nothing: then the container goes on */

enum entry_kind {
    ENTRY_LINE, /* the end of a line */
    ENTRY_PIECE, /* as much of a line as an entry holds */
    ENTRY_FLUSH, /* the beginning of a line whose end won't come */
    ENTRY_GAP,
};

/* What an entry's header refers to; in the scratch. */
struct parts {
    char head[16], priority[16], note[NOTE_MAX];
    struct iovec iov[10];
    size_t n;
};

int journal_open(struct log *log, struct log_target *target)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    const int size = SEND_BUFFER;
    char text[SCRATCH_TEXT];
    struct journal_fields fields;

    if (journal_fields_make(&fields, log->options, text, sizeof(text)) < 0)
        return -E2BIG;
    target->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (target->fd < 0)
        return -errno;
    if (setsockopt(target->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(target->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (setsockopt(target->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
        return -errno;
    return 0;
}

/* ---- what an entry does to the cursor ---- */

static void apply(struct log_cursor *cursor, const struct log_entry *entry)
{
    switch ((enum entry_kind)entry->kind) {
    case ENTRY_LINE:
    case ENTRY_PIECE:
        cursor->written[entry->stream] += entry->done - cursor->done;
        cursor->done = entry->done;
        cursor->open_line[entry->stream] = entry->kind == ENTRY_PIECE;
        cursor->joined[entry->stream] = 0;
        cursor->priority[entry->stream] = entry->priority;
        break;
    case ENTRY_FLUSH:
        cursor->open_line[entry->stream] = false;
        cursor->joined[entry->stream] = 0;
        cursor->priority[entry->stream] = -1;
        break;
    case ENTRY_GAP:
        cursor->gap[LOG_STDOUT] = cursor->gap[LOG_STDERR] = 0;
        cursor->cause[0] = '\0';
        cursor->gaps++;
        break;
    }
}

/* ---- making a batch ---- */

static void add(struct parts *parts, const void *bytes, size_t size)
{
    if (size > 0)
        parts->iov[parts->n++] = (struct iovec){(void *)(uintptr_t)bytes, size};
}

static void add_fields(struct parts *parts, const struct journal_fields *fields, int priority, bool partial)
{
    add(parts, "\n", 1);
    add(parts, fields->id.iov_base, fields->id.iov_len);
    memcpy(parts->priority, "PRIORITY=0\n", 11);
    parts->priority[9] = (char)('0' + priority);
    add(parts, parts->priority, 11);
    add(parts, fields->names.iov_base, fields->names.iov_len);
    if (partial)
        add(parts, "CONTAINER_PARTIAL_MESSAGE=true\n", 31);
    add(parts, fields->labels.iov_base, fields->labels.iov_len);
}

static void add_head(struct parts *parts, size_t size, bool binary)
{
    memcpy(parts->head, binary ? "MESSAGE\n" : "MESSAGE=", 8);
    add(parts, parts->head, binary ? 8 + journal_put_length(parts->head + 8, size) : 8);
}

static int stream_priority(enum log_stream stream, int own)
{
    return own >= 0 ? own : stream == LOG_STDOUT ? 6 : 3;
}

/* The priority that `<N>` at the beginning of a line gives it, or -1. */
static int prefix_of(const char *joined, size_t n_joined, const char *from, size_t size)
{
    char first[3];

    for (size_t i = 0; i < 3; i++) {
        if (i >= n_joined + size)
            return -1;
        first[i] = i < n_joined ? joined[i] : from[i - n_joined];
    }
    return first[0] == '<' && first[1] >= '0' && first[1] <= '7' && first[2] == '>' ? first[1] - '0' : -1;
}

static void make_gap(struct parts *parts, struct log_entry *entry, const struct log_cursor *cursor,
                     const struct journal_fields *fields)
{
    *entry = (struct log_entry){.kind = ENTRY_GAP};
    add_head(parts, 0, false);
    add(parts, parts->note, cursor_gap_text(cursor, parts->note));
    add_fields(parts, fields, 4, false);
}

/* `size` bytes of the call, from `from` on, behind what is joined. */
static void make_text(struct log *log, struct parts *parts, struct log_entry *entry, const struct log_cursor *cursor,
                      const struct journal_fields *fields, const char *from, size_t size)
{
    enum log_stream stream = (enum log_stream)entry->stream;
    const char *joined = log->joined[stream];
    size_t n_joined = cursor->joined[stream];
    bool partial = entry->kind != ENTRY_LINE;
    int own = cursor->priority[stream];

    if (log->options->priority_prefix && !cursor->open_line[stream]) {
        own = prefix_of(joined, n_joined, from, size);
        if (own >= 0) {
            size_t skipped = n_joined < 3 ? n_joined : 3;

            joined += skipped;
            n_joined -= skipped;
            from += 3 - skipped;
            size -= 3 - skipped;
        }
    }
    entry->priority = (signed char)(entry->kind == ENTRY_PIECE ? own : -1);
    add_head(parts, n_joined + size, !partial);
    add(parts, joined, n_joined);
    add(parts, from, size);
    add_fields(parts, fields, stream_priority(stream, own), partial && !log->options->no_partial_marks);
}

/* The next entry after what the cursor says. False: there is none, but maybe the beginning of a line. */
static bool make_entry(struct log *log, struct parts *parts, struct log_entry *entry, const struct log_cursor *cursor,
                       const struct journal_fields *fields)
{
    const struct log_call *call = &log->call;
    const char *from = call->bytes + cursor->done, *newline;
    size_t left = call->end - cursor->done, room;

    parts->n = 0;
    for (unsigned char stream = 0; stream < 2; stream++) {
        if (cursor->joined[stream] == 0 || (call->kind == LOG_CALL_WRITE && cursor->gap[stream] == 0))
            continue;
        *entry = (struct log_entry){.kind = ENTRY_FLUSH, .stream = stream, .done = cursor->done};
        make_text(log, parts, entry, cursor, fields, "", 0);
        return true;
    }
    if (cursor_has_gap(cursor)) {
        make_gap(parts, entry, cursor, fields);
        return true;
    }
    if (call->kind == LOG_CALL_FINISH || left == 0)
        return false;
    room = LOG_LINE_MAX - cursor->joined[call->stream];
    newline = memchr(from, '\n', left < room ? left : room);
    if (newline == NULL && left < room)
        return false;
    if (newline != NULL)
        left = (size_t)(newline + 1 - from);
    else
        left = room;
    *entry = (struct log_entry){
        .kind = newline != NULL ? ENTRY_LINE : ENTRY_PIECE,
        .stream = (unsigned char)call->stream,
        .done = cursor->done + left,
    };
    make_text(log, parts, entry, cursor, fields, from, left);
    return true;
}

/* ---- sending it ---- */

/* An entry in a memfd. 0 or the errno. */
static int send_large(struct log_target *target, struct mmsghdr *header, int flags)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr plain = header->msg_hdr;
    int error = 0;

    target->next = memfd_create("remora-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (target->next < 0)
        return errno;
    for (size_t i = 0; i < (size_t)plain.msg_iovlen && error == 0; i++)
        error = -fd_write_all(target->next, plain.msg_iov[i].iov_base, plain.msg_iov[i].iov_len);
    if (error == 0 && fcntl(target->next, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        error = errno;
    if (error == 0) {
        header->msg_hdr.msg_iov = NULL;
        header->msg_hdr.msg_iovlen = 0;
        header->msg_hdr.msg_control = &control;
        header->msg_hdr.msg_controllen = sizeof(control);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &target->next, sizeof(int));
        while (syscall(SYS_sendmmsg, target->fd, header, 1, flags) < 0 && error == 0)
            error = errno != EINTR ? errno : 0;
        header->msg_hdr = plain;
    }
    target_close_next(target);
    return error;
}

static unsigned count_sent(const struct log_journal *journal)
{
    unsigned sent = 0;

    while (sent < journal->n && journal->headers[sent].msg_len != NOT_SENT)
        sent++;
    return sent;
}

/* Make true what the entries did that were sent. */
static void note(struct log *log, struct log_target *target, unsigned sent, int error)
{
    struct log_cursor *next = target_step(target);

    for (unsigned i = 0; i < sent; i++)
        apply(next, &log->journal.entries[i]);
    next->batch++;
    next->last_error = error;
    target_commit(target);
}

/* Send the batch that is made. 0 or the errno of the first entry that was not taken. */
static int send_batch(struct log *log, struct log_target *target, int flags)
{
    struct log_journal *journal = &log->journal;
    int error = 0;
    unsigned sent = 0;

    LOG_PUBLISH(journal->batch, target_cursor(target)->batch + 1);
    while (sent < journal->n && error == 0) {
        /* The system call itself: musl's function is a loop that notes what was sent only afterwards. */
        long n = syscall(SYS_sendmmsg, target->fd, journal->headers + sent, journal->n - sent, flags);

        if (n > 0) {
            sent += (unsigned)n;
            target->stalled = false;
        } else if (errno == EMSGSIZE || errno == ENOBUFS) {
            error = send_large(target, &journal->headers[sent], flags);
            sent += error == 0;
        } else if (errno != EINTR) {
            error = errno;
        }
    }
    note(log, target, sent, error);
    return error;
}

static void make_header(struct log *log, const struct sockaddr_un *address, struct parts *parts, unsigned i)
{
    /* Zeroed: some libraries have narrower fields than the kernel, with padding. */
    struct mmsghdr *header = memset(&log->journal.headers[i], 0, sizeof(*header));

    header->msg_hdr.msg_name = (void *)(uintptr_t)address;
    header->msg_hdr.msg_namelen = sizeof(*address);
    header->msg_hdr.msg_iov = parts->iov;
    header->msg_hdr.msg_iovlen = parts->n;
    header->msg_len = NOT_SENT;
}

/* Keep the beginning of a line. */
static void join(struct log *log, struct log_target *target)
{
    const struct log_call *call = &log->call;
    enum log_stream stream = call->stream;
    struct log_cursor *next = target_step(target);
    size_t size = call->end - next->done;

    /* Behind what counts as joined: until the step is made true, it isn't there. */
    memcpy(log->joined[stream] + next->joined[stream], call->bytes + next->done, size);
    next->joined[stream] += (unsigned)size;
    next->written[stream] += size;
    next->done = call->end;
    target_commit(target);
}

static const char *cause_of(int error)
{
    if (error == EAGAIN)
        return "the journal was too slow";
    return error == ENOENT || error == ECONNREFUSED ? "no journal is running" : strerror(error);
}

static void lose(struct log *log, struct log_target *target, int error)
{
    struct log_cursor *next = target_step(target);

    next->last_error = error;
    if (log->call.kind == LOG_CALL_WRITE)
        cursor_lose(next, log->call.stream, log->call.end - next->done, cause_of(error));
    for (int i = 0; i < 2 && log->call.kind == LOG_CALL_FINISH; i++) {
        next->written[i] -= next->joined[i];
        cursor_lose(next, (enum log_stream)i, next->joined[i], cause_of(error));
        next->joined[i] = 0;
    }
    next->done = log->call.end;
    target_commit(target);
}

void journal_call(struct log *log, struct log_target *target)
{
    const struct log_options *options = log->options;
    const char *path = options->journal != NULL ? options->journal : SOCKET_PATH;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool impatient = target->stalled || options->streams[log->call.stream].policy == LOG_DROP;
    struct log_cursor ahead;
    struct journal_fields fields;
    struct parts *parts;
    int error;

    if (target_cursor(target)->done >= log->call.end)
        return;
    strncat(address.sun_path, path, sizeof(address.sun_path) - 1);
    if (!log_scratch(log)) {
        lose(log, target, ENOMEM);
        return;
    }
    journal_fields_make(&fields, options, log->scratch + SCRATCH_FORMAT, SCRATCH_TEXT);
    parts = (struct parts *)(void *)log->scratch;
    for (;;) {
        ahead = *target_cursor(target);
        for (log->journal.n = 0; log->journal.n < LOG_BATCH; log->journal.n++) {
            unsigned i = log->journal.n;

            if (!make_entry(log, &parts[i], &log->journal.entries[i], &ahead, &fields))
                break;
            make_header(log, &address, &parts[i], i);
            apply(&ahead, &log->journal.entries[i]);
        }
        if (log->journal.n == 0)
            break;
        error = send_batch(log, target, MSG_NOSIGNAL | (impatient ? MSG_DONTWAIT : 0));
        if (error != 0) {
            target->stalled = error == EAGAIN;
            lose(log, target, error);
            return;
        }
    }
    if (log->call.kind == LOG_CALL_WRITE) {
        join(log, target);
    } else {
        struct log_cursor *next = target_step(target);

        next->done = log->call.end;
        target_commit(target);
    }
}

void journal_resume(struct log *log, struct log_target *target)
{
    /* Only a memfd can be sealed: the number may be another's by now. */
    if (target->next >= 0 && fcntl(target->next, F_GET_SEALS) >= 0)
        close(target->next);
    target->next = -1;
    if (log->journal.batch == target_cursor(target)->batch + 1)
        note(log, target, count_sent(&log->journal), 0);
}
