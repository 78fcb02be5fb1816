/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a confined worker may write: Landlock. A process of root needs no capability to change what belongs to root, so
 * without this it could have another one do what it may not do itself.
 *
 * Sources: landlock(7), kernel include/uapi/linux/landlock.h; stated here for older headers.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "system/confine.h"
#include "util/fd.h"

#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446

#define ASK_VERSION 1U
#define PATH_BENEATH 1

/* Rights by the version that brought them. */
#define EXECUTE ((uint64_t)1 << 0)
#define WRITE_FILE ((uint64_t)1 << 1)
#define REMOVE_DIR ((uint64_t)1 << 4)
#define REMOVE_AND_MAKE ((uint64_t)0x1ff0) /* REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR … MAKE_SYM */
#define TRUNCATE ((uint64_t)1 << 14) /* 3 */

#define CGROUPS "/sys/fs/cgroup"

struct ruleset {
    uint64_t handled;
};

struct path_beneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

/*
 * What a path stands for: a folder for all below it; another file that is neither regular nor missing (a device) for
 * itself; any other for its folder, for it is renamed and made anew.
 */
static int open_writable(const char *path, bool *folder)
{
    char parent[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    struct stat status;
    bool there = stat(path, &status) == 0;

    *folder = !there || S_ISDIR(status.st_mode) || S_ISREG(status.st_mode);
    if (there && !S_ISREG(status.st_mode))
        return open(path, O_PATH | O_CLOEXEC);
    if (slash != NULL && slash - path + 1 >= PATH_MAX)
        return -1;
    if (slash != NULL) {
        memcpy(parent, path, (size_t)(slash - path + 1));
        parent[slash - path + 1] = 0;
    }
    return open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int add_rule(int ruleset_fd, const char *path, uint64_t rights)
{
    bool folder = true;
    CLEANUP_FD int fd = open_writable(path, &folder);
    struct path_beneath rule = {.parent_fd = fd, .allowed = folder ? rights : rights & (WRITE_FILE | TRUNCATE)};

    /* A folder that isn't there can't be written to either; one that can't be opened for the moment will be missed. */
    if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ELOOP && errno != ENAMETOOLONG)
        return -errno;
    return fd >= 0 && syscall(ADD_RULE, ruleset_fd, PATH_BENEATH, &rule, 0U) < 0 ? -errno : 0;
}

int confine_files(const char *const *paths, size_t n, const char *emptied)
{
    long version = syscall(CREATE_RULESET, NULL, (size_t)0, ASK_VERSION);
    struct ruleset ruleset = {.handled = EXECUTE | WRITE_FILE | REMOVE_AND_MAKE};
    CLEANUP_FD int ruleset_fd = -1;
    int r;

    if (version < 1)
        return version < 0 ? -errno : -ENOSYS;
    if (version >= 3)
        ruleset.handled |= TRUNCATE;
    ruleset_fd = (int)syscall(CREATE_RULESET, &ruleset, sizeof(ruleset), 0U);
    if (ruleset_fd < 0)
        return -errno;
    r = add_rule(ruleset_fd, CGROUPS, ruleset.handled & ~EXECUTE);
    if (r == 0 && emptied != NULL)
        r = add_rule(ruleset_fd, emptied, REMOVE_DIR);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_rule(ruleset_fd, paths[i], ruleset.handled & ~EXECUTE);
    if (r < 0)
        return r;
    return syscall(RESTRICT_SELF, ruleset_fd, 0U) < 0 ? -errno : 0;
}
