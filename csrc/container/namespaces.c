/* SPDX-License-Identifier: Apache-2.0 */
#include "container/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fd.h"
#include "util/kernel.h"

#define NS_GET_NSTYPE _IO(0xb7, 0x3) /* linux/nsfs.h */

/* A file to bind on; it stays there, empty, for the next start. */
static int make_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    CLEANUP_FD int fd = -1;

    if (slash - path >= PATH_MAX)
        return -ENAMETOOLONG;
    snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : 0;
}

/* A mount that belongs to nobody yet: /dev/shm of the container whose IPC namespace comes along. */
static int attach_mount(const char *path, int fd)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    return syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

static int bind_one(const struct config_namespace *namespace, int fd)
{
    char source[32];
    int r;

    if (namespace->flag == CLONE_NEWNS)
        return attach_mount(namespace->path, fd);
    /* A number that is no namespace at all gives ENOTTY. */
    if (ioctl(fd, NS_GET_NSTYPE) != namespace->flag)
        return -EINVAL;
    r = make_file(namespace->path);
    if (r < 0)
        return r;
    snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
    return mount(source, namespace->path, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

int namespaces_bind(const struct config *config, struct failure *failure)
{
    for (unsigned i = 0; i < config->n_namespaces; i++) {
        const struct config_namespace *namespace = &config->namespaces[i];
        int r = bind_one(namespace, config_first_namespace(config) + (int)i);

        if (r < 0)
            return failure_errno(failure, "take over the namespace", namespace->path, r);
    }
    return 0;
}

void namespaces_close(const struct config *config)
{
    for (unsigned i = 0; i < config->n_namespaces; i++)
        close(config_first_namespace(config) + (int)i);
}

void namespaces_unbind(const struct config *config)
{
    for (unsigned i = 0; i < config->n_namespaces; i++)
        umount2(config->namespaces[i].path, MNT_DETACH | UMOUNT_NOFOLLOW);
}
