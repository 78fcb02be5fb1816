/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that writes lines as fast as its standard output takes them: producer LINE TOTAL START GO
 *
 * LINE: bytes of a line with its newline; TOTAL: bytes in all (rounded to whole lines); START: a file that gets the
 * CLOCK_MONOTONIC nanoseconds just before the first byte; GO: it begins once this file is there, so that what starting
 * a container takes beyond its process (records that have to be on the disk) is not counted. The last line is "END":
 * who sees it has seen everything. It stays until it is killed, and with it whoever reads from it, so that what the
 * reader has used can be looked up.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK = 65536, /* the capacity of a pipe: larger writes gain nothing */
};

static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

static int write_start(const char *path)
{
    char text[32];
    struct timespec now;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int length, r;

    if (fd < 0)
        return -errno;
    clock_gettime(CLOCK_MONOTONIC, &now);
    length = snprintf(text, sizeof(text), "%lld", (long long)now.tv_sec * 1000000000 + now.tv_nsec);
    r = write_all(fd, text, (size_t)length);
    close(fd);
    return r;
}

int main(int argc, char **argv)
{
    static char block[BLOCK];
    size_t line, total, size;

    if (argc != 5 || (line = strtoul(argv[1], NULL, 10)) < 2 || line > BLOCK) {
        fprintf(stderr, "usage: producer LINE TOTAL START GO\n");
        return 2;
    }
    total = strtoul(argv[2], NULL, 10) / line * line;
    size = BLOCK / line * line;
    for (size_t i = 0; i < size; i++)
        block[i] = (i + 1) % line == 0 ? '\n' : (char)('a' + i % line % 26);
    while (access(argv[4], F_OK) < 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    if (write_start(argv[3]) < 0)
        return 1;
    for (size_t left = total; left > 0; left -= size) {
        if (size > left)
            size = left;
        if (write_all(1, block, size) < 0)
            return 1;
    }
    if (write_all(1, "END\n", 4) < 0)
        return 1;
    for (;;)
        pause();
}
