/* SPDX-License-Identifier: Apache-2.0 */
/* Why a runtime call failed: from the runtimes' own words (runc 1.1.5, crun 1.8.1) to a text and an exit status. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/failure.h"

#define RUNC "runc create failed: unable to start container process: "

static void write_log(const char *text, size_t size)
{
    int fd = open("log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    close(fd);
}

static struct failure from_log(const char *log)
{
    struct failure failure;

    write_log(log, strlen(log));
    failure_runtime(&failure, "start container", "runc", AT_FDCWD, "log", "", 0, 1 << 8);
    assert(strcmp(failure.phase, "start container") == 0 && strcmp(failure.object, "runc") == 0);
    return failure;
}

/* What each runtime says, as it stands in its JSON log (quotes escaped there). */
static const struct {
    int status;
    const char *words;
} known[] = {
    {127, RUNC "exec: \\\"/nope\\\": stat /nope: no such file or directory"},
    {127, RUNC "exec: \\\"nope\\\": executable file not found in $PATH"},
    {126, RUNC "exec: \\\"/etc\\\": permission denied"},
    {126, RUNC "exec: \\\"/etc\\\": is a directory"},
    {126, RUNC "exec: \\\"/bin/data\\\": permission denied"},
    {126, RUNC "exec: \\\"/bin/data\\\": exec format error"},
    {127, "exec failed: unable to start container process: exec: \\\"nope\\\": executable file not found in $PATH"},
    {127, "executable file `/nope` not found in $PATH: No such file or directory"},
    {127, "executable file `nope` not found in $PATH: No such file or directory"},
    {126, "open executable: Operation not permitted"},
    {126, "open executable: Permission denied"},
    {127, "exec container process (missing dynamic library?) `/badint`: No such file or directory"},
    {125, "cgroups in hybrid mode not supported, drop all controllers from cgroupv2"},
    {125, "container with given ID already exists"},
    {125, RUNC "error setting rlimits for ready process: error setting rlimit type 7: operation not permitted"},
    {125, "error loading config.json"},
    {125, "cannot allocate tty if runc will detach without setting console socket"},
};

static void the_runtimes_words_give_the_status(void)
{
    char line[1024];

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct failure failure;

        snprintf(line, sizeof(line), "{\"level\":\"error\",\"msg\":\"%s\",\"time\":\"2026-11-21T21:39:53Z\"}\n",
                 known[i].words);
        failure = from_log(line);
        if (failure.status != known[i].status) {
            fprintf(stderr, "%s: %d, not %d\n", failure.text, failure.status, known[i].status);
            abort();
        }
        /* crun's order of keys, and a blank after the colon, as newer versions have it. */
        snprintf(line, sizeof(line),
                 "{\"msg\": \"%s\", \"level\": \"error\", \"time\":\"2026-11-21T21:39:53.810360Z\"}", known[i].words);
        assert(from_log(line).status == known[i].status);
    }
}

static void the_last_error_counts_and_warnings_do_not(void)
{
    struct failure failure = from_log("{\"level\":\"warning\",\"msg\":\"signal: killed\",\"time\":\"t\"}\n"
                                      "{\"level\":\"error\",\"msg\":\"first\",\"time\":\"t\"}\n"
                                      "{\"level\":\"error\",\"msg\":\"second\",\"time\":\"t\"}\n"
                                      "{\"level\":\"info\",\"msg\":\"third\",\"time\":\"t\"}\n");

    assert(strcmp(failure.text, "second") == 0);
}

static void escapes_are_undone_and_the_text_is_one_line(void)
{
    struct failure failure =
        from_log("{\"level\":\"error\",\"msg\":\"a\\\"b\\\\c\\/d\\ne\\tf\\u0041\\u00e4\\u001b[31m\\u003cg\\n\"}\n");

    assert(strcmp(failure.text, "a\"b\\c/d e fA??[31m<g") == 0);
}

static void without_a_log_what_it_printed_counts(void)
{
    struct failure failure;
    static const char json[] = "{\"level\":\"error\",\"msg\":\"open log: no space left on device\",\"time\":\"t\"}\n";
    static const char words[] = "fatal:\tthings\n went \x1b[1mwrong\n";

    unlink("log");
    failure_runtime(&failure, "exec", "crun", AT_FDCWD, "log", words, strlen(words), 1 << 8);
    assert(strcmp(failure.text, "fatal: things  went  [1mwrong") == 0 && failure.status == 125);
    failure_runtime(&failure, "exec", "crun", AT_FDCWD, "log", "", 0, 9);
    assert(strstr(failure.text, "signal 9") != NULL && failure.status == 125);
    failure_runtime(&failure, "exec", "crun", AT_FDCWD, "log", "", 0, 3 << 8);
    assert(strstr(failure.text, "status 3") != NULL && failure.status == 125);
    failure_runtime(&failure, "exec", "runc", AT_FDCWD, "log", json, strlen(json), 1 << 8);
    assert(strcmp(failure.text, "open log: no space left on device") == 0);
    write_log("", 0);
    failure_runtime(&failure, "exec", "crun", AT_FDCWD, "log", "", 0, 3 << 8);
    assert(strstr(failure.text, "status 3") != NULL);
}

static void a_runtime_that_cannot_be_executed_is_not_a_missing_command(void)
{
    struct failure failure;

    unlink("log");
    failure_runtime(&failure, "start container", "/usr/bin/gone", AT_FDCWD, "log", "", 0, 127 << 8);
    assert(failure.status == 125 && strstr(failure.text, "status 127") != NULL);
}

static void a_long_log_is_read_at_its_end_and_a_long_text_is_cut(void)
{
    static char log[200000];
    size_t size = 0;
    struct failure failure;

    while (size < sizeof(log) - 4096)
        size += (size_t)sprintf(log + size, "{\"level\":\"error\",\"msg\":\"old %zu\"}\n", size);
    size += (size_t)sprintf(log + size, "{\"level\":\"error\",\"msg\":\"the last\"}\n");
    write_log(log, size);
    failure_runtime(&failure, "p", "o", AT_FDCWD, "log", "", 0, 1 << 8);
    assert(strcmp(failure.text, "the last") == 0);
    size = (size_t)sprintf(log, "{\"level\":\"error\",\"msg\":\"");
    memset(log + size, 'x', 8000);
    memcpy(log + size + 8000, "\"}\n", 4);
    failure = from_log(log);
    assert(strlen(failure.text) > 900 && strlen(failure.text) < sizeof(failure.text));
    memset(log, 'o', 1000);
    log[1000] = 0;
    failure_text(&failure, "p", log, log);
    assert(strlen(failure.object) == sizeof(failure.object) - 1);
}

static void a_log_that_is_no_file_stops_nobody(void)
{
    struct failure failure;

    unlink("log");
    assert(mkfifo("log", 0600) == 0);
    failure_runtime(&failure, "p", "o", AT_FDCWD, "log", "said", 4, 1 << 8);
    assert(strcmp(failure.text, "said") == 0);
    unlink("log");
    assert(symlink("/etc/passwd", "log") == 0);
    failure_runtime(&failure, "p", "o", AT_FDCWD, "log", "said", 4, 1 << 8);
    assert(strcmp(failure.text, "said") == 0);
    unlink("log");
}

/* Any bytes: some text, never a control character, never past a buffer (the sanitizer build tells). */
static void any_bytes_give_some_text(void)
{
    static const char pieces[][16] = {"\"level\":", "\"error\"", "\"msg\":", "\"", "\\",
                                      "\\u",        "\\u00",     "\n",       "{",  "a"};
    unsigned seed = 7;

    for (int round = 0; round < 3000; round++) {
        char log[512];
        size_t size = 0;
        struct failure failure;
        int n = rand_r(&seed) % 40;

        for (int i = 0; i < n; i++) {
            const char *piece = pieces[(size_t)rand_r(&seed) % (sizeof(pieces) / sizeof(pieces[0]))];

            memcpy(log + size, piece, strlen(piece));
            size += strlen(piece);
            if (rand_r(&seed) % 4 == 0)
                log[size++] = (char)rand_r(&seed);
        }
        write_log(log, size);
        failure_runtime(&failure, "p", "o", AT_FDCWD, "log", log, size, 1 << 8);
        assert(memchr(failure.text, 0, sizeof(failure.text)) != NULL);
        for (const char *at = failure.text; *at != 0; at++)
            assert((unsigned char)*at >= 32 && *at != 127);
    }
}

static void a_failure_is_told_with_all_its_fields(void)
{
    CLEANUP_MSG_OUT struct msg_out out = {0};
    CLEANUP_MSG struct msg msg = {0};
    struct failure failure;

    assert(failure_errno(&failure, "open log", "/x", -ENOSPC) == -ENOSPC);
    msg_out_init(&out, 5);
    failure_put(&failure, &out);
    assert(msg_parse(&msg, out.buffer.data, out.buffer.size) == 0);
    assert(strcmp(msg_text(&msg, &msg.root, "phase", ""), "open log") == 0);
    assert(strcmp(msg_text(&msg, &msg.root, "object", ""), "/x") == 0);
    assert(strcmp(msg_text(&msg, &msg.root, "error", ""), "No space left on device") == 0);
    assert(msg_int(&msg.root, "errno", 0) == ENOSPC && msg_int(&msg.root, "status", 0) == 125);
}

int main(void)
{
    the_runtimes_words_give_the_status();
    the_last_error_counts_and_warnings_do_not();
    escapes_are_undone_and_the_text_is_one_line();
    without_a_log_what_it_printed_counts();
    a_runtime_that_cannot_be_executed_is_not_a_missing_command();
    a_long_log_is_read_at_its_end_and_a_long_text_is_cut();
    a_log_that_is_no_file_stops_nobody();
    any_bytes_give_some_text();
    a_failure_is_told_with_all_its_fields();
    unlink("log");
    return 0;
}
