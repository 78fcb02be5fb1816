/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rotated log files back, by means of the test's own: what the writer wrote is judged without its reader. */
#ifndef TESTS_CORE_LOG_FILES_H
#define TESTS_CORE_LOG_FILES_H

#include <dirent.h>

#include "log/log.h"
#include "log_help.h"

static inline struct text path_text(const char *path)
{
    struct text text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return text;
    text = file_text(fd);
    close(fd);
    return text;
}

/* One string of JSON, from behind its quote; returns the place behind the closing one. */
static inline const char *json_string(const char *at, struct text *to)
{
    for (; *at != '"'; at++) {
        char one = *at;

        assert(*at != '\0' && *at != '\n');
        if (*at == '\\') {
            unsigned value = 0;

            switch (*++at) {
            case 'n':
                one = '\n';
                break;
            case 'r':
                one = '\r';
                break;
            case 'u':
                assert(sscanf(at + 1, "%4x", &value) == 1);
                at += 4;
                if (value >= 0x80) {
                    char bytes[3] = {(char)(0xe0 | value >> 12), (char)(0x80 | (value >> 6 & 63)),
                                     (char)(0x80 | (value & 63))};

                    text_add(to, bytes, 3);
                    continue;
                }
                one = (char)value;
                break;
            default:
                one = *at;
            }
        }
        text_add(to, &one, 1);
    }
    return at + 1;
}

/* Add the records of a file to what the streams said; every one must be whole. Returns the number of records. */
static inline size_t take_records(enum log_driver driver, const struct text *file, struct text streams[2])
{
    const char *at = file->bytes, *end = at + file->size;
    size_t n = 0;

    for (; at < end; n++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));

        assert(newline != NULL);
        if (driver == LOG_K8S_FILE) {
            int stream = memcmp(at + 35, " stderr ", 8) == 0;

            assert(at[4] == '-' && (stream || memcmp(at + 35, " stdout ", 8) == 0));
            assert((at[43] == 'F' || at[43] == 'P') && at[44] == ' ');
            text_add(&streams[stream], at + 45, (size_t)(newline - at) - 45 + (at[43] == 'F'));
        } else {
            struct text text = {0};
            const char *rest;
            int stream;

            assert(memcmp(at, "{\"log\":\"", 8) == 0);
            rest = json_string(at + 8, &text);
            stream = strncmp(rest, ",\"stream\":\"stderr\",", 19) == 0;
            assert((stream || strncmp(rest, ",\"stream\":\"stdout\",", 19) == 0) &&
                   memcmp(newline - 3, "Z\"}", 3) == 0);
            text_add(&streams[stream], text.bytes, text.size);
            text_free(&text);
        }
        at = newline + 1;
    }
    return n;
}

/* PATH.N … PATH.1, no more than `limit` bytes each, but for single records; they are removed. */
static inline void take_rotated(enum log_driver driver, const char *path, int64_t limit, struct text streams[2])
{
    char name[64];
    int last = 0;

    for (int i = 1; snprintf(name, sizeof(name), "%s.%d", path, i) && access(name, F_OK) == 0; i++)
        last = i;
    for (int i = last; i >= 1; i--) {
        struct text file;
        size_t n;

        snprintf(name, sizeof(name), "%s.%d", path, i);
        file = path_text(name);
        n = take_records(driver, &file, streams);
        assert((int64_t)file.size <= limit || n == 1);
        text_free(&file);
        unlink(name);
    }
}

/* All of them, and the live one. */
static inline void take_files(enum log_driver driver, const char *path, int64_t limit, struct text streams[2])
{
    struct text file;
    size_t n;

    take_rotated(driver, path, limit, streams);
    file = path_text(path);
    n = take_records(driver, &file, streams);
    assert(limit == 0 || (int64_t)file.size <= limit || n == 1);
    text_free(&file);
    unlink(path);
}

static inline int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int n = 0;

    assert(folder != NULL);
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

#endif
