/* SPDX-License-Identifier: Apache-2.0 */
/* What is logged when not all is: the policies, the records of gaps, the bound on all files together; and the counters.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <time.h>

#include "log/log.h"
#include "log_files.h"
#include "log_help.h"
#include "log_writing.h"
#include "util/msg.h"

#define SECOND INT64_C(1000000000)

static const struct timespec NOW = {1700000000, 123456789};

static void put(struct log *log, enum log_stream stream, const char *text)
{
    log_write(log, stream, &NOW, text, strlen(text));
}

static struct log *open_shared(const struct log_options *options)
{
    struct log *log = mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *what;

    assert(log != MAP_FAILED && log_open(log, options, &what) == 0);
    return log;
}

static void expect_file(const char *path, const char *wanted)
{
    struct text raw = path_text(path);
    struct text without = {0};

    /* The times are another test's business. */
    for (const char *line = raw.bytes; line != NULL && *line != '\0'; line = strchr(line, '\n') + 1)
        text_add(&without, line + 36, strcspn(line + 36, "\n") + 1);
    if (strcmp(without.bytes != NULL ? without.bytes : "", wanted) != 0) {
        printf("got:\n%s\nwanted:\n%s\n", without.bytes, wanted);
        fflush(stdout);
        abort();
    }
    text_free(&raw);
    text_free(&without);
}

static size_t take(struct log_bucket *bucket, int64_t rate, int64_t now, const char *text, size_t *begin)
{
    size_t end;

    bucket_take(bucket, rate, now, text, strlen(text), begin, &end);
    return end;
}

static void a_bucket_lets_whole_lines_through_at_its_rate(void)
{
    struct log_bucket bucket = {0};
    size_t begin;

    /* A second's worth at once, then nothing until time has passed. */
    assert(take(&bucket, 10, SECOND, "1234\n5678\n", &begin) == 10 && begin == 0);
    assert(take(&bucket, 10, SECOND, "1234\n", &begin) == 0 && begin == 0);
    assert(take(&bucket, 10, SECOND + SECOND / 2, "1234\n5678\n", &begin) == 5 && begin == 0);
    /* The rest of a line whose beginning is lost goes, too. */
    assert(take(&bucket, 10, 2 * SECOND, "lo", &begin) == 2);
    assert(take(&bucket, 10, 2 * SECOND, "st line", &begin) == 0);
    assert(take(&bucket, 10, 9 * SECOND, " with its end\nnew\n", &begin) == 18 && begin == 14);
    /* Bytes that make no tokens yet are not forgotten. */
    bucket = (struct log_bucket){0};
    assert(take(&bucket, 3, SECOND, "12\n", &begin) == 3);
    for (int64_t now = SECOND; now < 2 * SECOND; now += 1000)
        assert(take(&bucket, 3, now, "x23\n", &begin) == 0);
    assert(take(&bucket, 3, 2 * SECOND, "12\n", &begin) == 3);
}

static void a_line_longer_than_a_seconds_worth_passes_and_is_paid_for(void)
{
    struct log_bucket bucket = {0};
    size_t begin;

    assert(take(&bucket, 4, SECOND, "0123456789\nx\n", &begin) == 11);
    assert(take(&bucket, 4, 2 * SECOND, "x\n", &begin) == 0);
    assert(take(&bucket, 4, 4 * SECOND, "x\n", &begin) == 2);
}

/* How much passes in a time is bounded by the rate, whatever the pieces. */
static void the_rate_holds_for_any_pieces(uint64_t *random)
{
    for (int round = 0; round < 200; round++) {
        struct log_bucket bucket = {0};
        int64_t rate = 1 + (int64_t)random_below(random, 5000), start = SECOND, now = start;
        size_t passed = 0, begin, end;
        char text[300];

        while (now < start + 10 * SECOND) {
            size_t size = 1 + random_below(random, sizeof(text));

            for (size_t i = 0; i < size; i++)
                text[i] = random_below(random, 20) == 0 ? '\n' : 'x';
            bucket_take(&bucket, rate, now, text, size, &begin, &end);
            assert(begin <= end && end <= size);
            passed += end - begin;
            assert((int64_t)passed <= rate + (now - start) * rate / SECOND + (int64_t)sizeof(text));
            now += (int64_t)random_below(random, (uint64_t)SECOND / 4);
        }
        assert((int64_t)passed + 2 * (int64_t)sizeof(text) >= rate || rate > 2000);
    }
}

static void what_a_rate_drops_is_counted_and_told_once(void)
{
    struct log_options *options = new_options(LOG_K8S_FILE, "log");
    struct log *log;

    options->streams[LOG_STDOUT] = (struct log_stream_options){LOG_RATE, 16};
    log = open_shared(options);
    put(log, LOG_STDOUT, "first\nsecond\nthird\n");
    put(log, LOG_STDOUT, "fourth\n");
    put(log, LOG_STDERR, "not limited, whatever its length\n");
    put(log, LOG_STDOUT, "fifth\n");
    assert(log_dropped(log) == 6 + 7 + 6 && log_written(log) == 13 + 33);
    log_finish(log);
    log_finish(log);
    expect_file("log", "stdout F first\nstdout F second\n"
                       "stderr F remora: 13 bytes of output were not logged: more than 16 bytes in a second\n"
                       "stderr F not limited, whatever its length\n"
                       "stderr F remora: 6 bytes of output were not logged: more than 16 bytes in a second\n");
    log_deinit(log);
    assert(log_dropped(log) == 19);
    munmap(log, sizeof(*log));
    unlink("log");
}

static void a_gap_from_outside_is_told_in_each_format(void)
{
    struct log_options *options = new_options(LOG_K8S_FILE, "log");
    struct text raw;
    struct log *log;

    options->sinks[1] = (struct log_sink_options){.driver = LOG_JSON_FILE, .path = "json"};
    options->n_sinks = 2;
    log = open_shared(options);
    put(log, LOG_STDOUT, "begun\xe2\x82");
    put(log, LOG_STDERR, "err");
    log_gap(log, LOG_STDOUT, 100, "one thing");
    log_gap(log, LOG_STDOUT, 11, "one thing");
    log_gap(log, LOG_STDOUT, 1, "another");
    put(log, LOG_STDOUT,
        "\xac"
        "on\n");
    assert(log_dropped(log) == 112 && log_written(log) == 7 + 3 + 4);
    expect_file("log", "stdout P begun\xe2\x82\nstderr P err\nstdout F \nstderr F \n"
                       "stderr F remora: 112 bytes of output were not logged: one thing, another\nstdout F \xac"
                       "on\n");
    raw = path_text("json");
    assert(strstr(raw.bytes, "{\"log\":\"begun\",\"stream\":\"stdout\"") == raw.bytes);
    assert(strstr(raw.bytes, "{\"log\":\"\\ufffd\\ufffd\\n\",\"stream\":\"stdout\"") != NULL);
    assert(strstr(raw.bytes, "{\"log\":\"remora: 112 bytes of output were not logged: one thing, another\\n\",") !=
           NULL);
    assert(strstr(raw.bytes, "{\"log\":\"\\ufffdon\\n\",\"stream\":\"stdout\"") != NULL);
    text_free(&raw);
    log_deinit(log);
    munmap(log, sizeof(*log));
    unlink("log");
    unlink("json");
}

static void a_slow_disk_is_left_alone_for_as_long_as_it_took(void)
{
    struct log_options *options = new_options(LOG_K8S_FILE, "log");
    struct log *log;

    options->streams[LOG_STDOUT].policy = LOG_DROP;
    log = open_shared(options);
    put(log, LOG_STDOUT, "one\n");
    target_took(&log->targets[0], 5, 6); /* fast */
    put(log, LOG_STDOUT, "two\n");
    target_took(&log->targets[0], log_monotonic() - 60 * SECOND, log_monotonic());
    put(log, LOG_STDOUT, "three\n");
    put(log, LOG_STDERR, "who blocks, waits\n");
    assert(log_dropped(log) == 6);
    log->targets[0].closed_until = 0; /* the time is over */
    put(log, LOG_STDOUT, "four\n");
    expect_file("log", "stdout F one\nstdout F two\n"
                       "stderr F remora: 6 bytes of output were not logged: the disk was too slow\n"
                       "stderr F who blocks, waits\nstdout F four\n");
    log_deinit(log);
    munmap(log, sizeof(*log));
    unlink("log");
}

static void the_line_that_crosses_the_total_is_the_last(void)
{
    struct log_options *options = new_options(LOG_K8S_FILE, "log");
    char line[8];

    for (int chunk = 1; chunk <= 8; chunk *= 8) {
        struct text text = {0}, raw;
        struct log *log;

        options->sinks[0].max_total = 200;
        log = open_shared(options);
        for (int i = 1; i <= 8; i++) {
            text_add(&text, line, (size_t)snprintf(line, sizeof(line), "%d\n", i));
            if (i % chunk == 0) {
                log_write(log, LOG_STDOUT, &NOW, text.bytes, text.size);
                text_free(&text);
            }
        }
        log_finish(log);
        raw = path_text("log"); /* 47 bytes a line */
        assert(raw.size == 5 * 47 && strcmp(raw.bytes + raw.size - 2, "5\n") == 0 && log_dropped(log) == 6);
        text_free(&raw);
        log_deinit(log);
        munmap(log, sizeof(*log));
        unlink("log");
    }
}

/* A full disk under one target is none of the other's business. */
static void targets_lose_by_themselves(void)
{
    struct log_options *options = new_options(LOG_K8S_FILE, "log");
    static char line[100000];
    struct text streams[2] = {{0}, {0}};
    struct text raw;
    struct log *log;

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    assert(mkdir("small", 0700) == 0 && mount("tmpfs", "small", "tmpfs", 0, "size=64k") == 0);
    options->sinks[1] = (struct log_sink_options){.driver = LOG_JSON_FILE, .path = "small/json"};
    options->n_sinks = 2;
    log = open_shared(options);
    log_write(log, LOG_STDOUT, &NOW, line, sizeof(line));
    assert(log_written(log) == sizeof(line) && log_dropped(log) > 0 && log_dropped(log) < sizeof(line));
    take_files(LOG_K8S_FILE, "log", 0, streams);
    assert(streams[0].size == sizeof(line));
    assert(truncate("small/json", 0) == 0);
    log_finish(log);
    raw = path_text("small/json");
    assert(strstr(raw.bytes, "bytes of output were not logged: No space left on device\\n\"") != NULL);
    assert(log_written(log) == sizeof(line));
    text_free(&raw);
    text_free(&streams[0]);
    log_deinit(log);
    munmap(log, sizeof(*log));
    assert(umount("small") == 0 && rmdir("small") == 0);
}

static void the_counters_tell_all_of_it(void)
{
    struct log_options *options = new_options(LOG_K8S_FILE, "log");
    CLEANUP_MSG_OUT struct msg_out out = {0};
    CLEANUP_MSG struct msg msg = {0};
    const msgpack_object *counters, *stream, *driver;
    struct log *log;

    options->sinks[0].max_size = 100;
    options->sinks[0].max_files = 3;
    log = open_shared(options);
    put(log, LOG_STDOUT, "one\ntwo\nthree\n");
    log_gap(log, LOG_STDERR, 7, "test");
    put(log, LOG_STDERR, "four\n");
    msg_out_init(&out, 1);
    log_put_counters(log, &out);
    assert(msg_parse(&msg, out.buffer.data, out.buffer.size) == 0);
    counters = msg_get(&msg.root, "log");
    stream = msg_get(counters, "stdout");
    assert(msg_int(stream, "written", -1) == 14 && msg_int(stream, "dropped", -1) == 0);
    stream = msg_get(counters, "stderr");
    assert(msg_int(stream, "written", -1) == 5 && msg_int(stream, "dropped", -1) == 7);
    assert(msg_array(counters, "drivers")->size == 1);
    driver = &msg_array(counters, "drivers")->ptr[0];
    assert(strcmp(msg_text(&msg, driver, "driver", ""), "k8s-file") == 0);
    assert(strcmp(msg_text(&msg, driver, "path", ""), "log") == 0 &&
           strcmp(msg_text(&msg, driver, "error", "?"), "") == 0);
    assert(msg_int(driver, "written", -1) == 19 && msg_int(driver, "dropped", -1) == 7 &&
           msg_int(driver, "gaps", -1) == 1);
    assert(msg_int(driver, "rotations", -1) == 2 && msg_int(driver, "failed_rotations", -1) == 0);
    assert(msg_int(driver, "size", -1) == log_size(log));
    log_deinit(log);
    munmap(log, sizeof(*log));
    unlink("log");
    unlink("log.1");
    unlink("log.2");
}

/* Another program goes on with the descriptors, in the middle of lines, of a character, of a gap. */
static void another_version_goes_on_with_the_state(void)
{
    struct log_options *options = new_options(LOG_JSON_FILE, "json");
    struct text streams[2] = {{0}, {0}};
    struct log *log, *next = mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    options->sinks[1] = (struct log_sink_options){.driver = LOG_K8S_FILE, .path = "log"};
    options->sinks[2] = (struct log_sink_options){.driver = LOG_JOURNALD};
    options->n_sinks = 3;
    options->journal = "nobody";
    options->id = "0123456789abcdef";
    log = open_shared(options);
    for (int round = 0; round < 3; round++) {
        CLEANUP_MSG_OUT struct msg_out out = {0};
        CLEANUP_MSG struct msg msg = {0};

        put(log, LOG_STDOUT, round == 0 ? "begun \xe2\x82" : "\xac and \xe2\x82");
        log_gap(log, LOG_STDERR, 5, "test");
        msg_out_init(&out, 1);
        log_save(log, &out);
        assert(msg_parse(&msg, out.buffer.data, out.buffer.size) == 0);
        log_idle(log);
        assert(log_load(next, msg_get(&msg.root, "log"), options) == 0);
        assert(log_written(next) == log_written(log) && log_calls(next) == log_calls(log));
        log_resume(next);
        *log = *next;
        options->n_sinks = 2;
        assert(log_load(next, msg_get(&msg.root, "log"), options) == -EBADMSG);
        options->n_sinks = 3;
    }
    put(log, LOG_STDOUT, "\xac.\n");
    take_files(LOG_K8S_FILE, "log", 0, streams);
    assert(strstr(streams[0].bytes, "\xe2\x82\xac and \xe2\x82\xac and \xe2\x82\xac.\n") != NULL);
    assert(strstr(streams[1].bytes, "remora: 5 bytes") != NULL);
    assert(log_dropped(log) > 15 && log->targets[2].cursors[log->targets[2].current].last_error == ENOENT);
    log_deinit(log);
    for (int i = 0; i < 2; i++)
        text_free(&streams[i]);
    take_files(LOG_JSON_FILE, "json", 0, streams);
    assert(strncmp(streams[0].bytes, "begun \xe2\x82\xac and \xe2\x82\xac and \xe2\x82\xac.\n", 20) == 0);
    for (int i = 0; i < 2; i++)
        text_free(&streams[i]);
    munmap(log, sizeof(*log));
    munmap(next, sizeof(*next));
}

int main(void)
{
    uint64_t random = random_seed();

    assert(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    a_bucket_lets_whole_lines_through_at_its_rate();
    a_line_longer_than_a_seconds_worth_passes_and_is_paid_for();
    the_rate_holds_for_any_pieces(&random);
    what_a_rate_drops_is_counted_and_told_once();
    a_gap_from_outside_is_told_in_each_format();
    a_slow_disk_is_left_alone_for_as_long_as_it_took();
    the_line_that_crosses_the_total_is_the_last();
    targets_lose_by_themselves();
    the_counters_tell_all_of_it();
    another_version_goes_on_with_the_state();
    return 0;
}
