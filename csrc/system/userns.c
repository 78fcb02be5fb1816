/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entering and making user namespaces.
 *
 * A map is written from outside: whoever enters a namespace forks a helper before, which stays where it was and writes
 * the maps once it is told that the namespace is there. It tries itself first, which is enough for root and for the one
 * id of an ordinary user, and else executes newuidmap and newgidmap, both at once.
 *
 * A namespace is made by a child that enters it and waits; its descriptor keeps it when the child has gone.
 */
#include "system/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "include/remora.h"
#include "util/fd.h"

#define MAP_SIZE (USERNS_RANGES_MAX * USERNS_LINE_MAX + 1)
#define ARGUMENTS_MAX (USERNS_RANGES_MAX * 3 + 3)
#define NUMBER_SIZE 12

/* What a helper tells. */
struct verdict {
    int result;
    struct remora_userns_failure failure;
};

static int fail(struct remora_userns_failure *failure, enum remora_userns_step step, int result)
{
    if (failure != NULL)
        failure->step = (int)step;
    return result;
}

bool userns_is_initial(void)
{
    static const char whole[] = "0 0 4294967295";
    CLEANUP_FD int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
    char text[80];
    char plain[80];
    size_t size = 0;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    for (ssize_t i = 0; i < n; i++)
        if (text[i] != ' ' || (size > 0 && plain[size - 1] != ' '))
            plain[size++] = text[i];
    return size == sizeof(whole) && memcmp(plain, whole, sizeof(whole) - 1) == 0 && plain[size - 1] == '\n';
}

/* ---- writing maps, from outside ---- */

static int put_file(pid_t pid, const char *name, const char *text, size_t size)
{
    CLEANUP_FD int fd = -1;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* All at once: the kernel takes a map in a single write. */
    return write(fd, text, size) == (ssize_t)size ? 0 : -errno;
}

static int put_map(pid_t pid, const char *name, const struct remora_id_range *ranges, size_t n)
{
    char text[MAP_SIZE];
    size_t size = 0;

    for (size_t i = 0; i < n; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%u %u %u\n", ranges[i].inside, ranges[i].outside,
                                 ranges[i].count);
    return put_file(pid, name, text, size);
}

/* A map program at work: its pid, and the end of a pipe with its words. */
struct program {
    pid_t pid; /* 0: none was needed */
    int words_fd;
};

static void execute(const char *path, pid_t target, const struct remora_id_range *ranges, size_t n, int words_fd)
{
    char numbers[ARGUMENTS_MAX][NUMBER_SIZE];
    const char *argv[ARGUMENTS_MAX + 1];
    struct sigaction action = {.sa_handler = SIG_DFL};
    size_t at = 0;
    sigset_t none;

    argv[at++] = path;
    snprintf(numbers[0], NUMBER_SIZE, "%d", (int)target);
    argv[at] = numbers[0];
    at++;
    for (size_t i = 0; i < n; i++) {
        const unsigned parts[3] = {ranges[i].inside, ranges[i].outside, ranges[i].count};

        for (int k = 0; k < 3; k++, at++) {
            snprintf(numbers[at], NUMBER_SIZE, "%u", parts[k]);
            argv[at] = numbers[at];
        }
    }
    argv[at] = NULL;
    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &action, NULL);
    sigemptyset(&none);
    if (dup2(words_fd, 1) < 0 || dup2(words_fd, 2) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        _exit(126);
    execv(path, (char *const *)(uintptr_t)argv);
    dprintf(2, "%s: %s", path, strerror(errno));
    _exit(127);
}

static int start_program(struct program *program, const char *path, pid_t target, const struct remora_id_range *ranges,
                         size_t n)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    program->pid = fork();
    if (program->pid == 0)
        execute(path, target, ranges, n, ends[1]);
    close(ends[1]);
    program->words_fd = ends[0];
    if (program->pid < 0) {
        int error = -errno;

        program->pid = 0;
        fd_close(&program->words_fd);
        return error;
    }
    return 0;
}

static int finish_program(struct program *program, char *words, size_t size)
{
    size_t filled = 0;
    char rest[256];
    int status = 0;

    if (program->pid == 0)
        return 0;
    for (;;) {
        bool room = filled + 1 < size;
        ssize_t n = read(program->words_fd, room ? words + filled : rest, room ? size - 1 - filled : sizeof(rest));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        filled += room ? (size_t)n : 0;
    }
    while (filled > 0 && (words[filled - 1] == '\n' || words[filled - 1] == ' '))
        filled--;
    words[filled] = 0;
    fd_close(&program->words_fd);
    while (waitpid(program->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

/* The one id of somebody who may map no more; groups can't be dropped then (user_namespaces(7)). */
static bool is_single(const struct remora_id_range *ranges, size_t n)
{
    return n == 1 && ranges[0].count == 1;
}

static int begin_map(struct program *program, pid_t pid, const char *name, const char *path,
                     const struct remora_id_range *ranges, size_t n)
{
    static const char deny[] = "deny";
    int result = put_map(pid, name, ranges, n);

    if (result != -EPERM)
        return result;
    if (is_single(ranges, n) && strcmp(name, "gid_map") == 0) {
        result = put_file(pid, "setgroups", deny, sizeof(deny) - 1);
        return result < 0 ? result : put_map(pid, name, ranges, n);
    }
    return path == NULL ? -EPERM : start_program(program, path, pid, ranges, n);
}

/* Give the namespace of a process its maps. For who is outside of it. */
static int write_maps(pid_t pid, const struct remora_userns_maps *maps, struct remora_userns_failure *failure)
{
    struct program uids = {0, -1};
    struct program gids = {0, -1};
    char other[sizeof(failure->words)] = "";
    int uid_result, gid_result, ended;

    uid_result = begin_map(&uids, pid, "uid_map", maps->newuidmap, maps->uids, maps->n_uids);
    gid_result = uid_result < 0 ? 0 : begin_map(&gids, pid, "gid_map", maps->newgidmap, maps->gids, maps->n_gids);
    ended = finish_program(&uids, failure->words, sizeof(failure->words));
    uid_result = uid_result < 0 ? uid_result : ended;
    ended = finish_program(&gids, uid_result < 0 ? other : failure->words, sizeof(other));
    gid_result = gid_result < 0 ? gid_result : ended;
    if (uid_result < 0)
        return fail(failure, REMORA_USERNS_UIDS, uid_result);
    return gid_result < 0 ? fail(failure, REMORA_USERNS_GIDS, gid_result) : 0;
}

static int check_maps(const struct remora_userns_maps *maps)
{
    if (maps->n_uids == 0 || maps->n_gids == 0 || maps->n_uids > USERNS_RANGES_MAX || maps->n_gids > USERNS_RANGES_MAX)
        return -EINVAL;
    return 0;
}

/* ---- a child for the other side ---- */

struct child {
    pid_t pid;
    int fd; /* our end of a stream to it */
};

static sigset_t block_signals(void)
{
    sigset_t all, saved;

    /* The caller's handlers are not for the child. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &saved);
    return saved;
}

/* 0 in the parent, 1 in the child (whose end is `fd`), or -errno. */
static int child_start(struct child *child)
{
    sigset_t saved;
    int pair[2];
    int error;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    saved = block_signals();
    child->pid = fork();
    error = child->pid < 0 ? -errno : 0;
    if (child->pid == 0) {
        close(pair[0]);
        child->fd = pair[1];
        return 1;
    }
    sigprocmask(SIG_SETMASK, &saved, NULL);
    close(pair[1]);
    if (error < 0) {
        close(pair[0]);
        return error;
    }
    child->fd = pair[0];
    return 0;
}

static void child_end(struct child *child)
{
    fd_close(&child->fd);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static ssize_t receive_all(int fd, void *buffer, size_t size)
{
    ssize_t n;

    do {
        n = recv(fd, buffer, size, 0);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* ---- entering ---- */

static _Noreturn void help(int fd, pid_t pid, const struct remora_userns_maps *maps)
{
    struct verdict verdict = {0};
    char word;

    if (receive_all(fd, &word, 1) != 1)
        _exit(0); /* there is no namespace */
    verdict.result = write_maps(pid, maps, &verdict.failure);
    (void)send(fd, &verdict, sizeof(verdict), MSG_NOSIGNAL);
    _exit(0);
}

int remora_enter_userns(const struct remora_userns_maps *maps, struct remora_userns_failure *failure)
{
    pid_t own = getpid();
    struct child helper = {0, -1};
    struct verdict verdict = {0};
    int result = check_maps(maps);

    memset(failure, 0, sizeof(*failure));
    if (result < 0)
        return fail(failure, REMORA_USERNS_UIDS, result);
    result = child_start(&helper);
    if (result > 0)
        help(helper.fd, own, maps);
    if (result < 0)
        return fail(failure, REMORA_USERNS_PROCESS, result);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) {
        result = fail(failure, REMORA_USERNS_UNSHARE, -errno);
    } else if (send(helper.fd, "", 1, MSG_NOSIGNAL) != 1 ||
               receive_all(helper.fd, &verdict, sizeof(verdict)) != sizeof(verdict)) {
        result = fail(failure, REMORA_USERNS_PROCESS, -ECHILD);
    } else {
        *failure = verdict.failure;
        result = verdict.result;
    }
    child_end(&helper);
    return result;
}

int remora_join_userns(int fd)
{
    if (setns(fd, CLONE_NEWUSER) < 0)
        return -errno;
    return unshare(CLONE_NEWNS) < 0 ? -errno : 0;
}

/* ---- making ---- */

/* The clone flag of a kind of namespace, its name in /proc/PID/ns. */
static const struct kind {
    const char *name, *file;
    int flag;
} kinds[] = {
    {"network", "net", CLONE_NEWNET},
    {"ipc", "ipc", CLONE_NEWIPC},
    {"uts", "uts", CLONE_NEWUTS},
    {"cgroup", "cgroup", CLONE_NEWCGROUP},
};

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static int open_namespace(pid_t pid, const char *file)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* In the child: enter, say so, wait until the other side has seen to it. */
static _Noreturn void occupy(int fd, int user_fd, int flags)
{
    int result = 0;
    char word;

    if (user_fd >= 0 && setns(user_fd, CLONE_NEWUSER) < 0)
        result = -errno;
    if (result == 0 && flags != 0 && unshare(flags) < 0)
        result = -errno;
    (void)send(fd, &result, sizeof(result), MSG_NOSIGNAL);
    (void)receive_all(fd, &word, 1);
    _exit(0);
}

/* A child in such namespaces; 0 or -errno (then there is none). */
static int occupant_start(struct child *child, int user_fd, int flags)
{
    int result = child_start(child);
    int told = -ECHILD;

    if (result > 0)
        occupy(child->fd, user_fd, flags);
    if (result < 0)
        return result;
    if (receive_all(child->fd, &told, sizeof(told)) != sizeof(told))
        told = -ECHILD;
    if (told < 0)
        child_end(child);
    return told;
}

int remora_make_userns(const struct remora_userns_maps *maps, struct remora_userns_failure *failure)
{
    struct child child = {0, -1};
    CLEANUP_FD int fd = -1;
    int result = check_maps(maps);

    memset(failure, 0, sizeof(*failure));
    if (result < 0)
        return fail(failure, REMORA_USERNS_UIDS, result);
    result = occupant_start(&child, -1, CLONE_NEWUSER);
    if (result < 0)
        return fail(failure, REMORA_USERNS_UNSHARE, result);
    fd = open_namespace(child.pid, "user");
    result = fd < 0 ? fail(failure, REMORA_USERNS_PROCESS, fd) : write_maps(child.pid, maps, failure);
    child_end(&child);
    return result < 0 ? result : fd_take(&fd);
}

int remora_make_namespaces(int user_fd, const char *const *names, size_t n, int *fds)
{
    struct child child = {0, -1};
    const struct kind *found[sizeof(kinds) / sizeof(kinds[0])];
    size_t made = 0;
    int flags = 0;
    int result;

    if (n == 0 || n > sizeof(found) / sizeof(found[0]))
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        found[i] = find_kind(names[i]);
        if (found[i] == NULL)
            return -EINVAL;
        flags |= found[i]->flag;
    }
    result = occupant_start(&child, user_fd, flags);
    if (result < 0)
        return result;
    while (made < n && result == 0) {
        fds[made] = open_namespace(child.pid, found[made]->file);
        if (fds[made] < 0)
            result = fds[made];
        else
            made++;
    }
    child_end(&child);
    while (result < 0 && made > 0)
        fd_close(&fds[--made]);
    return result;
}

ssize_t remora_userns_map(int fd, bool groups, char *buffer, size_t capacity)
{
    struct child child = {0, -1};
    CLEANUP_FD int map = -1;
    char path[64];
    ssize_t n;
    int result = occupant_start(&child, fd, 0);

    if (result < 0)
        return result;
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)child.pid, groups ? "gid_map" : "uid_map");
    map = open(path, O_RDONLY | O_CLOEXEC);
    n = map < 0 ? -errno : fd_read_all(map, buffer, capacity);
    child_end(&child);
    return n;
}
