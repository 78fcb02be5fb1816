/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full disk: a small tmpfs in a mount namespace of our own. The log stays readable, knows what it lost and goes on by
 * itself; an exit record finds the space that was reserved for it.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "container/record.h"
#include "log/cri.h"
#include "log/log.h"
#include "log_help.h"
#include "log_writing.h"

static const struct timespec NOW = {1700000000, 123456789};

static void mount_small(void)
{
    assert(unshare(CLONE_NEWNS) == 0);
    assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    assert(mkdir("small", 0700) == 0 || errno == EEXIST);
    assert(mount("tmpfs", "small", "tmpfs", 0, "size=256k") == 0);
    assert(chdir("small") == 0);
}

/* Take all the space there is but `left` pages. */
static int fill(const char *path, size_t left)
{
    struct statvfs space;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | O_TRUNC, 0600);

    assert(fd >= 0 && fstatvfs(fd, &space) == 0);
    assert(space.f_bavail >= left);
    if (space.f_bavail > left)
        assert(posix_fallocate(fd, 0, (off_t)((space.f_bavail - left) * space.f_bsize)) == 0);
    return fd;
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;

    for (; text != NULL && (text = strstr(text, word)) != NULL; text++)
        n++;
    return n;
}

static void lost_output_is_counted_and_told_and_logging_goes_on(bool partial)
{
    static char line[1000];
    struct remora_log_options all = print_all();
    struct text out, err, raw;
    uint64_t total = 0;
    uint64_t lost;
    char gap[128];
    struct log log;
    int ballast;

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = partial ? 'x' : '\n';
    assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
    ballast = fill("ballast", 5);
    for (int i = 0; i < 100; i++, total += sizeof(line))
        log_write(&log, LOG_STDOUT, &NOW, line, sizeof(line));
    assert(log_error(&log) == ENOSPC && log_dropped(&log) > 0 && log_written(&log) > 0);
    assert(log_written(&log) + log_dropped(&log) == total);

    /* Whole records only, and as many bytes as were counted. */
    raw = file_text(log_fd(&log));
    assert(raw.size > 0 && raw.bytes[raw.size - 1] == '\n' && (int64_t)raw.size == log_size(&log));
    assert(count(raw.bytes, " stdout ") == count(raw.bytes, "\n"));
    text_free(&raw);
    assert(print_into("log", all, &out, &err) == 0);
    assert(out.size == log_written(&log) && err.size == 0);
    text_free(&out);
    text_free(&err);

    /* Space again: one record of the gap, then the new lines. */
    lost = log_dropped(&log);
    close(ballast);
    unlink("ballast");
    log_write(&log, LOG_STDOUT, &NOW, "again\n", 6);
    log_write(&log, LOG_STDERR, &NOW, "and on\n", 7);
    assert(log_error(&log) == 0 && log_dropped(&log) == lost);
    assert(print_into("log", all, &out, &err) == 0);
    snprintf(gap, sizeof(gap), "remora: %llu bytes of output were not logged: No space left on device\nand on\n",
             (unsigned long long)lost);
    assert(strcmp(err.bytes, gap) == 0);
    assert(out.size >= 7 && strcmp(out.bytes + out.size - 7, "\nagain\n") == 0);
    assert(out.size == log_written(&log) - 7 + (partial ? 1 : 0)); /* a line that lost its end is ended */
    text_free(&out);
    text_free(&err);
    log_deinit(&log);
    unlink("log");
}

/* The file size limit stands for a disk that is full for a moment now and then, in the middle of a record. */
static void a_limit_at_any_place_leaves_whole_records(void)
{
    struct rlimit limit = {0, RLIM_INFINITY};
    struct remora_log_options all = print_all();
    struct text raw, out, err;

    for (rlim_t size = 1; size < 400; size += 7) {
        static const char text[] = "one\n\ntwo two\nand the rest";
        struct log log;

        assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
        limit.rlim_cur = size;
        assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        for (int i = 0; i < 3; i++)
            log_write(&log, i % 2 ? LOG_STDERR : LOG_STDOUT, &NOW, text, sizeof(text) - 1);
        assert(log_written(&log) + log_dropped(&log) == 3 * (sizeof(text) - 1));
        limit.rlim_cur = RLIM_INFINITY;
        assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        raw = file_text(log_fd(&log));
        assert(raw.size == 0 || raw.bytes[raw.size - 1] == '\n');
        assert(print_into("log", all, &out, &err) == 0);
        /* What was never written can't be read back, and the rest is there but for a gap told within it. */
        assert(count(err.bytes, "remora: ") <= 1 || size > 100);
        text_free(&raw);
        text_free(&out);
        text_free(&err);
        log_deinit(&log);
        unlink("log");
    }
}

static void a_record_cut_off_before_us_is_ended(void)
{
    struct remora_log_options all = print_all();
    struct text out, err;
    struct log log;
    int fd = open("log", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    static const char torn[] = "2026-11-21T21:30:02.030194562+00:00 stdout F half a li";

    assert(fd >= 0 && write(fd, torn, sizeof(torn) - 1) == (ssize_t)sizeof(torn) - 1);
    close(fd);
    assert(print_into("log", all, &out, &err) == 0);
    assert(strcmp(out.bytes, "half a li") == 0);
    text_free(&out);
    text_free(&err);
    assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
    log_write(&log, LOG_STDOUT, &NOW, "new\n", 4);
    assert(print_into("log", all, &out, &err) == 0);
    assert(strcmp(out.bytes, "half a li\nnew\n") == 0 && log_dropped(&log) == 0);
    text_free(&out);
    text_free(&err);
    log_deinit(&log);
    unlink("log");
}

static void a_log_that_somebody_emptied_is_not_filled_with_zeros(void)
{
    struct text raw;
    struct log log;

    assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
    for (int i = 0; i < 100; i++)
        log_write(&log, LOG_STDOUT, &NOW, "0123456789\n", 11);
    assert(truncate("log", 0) == 0);
    log_write(&log, LOG_STDOUT, &NOW, "after\n", 6);
    raw = file_text(log_fd(&log));
    assert(raw.size == CRI_PREFIX + 6 && strcmp(raw.bytes + CRI_PREFIX, "after\n") == 0);
    text_free(&raw);
    log_deinit(&log);
    unlink("log");
}

static void a_reserved_record_needs_no_space(void)
{
    static char payload[REMORA_RECORD_MAX - RECORD_HEADER];
    char buffer[REMORA_RECORD_MAX];
    struct record_file file, late;
    int ballast;

    memset(payload, 'p', sizeof(payload));
    assert(record_open(&file, "record", true) == 0);
    ballast = fill("ballast", 0);
    for (int i = 0; i < 5; i++)
        assert(record_write(&file, payload, sizeof(payload), true) == 0);
    assert(remora_record_read("record", buffer, sizeof(buffer)) == (ssize_t)sizeof(payload));
    assert(memcmp(buffer, payload, sizeof(payload)) == 0);
    assert(record_open(&late, "late", true) == -ENOSPC && late.fd == -1);
    record_deinit(&file);
    close(ballast);
    unlink("ballast");
    unlink("record");
    unlink("late");
}

int main(void)
{
    /* A write beyond the limit is an error then, not the end of the process. */
    assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    mount_small();
    lost_output_is_counted_and_told_and_logging_goes_on(false);
    lost_output_is_counted_and_told_and_logging_goes_on(true);
    a_limit_at_any_place_leaves_whole_records();
    a_record_cut_off_before_us_is_ended();
    a_log_that_somebody_emptied_is_not_filled_with_zeros();
    a_reserved_record_needs_no_space();
    return 0;
}
