/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Root file systems: the detached overlay, and paths inside a root that lead nowhere else.
 */
#ifndef REMORA_SYSTEM_ROOTFS_H
#define REMORA_SYSTEM_ROOTFS_H

#include <stdbool.h>
#include <stddef.h>

enum rootfs_way {
    ROOTFS_AUTO, /* fsopen, and the classic way where the kernel can't */
    ROOTFS_FSOPEN, /* one option for each layer: kernel 6.7 and later */
    ROOTFS_CLASSIC, /* mount(2) in a child with its own mount namespace: kernel 5.2 and later */
};

/* remora_overlay by a chosen way. */
int rootfs_overlay(const char *const *lower, size_t n_lower, const char *upper, const char *work, bool volatile_upper,
                   int id_map_fd, enum rootfs_way way);

#endif
