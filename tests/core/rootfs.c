/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Detached overlays, both ways, and paths inside a root. Needs root.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "include/remora.h"
#include "system/rootfs.h"
#include "util/fd.h"

#define LAYERS_MANY 60

static char folder[] = "/tmp/remora-rootfs-XXXXXX";

static char *path_of(const char *name)
{
    char *path = NULL;

    assert(asprintf(&path, "%s/%s", folder, name) > 0);
    return path;
}

static char *make_folder(const char *name)
{
    char *path = path_of(name);

    assert(mkdir(path, 0755) == 0);
    return path;
}

static void put_at(int folder_fd, const char *name, const char *text)
{
    CLEANUP_FD int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
}

static void put(const char *base, const char *name, const char *text)
{
    CLEANUP_FD int fd = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);

    put_at(fd, name, text);
}

static bool holds(int folder_fd, const char *name, const char *text)
{
    CLEANUP_FD int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    char buffer[64];
    ssize_t n = fd < 0 ? -1 : fd_read_all(fd, buffer, sizeof(buffer));

    return n == (ssize_t)strlen(text) && memcmp(buffer, text, (size_t)n) == 0;
}

static int count_fds(void)
{
    DIR *open_fds = opendir("/proc/self/fd");
    int n = 0;

    assert(open_fds != NULL);
    while (readdir(open_fds) != NULL)
        n++;
    closedir(open_fds);
    return n;
}

static void test_nearest_layer_first_and_writes_go_to_upper(enum rootfs_way way, const char *prefix)
{
    char name[PATH_MAX];
    const char *lower[2];
    char *paths[5];
    int before = count_fds();
    int fd;

    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "%s%d", prefix, i);
        paths[i] = make_folder(name);
    }
    lower[0] = paths[0];
    lower[1] = paths[1];
    put(lower[0], "both", "near");
    put(lower[1], "both", "far");
    put(lower[1], "one", "far");
    for (int round = 0; round < 2; round++) {
        /* The second round meets what a volatile mount left behind. */
        fd = rootfs_overlay(lower, 2, paths[2], paths[3], true, -1, way);
        assert(fd >= 0);
        assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert(holds(fd, "both", "near") && holds(fd, "one", round == 0 ? "far" : "changed"));
        put_at(fd, "new", "written");
        put_at(fd, "one", "changed");
        close(fd);
    }
    fd = open(paths[2], O_PATH | O_CLOEXEC);
    assert(holds(fd, "new", "written") && holds(fd, "one", "changed"));
    close(fd);
    assert(count_fds() == before);
    for (int i = 0; i < 5; i++)
        free(paths[i]);
}

static void test_many_layers_with_long_paths(enum rootfs_way way, const char *prefix)
{
    char name[PATH_MAX], file[32], filler[236];
    char *lower[LAYERS_MANY];
    char *upper, *work;
    int fd;

    memset(filler, 'x', 235);
    filler[235] = 0;
    for (int i = 0; i < LAYERS_MANY; i++) {
        snprintf(name, sizeof(name), "%s%s%d", prefix, filler, i);
        lower[i] = make_folder(name);
        snprintf(file, sizeof(file), "f%d", i);
        put(lower[i], file, "x");
        put(lower[i], "common", i == 0 ? "nearest" : "hidden");
    }
    snprintf(name, sizeof(name), "%supper", prefix);
    upper = make_folder(name);
    snprintf(name, sizeof(name), "%swork", prefix);
    work = make_folder(name);
    fd = rootfs_overlay((const char *const *)lower, LAYERS_MANY, upper, work, false, -1, way);
    assert(fd >= 0);
    for (int i = 0; i < LAYERS_MANY; i++) {
        snprintf(file, sizeof(file), "f%d", i);
        assert(holds(fd, file, "x"));
        free(lower[i]);
    }
    assert(holds(fd, "common", "nearest"));
    close(fd);
    free(upper);
    free(work);
}

static void test_errors_name_the_cause(enum rootfs_way way)
{
    const char *lower[] = {"/nowhere/at/all"};
    int before = count_fds();

    assert(rootfs_overlay(lower, 1, folder, folder, false, -1, way) == -ENOENT);
    assert(rootfs_overlay(lower, 0, folder, folder, false, -1, way) == -EINVAL);
    assert(count_fds() == before);
    assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

/* What the monitor does with the descriptor. */
static void test_it_can_be_attached_in_another_namespace(enum rootfs_way way, const char *prefix)
{
    char name[64];
    char *paths[4];
    int fd, status;
    pid_t pid;

    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s%d", prefix, i);
        paths[i] = make_folder(name);
    }
    put(paths[0], "file", "there");
    fd = rootfs_overlay((const char *const *)paths, 1, paths[1], paths[2], false, -1, way);
    assert(fd >= 0);
    pid = fork();
    if (pid == 0) {
        int root;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(1);
        if (move_mount(fd, "", AT_FDCWD, paths[3], MOVE_MOUNT_F_EMPTY_PATH) < 0)
            _exit(2);
        root = open(paths[3], O_PATH | O_CLOEXEC);
        _exit(holds(root, "file", "there") ? 0 : 3);
    }
    assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    assert(WEXITSTATUS(status) == 0);
    close(fd);
    for (int i = 0; i < 4; i++)
        free(paths[i]);
}

static const struct remora_id_range shifted[] = {{0, 100000, 65536}};
static const struct remora_userns_maps shifted_maps = {shifted, shifted, 1, 1, NULL, NULL};

static bool belongs(int folder_fd, const char *name, uid_t uid, gid_t gid)
{
    struct stat status;

    return fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_uid == uid && status.st_gid == gid;
}

static void test_lower_layers_can_have_mapped_owners(enum rootfs_way way, const char *prefix)
{
    struct remora_userns_failure failure;
    int map = remora_make_userns(&shifted_maps, &failure);
    char name[64];
    char *paths[4];
    int before, fd, upper;

    assert(map >= 0);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s%d", prefix, i);
        paths[i] = make_folder(name);
    }
    put(paths[0], "near", "x");
    put(paths[1], "far", "x");
    fd = open(paths[1], O_PATH | O_CLOEXEC);
    assert(fchownat(fd, "far", 5, 6, 0) == 0);
    close(fd);
    before = count_fds();
    fd = rootfs_overlay((const char *const *)paths, 2, paths[2], paths[3], true, map, way);
    assert(fd >= 0 && count_fds() == before + 1);
    assert(belongs(fd, "near", 100000, 100000) && belongs(fd, "far", 100005, 100006));
    /* What is copied up is on the disk as the container has it. */
    assert(fchmodat(fd, "far", 0600, 0) == 0);
    upper = open(paths[2], O_PATH | O_CLOEXEC);
    assert(belongs(upper, "far", 100005, 100006));
    close(upper);
    close(fd);
    close(map);
    for (int i = 0; i < 4; i++)
        free(paths[i]);
}

/* A folder that was removed and made again hides the one below, which takes an attribute of the upper folder. */
static void in_a_user_namespace(enum rootfs_way way, char **paths)
{
    struct remora_userns_failure failure;
    char value[4];
    int fd;

    if (remora_enter_userns(&shifted_maps, &failure) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        _exit(1);
    for (int round = 0; round < 2; round++) {
        fd = rootfs_overlay((const char *const *)paths, 1, paths[1], paths[2], round == 1, -1, way);
        if (fd < 0)
            _exit(2);
        if (round == 0 && (!holds(fd, "sub/file", "below") || unlinkat(fd, "sub/file", 0) < 0 ||
                           unlinkat(fd, "sub", AT_REMOVEDIR) < 0 || mkdirat(fd, "sub", 0755) < 0))
            _exit(3);
        if (faccessat(fd, "sub", F_OK, 0) < 0 || faccessat(fd, "sub/file", F_OK, 0) == 0)
            _exit(4);
        close(fd);
    }
    if (chdir(paths[1]) < 0 || getxattr("sub", "user.overlay.opaque", value, sizeof(value)) != 1 || value[0] != 'y')
        _exit(5);
    _exit(0);
}

static void test_an_overlay_in_a_user_namespace_is_whole(enum rootfs_way way, const char *prefix)
{
    char name[64];
    char *paths[3];
    int fd, status;
    pid_t pid;

    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s%d", prefix, i);
        paths[i] = make_folder(name);
    }
    fd = open(paths[0], O_PATH | O_CLOEXEC);
    assert(mkdirat(fd, "sub", 0755) == 0);
    put_at(fd, "sub/file", "below");
    assert(fchownat(fd, "sub", 100000, 100000, 0) == 0 && fchownat(fd, "sub/file", 100000, 100000, 0) == 0);
    close(fd);
    for (int i = 0; i < 3; i++)
        assert(chown(paths[i], 100000, 100000) == 0);
    pid = fork();
    if (pid == 0)
        in_a_user_namespace(way, paths);
    assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    assert(WEXITSTATUS(status) == 0);
    for (int i = 0; i < 3; i++)
        free(paths[i]);
}

static void test_paths_stay_in_the_root(void)
{
    char *root = make_folder("root");
    char *outside = make_folder("outside");
    struct stat status;
    CLEANUP_FD int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int file;

    put(outside, "secret", "outside");
    assert(mkdirat(fd, "etc", 0755) == 0);
    assert(symlinkat("../../../../etc", fd, "up") == 0);
    assert(symlinkat("/", fd, "slash") == 0);
    assert(symlinkat(outside, fd, "absolute") == 0);
    assert(symlinkat("/etc/gone", fd, "dangling") == 0);
    put_at(fd, "etc/passwd", "inside");

    file = remora_open_in_root(fd, "/slash/up/passwd", O_RDONLY, 0);
    assert(file >= 0);
    close(file);
    assert(remora_open_in_root(fd, "absolute/secret", O_RDONLY, 0) == -ENOENT);
    assert(remora_open_in_root(fd, "../outside/secret", O_RDONLY, 0) == -ENOENT);
    file = remora_open_in_root(fd, "etc/new", O_WRONLY | O_CREAT, 0640);
    assert(file >= 0 && fstat(file, &status) == 0 && (status.st_mode & 07777) == 0640);
    close(file);

    assert(remora_mkdir_in_root(fd, "/a/../b//c/./d/", 02751, 12, 34) == 0);
    assert(fstatat(fd, "b/c/d", &status, 0) == 0);
    assert((status.st_mode & 07777) == 02751 && status.st_uid == 12 && status.st_gid == 34);
    assert(remora_mkdir_in_root(fd, "/slash/up/x/y", 0755, 0, 0) == 0);
    assert(fstatat(fd, "etc/x/y", &status, 0) == 0);
    assert(remora_mkdir_in_root(fd, "../../z", 0755, 0, 0) == 0);
    assert(fstatat(fd, "z", &status, 0) == 0);
    assert(remora_mkdir_in_root(fd, "/", 0755, 0, 0) == 0);
    assert(remora_mkdir_in_root(fd, "absolute/made", 0755, 0, 0) == -ENOTDIR);
    assert(remora_mkdir_in_root(fd, "dangling/x", 0755, 0, 0) == -ENOTDIR);
    assert(remora_mkdir_in_root(fd, "etc/passwd/x", 0755, 0, 0) == -ENOTDIR);
    free(root);
    free(outside);
}

int main(void)
{
    assert(mkdtemp(folder) != NULL);
    test_nearest_layer_first_and_writes_go_to_upper(ROOTFS_AUTO, "auto");
    test_nearest_layer_first_and_writes_go_to_upper(ROOTFS_CLASSIC, "classic");
    test_nearest_layer_first_and_writes_go_to_upper(ROOTFS_AUTO, "au,to:wi\\th ");
    test_nearest_layer_first_and_writes_go_to_upper(ROOTFS_CLASSIC, "cla,ss:ic\\ ");
    test_many_layers_with_long_paths(ROOTFS_AUTO, "auto-many");
    test_many_layers_with_long_paths(ROOTFS_CLASSIC, "classic-many");
    test_errors_name_the_cause(ROOTFS_AUTO);
    test_errors_name_the_cause(ROOTFS_CLASSIC);
    test_it_can_be_attached_in_another_namespace(ROOTFS_AUTO, "auto-moved");
    test_it_can_be_attached_in_another_namespace(ROOTFS_CLASSIC, "classic-moved");
    test_lower_layers_can_have_mapped_owners(ROOTFS_AUTO, "auto-mapped");
    test_lower_layers_can_have_mapped_owners(ROOTFS_CLASSIC, "classic-mapped");
    assert(chmod(folder, 0755) == 0);
    test_an_overlay_in_a_user_namespace_is_whole(ROOTFS_AUTO, "auto-user");
    test_an_overlay_in_a_user_namespace_is_whole(ROOTFS_CLASSIC, "classic-user");
    test_paths_stay_in_the_root();
    assert(remora_remove_tree(folder) == 0);
    return 0;
}
