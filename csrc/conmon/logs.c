/* SPDX-License-Identifier: Apache-2.0 */
#include "conmon/logs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHORT_ID 12 /* characters of an id that journald entries show */

__attribute__((format(printf, 2, 3))) static int refuse(char *refusal, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(refusal, CONMON_REFUSAL_MAX, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static bool is_word(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && memcmp(text, word, size) == 0;
}

static bool is_silent(const char *text, size_t size)
{
    return is_word(text, size, "off") || is_word(text, size, "null") || is_word(text, size, "none");
}

static int add_file(struct conmon_logs *logs, const char *path, char *refusal)
{
    for (size_t i = 0; i < logs->n_files; i++)
        if (strcmp(logs->files[i], path) == 0)
            return 0;
    if (logs->n_files == CONMON_FILES_MAX)
        return refuse(refusal, "at most %d log files can be written", CONMON_FILES_MAX);
    logs->files[logs->n_files++] = path;
    return 0;
}

static int parse_one(struct conmon_logs *logs, const char *text, char *refusal)
{
    size_t size = strcspn(text, ":");
    const char *path = text[size] == ':' ? text + size + 1 : NULL;

    if (text[strspn(text, ":")] == '\0')
        return refuse(refusal, "log-path must not be empty");
    if (path != NULL)
        path += strspn(path, ":");
    if (size == 0)
        return add_file(logs, path, refusal);
    if (is_silent(text, size))
        return 0;
    if (is_word(text, size, "journald")) {
        logs->journald = true;
        return 0;
    }
    if (is_word(text, size, "passthrough")) {
        logs->passthrough = true;
        return 0;
    }
    if (is_word(text, size, "k8s-file")) {
        if (path == NULL || *path == '\0')
            return refuse(refusal, "k8s-file requires a filename");
        return add_file(logs, path, refusal);
    }
    if (path == NULL)
        return add_file(logs, text, refusal);
    return refuse(refusal, "No such log driver %.*s", (int)(size < 400 ? size : 400), text);
}

int log_paths_parse(struct conmon_logs *logs, const struct conmon_list *paths, char refusal[CONMON_REFUSAL_MAX])
{
    *logs = (struct conmon_logs){0};
    if (paths->n == 0)
        return refuse(refusal, "Log driver not provided. Use --log-path");
    for (size_t i = 0; i < paths->n; i++) {
        int r = parse_one(logs, paths->items[i], refusal);

        if (r < 0)
            return r;
    }
    return 0;
}

static int check_label(const char *label, char *refusal)
{
    const char *value = strchr(label, '=');
    size_t size = strspn(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

    if (value == label)
        return refuse(refusal, "Container labels must be in format LABEL=VALUE (no LABEL present in '%.400s')", label);
    if (value == NULL || strchr(value + 1, '=') != NULL)
        return refuse(refusal,
                      "Container labels must be in format LABEL=VALUE (none or more than one '=' present in '%.400s')",
                      label);
    if (label + size != value)
        return refuse(refusal,
                      "Container label names must contain only uppercase letters, numbers and underscore (in '%.400s')",
                      label);
    return 0;
}

int logs_check(const struct conmon_logs *logs, const struct conmon_options *options, char refusal[CONMON_REFUSAL_MAX])
{
    if (logs->n_files > 0 && !logs->journald && options->log_tag != NULL)
        return refuse(refusal, "k8s-file doesn't support --log-tag");
    if (logs->n_files > 0 && !logs->journald && options->log_labels.n > 0)
        return refuse(refusal, "k8s-file doesn't support --log-label");
    if (!logs->journald)
        return 0;
    if (strlen(options->cid) <= SHORT_ID)
        return refuse(refusal, "Container ID must be longer than %d characters", SHORT_ID);
    for (size_t i = 0; i < options->log_labels.n; i++) {
        int r = check_label(options->log_labels.items[i], refusal);

        if (r < 0)
            return r;
    }
    return 0;
}
