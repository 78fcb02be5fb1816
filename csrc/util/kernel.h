/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel offers and not every C library declares. remora-monitor is built against musl where that is
 * installed, everything else against glibc; sources that go into both take these from here.
 */
#ifndef REMORA_UTIL_KERNEL_H
#define REMORA_UTIL_KERNEL_H

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004 /* linux/mount.h, which can't stand beside glibc's sys/mount.h */
#endif

#ifndef STATX_INO /* musl before 1.2.5 */
#include <linux/stat.h>

static inline int statx(int dir_fd, const char *path, int flags, unsigned mask, struct statx *status)
{
    return (int)syscall(SYS_statx, dir_fd, path, flags, mask, status);
}
#endif

#endif
