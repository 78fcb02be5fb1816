/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever writes the log is killed, at each of its system calls and between them, in the middle of writing and of a
 * rotation; a successor with the same memory and descriptors goes on. Every byte is there once, in whole records.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "log/log.h"
#include "log_files.h"
#include "log_help.h"
#include "log_writing.h"

enum {
    TEXT = 24 * 1024 * 1024, /* of each stream */
    CHUNK_MAX = 65536,
};

/* What a monitor keeps of its streams, in memory that outlives its processes. */
struct scene {
    struct log log;
    const char *text[2];
    size_t at[2]; /* logged so far */
    bool pending;
    enum log_stream stream;
    size_t size, behind; /* of the chunk, `at` once it is logged */
    uint64_t calls;
    struct text found[LOG_SINKS_MAX][2]; /* of the rotated files; private to the test's process */
};

static void make_text(char *text, uint64_t *random, char mark)
{
    for (size_t at = 0, line = 0; at < TEXT; line++) {
        size_t longest = random_below(random, 200) == 0 ? 40000 : random_below(random, 4) == 0 ? 300 : 20;
        size_t length = random_below(random, longest);
        char head[32];
        size_t size = (size_t)snprintf(head, sizeof(head), "%c%zu ", mark, line);

        for (size_t i = 0; i < size && at < TEXT; i++)
            text[at++] = head[i];
        for (size_t i = 0; i + 4 < length && at + 4 < TEXT; i++) {
            if (i % 11 == 10)
                text[at++] = '"';
            else if (i % 17 == 16)
                at = (size_t)(stpcpy(text + at, "\xe2\x82\xac\xc3\xa9") - text);
            else
                text[at++] = (char)('a' + i % 26);
        }
        if (at < TEXT)
            text[at++] = '\n';
    }
}

static void write_chunk(struct scene *scene, enum log_stream stream, size_t size)
{
    struct timespec now;

    assert(scene->at[stream] + size <= TEXT);
    clock_gettime(CLOCK_REALTIME, &now);
    scene->stream = stream;
    scene->size = size;
    scene->behind = scene->at[stream] + size;
    scene->calls = log_calls(&scene->log);
    __atomic_store_n(&scene->pending, true, __ATOMIC_RELEASE);
    log_write(&scene->log, stream, &now, scene->text[stream] + scene->at[stream], size);
    scene->at[stream] = scene->behind;
    __atomic_store_n(&scene->pending, false, __ATOMIC_RELEASE);
}

static void succeed(struct scene *scene)
{
    log_resume(&scene->log);
    if (scene->pending && log_calls(&scene->log) > scene->calls)
        scene->at[scene->stream] = scene->behind;
    scene->pending = false;
}

/* A process that shares memory and descriptors, as the workers of a monitor do. */
static pid_t fork_sharing(void)
{
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);

    assert(pid >= 0);
    return pid;
}

static struct log_options *options_for(int64_t max_size, unsigned max_files, bool both)
{
    struct log_options *options = new_options(LOG_K8S_FILE, "log");

    options->sinks[0].max_size = max_size;
    options->sinks[0].max_files = max_files;
    options->sinks[both] = options->sinks[0];
    options->sinks[both].driver = both ? LOG_JSON_FILE : LOG_K8S_FILE;
    options->sinks[both].path = both ? "json" : "log";
    options->n_sinks = both ? 2 : 1;
    return options;
}

static void begin(struct scene *scene, const struct log_options *options)
{
    const char *what;

    scene->at[0] = scene->at[1] = 0;
    scene->pending = false;
    assert(log_open(&scene->log, options, &what) == 0);
}

/* Take the rotated files away before one of them has to be given up. */
static void harvest(struct scene *scene, const struct log_options *options)
{
    for (size_t i = 0; i < options->n_sinks; i++)
        take_rotated(options->sinks[i].driver, options->sinks[i].path, options->sinks[i].max_size, scene->found[i]);
}

static void fail(const struct text *found, const char *wanted, size_t size)
{
    size_t at = 0;

    while (at < size && at < found->size && found->bytes[at] == wanted[at])
        at++;
    printf("found %zu bytes of %zu, alike up to %zu\n", found->size, size, at);
    printf("wanted: %.100s\nfound:  %.100s\n", wanted + at, at < found->size ? found->bytes + at : "");
    fflush(stdout);
    abort();
}

static void check(struct scene *scene, const struct log_options *options)
{
    /* No character is left cut in two. */
    for (enum log_stream stream = LOG_STDOUT; stream <= LOG_STDERR; stream++) {
        const char *rest = scene->text[stream] + scene->at[stream];

        write_chunk(scene, stream, (size_t)((const char *)memchr(rest, '\n', TEXT - scene->at[stream]) + 1 - rest));
    }
    log_finish(&scene->log);
    assert(log_dropped(&scene->log) == 0 && log_written(&scene->log) == scene->at[0] + scene->at[1]);
    for (size_t i = 0; i < options->n_sinks; i++) {
        const struct log_sink_options *sink = &options->sinks[i];
        struct text *streams = scene->found[i];
        struct stat status;
        char name[64];

        assert(stat(sink->path, &status) == 0);
        assert(status.st_size == target_cursor(&scene->log.targets[i])->size);
        take_files(sink->driver, sink->path, sink->max_size, streams);
        for (int stream = 0; stream < 2; stream++) {
            if (sink->max_size > 0 && sink->max_files < 2) /* older files are given up: the end is there */
                assert(streams[stream].size <= scene->at[stream]);
            else if (streams[stream].size != scene->at[stream])
                fail(&streams[stream], scene->text[stream], scene->at[stream]);
            assert(streams[stream].size == 0 ||
                   memcmp(streams[stream].bytes, scene->text[stream] + scene->at[stream] - streams[stream].size,
                          streams[stream].size) == 0);
            text_free(&streams[stream]);
        }
        snprintf(name, sizeof(name), "%s.new", sink->path);
        assert(access(name, F_OK) < 0);
    }
    log_deinit(&scene->log);
}

/* At full speed, killed at random moments. */
static void random_kills_lose_nothing(struct scene *scene, uint64_t *random, int64_t max_size, unsigned max_files,
                                      bool both, int rounds)
{
    const struct log_options *options = options_for(max_size, max_files, both);
    int before = count_descriptors();

    begin(scene, options);
    for (int round = 0; round < rounds; round++) {
        size_t largest = random_below(random, 3) == 0 ? CHUNK_MAX : 3000;
        struct timespec pause = {.tv_nsec = (long)random_below(random, 1500000)};
        uint64_t seed = random_next(random);
        pid_t pid = fork_sharing();

        if (pid == 0) {
            for (;;) {
                size_t size = 1 + random_below(&seed, largest);
                enum log_stream stream = random_below(&seed, 3) == 0 ? LOG_STDERR : LOG_STDOUT;

                if (scene->at[stream] + size + CHUNK_MAX > TEXT)
                    _exit(0);
                write_chunk(scene, stream, size);
            }
        }
        nanosleep(&pause, NULL);
        assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
        succeed(scene);
        log_idle(&scene->log);
        harvest(scene, options);
        if (scene->at[0] + 2 * CHUNK_MAX > TEXT || scene->at[1] + 2 * CHUNK_MAX > TEXT)
            break;
    }
    check(scene, options);
    assert(count_descriptors() == before);
}

/* What is done by who is killed. */
typedef void (*action)(struct scene *scene, size_t size);

static void write_out(struct scene *scene, size_t size)
{
    write_chunk(scene, LOG_STDOUT, size);
}

/* Up to the end of a line: log_finish would tear a character. */
static void write_lines(struct scene *scene, size_t size)
{
    const char *from = scene->text[LOG_STDOUT] + scene->at[LOG_STDOUT];

    write_chunk(scene, LOG_STDOUT, (size_t)((const char *)memchr(from + size, '\n', TEXT) + 1 - from));
}

static void reopen(struct scene *scene, size_t size)
{
    (void)size;
    log_reopen(&scene->log);
}

static void finish(struct scene *scene, size_t size)
{
    (void)size;
    log_finish(&scene->log);
}

static void resume(struct scene *scene, size_t size)
{
    (void)size;
    log_resume(&scene->log);
}

/* Let a process do it up to its `stop`th stop at a system call and `steps` instructions further. False: it ended. */
static bool die_in(struct scene *scene, action act, size_t size, int stop, int steps)
{
    pid_t pid = fork_sharing();
    int status;

    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        act(scene, size);
        _exit(0);
    }
    assert(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL);
    while (stop + steps > 0) {
        assert(ptrace(stop > 0 ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
        if (stop > 0)
            stop--;
        else
            steps--;
        assert(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status)) {
            assert(WEXITSTATUS(status) == 0);
            return false;
        }
    }
    assert(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    return true;
}

/* Killed at each system call of a write that goes over several files, and some instructions behind it. */
static void a_kill_at_any_system_call_loses_nothing(struct scene *scene, uint64_t *random, int64_t max_size,
                                                    unsigned max_files, bool both)
{
    static const int steps[] = {0, 1, 4, 15, 40, 120, 500};
    const struct log_options *options = options_for(max_size, max_files, both);
    int before = count_descriptors();
    bool more = true;
    int kills = 0;

    begin(scene, options);
    for (int stop = 0; more && stop < 120; stop++) {
        more = false;
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
            size_t size = 2500 + random_below(random, 200);

            if (die_in(scene, write_out, size, stop, steps[i] + (int)random_below(random, (size_t)steps[i] + 1))) {
                more = true;
                kills++;
            }
            succeed(scene);
            log_idle(&scene->log);
            harvest(scene, options);
        }
    }
    assert(kills > 20);
    check(scene, options);
    assert(count_descriptors() == before);
}

/* The successor is killed as well, while it finishes what the first one left. */
static void successors_may_be_killed_too(struct scene *scene, uint64_t *random)
{
    const struct log_options *options = options_for(1500, 90, true);

    begin(scene, options);
    for (int round = 0; round < 150; round++) {
        bool killed = die_in(scene, write_out, 4000 + random_below(random, 3000), (int)random_below(random, 70),
                             (int)random_below(random, 60));

        for (int tries = 0; killed && tries < 3; tries++)
            killed = die_in(scene, resume, 0, (int)random_below(random, 40), (int)random_below(random, 60));
        succeed(scene);
        log_idle(&scene->log);
        harvest(scene, options);
    }
    check(scene, options);
}

static void add_file(struct text *to, const char *path)
{
    struct text file = path_text(path), streams[2] = {{0}, {0}};

    take_records(LOG_K8S_FILE, &file, streams);
    text_add(to, streams[LOG_STDOUT].bytes, streams[LOG_STDOUT].size);
    for (int i = 0; i < 2; i++)
        text_free(&streams[i]);
    text_free(&file);
    unlink(path);
}

/* Somebody renames the file and asks for a new one; whoever opens that is killed. */
static void a_kill_while_reopening_loses_nothing(struct scene *scene, uint64_t *random)
{
    struct text found = {0};
    char name[32];
    int n = 0, before = count_descriptors();

    begin(scene, options_for(0, 0, false));
    for (int stop = 0; stop < 16; stop++) {
        for (int steps = 0; steps < 120; steps += 1 + steps / 2) {
            snprintf(name, sizeof(name), "old.%d", n);
            if (rename("log", name) == 0)
                n++;
            die_in(scene, reopen, 0, stop, steps);
            succeed(scene);
            log_idle(&scene->log);
            write_chunk(scene, LOG_STDOUT, 100 + random_below(random, 100));
        }
    }
    log_deinit(&scene->log);
    assert(n > 50 && count_descriptors() == before);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "old.%d", i);
        add_file(&found, name);
    }
    if (access("log", F_OK) == 0)
        add_file(&found, "log");
    if (found.size != scene->at[0] || memcmp(found.bytes, scene->text[0], found.size) != 0)
        fail(&found, scene->text[0], scene->at[0]);
    text_free(&found);
}

/* What the records of gaps in a stream say is missing. */
static uint64_t told_missing(const char *text)
{
    uint64_t sum = 0;

    for (; *text != '\0'; text = strchr(text, '\n') + 1) {
        char *end;

        assert(strncmp(text, "remora: ", 8) == 0);
        sum += strtoull(text + 8, &end, 10);
        assert(strncmp(end, " bytes of output were not logged: test\n", 39) == 0);
    }
    return sum;
}

static void a_gap_is_told_once_whoever_is_killed_while_telling(struct scene *scene, uint64_t *random)
{
    const struct log_options *options = options_for(0, 0, true);
    uint64_t missing = 0;

    begin(scene, options);
    for (int stop = 0; stop < 14; stop++) {
        for (int steps = 0; steps < 700; steps += 1 + steps / 2) {
            log_gap(&scene->log, LOG_STDERR, 7, "test");
            missing += 7;
            die_in(scene, steps % 2 == 0 ? write_lines : finish, 1000 + random_below(random, 100), stop, steps);
            succeed(scene);
            log_idle(&scene->log);
        }
    }
    log_finish(&scene->log);
    assert(log_dropped(&scene->log) == missing && log_written(&scene->log) == scene->at[0]);
    for (size_t i = 0; i < 2; i++) {
        struct text streams[2] = {{0}, {0}};

        take_files(options->sinks[i].driver, options->sinks[i].path, 0, streams);
        if (streams[0].size < scene->at[0] || memcmp(streams[0].bytes, scene->text[0], scene->at[0]) != 0)
            fail(&streams[0], scene->text[0], scene->at[0]);
        assert(told_missing(streams[1].bytes) == missing);
        text_free(&streams[0]);
        text_free(&streams[1]);
    }
    log_deinit(&scene->log);
}

int main(void)
{
    uint64_t random = random_seed();
    char *text = mmap(NULL, 2 * TEXT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct scene *scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert(text != MAP_FAILED && scene != MAP_FAILED);
    make_text(text, &random, 'o');
    make_text(text + TEXT, &random, 'e');
    scene->text[0] = text;
    scene->text[1] = text + TEXT;
    a_kill_at_any_system_call_loses_nothing(scene, &random, 0, 0, false);
    a_kill_at_any_system_call_loses_nothing(scene, &random, 1000, 90, false);
    a_kill_at_any_system_call_loses_nothing(scene, &random, 900, 90, false);
    a_kill_at_any_system_call_loses_nothing(scene, &random, 1000, 90, true);
    a_kill_at_any_system_call_loses_nothing(scene, &random, 1000, 1, true);
    successors_may_be_killed_too(scene, &random);
    a_kill_while_reopening_loses_nothing(scene, &random);
    a_gap_is_told_once_whoever_is_killed_while_telling(scene, &random);
    random_kills_lose_nothing(scene, &random, 0, 0, false, 150);
    random_kills_lose_nothing(scene, &random, 100000, 900, false, 150);
    random_kills_lose_nothing(scene, &random, 60000, 900, true, 150);
    random_kills_lose_nothing(scene, &random, 60000, 1, true, 100);
    return 0;
}
