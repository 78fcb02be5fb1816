/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the writing side know of each other: log.c takes the calls and hands each to every target; file.c,
 * with rotate.c below it, and journal.c deal with a call; policy.c says what of it is logged; state.c tells about it.
 *
 * A part deals with the call in log->call from cursor->done on, whoever began it, and returns when all is dealt with.
 */
#ifndef REMORA_LOG_TARGET_H
#define REMORA_LOG_TARGET_H

#include "log/json.h"
#include "log/log.h"

enum {
    /* 64 KiB of lines of 16 bytes become 244 KiB: one write. More would fall out of the second-level cache. */
    SCRATCH_FORMAT = 288 * 1024,
    /* For text that is made once for each scratch: attributes, a journal's fields. */
    SCRATCH_TEXT = 24 * 1024,
    NOTE_MAX = 256, /* text of a record of our own */
};

extern const char log_stream_names[2][7];

/*
 * A store that counts as made when all before it is, and before all behind it. Whoever dies does so between two
 * instructions, so it is only the compiler that must be told.
 */
#define LOG_PUBLISH(place, value)                                                                                      \
    do {                                                                                                               \
        __atomic_signal_fence(__ATOMIC_SEQ_CST);                                                                       \
        __atomic_store_n(&(place), value, __ATOMIC_RELAXED);                                                           \
        __atomic_signal_fence(__ATOMIC_SEQ_CST);                                                                       \
    } while (0)

static inline const struct log_cursor *target_cursor(const struct log_target *target)
{
    return &target->cursors[target->current];
}

/* The next step, as a copy of the last one; target_commit makes it true. */
static inline struct log_cursor *target_step(struct log_target *target)
{
    struct log_cursor *next = &target->cursors[!target->current];

    *next = target->cursors[target->current];
    return next;
}

static inline void target_commit(struct log_target *target)
{
    LOG_PUBLISH(target->current, !target->current);
}

/* A log that has its targets, of which none is open. */
void log_init(struct log *log, const struct log_options *options);
/* Close target->next: the number is forgotten last, so that it can't be lost; a successor sees whose it is by now. */
void target_close_next(struct log_target *target);
/* Note in a step that payload of a stream is lost. */
void cursor_lose(struct log_cursor *cursor, enum log_stream stream, uint64_t bytes, const char *cause);
/* Lose what is left of the call. */
void target_lose_rest(struct log *log, struct log_target *target, int error, const char *cause);
/* The text of a gap record, without a newline: its size. `to` has NOTE_MAX bytes. */
size_t cursor_gap_text(const struct log_cursor *cursor, char *to);
/* Whether a loss is to be told. */
static inline bool cursor_has_gap(const struct log_cursor *cursor)
{
    return cursor->gap[LOG_STDOUT] + cursor->gap[LOG_STDERR] > 0;
}

/* The first SCRATCH_FORMAT bytes are for formatting, SCRATCH_TEXT more follow. False without memory. */
bool log_scratch(struct log *log);
int64_t log_monotonic(void);

/* ---- file.c ---- */
int file_open(struct log *log, struct log_target *target);
void file_call(struct log *log, struct log_target *target);
/* After a kill: how much of the interrupted call is in the file. */
void file_resume(struct log *log, struct log_target *target);
/* Have the cursor of a step describe the file of `fd`: 0 or -errno. */
int file_describe(struct log_cursor *cursor, int fd);

/* ---- rotate.c ---- */
/* Begin an empty file in the full one's place. False: the full one goes on growing, rather that than a loss. */
bool file_rotate(struct log_target *target);
int file_reopen(struct log_target *target);
/* Finish a rotation or reopening that a kill interrupted. */
void file_rotate_resume(struct log_target *target);

/* ---- journal.c ---- */
int journal_open(struct log *log, struct log_target *target);
void journal_call(struct log *log, struct log_target *target);
void journal_resume(struct log *log, struct log_target *target);

/* ---- policy.c ---- */
/* Which part of `size` bytes the rate allows now: [*begin, *end). */
void bucket_take(struct log_bucket *bucket, int64_t rate, int64_t now, const char *bytes, size_t size, size_t *begin,
                 size_t *end);
/* Whether the target may be written to by a stream that doesn't want to wait. */
bool target_is_open(const struct log_target *target, int64_t now);
/* A write took from `begin` to `end`: a target that was slow is left alone for as long. */
void target_took(struct log_target *target, int64_t begin, int64_t end);

#endif
