/* SPDX-License-Identifier: Apache-2.0 */
/* Files of limited size: counted to the byte, moved by rename, nothing lost; what happens when that fails; reopening.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <time.h>

#include "log/log.h"
#include "log_files.h"
#include "log_help.h"
#include "log_writing.h"

static const struct timespec NOW = {1700000000, 123456789};

static struct log_options *limited(enum log_driver driver, int64_t max_size, unsigned max_files)
{
    struct log_options *options = new_options(driver, "log");

    options->sinks[0].max_size = max_size;
    options->sinks[0].max_files = max_files;
    return options;
}

static struct log *open_shared(const struct log_options *options)
{
    struct log *log = mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *what;

    assert(log != MAP_FAILED && log_open(log, options, &what) == 0);
    return log;
}

static void close_shared(struct log *log)
{
    log_deinit(log);
    munmap(log, sizeof(*log));
}

static void put(struct log *log, const char *text)
{
    log_write(log, LOG_STDOUT, &NOW, text, strlen(text));
}

static off_t size_of(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 ? status.st_size : -1;
}

static char first_of(const char *path)
{
    struct text text = path_text(path);
    char first = text.size > 45 ? text.bytes[45] : '\0';

    text_free(&text);
    return first;
}

static void remove_all(void)
{
    static const char *const names[] = {"log", "log.1", "log.2", "log.3", "log.4", "log.new"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(names[i]);
}

/* A record is 45 + 9 + 1 = 55 bytes. */
static void a_file_is_filled_up_to_the_last_byte(void)
{
    for (int64_t limit = 109; limit <= 111; limit++) {
        struct log *log = open_shared(limited(LOG_K8S_FILE, limit, 3));

        put(log, "123456789\n");
        put(log, "123456789\n");
        assert(size_of("log") == (limit == 109 ? 55 : 110) && size_of("log.1") == (limit == 109 ? 55 : -1));
        put(log, "\n");
        assert(size_of("log") == (limit == 109 ? 101 : 46) && size_of("log.2") == -1);
        close_shared(log);
        remove_all();
    }
}

static void files_move_on_and_the_oldest_goes(void)
{
    struct log_options *options = limited(LOG_K8S_FILE, 50, 3);
    struct log *log;
    struct stat before, after;

    options->sinks[0].mode = 0640;
    log = open_shared(options);
    put(log, "a\n");
    assert(stat("log", &before) == 0 && (before.st_mode & 0777) == 0640);
    put(log, "b\nc\n");
    assert(stat("log.2", &after) == 0 && after.st_ino == before.st_ino);
    assert(first_of("log") == 'c' && first_of("log.1") == 'b' && first_of("log.2") == 'a');
    put(log, "d\n");
    assert(first_of("log") == 'd' && first_of("log.1") == 'c' && first_of("log.2") == 'b' && size_of("log.3") == -1);
    assert(stat("log", &after) == 0 && (after.st_mode & 0777) == 0640);
    assert(first_cursor(log)->rotations == 3 && log_dropped(log) == 0);
    close_shared(log);

    /* With one file, the full one is given up. */
    options->sinks[0].max_files = 1;
    log = open_shared(options);
    put(log, "e\n");
    assert(first_of("log") == 'e' && first_of("log.1") == 'c');
    close_shared(log);
    remove_all();
}

static void a_record_larger_than_the_limit_has_a_file_of_its_own(void)
{
    struct log *log = open_shared(limited(LOG_K8S_FILE, 100, 5));
    char line[201];

    memset(line, 'x', sizeof(line) - 1);
    line[199] = '\n';
    line[200] = '\0';
    put(log, "a\n");
    put(log, line);
    put(log, "b\n");
    assert(size_of("log.2") == 47 && size_of("log.1") == 245 && size_of("log") == 47);
    put(log, "c\nlong line, the second\n");
    assert(size_of("log.1") == 94 && size_of("log") == 67);
    close_shared(log);
    remove_all();
}

static void a_partial_record_may_end_a_file(void)
{
    struct log *log = open_shared(limited(LOG_K8S_FILE, 60, 5));
    struct text streams[2] = {{0}, {0}};

    put(log, "the beginn");
    put(log, "ing and the end\n");
    assert(size_of("log.1") == 56 && size_of("log") == 61);
    take_files(LOG_K8S_FILE, "log", 60, streams);
    assert(strcmp(streams[0].bytes, "the beginning and the end\n") == 0);
    text_free(&streams[0]);
    close_shared(log);
}

static void every_byte_is_in_one_of_the_files(uint64_t *random)
{
    for (int round = 0; round < 60; round++) {
        enum log_driver driver = round % 2 == 0 ? LOG_K8S_FILE : LOG_JSON_FILE;
        int64_t limit = 1 + (int64_t)random_below(random, round % 3 == 0 ? 300 : 30000);
        struct log *log = open_shared(limited(driver, limit, LOG_FILES_MAX));
        struct text text = {0}, streams[2] = {{0}, {0}};
        size_t at = 0;

        for (int i = 0; text.size < 3000 + (size_t)limit * 10; i++) {
            char line[64];

            text_add(&text, line,
                     (size_t)snprintf(line, sizeof(line), "%d %.*s\n", i, (int)random_below(random, 40),
                                      "abcdefghijklmnopqrstuvwxyz\"abcdefghijklmnopqrstuvwxyz"));
        }
        while (at < text.size) {
            size_t size = 1 + random_below(random, random_below(random, 2) == 0 ? 100 : 65536);

            size = size < text.size - at ? size : text.size - at;
            log_write(log, LOG_STDERR, &NOW, text.bytes + at, size);
            at += size;
        }
        take_files(driver, "log", limit, streams);
        assert(log_dropped(log) == 0 && streams[1].size == text.size);
        assert(memcmp(streams[1].bytes, text.bytes, text.size) == 0);
        text_free(&streams[1]);
        text_free(&text);
        close_shared(log);
    }
}

/* A folder that can't be changed, by a read-only mount: the open file still can. */
static void a_rotation_that_fails_costs_nothing_and_is_counted(void)
{
    struct log_options *options = limited(LOG_K8S_FILE, 100, 3);
    struct log *log;
    int before = count_descriptors();

    /* PATH.1 can't be replaced: it is a folder with something in it. */
    assert(mkdir("log.1", 0700) == 0 && mkdir("log.1/x", 0700) == 0 && mkdir("log.2", 0700) == 0 &&
           mkdir("log.2/x", 0700) == 0);
    log = open_shared(options);
    put(log, "a\nb\nc\nd\ne\n");
    put(log, "f\n");
    assert(size_of("log") == 6 * 47 && size_of("log.new") == -1 && log_dropped(log) == 0);
    assert(first_cursor(log)->failed_rotations == 2 && first_cursor(log)->rotations == 0);
    assert(rmdir("log.1/x") == 0 && rmdir("log.1") == 0 && rmdir("log.2/x") == 0 && rmdir("log.2") == 0);
    put(log, "g\n");
    assert(size_of("log.1") == 6 * 47 && size_of("log") == 47 && first_cursor(log)->rotations == 1);
    close_shared(log);
    remove_all();

    /* The folder is full of names, as far as this log is concerned: no new file can be made in it. */
    assert(mkdir("flat", 0700) == 0 && mount("tmpfs", "flat", "tmpfs", 0, "nr_inodes=3,size=1m") == 0);
    options->sinks[0].path = "flat/log";
    log = open_shared(options);
    close(open("flat/other", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    put(log, "a\nb\nc\n");
    assert(size_of("flat/log") == 3 * 47 && first_cursor(log)->failed_rotations == 1);
    unlink("flat/other");
    put(log, "d\n");
    assert(size_of("flat/log") == 47 && size_of("flat/log.1") == 3 * 47 && log_dropped(log) == 0);
    close_shared(log);
    assert(umount("flat") == 0 && rmdir("flat") == 0);
    assert(count_descriptors() == before);
}

static void files_that_somebody_else_moved_are_left_alone(void)
{
    struct log *log = open_shared(limited(LOG_K8S_FILE, 100, 3));
    int fd;

    put(log, "a\nb\n");
    assert(rename("log", "elsewhere") == 0);
    put(log, "c\n"); /* a new one in its place */
    assert(size_of("elsewhere") == 2 * 47 && first_of("log") == 'c' && size_of("log.1") == -1);
    put(log, "d\n");
    assert(rename("log", "elsewhere") == 0);
    fd = open("log", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert(fd >= 0 && close(fd) == 0);
    put(log, "e\n"); /* or the one that is there by now */
    assert(size_of("elsewhere") == 2 * 47 && first_of("log") == 'e' && size_of("log.1") == -1);
    close_shared(log);
    remove_all();
    unlink("elsewhere");
}

static void reopening_begins_a_new_file_where_the_old_one_was(void)
{
    struct log *log = open_shared(limited(LOG_K8S_FILE, 0, 0));
    int fd = log_fd(log), before = count_descriptors();

    put(log, "a\nbeg");
    assert(rename("log", "old") == 0);
    put(log, "un\n");
    assert(size_of("old") == 47 + 49 + 48 && size_of("log") == -1);
    assert(log_reopen(log) == 0);
    put(log, "b\n");
    assert(size_of("old") == 47 + 49 + 48 && size_of("log") == 47 && log_size(log) == 47);
    /* Nothing was moved: nothing changes. */
    assert(log_reopen(log) == 0);
    put(log, "c\n");
    assert(size_of("log") == 94 && log_size(log) == 94);
    /* What can't be opened leaves the old file in use. */
    assert(unlink("log") == 0 && mkfifo("log", 0600) == 0);
    assert(log_reopen(log) == -EINVAL);
    put(log, "d\n");
    assert(unlink("log") == 0 && symlink("old", "log") == 0);
    assert(log_reopen(log) == -ELOOP && log_size(log) == 3 * 47 && log_dropped(log) == 0);
    assert(log_fd(log) == fd && count_descriptors() == before);
    close_shared(log);
    remove_all();
    unlink("old");
}

int main(void)
{
    uint64_t random = random_seed();

    assert(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    umask(022);
    a_file_is_filled_up_to_the_last_byte();
    files_move_on_and_the_oldest_goes();
    a_record_larger_than_the_limit_has_a_file_of_its_own();
    a_partial_record_may_end_a_file();
    every_byte_is_in_one_of_the_files(&random);
    a_rotation_that_fails_costs_nothing_and_is_counted();
    files_that_somebody_else_moved_are_left_alone();
    reopening_begins_a_new_file_where_the_old_one_was();
    return 0;
}
