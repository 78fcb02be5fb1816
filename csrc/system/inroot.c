/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as a container sees them: resolved below its root, symlinks and ".." included, by openat2(2).
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "include/remora.h"
#include "util/fd.h"

/* The kernel gives up with EAGAIN when something was renamed during the walk (openat2(2)). */
#define RETRIES_MAX 128

int remora_open_in_root(int root_fd, const char *path, int flags, unsigned int mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned int)flags | O_CLOEXEC,
        .mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode : 0,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    int retries = 0;
    long fd;

    do {
        fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
    } while (fd < 0 && (errno == EAGAIN || errno == EINTR) && retries++ < RETRIES_MAX);
    return fd < 0 ? -errno : (int)fd;
}

/* Make one folder in `parent` and give it its owner, by descriptor. 0, -EEXIST or -errno. */
static int make_folder(int parent, const char *name, unsigned int mode, uid_t uid, gid_t gid)
{
    CLEANUP_FD int fd = -1;

    if (mkdirat(parent, name, 0700) < 0)
        return -errno;
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* The owner first: changing it drops set-id bits. The umask has no say. */
    if (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
        return -errno;
    return 0;
}

int remora_mkdir_in_root(int root_fd, const char *path, unsigned int mode, uid_t uid, gid_t gid)
{
    CLEANUP_FD int parent = -1;
    char prefix[PATH_MAX];
    size_t length = strlen(path);
    char *at = prefix;

    if (length >= sizeof(prefix))
        return -ENAMETOOLONG;
    memcpy(prefix, path, length + 1);
    parent = remora_open_in_root(root_fd, "/", O_PATH | O_DIRECTORY, 0);
    if (parent < 0)
        return parent;
    for (;;) {
        char *name = at + strspn(at, "/");
        char saved;
        int fd, result;

        if (*name == 0)
            return 0;
        at = name + strcspn(name, "/");
        saved = *at;
        *at = 0;
        /* From the root each time: only so do symlinks on the way mean what they mean in the container. */
        fd = remora_open_in_root(root_fd, prefix, O_PATH | O_DIRECTORY, 0);
        if (fd == -ENOENT) {
            result = make_folder(parent, name, mode, uid, gid);
            if (result < 0 && result != -EEXIST)
                return result;
            fd = remora_open_in_root(root_fd, prefix, O_PATH | O_DIRECTORY, 0);
            if (fd == -ENOENT)
                return -ENOTDIR; /* a symlink that leads nowhere stands in the way */
        }
        if (fd < 0)
            return fd;
        fd_close(&parent);
        parent = fd;
        *at = saved;
    }
}
