/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writer logs is what the reader prints: random bytes in random pieces, two streams, by time and by number of
 * lines. A plain model of the calls tells what is right.
 */
#include "log/log.h"
#include "log_help.h"
#include "log_writing.h"

enum { CALLS_MAX = 60, LINES_MAX = 1000000 };

struct call {
    enum log_stream stream;
    int64_t time_ns;
    size_t begin, size;
};

struct run {
    char *bytes;
    size_t size;
    struct call calls[CALLS_MAX];
    int n_calls;
};

/* Mixed on purpose: much text, bare newlines, control bytes, anything. */
static char random_byte(uint64_t *state, int flavour)
{
    size_t pick = random_below(state, 100);

    if (flavour == 0)
        return pick < 50 ? '\n' : (char)random_below(state, 256);
    if (flavour == 1)
        return pick < 2 ? '\n' : (char)('a' + pick % 26);
    if (flavour == 2)
        return (char)random_below(state, 256);
    return 'x'; /* no newline at all */
}

static void make_run(struct run *run, uint64_t *state)
{
    static const size_t sizes[] = {1, 3, 50, 63, 64, 65, 128, 200, 4000, 16384, 16385, 65536, 200000, 400000};
    int64_t time_ns = 1700000000LL * 1000000000 + (int64_t)random_below(state, 1000000000);

    run->size = 0;
    run->bytes = NULL;
    run->n_calls = 1 + (int)random_below(state, CALLS_MAX - 1);
    for (int i = 0; i < run->n_calls; i++) {
        struct call *call = &run->calls[i];
        size_t limit = sizes[random_below(state, sizeof(sizes) / sizeof(sizes[0]) - (i % 10 == 0 ? 0 : 5))];
        int flavour = (int)random_below(state, 4);

        if (flavour == 0 && limit > 65536)
            limit = 65536;
        *call = (struct call){
            .stream = random_below(state, 3) == 0 ? LOG_STDERR : LOG_STDOUT,
            .time_ns = time_ns,
            .begin = run->size,
            .size = 1 + random_below(state, limit),
        };
        time_ns += (int64_t)random_below(state, 3) * 700000001;
        run->bytes = realloc(run->bytes, run->size + call->size);
        assert(run->bytes != NULL);
        for (size_t k = 0; k < call->size; k++)
            run->bytes[run->size++] = random_byte(state, flavour);
    }
}

static void write_run(const struct run *run, const char *path)
{
    struct log log;

    unlink(path);
    assert(open_driver(&log, LOG_K8S_FILE, path) == 0);
    for (int i = 0; i < run->n_calls; i++) {
        const struct call *call = &run->calls[i];
        struct timespec time = {call->time_ns / 1000000000, call->time_ns % 1000000000};
        /* A copy of its own size, so that a sanitizer sees reading past the end. */
        char *bytes = malloc(call->size);

        assert(bytes != NULL);
        memcpy(bytes, run->bytes + call->begin, call->size);
        log_write(&log, call->stream, &time, bytes, call->size);
        free(bytes);
        if (i % 7 == 0)
            log_idle(&log);
    }
    assert(log_dropped(&log) == 0 && log_error(&log) == 0 && log_written(&log) == run->size);
    assert(lseek(log_fd(&log), 0, SEEK_END) == log_size(&log));
    assert(log_sync(&log) == 0);
    log_deinit(&log);
    log_deinit(&log);
}

/* The model: lines in the order of the calls that ended them; an unfinished one counts from the last call that added to
 * it. */
struct model {
    struct line {
        struct text text;
        enum log_stream stream;
        int call;
    } lines[LINES_MAX];
    int n;
};

static void model_add(struct model *model, const struct text *text, enum log_stream stream, int call)
{
    int at = model->n;

    assert(model->n < LINES_MAX);
    for (; at > 0 && model->lines[at - 1].call > call; at--)
        model->lines[at] = model->lines[at - 1];
    model->lines[at] = (struct line){*text, stream, call};
    model->n++;
}

static void model_make(struct model *model, const struct run *run, const struct remora_log_options *options)
{
    struct text open[2] = {{0}, {0}};
    int last[2] = {0, 0}; /* call of the unfinished line's last byte */

    model->n = 0;
    for (int i = 0; i < run->n_calls; i++) {
        const struct call *call = &run->calls[i];

        if (call->time_ns <= options->since_ns || call->time_ns > options->until_ns)
            continue;
        for (const char *from = run->bytes + call->begin, *end = from + call->size, *next; from < end; from = next) {
            const char *newline = memchr(from, '\n', (size_t)(end - from));

            next = newline != NULL ? newline + 1 : end;
            text_add(&open[call->stream], from, (size_t)(next - from));
            if (newline != NULL) {
                model_add(model, &open[call->stream], call->stream, i);
                open[call->stream] = (struct text){0};
            }
        }
        last[call->stream] = i;
    }
    for (enum log_stream stream = LOG_STDOUT; stream <= LOG_STDERR; stream++) {
        if (open[stream].size > 0)
            model_add(model, &open[stream], stream, last[stream]);
    }
}

static void same(const char *what, const struct text *got, const struct text *wanted)
{
    if (got->size == wanted->size && (got->size == 0 || memcmp(got->bytes, wanted->bytes, got->size) == 0))
        return;
    printf("%s: got %zu bytes, wanted %zu\n", what, got->size, wanted->size);
    fflush(stdout);
    abort();
}

static void check(const struct run *run, const char *path, const struct remora_log_options *options)
{
    static struct model model;
    struct text out, err;
    struct text wanted[2] = {{0}, {0}};
    int first;

    model_make(&model, run, options);
    first = options->tail >= 0 && options->tail < model.n ? model.n - (int)options->tail : 0;
    for (int i = first; i < model.n; i++)
        text_add(&wanted[model.lines[i].stream], model.lines[i].text.bytes, model.lines[i].text.size);
    assert(print_into(path, *options, &out, &err) == 0);
    same("stdout", &out, &wanted[LOG_STDOUT]);
    same("stderr", &err, &wanted[LOG_STDERR]);
    for (int i = 0; i < model.n; i++)
        text_free(&model.lines[i].text);
    for (int i = 0; i < 2; i++)
        text_free(&wanted[i]);
    text_free(&out);
    text_free(&err);
}

int main(void)
{
    uint64_t state = random_seed();
    static struct run run;

    for (int round = 0; round < 60; round++) {
        struct remora_log_options options = print_all();

        make_run(&run, &state);
        write_run(&run, "log");
        check(&run, "log", &options);
        for (int i = 0; i < 8; i++) {
            options.tail = (int64_t)random_below(&state, i < 6 ? 12 : 2000);
            check(&run, "log", &options);
        }
        for (int i = 0; i < 6; i++) {
            options.since_ns = run.calls[random_below(&state, (size_t)run.n_calls)].time_ns;
            options.until_ns = i % 2 == 0 ? INT64_MAX : run.calls[random_below(&state, (size_t)run.n_calls)].time_ns;
            options.tail = i < 3 ? -1 : (int64_t)random_below(&state, 20);
            check(&run, "log", &options);
        }
        free(run.bytes);
    }
    unlink("log");
    return 0;
}
