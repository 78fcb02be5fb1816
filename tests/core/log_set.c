/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rotated log is read as one: lines go on from file to file, nothing is lost or doubled while a writer rotates, and
 * finding a time or the last lines reads a part that doesn't grow with the log.
 */
#include <errno.h>
#include <sys/wait.h>

#include "log/set.h"
#include "log_rotating.h"

#define SECOND 1000000000LL
#define BEGIN (1700000000 * SECOND)

static void printed(const char *path, struct remora_log_options options, const char *wanted)
{
    struct text out;

    assert(print_into(path, options, &out, NULL) == 0);
    if (strcmp(out.bytes, wanted) != 0) {
        printf("got: %s\nwanted: %s\n", out.bytes, wanted);
        abort();
    }
    text_free(&out);
}

static void the_oldest_file_comes_first_and_lines_go_on_over_files(bool json)
{
    struct rotating log = {.path = "log", .max_files = 4, .json = json};
    struct remora_log_options options = print_all();

    rotating_open(&log);
    rotating_put(&log, BEGIN, "stdout", false, "one");
    rotating_put(&log, BEGIN + 1, "stdout", true, "tw");
    rotating_shift(&log);
    rotating_put(&log, BEGIN + 2, "stderr", true, "er");
    rotating_shift(&log);
    rotating_put(&log, BEGIN + 3, "stdout", false, "o");
    rotating_put(&log, BEGIN + 4, "stderr", false, "r");
    rotating_shift(&log);
    printed("log", options, "one\ntwo\nerr\n");
    rotating_put(&log, BEGIN + 5, "stdout", false, "last");
    printed("log", options, "one\ntwo\nerr\nlast\n");
    options.tail = 3;
    printed("log", options, "two\nerr\nlast\n");
    options.tail = 2;
    printed("log", options, "err\nlast\n");
    options.tail = 0;
    printed("log", options, "");
    /* By time first, then the last of these. */
    options.tail = 1;
    options.until_ns = BEGIN + 3;
    printed("log", options, "two\n");
    options.tail = -1;
    options.since_ns = BEGIN + 3;
    options.until_ns = INT64_MAX;
    printed("log", options, "r\nlast\n");
    rotating_close(&log);
}

static void a_number_that_is_missing_and_no_live_file_do_no_harm(void)
{
    struct rotating log = {.path = "log", .max_files = 6};
    struct log_set set;

    rotating_open(&log);
    for (int i = 0; i < 5; i++) {
        char text[16];

        snprintf(text, sizeof(text), "%d", i);
        rotating_put(&log, BEGIN + i, "stdout", false, text);
        rotating_shift(&log);
    }
    assert(unlink("log.3") == 0 && unlink("log.4") == 0 && mkdir("log.4", 0700) == 0);
    printed("log", print_all(), "0\n3\n4\n");
    assert(unlink("log") == 0);
    printed("log", print_all(), "0\n3\n4\n");
    /* A symlink with a number is not followed, for it is none of the log's. */
    assert(symlink("log.5", "log.3") == 0);
    printed("log", print_all(), "0\n3\n4\n");
    assert(unlink("log.3") == 0 && rmdir("log.4") == 0);
    log.fd = -1;
    rotating_close(&log);
    assert(set_open(&set, "log", -1) == -ENOENT && set.n == 0);
    set_deinit(&set);
}

static void a_file_that_is_cut_off_ends_its_line(void)
{
    struct rotating log = {.path = "log", .max_files = 2};

    rotating_open(&log);
    rotating_put(&log, BEGIN, "stdout", false, "torn");
    assert(ftruncate(log.fd, log.size - 2) == 0);
    rotating_shift(&log);
    rotating_put(&log, BEGIN, "stdout", false, "new");
    printed("log", print_all(), "tor\nnew\n");
    rotating_close(&log);
}

static int64_t bytes_read(void)
{
    FILE *file = fopen("/proc/self/io", "re");
    long long bytes = -1;

    assert(file != NULL && fscanf(file, "rchar: %lld", &bytes) == 1);
    fclose(file);
    return bytes;
}

/* One line each second; 24 MB in 8 files, or in one. */
static void finding_reads_a_small_part(bool json, int64_t max_size)
{
    enum { LINES = 200000, FEW = 1 << 20 };
    struct rotating log = {.path = "log", .max_files = 12, .max_size = max_size, .json = json};
    struct remora_log_options options = print_all();
    char text[128], wanted[2048];
    int64_t before;

    rotating_open(&log);
    for (int i = 0; i < LINES; i++) {
        snprintf(text, sizeof(text), "%099d", i);
        rotating_put(&log, BEGIN + i * SECOND, i % 2 == 0 ? "stdout" : "stderr", false, text);
    }
    for (int place = 0; place < LINES; place += place < 40 ? 13 : 7919) {
        char *at = wanted;

        for (int i = place - 1; i < place + 2; i++) {
            if (i >= 0 && i < LINES)
                at += sprintf(at, "%099d\n", i);
        }
        before = bytes_read();
        options.tail = -1;
        options.since_ns = BEGIN + (place - 2) * SECOND;
        options.until_ns = BEGIN + (place + 1) * SECOND;
        printed("log", options, wanted);
        /* The last one before a time long ago. */
        options.tail = place == 0 ? 2 : 3;
        options.since_ns = INT64_MIN;
        printed("log", options, wanted);
        options.until_ns = INT64_MAX;
        options.tail = 1;
        snprintf(wanted, sizeof(wanted), "%099d\n", LINES - 1);
        printed("log", options, wanted);
        assert(bytes_read() - before < 4 * FEW);
    }
    options.tail = 10;
    before = bytes_read();
    options.since_ns = BEGIN + (LINES - 2) * SECOND;
    snprintf(wanted, sizeof(wanted), "%099d\n", LINES - 1);
    printed("log", options, wanted);
    assert(bytes_read() - before < FEW);
    rotating_close(&log);
}

/* A clock that is set back does not hide records that are a minute early. */
static void steps_of_the_clock_hide_nothing(void)
{
    struct rotating log = {.path = "log", .max_files = 3, .max_size = 400000};
    struct remora_log_options options = print_all();
    struct text out;
    int wanted = 0, found = 0;

    rotating_open(&log);
    options.since_ns = BEGIN + 4000 * SECOND;
    options.until_ns = BEGIN + 5000 * SECOND;
    for (int i = 0; i < 9000; i++) {
        int64_t second = i - (i % 500 > 400 ? 50 : 0);

        rotating_put(&log, BEGIN + second * SECOND, "stdout", false, "a line of a certain length: 0123456789");
        wanted += second > 4000 && second <= 5000;
    }
    assert(print_into("log", options, &out, NULL) == 0);
    for (const char *at = out.bytes; (at = strchr(at, '\n')) != NULL; at++)
        found++;
    assert(found == wanted && wanted > 900);
    text_free(&out);
    rotating_close(&log);
}

/* The text is numbers in order, one a line, without a gap. Returns how many. */
static int ascending(const struct text *text)
{
    const char *at = text->bytes;
    int first = -1, count = 0;

    while (*at != '\0') {
        char *end;
        int number = (int)strtol(at, &end, 10);

        assert(*end == '\n');
        if (first < 0)
            first = number;
        if (number != first + count) {
            printf("after %d: %d\n", first + count - 1, number);
            abort();
        }
        count++;
        at = end + 1;
    }
    return count;
}

static void reading_while_files_are_shifted_sees_each_line_once(bool linked)
{
    struct rotating log = {.path = "log", .max_files = 20, .max_size = 1000, .linked = linked};
    struct remora_log_options options = print_all();
    pid_t writer = fork();
    int rounds = 0;
    struct text out;
    char text[16];
    int status;

    assert(writer >= 0);
    if (writer == 0) {
        rotating_open(&log);
        for (int i = 0; i < 100000; i++) {
            snprintf(text, sizeof(text), "%d", i);
            rotating_put(&log, BEGIN + i, "stdout", false, text);
        }
        _exit(0);
    }
    do {
        int r;

        options.tail = rounds % 3 == 0 ? 50 : -1;
        r = print_into("log", options, &out, NULL);
        assert(r == 0 || r == -ENOENT);
        if (r == 0)
            rounds += ascending(&out) > 0;
        text_free(&out);
    } while (waitpid(writer, &status, WNOHANG) == 0);
    assert(WIFEXITED(status) && WEXITSTATUS(status) == 0 && rounds > 20);
    assert(print_into("log", print_all(), &out, NULL) == 0);
    assert(ascending(&out) > 200);
    text_free(&out);
    log.fd = -1;
    rotating_close(&log);
}

int main(void)
{
    the_oldest_file_comes_first_and_lines_go_on_over_files(false);
    the_oldest_file_comes_first_and_lines_go_on_over_files(true);
    a_number_that_is_missing_and_no_live_file_do_no_harm();
    a_file_that_is_cut_off_ends_its_line();
    finding_reads_a_small_part(false, 3000000);
    finding_reads_a_small_part(true, 4000000);
    finding_reads_a_small_part(false, 0);
    steps_of_the_clock_hide_nothing();
    reading_while_files_are_shifted_sees_each_line_once(false);
    reading_while_files_are_shifted_sees_each_line_once(true);
    return 0;
}
