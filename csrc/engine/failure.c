/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/failure.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "engine/execute.h"
#include "util/fd.h"

#define RUNTIME_LOG_MAX 16384

static void set_object(struct failure *failure, const char *phase, const char *object, int status)
{
    *failure = (struct failure){.phase = phase, .status = status};
    snprintf(failure->object, sizeof(failure->object), "%s", object);
}

int failure_errno(struct failure *failure, const char *phase, const char *object, int error)
{
    set_object(failure, phase, object, 125);
    failure->error = -error;
    snprintf(failure->text, sizeof(failure->text), "%s",
             error == -EOWNERDEAD ? "the monitor's keeper was killed, so nothing can be executed any more until the "
                                    "container is started again"
                                  : strerror(-error));
    return error;
}

void failure_text(struct failure *failure, const char *phase, const char *object, const char *text)
{
    set_object(failure, phase, object, 125);
    snprintf(failure->text, sizeof(failure->text), "%s", text);
}

static unsigned hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/*
 * The value of "key":"…" in one line of JSON made of flat texts, as runc and crun write their logs (crun puts
 * no blank after the colon, newer ones may). Escapes are undone; \uXXXX above ASCII becomes '?'. false: no such key.
 */
static bool json_text(const char *line, size_t length, const char *key, char *out, size_t capacity)
{
    char quoted[32];
    const char *end = line + length, *at;
    size_t n = 0;

    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    at = memmem(line, length, quoted, strlen(quoted));
    if (at == NULL)
        return false;
    for (at += strlen(quoted); at < end && *at == ' '; at++)
        ;
    if (at == end || *at++ != '"')
        return false;
    for (; at < end && *at != '"' && n + 1 < capacity; at++) {
        char c = *at;

        if (c == '\\' && at + 1 < end) {
            c = *++at;
            if (c == 'n' || c == 't' || c == 'r') {
                c = ' ';
            } else if (c == 'u' && end - at > 4) {
                unsigned code =
                    hex_digit(at[1]) << 12 | hex_digit(at[2]) << 8 | hex_digit(at[3]) << 4 | hex_digit(at[4]);

                c = code >= 32 && code < 127 ? (char)code : '?';
                at += 4;
            }
        }
        out[n++] = c;
    }
    out[n] = 0;
    return true;
}

/* The message of the last line of level error. */
static bool last_error(const char *log, size_t size, char *out, size_t capacity)
{
    bool found = false;

    while (size > 0) {
        const char *newline = memchr(log, '\n', size);
        size_t length = newline != NULL ? (size_t)(newline - log) : size;
        char level[16];

        if (json_text(log, length, "level", level, sizeof(level)) && strcmp(level, "error") == 0)
            found = json_text(log, length, "msg", out, capacity) || found;
        length += newline != NULL;
        log += length;
        size -= length;
    }
    return found;
}

static bool says(const char *text, const char *words)
{
    return strcasestr(text, words) != NULL;
}

/* The runtime's words are all there is to tell these cases apart (see the notes on runtimes: runc 1.1, crun 1.8). */
static int status_of_words(const char *text)
{
    if (!says(text, "exec"))
        return 125;
    if (says(text, "permission denied") || says(text, "operation not permitted") || says(text, "is a directory"))
        return 126;
    if (says(text, "not found") || says(text, "no such file or directory"))
        return 127;
    return says(text, "exec format error") ? 126 : 125;
}

static void one_line(char *text)
{
    size_t length;

    for (char *at = text; *at != 0; at++)
        if (iscntrl((unsigned char)*at))
            *at = ' ';
    length = strlen(text);
    while (length > 0 && text[length - 1] == ' ')
        text[--length] = 0;
}

void failure_runtime(struct failure *failure, const char *phase, const char *object, int dir_fd, const char *log_name,
                     const char *output, size_t output_size, int wait_status)
{
    char log[RUNTIME_LOG_MAX];
    CLEANUP_FD int fd = openat(dir_fd, log_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n = 0;

    set_object(failure, phase, object, 125);
    if (fd >= 0) {
        /* A long log: its end is what counts. */
        n = pread(fd, log, sizeof(log), size > (off_t)sizeof(log) ? size - (off_t)sizeof(log) : 0);
    }
    if (n <= 0 || !last_error(log, (size_t)n, failure->text, sizeof(failure->text))) {
        if (last_error(output, output_size, failure->text, sizeof(failure->text)))
            ; /* it couldn't open its log, and wrote the same to stderr */
        else if (output_size > 0)
            snprintf(failure->text, sizeof(failure->text), "%.*s", (int)(output_size > 1000 ? 1000 : output_size),
                     output);
        else if (WIFSIGNALED(wait_status))
            snprintf(failure->text, sizeof(failure->text), "the runtime was killed by signal %d",
                     WTERMSIG(wait_status));
        else
            snprintf(failure->text, sizeof(failure->text), "the runtime ended with status %d and said nothing",
                     WEXITSTATUS(wait_status));
    }
    one_line(failure->text);
    failure->status = status_of_words(failure->text);
}

void failure_program(struct failure *failure, const char *phase, const char *object, const char *output,
                     size_t output_size, int wait_status)
{
    size_t room = sizeof(failure->text) - 1;
    const char *line;

    set_object(failure, phase, object, 125);
    while (output_size > 0 && (output[output_size - 1] == '\n' || output[output_size - 1] == ' '))
        output_size--;
    if (output_size > room) {
        /* The end of it, from the beginning of a line where there is one. */
        output += output_size - room;
        output_size = room;
        line = memchr(output, '\n', output_size);
        if (line != NULL) {
            output_size -= (size_t)(line + 1 - output);
            output = line + 1;
        }
    }
    if (output_size > 0)
        snprintf(failure->text, sizeof(failure->text), "%.*s", (int)output_size, output);
    else if (WIFSIGNALED(wait_status))
        snprintf(failure->text, sizeof(failure->text), "it was killed by signal %d", WTERMSIG(wait_status));
    else if (WEXITSTATUS(wait_status) == EXECUTE_FAILED)
        snprintf(failure->text, sizeof(failure->text), "the program could not be executed");
    else
        snprintf(failure->text, sizeof(failure->text), "it ended with status %d and said nothing",
                 WEXITSTATUS(wait_status));
    one_line(failure->text);
}

void failure_put(const struct failure *failure, struct msg_out *out)
{
    msg_put_text(out, "phase", failure->phase);
    msg_put_text(out, "object", failure->object);
    msg_put_text(out, "error", failure->text);
    msg_put_int(out, "errno", failure->error);
    msg_put_int(out, "status", failure->status);
}
