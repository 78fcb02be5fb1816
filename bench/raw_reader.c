/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no reader of a process's output can go below: copies it to a file as it is. raw_reader pipe|pty OUT PROGRAM…
 *
 * The program gets the pipe or the terminal as its standard output. Ends when the line "END" was copied (see
 * producer.c), kills the program and prints the CLOCK_MONOTONIC nanoseconds of that moment and the nanoseconds of
 * processor time used for the copying.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 65536, TAIL = 5 };

static long long nanoseconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (long long)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* ends[0]: ours; ends[1]: the program's. */
static bool open_ends(bool terminal, int ends[2])
{
    if (!terminal)
        return pipe2(ends, O_CLOEXEC) == 0;
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends[0] < 0 || grantpt(ends[0]) < 0 || unlockpt(ends[0]) < 0)
        return false;
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    return ends[1] >= 0;
}

static pid_t start(char **argv, int fd, bool terminal)
{
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    setsid();
    if (terminal)
        ioctl(fd, TIOCSCTTY, 0);
    if (dup2(fd, 1) == 1)
        execv(argv[0], argv);
    _exit(127);
}

/* Whether END has come with these bytes; `tail` holds the last ones of all reads. */
static bool ended(char tail[TAIL], const char *bytes, size_t size)
{
    if (size >= TAIL) {
        memcpy(tail, bytes + size - TAIL, TAIL);
    } else {
        memmove(tail, tail + size, TAIL - size);
        memcpy(tail + TAIL - size, bytes, size);
    }
    return memcmp(tail + 1, "END\n", 4) == 0 || memcmp(tail, "END\r\n", 5) == 0;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);

        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

int main(int argc, char **argv)
{
    static char buffer[READ_SIZE];
    bool terminal = argc > 3 && strcmp(argv[1], "pty") == 0;
    char tail[TAIL] = {0};
    bool complete = false;
    long long end;
    int ends[2], out;
    pid_t pid;

    if (argc < 4 || (!terminal && strcmp(argv[1], "pipe") != 0)) {
        fprintf(stderr, "usage: raw_reader pipe|pty OUT PROGRAM [ARGUMENT…]\n");
        return 2;
    }
    out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0 || !open_ends(terminal, ends)) {
        perror("raw_reader");
        return 1;
    }
    pid = start(argv + 3, ends[1], terminal);
    close(ends[1]);
    while (pid > 0 && !complete) {
        ssize_t n = read(ends[0], buffer, sizeof(buffer));

        if (n <= 0 || !write_all(out, buffer, (size_t)n))
            break;
        complete = ended(tail, buffer, (size_t)n);
    }
    end = nanoseconds(CLOCK_MONOTONIC);
    printf("%lld %lld\n", end, nanoseconds(CLOCK_PROCESS_CPUTIME_ID));
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return complete ? 0 : 1;
}
