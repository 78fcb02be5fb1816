/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount of another mount namespace: cloned there, by a child that enters it, and handed over as a detached one.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "include/remora.h"
#include "system/child_fd.h"
#include "util/fd.h"

struct wanted {
    int namespace_fd;
    const char *path;
};

/* Whether it is the root of a mount: a plain folder of the container's would give away what lies around it. */
static bool is_mount(int fd)
{
    struct statx status;

    return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE, &status) == 0 &&
           (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 && S_ISDIR(status.stx_mode);
}

static int clone_there(const void *context)
{
    const struct wanted *wanted = context;
    CLEANUP_FD int fd = -1;

    if (setns(wanted->namespace_fd, CLONE_NEWNS) < 0)
        return -errno;
    fd = open_tree(AT_FDCWD, wanted->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    if (fd < 0)
        return -errno;
    return is_mount(fd) ? fd_take(&fd) : -ENOENT;
}

int remora_clone_mount(int namespace_fd, const char *path)
{
    struct wanted wanted = {namespace_fd, path};

    return child_fd(clone_there, &wanted);
}
