/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Producer for the benchmarks: writes `total` bytes as lines of `length` bytes (newline included) to stdout, as fast as
 * the reader takes them, in writes of 64 KiB as stdio of a busy program makes them. Usage: lines LENGTH TOTAL_BYTES
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 65536 };

int main(int argc, char **argv)
{
    size_t length = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    unsigned long long total = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    size_t size;
    char *bytes;

    if (length < 1 || total < length) {
        fprintf(stderr, "usage: lines LENGTH TOTAL_BYTES\n");
        return 2;
    }
    size = length < BLOCK ? BLOCK / length * length : length;
    bytes = malloc(size);
    if (bytes == NULL)
        return 1;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i % length == length - 1 ? '\n' : 'a' + (i % 26));
    total -= total % length;
    while (total > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, total < size ? total : size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            perror("lines");
            return 1;
        }
        /* A short write would shift the pattern: finish the block first. */
        total -= (unsigned long long)n;
        for (size_t done = (size_t)n; done < size && total > 0; done += (size_t)n, total -= (unsigned long long)n) {
            n = write(STDOUT_FILENO, bytes + done, size - done < total ? size - done : total);
            if (n < 0 && errno != EINTR)
                return 1;
            n = n < 0 ? 0 : n;
        }
    }
    free(bytes);
    return 0;
}
