/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a log that is rotated again and again while it is written: each line comes once, in order, however many
 * rotations happen between two looks, and whoever does the rotation.
 */
#include <poll.h>
#include <sys/wait.h>

#include "log_rotating.h"
#include "log_writing.h"

enum { DEADLINE_MS = 30000 };

#define BEGIN 1700000000000000000LL

static char run_dir[] = "run";

struct follower {
    pid_t pid;
    int out;
    int next; /* the number that comes next; -1: a new one */
    size_t size;
    char text[65536]; /* read, but not yet looked at */
};

static void follow(struct follower *follower, int lock, int64_t tail)
{
    struct remora_log_options options = print_all();
    int pipes[2];

    assert(pipe2(pipes, O_CLOEXEC) == 0);
    follower->pid = fork();
    assert(follower->pid >= 0);
    if (follower->pid == 0) {
        close(pipes[0]);
        close(lock);
        options.follow = true;
        options.tail = tail;
        options.run_dir = run_dir;
        options.out = options.err = pipes[1];
        _exit(-remora_log_print("log", &options));
    }
    close(pipes[1]);
    follower->out = pipes[0];
    follower->next = 0;
    follower->size = 0;
}

/* Read on until the line `number` was there: each line is a number, one more than the one before. */
static void expect(struct follower *follower, int number)
{
    while (follower->next <= number) {
        struct pollfd ready = {.fd = follower->out, .events = POLLIN};
        char *at = follower->text;
        char *newline;
        ssize_t n;

        assert(poll(&ready, 1, DEADLINE_MS) == 1);
        n = read(follower->out, follower->text + follower->size, sizeof(follower->text) - follower->size);
        assert(n > 0);
        follower->size += (size_t)n;
        while ((newline = memchr(at, '\n', follower->size - (size_t)(at - follower->text))) != NULL) {
            int got = atoi(at);

            if (follower->next < 0) {
                assert(got >= 5);
                follower->next = got;
            }
            if (got != follower->next) {
                printf("got %d instead of %d\n", got, follower->next);
                fflush(stdout);
                abort();
            }
            follower->next++;
            at = newline + 1;
        }
        follower->size -= (size_t)(at - follower->text);
        memmove(follower->text, at, follower->size);
    }
}

static void expect_end(struct follower *follower)
{
    struct pollfd ready = {.fd = follower->out, .events = POLLIN};
    int status;
    char byte;

    assert(follower->size == 0 && poll(&ready, 1, DEADLINE_MS) == 1 && read(follower->out, &byte, 1) == 0);
    close(follower->out);
    assert(waitpid(follower->pid, &status, 0) == follower->pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void put(struct rotating *log, int number)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "%d", number);

    /* Some lines in two pieces: they go on over the end of a file, too. */
    if (number % 5 == 0 && size > 1) {
        char piece[2] = {text[0], '\0'};

        rotating_put(log, BEGIN + number, "stdout", true, piece);
        rotating_put(log, BEGIN + number, "stdout", false, text + 1);
    } else {
        rotating_put(log, BEGIN + number, "stdout", false, text);
    }
}

/* A writer that stops for the reader only where else a file would be gone before it was read. */
static void a_busy_writer_loses_no_line(bool json, bool linked, int64_t max_size, unsigned max_files, int lines,
                                        int ahead)
{
    struct rotating log = {.path = "log", .max_files = max_files, .max_size = max_size, .json = json, .linked = linked};
    static struct follower follower;
    int lock = remora_lock(run_dir, false);

    assert(lock >= 0);
    rotating_open(&log);
    follow(&follower, lock, -1);
    for (int i = 0; i < lines; i++) {
        put(&log, i);
        if (i % (ahead / 2) == 0)
            expect(&follower, i - ahead);
    }
    close(lock);
    expect(&follower, lines - 1);
    expect_end(&follower);
    rotating_close(&log);
}

/* The same with the monitor's own writer, which rotates in the middle of a call. */
static void our_own_writer_loses_no_line(enum log_driver driver)
{
    enum { LINES = 20000, MAX_FILES = 16 };
    struct log_options *options = new_options(driver, "log");
    static struct follower follower;
    int lock = remora_lock(run_dir, false);
    struct rotating names = {.path = "log", .max_files = MAX_FILES, .fd = -1};
    struct timespec now;
    const char *what = NULL;
    char text[8192];
    struct log log;

    assert(lock >= 0);
    options->sinks[0].max_size = 4000;
    options->sinks[0].max_files = MAX_FILES;
    assert(log_open(&log, options, &what) == 0);
    follow(&follower, lock, -1);
    for (int number = 0, size = 0; number < LINES; number++) {
        size += snprintf(text + size, sizeof(text) - (size_t)size, "%d\n", number);
        if (number % 97 != 96 && number < LINES - 1)
            continue;
        clock_gettime(CLOCK_REALTIME, &now);
        /* The last line in two pieces, which may come to lie in two files. */
        log_write(&log, LOG_STDOUT, &now, text, (size_t)size - 2);
        log_write(&log, LOG_STDOUT, &now, text + size - 2, 2);
        size = 0;
        expect(&follower, number - 300);
    }
    assert(first_cursor(&log)->rotations > 150);
    close(lock);
    expect(&follower, LINES - 1);
    expect_end(&follower);
    log_deinit(&log);
    rotating_close(&names);
}

/* The reader is stopped, and looks again after many rotations. */
static void many_rotations_between_two_looks_lose_nothing(unsigned rotations)
{
    struct rotating log = {.path = "log", .max_files = 40};
    static struct follower follower;
    int lock = remora_lock(run_dir, false);
    int status;

    assert(lock >= 0);
    rotating_open(&log);
    put(&log, 0);
    follow(&follower, lock, -1);
    expect(&follower, 0);
    for (int round = 0, number = 1; round < 20; round++) {
        assert(kill(follower.pid, SIGSTOP) == 0);
        assert(waitpid(follower.pid, &status, WUNTRACED) == follower.pid && WIFSTOPPED(status));
        for (unsigned i = 0; i < rotations; i++) {
            put(&log, number++);
            rotating_shift(&log);
            if (i % 3 != 0)
                put(&log, number++);
        }
        assert(kill(follower.pid, SIGCONT) == 0);
        expect(&follower, number - 1);
    }
    close(lock);
    expect_end(&follower);
    rotating_close(&log);
}

/* As conmon does it: the new file takes the place of the old one, which has no name any more. */
static void a_file_that_is_replaced_is_read_to_its_end(void)
{
    struct rotating log = {.path = "log", .max_files = 1};
    static struct follower follower;
    int lock = remora_lock(run_dir, false);

    assert(lock >= 0);
    rotating_open(&log);
    put(&log, 0);
    follow(&follower, lock, -1);
    expect(&follower, 0);
    for (int number = 1; number < 3000; number += 3) {
        put(&log, number);
        rotating_shift(&log);
        put(&log, number + 1);
        put(&log, number + 2);
        expect(&follower, number + 2);
    }
    close(lock);
    expect_end(&follower);
    rotating_close(&log);
}

/* As the kubelet does it: somebody renames the file, the writer goes on with it, and opens the path again later. */
static void a_rename_by_others_loses_nothing_and_repeats_nothing(void)
{
    struct rotating log = {.path = "log", .max_files = 2};
    static struct follower follower;
    int lock = remora_lock(run_dir, false);
    char outside[32];

    assert(lock >= 0);
    rotating_open(&log);
    /* Older lines with a number: those are not read again when the file before ours has left the set. */
    put(&log, 0);
    rotating_shift(&log);
    put(&log, 1);
    follow(&follower, lock, -1);
    expect(&follower, 1);
    for (int number = 2, i = 0; i < 300; i++) {
        snprintf(outside, sizeof(outside), "log.2026-%d", i);
        put(&log, number++);
        assert(rename("log", outside) == 0);
        put(&log, number++);
        /* What goes to the renamed file is shown at once, before there is another. */
        expect(&follower, number - 1);
        put(&log, number++);
        close(log.fd);
        rotating_open(&log);
        put(&log, number++);
        expect(&follower, number - 1);
        unlink(outside);
    }
    close(lock);
    expect_end(&follower);
    rotating_close(&log);
}

/* By hand: `: > log`, and as tools do that copy and truncate. */
static void a_file_that_is_emptied_is_read_from_its_beginning(void)
{
    struct rotating log = {.path = "log", .max_files = 2};
    static struct follower follower;
    int lock = remora_lock(run_dir, false);

    assert(lock >= 0);
    rotating_open(&log);
    follow(&follower, lock, -1);
    for (int number = 0; number < 1000; number += 2) {
        put(&log, number);
        put(&log, number + 1);
        expect(&follower, number + 1);
        assert(ftruncate(log.fd, 0) == 0);
    }
    close(lock);
    expect_end(&follower);
    rotating_close(&log);
}

/* On a full disk a writer takes back the part of a record that went in, and tries again later. */
static void a_record_that_is_taken_back_is_not_shown(void)
{
    static const char part[] = "2023-11-14T22:13:20.000000000+00:00 stdout F this is to";
    struct rotating log = {.path = "log", .max_files = 2};
    static struct follower follower;
    int lock = remora_lock(run_dir, false);

    assert(lock >= 0);
    rotating_open(&log);
    follow(&follower, lock, -1);
    for (int number = 0; number < 1500; number++) {
        put(&log, number);
        assert(write(log.fd, part, strlen(part)) == (ssize_t)strlen(part));
        expect(&follower, number);
        assert(ftruncate(log.fd, log.size) == 0);
    }
    close(lock);
    expect_end(&follower);
    rotating_close(&log);
}

/* A tail that begins in a rotated file, and then what comes. */
static void following_begins_with_the_tail(void)
{
    struct rotating log = {.path = "log", .max_files = 5};
    static struct follower follower;
    int lock = remora_lock(run_dir, false);

    assert(lock >= 0);
    rotating_open(&log);
    for (int i = 0; i < 8; i++) {
        put(&log, i);
        if (i % 2 == 1)
            rotating_shift(&log);
    }
    follow(&follower, lock, 5);
    follower.next = 3;
    expect(&follower, 7);
    put(&log, 8);
    rotating_shift(&log);
    put(&log, 9);
    expect(&follower, 9);
    close(lock);
    expect_end(&follower);
    rotating_close(&log);
}

/* Nothing of what is there, all of what comes, from some line on. */
static void following_without_a_tail_begins_with_what_is_new(void)
{
    struct rotating log = {.path = "log", .max_files = 5};
    static struct follower follower;
    struct pollfd ready = {.events = POLLIN};
    int lock = remora_lock(run_dir, false);
    int number = 0;

    assert(lock >= 0);
    rotating_open(&log);
    for (; number < 5; number++) {
        put(&log, number);
        rotating_shift(&log);
    }
    follow(&follower, lock, 0);
    follower.next = -1;
    ready.fd = follower.out;
    for (int looks = 0; poll(&ready, 1, 10) == 0; number++) {
        put(&log, number);
        rotating_shift(&log);
        assert(++looks < DEADLINE_MS / 10);
    }
    expect(&follower, number - 1);
    close(lock);
    expect_end(&follower);
    rotating_close(&log);
}

int main(void)
{
    a_busy_writer_loses_no_line(false, false, 1000, 16, 60000, 100); /* 3000 rotations */
    a_busy_writer_loses_no_line(false, true, 1000, 16, 60000, 100);
    a_busy_writer_loses_no_line(true, true, 3000, 16, 60000, 100);
    a_busy_writer_loses_no_line(false, false, 50, 64, 3000, 30); /* a file for each record */
    our_own_writer_loses_no_line(LOG_K8S_FILE);
    our_own_writer_loses_no_line(LOG_JSON_FILE);
    many_rotations_between_two_looks_lose_nothing(1);
    many_rotations_between_two_looks_lose_nothing(2);
    many_rotations_between_two_looks_lose_nothing(30);
    a_file_that_is_replaced_is_read_to_its_end();
    a_rename_by_others_loses_nothing_and_repeats_nothing();
    a_file_that_is_emptied_is_read_from_its_beginning();
    a_record_that_is_taken_back_is_not_shown();
    following_begins_with_the_tail();
    following_without_a_tail_begins_with_what_is_new();
    return 0;
}
