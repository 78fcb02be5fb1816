/* SPDX-License-Identifier: Apache-2.0 */
#include "log/batch.h"

#include <string.h>

void batch_format_init(struct batch_format *format, struct log *log, const struct log_target *target)
{
    const struct log_options *options = log->options;
    char *attributes = log->scratch + SCRATCH_FORMAT;
    long size;

    format->json = target->driver == LOG_JSON_FILE;
    if (!format->json) {
        for (int i = 0; i < 2; i++)
            cri_prefix_init(&format->prefix[i], &log->local, log_stream_names[i], &log->call.time);
        return;
    }
    /* That it fits was seen at log_open. */
    size = json_attributes(attributes, JSON_ATTRS_MAX, options->tag, options->labels, options->n_labels);
    for (int i = 0; i < 2; i++)
        json_tail_init(&format->tail[i], &log->utc, log_stream_names[i], attributes, size > 0 ? (size_t)size : 0,
                       &log->call.time);
}

/* A record of our own. Returns its size. */
static size_t put_note(const struct batch_format *format, char *to, enum log_stream stream, const char *text,
                       size_t size)
{
    if (format->json)
        return (size_t)(json_record(to, &format->tail[stream], text, size, false) - to);
    memcpy(to, format->prefix[stream].text, CRI_PREFIX);
    memcpy(to + CRI_PREFIX, text, size);
    to[CRI_PREFIX + size] = '\n';
    return CRI_PREFIX + size + 1;
}

/* The ends of lines that lost bytes, and a record that tells of the loss. Returns the size. */
static size_t put_prelude(const struct log_cursor *cursor, const struct batch_format *format, char *to)
{
    char text[NOTE_MAX];
    size_t size = 0;

    if (!cursor_has_gap(cursor))
        return 0;
    if (cursor->gap[LOG_STDOUT] > 0 && (cursor->open_line[LOG_STDOUT] || cursor->held_size[LOG_STDOUT] > 0))
        size += put_note(format, to, LOG_STDOUT, cursor->held[LOG_STDOUT], cursor->held_size[LOG_STDOUT]);
    /* The record of the gap is one of stderr's, and must be a line of its own. */
    if (cursor->open_line[LOG_STDERR] || (cursor->gap[LOG_STDERR] > 0 && cursor->held_size[LOG_STDERR] > 0))
        size += put_note(format, to + size, LOG_STDERR, cursor->held[LOG_STDERR],
                         cursor->gap[LOG_STDERR] > 0 ? cursor->held_size[LOG_STDERR] : 0);
    return size + put_note(format, to + size, LOG_STDERR, text, cursor_gap_text(cursor, text));
}

void batch_prelude_done(struct log_cursor *cursor)
{
    if (!cursor_has_gap(cursor))
        return;
    for (int i = 0; i < 2; i++) {
        if (cursor->gap[i] > 0) {
            cursor->open_line[i] = false;
            cursor->held_size[i] = 0;
        }
        cursor->gap[i] = 0;
    }
    cursor->open_line[LOG_STDERR] = false;
    cursor->cause[0] = '\0';
    cursor->gaps++;
}

static void make_records(struct log *log, const struct log_cursor *cursor, const struct batch_format *format,
                         struct batch *batch)
{
    const struct log_call *call = &log->call;
    const char *from = call->bytes + cursor->done, *end = call->bytes + call->end, *next;
    char *to = batch->text + batch->prelude;
    size_t capacity = SCRATCH_FORMAT - batch->prelude, size;

    if (format->json) {
        /* A gap in the middle of a character: its beginning is told with the gap. */
        batch->n_held = cursor->gap[call->stream] > 0 ? 0 : cursor->held_size[call->stream];
        memcpy(batch->held, cursor->held[call->stream], sizeof(batch->held));
        next = json_format(to, capacity, &format->tail[call->stream], batch->held, &batch->n_held, from, end, &size,
                           &batch->open);
    } else {
        next = cri_format(to, capacity, &format->prefix[call->stream], from, end, &size, &batch->open);
    }
    batch->next = (size_t)(next - call->bytes);
    batch->size += size;
    batch->any = size > 0;
}

/* At the end of a run: characters that never became whole. */
static void make_last_words(const struct log_cursor *cursor, const struct batch_format *format, struct batch *batch)
{
    for (int i = 0; i < 2; i++)
        if (format->json && cursor->held_size[i] > 0 && cursor->gap[i] == 0)
            batch->size += (size_t)(json_record(batch->text + batch->size, &format->tail[i], cursor->held[i],
                                                cursor->held_size[i], true) -
                                    (batch->text + batch->size));
    batch->next = 1;
}

void batch_make(struct log *log, const struct log_target *target, const struct batch_format *format,
                struct batch *batch)
{
    const struct log_cursor *cursor = target_cursor(target);

    *batch = (struct batch){.text = log->scratch, .from = cursor->done, .open = cursor->open_line[log->call.stream]};
    batch->prelude = batch->size = put_prelude(cursor, format, batch->text);
    if (log->call.kind == LOG_CALL_FINISH)
        make_last_words(cursor, format, batch);
    else
        make_records(log, cursor, format, batch);
}

size_t batch_position(const struct log *log, const struct batch_format *format, const struct batch *batch, size_t size,
                      bool *open)
{
    const char *at = log->call.bytes + batch->from, *end = log->call.bytes + log->call.end;
    const char *record = batch->text + batch->prelude, *stop = batch->text + size;

    while (record < stop) {
        record = (const char *)memchr(record, '\n', (size_t)(stop - record)) + 1;
        at = format->json ? json_record_end(at, end, open) : cri_record_end(at, end, open);
    }
    return (size_t)(at - log->call.bytes);
}

size_t batch_record_end(const struct batch *batch, size_t from)
{
    const char *newline = from < batch->size ? memchr(batch->text + from, '\n', batch->size - from) : NULL;

    return newline != NULL ? (size_t)(newline + 1 - batch->text) : batch->size;
}
