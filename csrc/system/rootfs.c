/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A detached overlay mount: it is in no mount namespace until somebody attaches it, and goes with its last descriptor.
 *
 * Two ways. The new mount interface takes each layer by itself, so there is no limit of a page; it needs kernel 6.7.
 * Else a child in a mount namespace of its own mounts in the classic way, clones what it mounted and sends the clone.
 * A layer whose path is too long for an option, or has characters that options give a meaning, is named through
 * a descriptor in /proc/self/fd.
 *
 * Lower layers with other owners (id_map_fd) are clones with an id map (mount_setattr, kernel 5.12; under an overlay
 * 5.19). The new interface takes them by descriptor, detached as they are (kernel 6.15); the child of the classic way
 * attaches them where only it sees them.
 */
#include "system/rootfs.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "include/remora.h"
#include "system/child_fd.h"
#include "system/userns.h"
#include "util/fd.h"

/* As many lower layers as the kernel takes (OVL_MAX_STACK, fs/overlayfs/params.h). */
#define LAYERS_MAX 500

/* A value of fsconfig has at most 255 bytes, all options of mount(2) together one page less the final zero. */
#define VALUE_MAX 255
#define OPTIONS_SIZE 4096

struct overlay {
    const char *const *lower;
    size_t n_lower;
    const char *upper, *work;
    bool volatile_upper;
    bool user_attributes; /* trusted.* ones are not to be had in a user namespace */
    int id_map_fd; /* borrowed; -1: the layers as they are */
};

/* Whether a path can stand in options as it is: none of what they give a meaning, nothing that needs an escape. */
static bool is_plain(const char *path)
{
    return path[strcspn(path, ":,\\")] == 0;
}

static int open_folder(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

/* A layer as a mount of its own whose owners are mapped. */
static int clone_mapped(const char *path, int id_map_fd)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)id_map_fd};
    CLEANUP_FD int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
        return -errno;
    return fd_take(&fd);
}

static int set_folder(int context, const char *key, const char *path)
{
    char short_path[32];
    CLEANUP_FD int fd = -1;

    if (strlen(path) > VALUE_MAX || !is_plain(path)) {
        fd = open_folder(path);
        if (fd < 0)
            return fd;
        snprintf(short_path, sizeof(short_path), "/proc/self/fd/%d", fd);
        path = short_path;
    }
    return fsconfig(context, FSCONFIG_SET_STRING, key, path, 0) < 0 ? -errno : 0;
}

/* A detached mount goes with its last descriptor, so these stay open until the overlay has taken what it needs. */
struct layers {
    int fds[LAYERS_MAX];
    size_t n;
};

static void layers_close(struct layers *layers)
{
    while (layers->n > 0)
        fd_close(&layers->fds[--layers->n]);
}

static int set_lower(int context, const struct overlay *overlay, struct layers *layers)
{
    for (size_t i = 0; i < overlay->n_lower; i++) {
        int result = overlay->id_map_fd >= 0 ? clone_mapped(overlay->lower[i], overlay->id_map_fd)
                                             : set_folder(context, "lowerdir+", overlay->lower[i]);

        if (result < 0)
            return result;
        if (overlay->id_map_fd < 0)
            continue;
        layers->fds[layers->n++] = result;
        if (fsconfig(context, FSCONFIG_SET_FD, "lowerdir+", NULL, result) < 0)
            return -errno;
    }
    return 0;
}

static int overlay_fsopen(const struct overlay *overlay)
{
    CLEANUP(layers_close) struct layers layers = {.n = 0};
    CLEANUP_FD int context = -1;
    int result;
    int fd;

    context = fsopen("overlay", FSOPEN_CLOEXEC);
    if (context < 0)
        return -errno;
    result = set_lower(context, overlay, &layers);
    if (result == 0)
        result = set_folder(context, "upperdir", overlay->upper);
    if (result == 0)
        result = set_folder(context, "workdir", overlay->work);
    if (result < 0)
        return result;
    if (overlay->volatile_upper && fsconfig(context, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
        return -errno;
    if (overlay->user_attributes && fsconfig(context, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0)
        return -errno;
    if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    fd = fsmount(context, FSMOUNT_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* Behind the paths. */
static const char *last_options(const struct overlay *overlay)
{
    if (overlay->volatile_upper)
        return overlay->user_attributes ? ",volatile,userxattr" : ",volatile";
    return overlay->user_attributes ? ",userxattr" : "";
}

/* The options with the paths as they are; false when these don't fit. */
static bool plain_options(const struct overlay *overlay, char *options)
{
    const char *end = last_options(overlay);
    size_t size = 0;

    for (size_t i = 0; i < overlay->n_lower + 2; i++) {
        static const char *const last[] = {",upperdir=", ",workdir="};
        const char *before = i == 0 ? "lowerdir=" : i < overlay->n_lower ? ":" : last[i - overlay->n_lower];
        const char *path = i < overlay->n_lower    ? overlay->lower[i]
                           : i == overlay->n_lower ? overlay->upper
                                                   : overlay->work;
        int n = snprintf(options + size, OPTIONS_SIZE - size, "%s%s", before, path);

        if (n < 0 || (size_t)n >= OPTIONS_SIZE - size || !is_plain(path))
            return false;
        size += (size_t)n;
    }
    if (OPTIONS_SIZE - size <= strlen(end))
        return false;
    memcpy(options + size, end, strlen(end) + 1);
    return true;
}

/* A layer with mapped owners, attached at a new folder here; the descriptor of what is there then. */
static int attach_mapped(const struct overlay *overlay, size_t number)
{
    CLEANUP_FD int fd = clone_mapped(overlay->lower[number], overlay->id_map_fd);
    char name[24];

    if (fd < 0)
        return fd;
    snprintf(name, sizeof(name), "%zu", number);
    if (mkdir(name, 0700) < 0)
        return -errno;
    if (move_mount(fd, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -errno;
    return open_folder(name);
}

/* In the child, with /proc/self/fd as its folder: a number names each layer. */
static int short_options(const struct overlay *overlay, char *options)
{
    size_t size = (size_t)snprintf(options, OPTIONS_SIZE, "lowerdir=");
    int upper = open_folder(overlay->upper); /* these and the layers are left open: the child ends soon */
    int work = open_folder(overlay->work);

    if (upper < 0 || work < 0)
        return upper < 0 ? upper : work;
    if (overlay->id_map_fd >= 0 &&
        (mount("tmpfs", overlay->upper, "tmpfs", 0, "mode=0700") < 0 || chdir(overlay->upper) < 0))
        return -errno;
    for (size_t i = 0; i < overlay->n_lower; i++) {
        int fd = overlay->id_map_fd >= 0 ? attach_mapped(overlay, i) : open_folder(overlay->lower[i]);

        if (fd < 0)
            return fd;
        if (OPTIONS_SIZE - size < 96)
            return -E2BIG;
        size += (size_t)snprintf(options + size, OPTIONS_SIZE - size, "%s%d", i > 0 ? ":" : "", fd);
    }
    if (OPTIONS_SIZE - size < 96)
        return -E2BIG;
    snprintf(options + size, OPTIONS_SIZE - size, ",upperdir=%d,workdir=%d%s", upper, work, last_options(overlay));
    return chdir("/proc/self/fd") < 0 ? -errno : 0;
}

/* Runs in the child: a clone of the mount, or -errno. Nothing here allocates: other threads may hold the heap. */
static int child_mount(const void *context)
{
    const struct overlay *overlay = context;
    char options[OPTIONS_SIZE];
    int fd;

    if (unshare(CLONE_NEWNS) < 0)
        return -errno;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    if (overlay->id_map_fd >= 0 || !plain_options(overlay, options)) {
        int result = short_options(overlay, options);

        if (result < 0)
            return result;
    }
    /* Any folder does as the mount point, here where nobody else sees it. */
    if (mount("overlay", overlay->upper, "overlay", 0, options) < 0)
        return -errno;
    fd = open_tree(AT_FDCWD, overlay->upper, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int overlay_classic(const struct overlay *overlay)
{
    return child_fd(child_mount, overlay);
}

/*
 * What a volatile mount leaves behind, so that the kernel refuses the next one: data may not have reached the disk.
 * Whoever asks for a volatile mount again does not mind.
 */
static int clear_volatile(const struct overlay *overlay)
{
    char path[PATH_MAX];
    int result;

    if (!overlay->volatile_upper)
        return 0;
    if (snprintf(path, sizeof(path), "%s/work/incompat/volatile", overlay->work) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    result = remora_remove_tree(path);
    return result == -ENOTDIR ? 0 : result;
}

int rootfs_overlay(const char *const *lower, size_t n_lower, const char *upper, const char *work, bool volatile_upper,
                   int id_map_fd, enum rootfs_way way)
{
    struct overlay overlay = {lower, n_lower, upper, work, volatile_upper, !userns_is_initial(), id_map_fd};
    int result;

    if (n_lower == 0)
        return -EINVAL;
    if (n_lower > LAYERS_MAX)
        return -E2BIG;
    result = clear_volatile(&overlay);
    if (result < 0)
        return result;
    if (way != ROOTFS_CLASSIC) {
        result = overlay_fsopen(&overlay);
        /* An older kernel knows no such call, key or flag; the classic way gives its own error if that was not it. */
        if (way == ROOTFS_FSOPEN ||
            (result != -EINVAL && result != -ENOSYS && result != -EOPNOTSUPP && result != -EBADF))
            return result;
        result = clear_volatile(&overlay);
        if (result < 0)
            return result;
    }
    return overlay_classic(&overlay);
}

int remora_overlay(const char *const *lower, size_t n_lower, const char *upper, const char *work, bool volatile_upper,
                   int id_map_fd)
{
    return rootfs_overlay(lower, n_lower, upper, work, volatile_upper, id_map_fd, ROOTFS_AUTO);
}
