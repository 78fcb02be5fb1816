/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmark of the log writer alone: a child writes lines into a pipe, this process reads them and logs them, as the
 * monitor does, without its loop. Usage: log_writer LENGTH TOTAL_BYTES PATH [copy|DRIVER] (k8s-file, json-file). `copy`
 * writes what was read as it is: what pipe and file system give without formatting. Prints: MB/s of input, and the
 * seconds of CPU that the reading side took.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log/log.h"
#include "log/options.h"

enum { READ_SIZE = 65536 };

static double seconds(const struct timespec *time)
{
    return (double)time->tv_sec + (double)time->tv_nsec * 1e-9;
}

static _Noreturn void produce(size_t length, unsigned long long total, int fd)
{
    size_t size = length < READ_SIZE ? READ_SIZE / length * length : length;
    char *bytes = malloc(size);

    for (size_t i = 0; bytes != NULL && i < size; i++)
        bytes[i] = (char)(i % length == length - 1 ? '\n' : 'a' + (i % 26));
    while (bytes != NULL && total > 0) {
        size_t part = total < size ? (size_t)total : size;

        for (size_t done = 0; done < part;) {
            ssize_t n = write(fd, bytes + done, part - done);

            if (n <= 0)
                _exit(1);
            done += (size_t)n;
        }
        total -= part;
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    static char buffer[READ_SIZE];
    size_t length = argc > 3 ? strtoul(argv[1], NULL, 10) : 0;
    unsigned long long total = argc > 3 ? strtoull(argv[2], NULL, 10) : 0;
    bool copy = argc > 4 && strcmp(argv[4], "copy") == 0;
    enum log_driver driver = LOG_K8S_FILE;
    unsigned long long got = 0;
    struct timespec begin, end, now;
    struct rusage before, after;
    struct stat status;
    struct log_options options = {.n_sinks = 1};
    const char *what;
    struct log log;
    int pipes[2];
    pid_t child;
    ssize_t n;

    if (length < 1 || total < length || (argc > 4 && !copy && log_driver_parse(argv[4], &driver) < 0)) {
        fprintf(stderr, "usage: log_writer LENGTH TOTAL_BYTES PATH [copy|DRIVER]\n");
        return 2;
    }
    /* Only a regular file is emptied, and nothing is ever removed: PATH may well be a device. */
    options.sinks[0] = (struct log_sink_options){.driver = driver, .path = argv[3]};
    if (log_open(&log, &options, &what) < 0 || fstat(log.targets[0].fd, &status) < 0 ||
        (S_ISREG(status.st_mode) && ftruncate(log.targets[0].fd, 0) < 0) || pipe2(pipes, O_CLOEXEC) < 0) {
        fprintf(stderr, "log_writer: cannot open %s\n", argv[3]);
        return 1;
    }
    child = fork();
    if (child == 0) {
        close(pipes[0]);
        produce(length, total, pipes[1]);
    }
    close(pipes[1]);
    getrusage(RUSAGE_SELF, &before);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    while ((n = read(pipes[0], buffer, sizeof(buffer))) > 0) {
        got += (unsigned long long)n;
        clock_gettime(CLOCK_REALTIME, &now);
        if (copy)
            n = write(log.targets[0].fd, buffer, (size_t)n);
        else
            log_write(&log, LOG_STDOUT, &now, buffer, (size_t)n);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    getrusage(RUSAGE_SELF, &after);
    waitpid(child, NULL, 0);
    printf("%6zu-byte lines %s: %7.0f MB/s, cpu user %.3f s, system %.3f s, file %lld bytes\n", length,
           copy ? "copied" : "logged", (double)got / (seconds(&end) - seconds(&begin)) / 1e6,
           (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) +
               (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) * 1e-6,
           (double)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
               (double)(after.ru_stime.tv_usec - before.ru_stime.tv_usec) * 1e-6,
           (long long)lseek(log.targets[0].fd, 0, SEEK_END));
    log_deinit(&log);
    return log_dropped(&log) == 0 ? 0 : 1;
}
