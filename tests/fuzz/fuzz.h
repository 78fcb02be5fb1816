/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share: taking an input apart, and a file and a check that most of them need.
 *
 * A target is one file that defines LLVMFuzzerTestOneInput. It keeps nothing from one input to the next but descriptors
 * that it made once. Seeds are in corpus/<target>/, made by seeds.py; a dictionary, where one helps, is <target>.dict.
 */
#ifndef REMORA_FUZZ_H
#define REMORA_FUZZ_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a few bytes only announce must not be allocated: with this in a target, a sanitizer ends it for such a wish. */
const char *__asan_default_options(void);
#define FUZZ_BOUNDED_ALLOCATIONS                                                                                       \
    const char *__asan_default_options(void)                                                                           \
    {                                                                                                                  \
        return "max_allocation_size_mb=64";                                                                            \
    }

struct fuzz_input {
    const uint8_t *at;
    size_t size;
};

/* The next byte; 0 at the end. */
static inline unsigned fuzz_byte(struct fuzz_input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->at++;
}

/* A stretch of the length that the next two bytes tell, or what is left. Borrowed from the input. */
static inline const uint8_t *fuzz_stretch(struct fuzz_input *input, size_t *size)
{
    size_t low = fuzz_byte(input), high = fuzz_byte(input);
    const uint8_t *stretch = input->at;

    *size = low | high << 8;
    if (*size > input->size)
        *size = input->size;
    input->at += *size;
    input->size -= *size;
    return stretch;
}

/* The lowest free descriptor: the same before and after, or one was left open (or closed twice). */
static inline int fuzz_free_descriptor(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

    close(fd);
    return fd;
}

/* A file in the working folder, which the caller of a target clears away; NAME is how it can be opened again. */
static inline int fuzz_file(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        abort();
    return fd;
}

static inline void fuzz_fill(int fd, const void *bytes, size_t size)
{
    if (ftruncate(fd, 0) < 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size)
        abort();
}

#endif
