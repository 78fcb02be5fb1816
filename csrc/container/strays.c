/* SPDX-License-Identifier: Apache-2.0 */
#include "container/strays.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "container/perform.h"
#include "container/runtime.h"
#include "engine/board.h"
#include "util/fd.h"

#define ROUNDS 200
#define PAUSE_NS 1000000L
#define CHILDREN_SIZE 16384

/* /proc/PID/task/TID/children (proc_tid_children(5)): of the only thread that has any. */
static ssize_t read_children(char *text, size_t size)
{
    char path[64];
    CLEANUP_FD int fd = -1;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd_read_all(fd, text, size);
}

/* A child of ours is not reaped before we do: its pid is its own. */
static bool is_alive(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

static bool is_helper(const struct config *config, pid_t pid)
{
    for (unsigned i = 0; i < config->n_helpers; i++)
        if (runtime_read_pid(AT_FDCWD, config->helpers[i].pidfile) == pid)
            return true;
    return false;
}

/* How many were there. */
static unsigned kill_children(const struct config *config, pid_t worker)
{
    char text[CHILDREN_SIZE];
    ssize_t n = read_children(text, sizeof(text) - 1);
    unsigned found = 0;
    char *at = text;

    if (n <= 0)
        return 0;
    text[n] = 0;
    for (;;) {
        char *end;
        pid_t pid = (pid_t)strtol(at, &end, 10);

        if (end == at)
            return found;
        at = end;
        if (pid <= 1 || pid == worker || !is_alive(pid) || is_helper(config, pid))
            continue;
        found++;
        kill(pid, SIGKILL);
    }
}

void strays_kill(const struct native *native, const struct board *board)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};

    for (int i = 0; i < ROUNDS && kill_children(&native->config, board->worker) > 0; i++)
        nanosleep(&pause, NULL);
}
