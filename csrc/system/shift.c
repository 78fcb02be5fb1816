/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a tree with other owners: what a container with a user namespace of its own gets as its lower layer where
 * the kernel can't map the owners of the layers themselves.
 *
 * The source may be anybody's work: everything is reached by a name below a descriptor, no symlink is followed, and
 * nobody writes to it meanwhile. The owner comes before the mode and the attributes, for changing it takes set-id bits
 * and capabilities away. Device nodes that may not be made are left out: such a container could not open them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "include/remora.h"
#include "util/fd.h"

#define CHUNK_SIZE ((size_t)256 * 1024)
#define NAMES_SIZE 65536 /* XATTR_LIST_MAX */
#define VALUE_SIZE 65536 /* XATTR_SIZE_MAX */

/* A file with several names that has been copied. */
struct linked {
    dev_t device;
    ino_t inode;
    char *path; /* owned: below the target */
};

struct copy {
    const struct remora_userns_maps *maps;
    uid_t other_uid;
    gid_t other_gid;
    int target_fd; /* the root of the copy */
    char *chunk, *names, *value; /* owned buffers */
    struct linked *linked; /* owned */
    size_t n_linked, linked_capacity;
    char path[PATH_MAX]; /* of the entry at hand, below the target */
    size_t path_size;
};

static void copy_deinit(struct copy *copy)
{
    for (size_t i = 0; i < copy->n_linked; i++)
        free(copy->linked[i].path);
    free(copy->linked);
    free(copy->chunk);
    free(copy->names);
    free(copy->value);
    fd_close(&copy->target_fd);
}

static void close_folder(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
}

static uint32_t shifted(const struct remora_id_range *ranges, size_t n, uint32_t id, uint32_t other)
{
    for (size_t i = 0; i < n; i++)
        if (id >= ranges[i].inside && id - ranges[i].inside < ranges[i].count)
            return ranges[i].outside + (id - ranges[i].inside);
    return other;
}

static uint32_t shifted_uid(const struct copy *copy, uint32_t uid)
{
    return shifted(copy->maps->uids, copy->maps->n_uids, uid, copy->other_uid);
}

static uint32_t shifted_gid(const struct copy *copy, uint32_t gid)
{
    return shifted(copy->maps->gids, copy->maps->n_gids, gid, copy->other_gid);
}

/* ---- attributes ---- */

/* linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id, little-endian. */
#define ACL_HEADER 4
#define ACL_ENTRY 8
#define ACL_USER 0x02
#define ACL_GROUP 0x08

static void shift_acl(const struct copy *copy, unsigned char *value, size_t size)
{
    for (size_t at = ACL_HEADER; at + ACL_ENTRY <= size; at += ACL_ENTRY) {
        unsigned tag = value[at] | (unsigned)value[at + 1] << 8;
        uint32_t id = 0;

        for (int i = 3; i >= 0; i--)
            id = id << 8 | value[at + 4 + (size_t)i];
        if (tag == ACL_USER)
            id = shifted_uid(copy, id);
        else if (tag == ACL_GROUP)
            id = shifted_gid(copy, id);
        for (size_t i = 0; i < 4; i++)
            value[at + 4 + i] = (unsigned char)(id >> (8 * i));
    }
}

/* Labels belong to the host's policy, the marks of an overlay to the overlay. */
static bool is_kept(const char *name)
{
    return strncmp(name, "trusted.overlay.", 16) != 0 && strncmp(name, "user.overlay.", 13) != 0 &&
           strcmp(name, "security.selinux") != 0;
}

/* By path through /proc/self/fd, so that it works for symlinks as well. */
static int copy_attributes(struct copy *copy, int source_fd, int target_fd, const char *name)
{
    char source[PATH_MAX], target[PATH_MAX];
    ssize_t size;

    snprintf(source, sizeof(source), "/proc/self/fd/%d/%s", source_fd, name);
    snprintf(target, sizeof(target), "/proc/self/fd/%d/%s", target_fd, name);
    size = llistxattr(source, copy->names, NAMES_SIZE);
    if (size < 0)
        return errno == ENOTSUP || errno == EPERM ? 0 : -errno;
    for (const char *at = copy->names; at < copy->names + size; at += strlen(at) + 1) {
        ssize_t n;

        if (!is_kept(at))
            continue;
        n = lgetxattr(source, at, copy->value, VALUE_SIZE);
        if (n < 0)
            continue; /* not for us to see, or gone */
        if (strncmp(at, "system.posix_acl_", 17) == 0)
            shift_acl(copy, (unsigned char *)copy->value, (size_t)n);
        if (lsetxattr(target, at, copy->value, (size_t)n, 0) < 0 && errno != EPERM && errno != ENOTSUP)
            return -errno;
    }
    return 0;
}

/* Owner, mode, attributes, times of what was made. */
static int dress(struct copy *copy, int source_fd, int target_fd, const char *name, const struct stat *status)
{
    struct timespec times[2] = {status->st_atim, status->st_mtim};
    bool link = S_ISLNK(status->st_mode);
    int result;

    if (fchownat(target_fd, name, shifted_uid(copy, status->st_uid), shifted_gid(copy, status->st_gid),
                 AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!link && fchmodat(target_fd, name, status->st_mode & 07777, 0) < 0)
        return -errno;
    result = copy_attributes(copy, source_fd, target_fd, name);
    if (result < 0)
        return result;
    return utimensat(target_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* ---- contents ---- */

static int copy_segment(struct copy *copy, int from, int to, off_t at, off_t end)
{
    while (at < end) {
        size_t wanted = (size_t)(end - at) < CHUNK_SIZE ? (size_t)(end - at) : CHUNK_SIZE;
        ssize_t n = pread(from, copy->chunk, wanted, at);
        ssize_t done = 0;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        while (done < n) {
            ssize_t written = pwrite(to, copy->chunk + done, (size_t)(n - done), at + done);

            if (written < 0 && errno != EINTR)
                return -errno;
            done += written > 0 ? written : 0;
        }
        at += n;
    }
    return 0;
}

static int copy_contents(struct copy *copy, int from, int to, off_t size)
{
    off_t at = 0;

    while (at < size) {
        off_t data = lseek(from, at, SEEK_DATA);
        off_t hole;
        int result;

        if (data < 0 && errno == ENXIO)
            break; /* nothing but a hole is left */
        if (data < 0)
            data = at; /* a file system that doesn't know holes */
        hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0 || hole > size)
            hole = size;
        result = copy_segment(copy, from, to, data, hole);
        if (result < 0)
            return result;
        at = hole;
    }
    return ftruncate(to, size) < 0 ? -errno : 0;
}

static int copy_file(struct copy *copy, int source_fd, int target_fd, const char *name, const struct stat *status)
{
    CLEANUP_FD int from = openat(source_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP_FD int to = -1;

    if (from < 0)
        return -errno;
    to = openat(target_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return -errno;
    return copy_contents(copy, from, to, status->st_size);
}

static int copy_symlink(int source_fd, int target_fd, const char *name)
{
    char text[PATH_MAX];
    ssize_t n = readlinkat(source_fd, name, text, sizeof(text) - 1);

    if (n < 0)
        return -errno;
    text[n] = 0;
    return symlinkat(text, target_fd, name) < 0 ? -errno : 0;
}

/* ---- files with several names ---- */

/* 1: the entry is a further name of a file that is there already. */
static int link_again(struct copy *copy, int target_fd, const char *name, const struct stat *status)
{
    for (size_t i = 0; i < copy->n_linked; i++) {
        const struct linked *one = &copy->linked[i];

        if (one->inode != status->st_ino || one->device != status->st_dev)
            continue;
        return linkat(copy->target_fd, one->path, target_fd, name, 0) < 0 ? -errno : 1;
    }
    return 0;
}

static int remember(struct copy *copy, const struct stat *status)
{
    char *path;

    if (copy->n_linked == copy->linked_capacity) {
        size_t capacity = copy->linked_capacity > 0 ? copy->linked_capacity * 2 : 64;
        struct linked *linked = realloc(copy->linked, capacity * sizeof(*linked));

        if (linked == NULL)
            return -ENOMEM;
        copy->linked = linked;
        copy->linked_capacity = capacity;
    }
    path = strdup(copy->path);
    if (path == NULL)
        return -ENOMEM;
    copy->linked[copy->n_linked++] = (struct linked){status->st_dev, status->st_ino, path};
    return 0;
}

/* ---- the walk ---- */

static int copy_folder(struct copy *copy, int source_fd, int target_fd);

static int copy_subfolder(struct copy *copy, int source_fd, int target_fd, const char *name)
{
    CLEANUP_FD int from = openat(source_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP_FD int to = -1;

    if (from < 0)
        return -errno;
    if (mkdirat(target_fd, name, 0700) < 0)
        return -errno;
    to = openat(target_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return to < 0 ? -errno : copy_folder(copy, from, to);
}

static int copy_entry(struct copy *copy, int source_fd, int target_fd, const char *name)
{
    struct stat status;
    bool several;
    int result;

    if (fstatat(source_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    several = !S_ISDIR(status.st_mode) && status.st_nlink > 1;
    if (several) {
        result = link_again(copy, target_fd, name, &status);
        if (result != 0)
            return result < 0 ? result : 0;
    }
    if (S_ISDIR(status.st_mode))
        result = copy_subfolder(copy, source_fd, target_fd, name);
    else if (S_ISREG(status.st_mode))
        result = copy_file(copy, source_fd, target_fd, name, &status);
    else if (S_ISLNK(status.st_mode))
        result = copy_symlink(source_fd, target_fd, name);
    else
        result = mknodat(target_fd, name, (status.st_mode & S_IFMT) | 0600, status.st_rdev) < 0 ? -errno : 0;
    if (result == -EPERM && (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)))
        return 0;
    if (result == 0)
        result = dress(copy, source_fd, target_fd, name, &status);
    return result == 0 && several ? remember(copy, &status) : result;
}

static int copy_folder(struct copy *copy, int source_fd, int target_fd)
{
    int list_fd = openat(source_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_folder) DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);
    size_t before = copy->path_size;
    struct dirent *entry;

    if (dir == NULL) {
        int error = -errno;

        fd_close(&list_fd);
        return error;
    }
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        int result, n;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        n = snprintf(copy->path + before, sizeof(copy->path) - before, "%s%s", before > 0 ? "/" : "", entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(copy->path) - before)
            return -ENAMETOOLONG;
        copy->path_size = before + (size_t)n;
        result = copy_entry(copy, source_fd, target_fd, entry->d_name);
        copy->path_size = before;
        copy->path[before] = 0;
        if (result < 0)
            return result;
    }
    return -errno;
}

int remora_copy_shifted(int source_fd, const char *target, const struct remora_userns_maps *maps, uid_t other_uid,
                        gid_t other_gid)
{
    CLEANUP(copy_deinit)
    struct copy copy = {.maps = maps, .other_uid = other_uid, .other_gid = other_gid, .target_fd = -1};
    CLEANUP_FD int source = openat(source_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    int result;

    if (source < 0 || fstat(source, &status) < 0)
        return -errno;
    copy.chunk = malloc(CHUNK_SIZE);
    copy.names = malloc(NAMES_SIZE);
    copy.value = malloc(VALUE_SIZE);
    if (copy.chunk == NULL || copy.names == NULL || copy.value == NULL)
        return -ENOMEM;
    if (mkdir(target, 0700) < 0)
        return -errno;
    copy.target_fd = open(target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (copy.target_fd < 0)
        return -errno;
    result = copy_folder(&copy, source, copy.target_fd);
    if (result == 0)
        result = dress(&copy, source, copy.target_fd, ".", &status);
    if (result == 0 && syncfs(copy.target_fd) < 0)
        result = -errno;
    return result;
}
