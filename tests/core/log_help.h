/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the log have in common: reading back through remora_log_print into memory, and random numbers that
 * a printed seed repeats (REMORA_SEED).
 */
#ifndef TESTS_CORE_LOG_HELP_H
#define TESTS_CORE_LOG_HELP_H

#include <assert.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/remora.h"

struct text {
    char *bytes; /* NUL-terminated */
    size_t size;
};

static inline void text_add(struct text *text, const void *bytes, size_t size)
{
    /* Twice as much each time: a sanitizer copies at every growth. */
    if (text->bytes == NULL || malloc_usable_size(text->bytes) <= text->size + size)
        text->bytes = realloc(text->bytes, 2 * (text->size + size) + 1);
    assert(text->bytes != NULL);
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
}

static inline void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}

static inline struct text file_text(int fd)
{
    struct stat status;
    struct text text = {0};

    assert(fstat(fd, &status) == 0);
    text.size = (size_t)status.st_size;
    text.bytes = calloc(1, text.size + 1);
    assert(text.bytes != NULL && pread(fd, text.bytes, text.size, 0) == (ssize_t)text.size);
    return text;
}

static inline struct remora_log_options print_all(void)
{
    return (struct remora_log_options){.since_ns = INT64_MIN, .until_ns = INT64_MAX, .tail = -1, .out = -1, .err = -1};
}

/* Print into two files (or one, with err NULL: both streams share it). */
static inline int print_into(const char *path, struct remora_log_options options, struct text *out, struct text *err)
{
    int result;

    options.out = memfd_create("out", MFD_CLOEXEC);
    options.err = err == NULL ? options.out : memfd_create("err", MFD_CLOEXEC);
    assert(options.out >= 0 && options.err >= 0);
    result = remora_log_print(path, &options);
    *out = file_text(options.out);
    if (err != NULL) {
        *err = file_text(options.err);
        close(options.err);
    }
    close(options.out);
    return result;
}

static inline uint64_t random_seed(void)
{
    const char *given = getenv("REMORA_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 2654435761U;

    printf("REMORA_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* splitmix64 */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static inline size_t random_below(uint64_t *state, size_t bound)
{
    return (size_t)(random_next(state) % bound);
}

#endif
