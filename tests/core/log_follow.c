/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Following a log: new lines come at once, rotation and truncation lose nothing, and it ends with the container, with
 * the time asked for, or with the reader of its output.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "log/log.h"
#include "log_help.h"
#include "log_writing.h"

enum { DEADLINE_MS = 20000 };

struct follower {
    pid_t pid;
    int out; /* what it prints */
};

static char run_dir[] = "run";

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The exit status is 0, or the errno that came back. */
static struct follower follow(struct remora_log_options options, int lock)
{
    struct follower follower;
    int pipes[2];

    assert(pipe2(pipes, O_CLOEXEC) == 0);
    follower.pid = fork();
    assert(follower.pid >= 0);
    if (follower.pid == 0) {
        sigset_t before, after;
        int result;

        close(pipes[0]);
        if (lock >= 0)
            close(lock);
        options.follow = true;
        options.out = options.err = pipes[1];
        assert(pthread_sigmask(SIG_BLOCK, NULL, &before) == 0);
        result = remora_log_print("log", &options);
        /* Nothing of the process is changed: SIGPIPE is let through as before, and none is pending. */
        assert(pthread_sigmask(SIG_BLOCK, NULL, &after) == 0);
        assert(sigismember(&after, SIGPIPE) == sigismember(&before, SIGPIPE));
        _exit(-result);
    }
    close(pipes[1]);
    follower.out = pipes[0];
    return follower;
}

static void expect(const struct follower *follower, const char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        struct pollfd ready = {.fd = follower->out, .events = POLLIN};
        char buffer[4096];
        ssize_t n;

        assert(poll(&ready, 1, DEADLINE_MS) == 1);
        n = read(follower->out, buffer, left < sizeof(buffer) ? left : sizeof(buffer));
        assert(n > 0 && memcmp(buffer, text, (size_t)n) == 0);
        text += n;
        left -= (size_t)n;
    }
}

/* It prints no more and ends, with that errno. */
static void expect_end(struct follower *follower, int error)
{
    struct pollfd ready = {.fd = follower->out, .events = POLLIN};
    int status;
    char byte;

    if (follower->out >= 0) {
        assert(poll(&ready, 1, DEADLINE_MS) == 1);
        assert(read(follower->out, &byte, 1) == 0);
        close(follower->out);
    }
    assert(waitpid(follower->pid, &status, 0) == follower->pid);
    assert(WIFEXITED(status) && WEXITSTATUS(status) == error);
}

static void put(struct log *log, enum log_stream stream, const char *text)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    log_write(log, stream, &now, text, strlen(text));
}

static int begin(struct log *log, struct remora_log_options *options)
{
    int lock = remora_lock(run_dir, false);

    assert(lock >= 0);
    unlink("log");
    assert(open_driver(log, LOG_K8S_FILE, "log") == 0);
    *options = print_all();
    options->run_dir = run_dir;
    return lock;
}

static void new_lines_come_until_the_container_ends(void)
{
    struct remora_log_options options;
    struct log log;
    int lock = begin(&log, &options);
    struct follower follower;

    put(&log, LOG_STDOUT, "one\ntwo\n");
    options.tail = 1;
    follower = follow(options, lock);
    expect(&follower, "two\n");
    put(&log, LOG_STDERR, "three\n");
    expect(&follower, "three\n");
    /* A prompt has no newline and is shown all the same; its line goes on. */
    put(&log, LOG_STDOUT, "name? ");
    expect(&follower, "name? ");
    put(&log, LOG_STDOUT, "Ann\n");
    expect(&follower, "Ann\n");
    put(&log, LOG_STDOUT, "last words");
    close(lock);
    expect(&follower, "last words");
    expect_end(&follower, 0);
    log_deinit(&log);
}

static void a_container_that_has_ended_is_not_waited_for(void)
{
    struct remora_log_options options;
    struct log log;
    int lock = begin(&log, &options);
    struct follower follower;

    put(&log, LOG_STDOUT, "all\n");
    close(lock);
    follower = follow(options, -1);
    expect(&follower, "all\n");
    expect_end(&follower, 0);
    log_deinit(&log);
}

static void a_removed_container_ends_it_without_an_error(void)
{
    struct remora_log_options options;
    struct log log;
    int lock = begin(&log, &options);
    struct follower follower;

    put(&log, LOG_STDOUT, "all\n");
    follower = follow(options, lock);
    expect(&follower, "all\n");
    assert(unlink("log") == 0 && unlink("run/lock") == 0 && rmdir("run") == 0);
    close(lock);
    expect_end(&follower, 0);
    log_deinit(&log);
}

static void rotation_loses_nothing(void)
{
    struct remora_log_options options;
    struct log log, old;
    int lock = begin(&log, &options);
    struct follower follower;
    char text[64];

    put(&log, LOG_STDOUT, "first\n");
    follower = follow(options, lock);
    expect(&follower, "first\n");
    for (int i = 0; i < 30; i++) {
        old = log;
        assert(rename("log", "log.1") == 0);
        /* The writer goes on with the old file for a while, as with any renamed one. */
        snprintf(text, sizeof(text), "to the old file %d\n", i);
        put(&old, LOG_STDOUT, text);
        log_deinit(&old);
        assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
        put(&log, LOG_STDOUT, "to the new file\n");
        expect(&follower, text);
        expect(&follower, "to the new file\n");
    }
    assert(truncate("log", 0) == 0);
    put(&log, LOG_STDOUT, "after\n");
    expect(&follower, "after\n");
    close(lock);
    expect_end(&follower, 0);
    log_deinit(&log);
    unlink("log.1");
}

static void it_ends_at_the_time_asked_for(void)
{
    struct remora_log_options options;
    struct log log;
    int lock = begin(&log, &options);
    struct follower follower;

    put(&log, LOG_STDOUT, "early\n");
    options.until_ns = now_ns() + 300000000;
    follower = follow(options, lock);
    expect(&follower, "early\n");
    expect_end(&follower, 0);
    assert(now_ns() > options.until_ns);
    /* Or with the first record that is later, whatever the clock says now. */
    options.until_ns = now_ns();
    put(&log, LOG_STDOUT, "late\n");
    follower = follow(options, lock);
    expect(&follower, "early\n");
    expect_end(&follower, 0);
    close(lock);
    log_deinit(&log);
}

static void it_ends_when_its_reader_goes_away(void)
{
    struct remora_log_options options;
    struct log log;
    int lock = begin(&log, &options);
    struct follower follower;

    put(&log, LOG_STDOUT, "one\n");
    follower = follow(options, lock);
    expect(&follower, "one\n");
    close(follower.out); /* while nothing is being written */
    follower.out = -1;
    expect_end(&follower, EPIPE);
    for (int i = 0; i < 20000; i++)
        put(&log, LOG_STDOUT, "a line of some length that fills the pipe in the end\n");
    follower = follow(options, lock);
    expect(&follower, "one\n");
    close(follower.out); /* while it writes */
    follower.out = -1;
    expect_end(&follower, EPIPE);
    close(lock);
    log_deinit(&log);
}

/* A writer and a follower at full speed: every byte arrives, whatever the reader sees of half-written records. */
static void a_busy_log_arrives_whole(void)
{
    enum { LINES = 300000 };
    struct remora_log_options options;
    struct log log;
    int lock = begin(&log, &options);
    struct follower follower = follow(options, lock);
    pid_t writer = fork();
    char text[32];

    assert(writer >= 0);
    if (writer == 0) {
        struct text block = {0};

        for (int i = 0; i < LINES; i++) {
            text_add(&block, text, (size_t)snprintf(text, sizeof(text), "%d\n", i));
            if (block.size > 5000 || i == LINES - 1) {
                put(&log, LOG_STDOUT, block.bytes);
                text_free(&block);
            }
        }
        _exit(log_dropped(&log) == 0 ? 0 : 1);
    }
    close(lock);
    for (int i = 0; i < LINES; i++) {
        snprintf(text, sizeof(text), "%d\n", i);
        expect(&follower, text);
    }
    expect_end(&follower, 0);
    assert(waitpid(writer, NULL, 0) == writer);
    log_deinit(&log);
}

int main(void)
{
    new_lines_come_until_the_container_ends();
    a_container_that_has_ended_is_not_waited_for();
    a_removed_container_ends_it_without_an_error();
    rotation_loses_nothing();
    it_ends_at_the_time_asked_for();
    it_ends_when_its_reader_goes_away();
    a_busy_log_arrives_whole();
    return 0;
}
