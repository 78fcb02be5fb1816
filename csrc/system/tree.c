/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a tree that somebody else filled.
 *
 * Everything goes by a name below a descriptor, never by a longer path and never through a symlink. The walk keeps
 * its own stack, so depth costs no C stack; only the last OPEN_MAX levels keep their folder open, the ones above are
 * opened again through ".." and must then be the folder that was left (a tree moved meanwhile is -ESTALE, not a
 * removal elsewhere). A folder on another mount is never entered. The first thing that can't be removed ends the walk.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "include/remora.h"
#include "util/fd.h"
#include "util/kernel.h"

#define LEVELS_OPEN 32
#define ENTRIES_SIZE 8192

/* Sweeps of one folder before giving up: somebody keeps putting things in. */
#define SWEEPS_MAX 64

struct entry { /* as getdents64 gives it */
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

struct level {
    int fd; /* owned; -1 while given back */
    int sweeps;
    char *entries; /* owned, ENTRIES_SIZE bytes; NULL while given back */
    size_t at, end; /* what is left of them */
    uint64_t inode, device;
    char *name; /* owned: this folder in the level above; NULL for the first */
};

struct walk {
    struct level *levels; /* owned */
    size_t depth, capacity;
    uint64_t mount; /* all of it lies on this mount */
    bool mount_known;
};

static void level_release(struct level *level)
{
    fd_close(&level->fd);
    free(level->entries);
    level->entries = NULL;
    level->at = level->end = 0;
}

static void walk_deinit(struct walk *walk)
{
    for (size_t i = 0; i < walk->depth; i++) {
        level_release(&walk->levels[i]);
        free(walk->levels[i].name);
    }
    free(walk->levels);
}

static int identify(int fd, struct statx *status)
{
    if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_MNT_ID, status) < 0)
        return -errno;
    return 0;
}

static uint64_t device_of(const struct statx *status)
{
    return (uint64_t)status->stx_dev_major << 32 | status->stx_dev_minor;
}

/* Go down into a folder. Takes the descriptor, also on failure. */
static int walk_enter(struct walk *walk, int taken, const char *name)
{
    CLEANUP_FD int fd = taken;
    struct level *level;
    struct statx status;
    int result = identify(fd, &status);

    if (result < 0)
        return result;
    if (walk->depth == 0) {
        walk->mount = status.stx_mnt_id;
        walk->mount_known = (status.stx_mask & STATX_MNT_ID) != 0;
    } else if (walk->mount_known ? status.stx_mnt_id != walk->mount : device_of(&status) != walk->levels[0].device) {
        return -EBUSY;
    }
    if (walk->depth == walk->capacity) {
        size_t capacity = walk->capacity > 0 ? walk->capacity * 2 : 64;
        struct level *levels = realloc(walk->levels, capacity * sizeof(*levels));

        if (levels == NULL)
            return -ENOMEM;
        walk->levels = levels;
        walk->capacity = capacity;
    }
    level = &walk->levels[walk->depth];
    *level = (struct level){.fd = -1, .inode = status.stx_ino, .device = device_of(&status)};
    if (name != NULL) {
        level->name = strdup(name);
        if (level->name == NULL)
            return -ENOMEM;
    }
    level->fd = fd_take(&fd);
    walk->depth++;
    if (walk->depth > LEVELS_OPEN)
        level_release(&walk->levels[walk->depth - 1 - LEVELS_OPEN]);
    return 0;
}

/* Open a level again that had been given back, from the one below it. */
static int level_reopen(struct level *level, int below)
{
    struct statx status;
    CLEANUP_FD int fd = -1;
    int result;

    fd = openat(below, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    result = identify(fd, &status);
    if (result < 0)
        return result;
    if (status.stx_ino != level->inode || device_of(&status) != level->device)
        return -ESTALE;
    level->fd = fd_take(&fd);
    return 0;
}

/* The next name of the folder, NULL at its end, or -errno. */
static int level_next(struct level *level, const struct entry **next)
{
    for (;;) {
        const struct entry *entry;
        long n;

        if (level->at < level->end) {
            entry = (const struct entry *)(const void *)(level->entries + level->at);
            level->at += entry->length;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            *next = entry;
            return 0;
        }
        if (level->entries == NULL) {
            level->entries = malloc(ENTRIES_SIZE);
            if (level->entries == NULL)
                return -ENOMEM;
        }
        n = syscall(SYS_getdents64, level->fd, level->entries, ENTRIES_SIZE);
        if (n < 0)
            return -errno;
        level->at = 0;
        level->end = (size_t)n;
        if (n == 0) {
            *next = NULL;
            return 0;
        }
    }
}

/* Remove one entry: 0 removed (or gone), 1 it is a folder with something in it, -errno. */
static int remove_entry(int fd, const char *name, bool folder)
{
    for (int i = 0; i < 2; i++) {
        if (unlinkat(fd, name, folder ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT)
            return 0;
        if (folder && (errno == ENOTEMPTY || errno == EEXIST))
            return 1;
        /* The type was unknown, or has changed since. */
        if (errno != EISDIR && errno != ENOTDIR)
            return -errno;
        folder = !folder;
    }
    return -EAGAIN;
}

/* All entries of the last level are gone: go up and remove the folder itself. 1: the whole tree is done. */
static int walk_leave(struct walk *walk)
{
    struct level *level = &walk->levels[walk->depth - 1];
    struct level *above;
    int result;

    if (walk->depth == 1)
        return 1;
    above = level - 1;
    if (above->fd < 0) {
        result = level_reopen(above, level->fd);
        if (result < 0)
            return result;
    }
    result = remove_entry(above->fd, level->name, true);
    if (result < 0)
        return result;
    if (result > 0) {
        /* Somebody put something in while we swept. */
        if (++level->sweeps > SWEEPS_MAX)
            return -ENOTEMPTY;
        return lseek(level->fd, 0, SEEK_SET) < 0 ? -errno : 0;
    }
    level_release(level);
    free(level->name);
    walk->depth--;
    return 0;
}

static int walk_run(struct walk *walk)
{
    for (;;) {
        struct level *level = &walk->levels[walk->depth - 1];
        const struct entry *entry = NULL;
        int result = level_next(level, &entry);
        int fd;

        if (result < 0)
            return result;
        if (entry == NULL) {
            result = walk_leave(walk);
            if (result != 0)
                return result < 0 ? result : 0;
            continue;
        }
        result = remove_entry(level->fd, entry->name, entry->type == DT_DIR);
        if (result < 0)
            return result;
        if (result == 0)
            continue;
        fd = openat(level->fd, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
            if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
                continue; /* replaced meanwhile: the next sweep meets it */
            return -errno;
        }
        result = walk_enter(walk, fd, entry->name);
        if (result < 0)
            return result;
    }
}

int remora_remove_tree(const char *path)
{
    CLEANUP(walk_deinit) struct walk walk = {0};

    for (int i = 0; i < SWEEPS_MAX; i++) {
        int result = remove_entry(AT_FDCWD, path, true);
        int fd;

        if (result <= 0)
            return result;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
            if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
                continue;
            return -errno;
        }
        walk_deinit(&walk);
        walk = (struct walk){0};
        result = walk_enter(&walk, fd, NULL);
        if (result == 0)
            result = walk_run(&walk);
        if (result < 0)
            return result;
    }
    return -ENOTEMPTY;
}
