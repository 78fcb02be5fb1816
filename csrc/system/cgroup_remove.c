/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources: cgroups(7), "Removing a cgroup"; proc(5), mountinfo. A cgroup can be removed once it has no living process;
 * one that was killed leaves it within a moment (zombies don't count).
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "remora.h"
#include "util/fd.h"

#define TRIES 50
#define PAUSE_NS 1000000L

static void close_stream(FILE **stream)
{
    if (*stream != NULL)
        fclose(*stream);
}

static void kill_members(const char *folder)
{
    char path[2 * PATH_MAX + 32];
    CLEANUP(close_stream) FILE *members = NULL;
    int pid;

    snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
    members = fopen(path, "re");
    while (members != NULL && fscanf(members, "%d", &pid) == 1) {
        CLEANUP_FD int pidfd = pid > 1 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

        if (pidfd >= 0)
            syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    }
}

static void remove_folder(const char *folder)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};

    for (int i = 0; i < TRIES; i++) {
        if (rmdir(folder) == 0 || errno != EBUSY)
            return;
        kill_members(folder);
        nanosleep(&pause, NULL);
    }
}

/* ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [OPTIONAL...] - TYPE …; a mount of a part of a hierarchy is left out.
 */
static void remove_below(char *line, const char *path)
{
    char folder[2 * PATH_MAX];
    char *root = line, *mount, *end;

    if (strstr(line, " - cgroup") == NULL)
        return;
    for (int i = 0; i < 3 && root != NULL; i++) {
        root = strchr(root, ' ');
        root = root != NULL ? root + 1 : NULL;
    }
    if (root == NULL || strncmp(root, "/ ", 2) != 0)
        return;
    mount = root + 2;
    end = strchr(mount, ' ');
    if (end == NULL)
        return;
    *end = '\0';
    if ((size_t)snprintf(folder, sizeof(folder), "%s%s", mount, path) < sizeof(folder))
        remove_folder(folder);
}

void remora_cgroup_remove(const char *path, const char *id)
{
    CLEANUP(close_stream) FILE *mounts = NULL;
    char *line = NULL;
    size_t capacity = 0;

    /* Only ever one that bears the container's id: everything in it is killed. "slice:prefix:name" is systemd's. */
    if (path[0] != '/' || strstr(path, id) == NULL || strstr(path, "..") != NULL || strchr(path, ':') != NULL)
        return;
    mounts = fopen("/proc/self/mountinfo", "re");
    while (mounts != NULL && getline(&line, &capacity, mounts) > 0)
        remove_below(line, path);
    free(line);
}
