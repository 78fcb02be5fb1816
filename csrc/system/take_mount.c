/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount that somebody else made is taken out of our mount namespace as a descriptor.
 */
#include <fcntl.h>
#include <sys/mount.h>

#include "include/remora.h"
#include "util/fd.h"

int remora_take_mount(const char *path)
{
    CLEANUP_FD int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (fd < 0)
        return -errno;
    /* Else whoever serves the mount (a FUSE program lives in this namespace too) would keep it and itself for ever. */
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
        return -errno;
    return fd_take(&fd);
}
