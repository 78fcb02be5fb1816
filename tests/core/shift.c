/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of trees with other owners. Needs root.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "include/remora.h"
#include "util/fd.h"

#define OTHER 4000000000u

static char folder[] = "/tmp/remora-shift-XXXXXX";
static const struct remora_id_range uids[] = {{0, 100000, 1000}, {5000, 7, 1}};
static const struct remora_id_range gids[] = {{0, 200000, 1000}};
static const struct remora_userns_maps maps = {uids, gids, 2, 1, NULL, NULL};

/* version 2; user::rw-, user:33:r--, group::r--, group:44:r--, mask::r--, other::--- */
static const unsigned char acl[] = {2,  0, 0, 0, 1,   0,   6,   0,   255, 255, 255, 255, 2,   0,   4,   0,  33, 0,
                                    0,  0, 4, 0, 4,   0,   255, 255, 255, 255, 8,   0,   4,   0,   44,  0,  0,  0,
                                    16, 0, 4, 0, 255, 255, 255, 255, 32,  0,   0,   0,   255, 255, 255, 255};

/* cap_net_raw+ep: vfs_cap_data of revision 2 (linux/capability.h) */
static const unsigned char capability[] = {1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

static void put(int fd, const char *name, const char *text, uid_t uid, gid_t gid, mode_t mode)
{
    CLEANUP_FD int file = openat(fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert(file >= 0 && fd_write_all(file, text, strlen(text)) == 0);
    assert(fchown(file, uid, gid) == 0 && fchmod(file, mode) == 0);
}

static struct stat at(int fd, const char *name)
{
    struct stat status;

    assert(fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0);
    return status;
}

static bool is(int fd, const char *name, uid_t uid, gid_t gid, mode_t mode)
{
    struct stat status = at(fd, name);

    return status.st_uid == uid && status.st_gid == gid && status.st_mode == mode;
}

static const char *path_of(const char *base, const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s/%s", folder, base, name);
    return path;
}

static int make_source(void)
{
    struct timespec times[2] = {{1000000, 5}, {2000000, 7}};
    int fd, hole;

    assert(mkdir(path_of(".", "source"), 0755) == 0);
    fd = open(path_of(".", "source"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(fd >= 0 && fchown(fd, 1, 2) == 0 && fchmod(fd, 0751) == 0);
    put(fd, "plain", "text", 0, 0, 0640);
    put(fd, "setuid", "x", 33, 44, 06755);
    put(fd, "special", "x", 5000, 999, 0644);
    put(fd, "stranger", "x", 1000, 1000, 0600);
    put(fd, "capable", "x", 0, 0, 0755);
    put(fd, "listed", "x", 0, 0, 0640);
    assert(setxattr(path_of("source", "capable"), "security.capability", capability, sizeof(capability), 0) == 0);
    assert(setxattr(path_of("source", "listed"), "system.posix_acl_access", acl, sizeof(acl), 0) == 0);
    assert(setxattr(path_of("source", "plain"), "user.colour", "blue", 4, 0) == 0);
    assert(mkdirat(fd, "sub", 0700) == 0 && mkdirat(fd, "sub/deep", 0700) == 0);
    assert(fchmodat(fd, "sub/deep", 01777, 0) == 0);
    assert(linkat(fd, "plain", fd, "sub/deep/again", 0) == 0);
    assert(symlinkat("/etc/shadow", fd, "link") == 0 && fchownat(fd, "link", 3, 4, AT_SYMLINK_NOFOLLOW) == 0);
    assert(mknodat(fd, "fifo", S_IFIFO | 0640, 0) == 0 && mknodat(fd, "null", S_IFCHR | 0640, makedev(1, 3)) == 0);
    hole = openat(fd, "holes", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert(hole >= 0 && pwrite(hole, "end", 3, (16 << 20) - 3) == 3);
    close(hole);
    assert(utimensat(fd, "sub", times, 0) == 0 && utimensat(fd, "plain", times, 0) == 0);
    return fd;
}

static void test_a_copy_has_other_owners_and_is_else_the_same(int source)
{
    unsigned char value[128];
    CLEANUP_FD int fd = -1;
    char text[16];
    struct stat status;

    assert(remora_copy_shifted(source, path_of(".", "copy"), &maps, OTHER, OTHER + 1) == 0);
    fd = open(path_of(".", "copy"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert(is(fd, ".", 100001, 200002, S_IFDIR | 0751));
    assert(is(fd, "plain", 100000, 200000, S_IFREG | 0640));
    assert(is(fd, "setuid", 100033, 200044, S_IFREG | 06755));
    assert(is(fd, "special", 7, 200999, S_IFREG | 0644));
    assert(is(fd, "stranger", OTHER, OTHER + 1, S_IFREG | 0600));
    assert(is(fd, "sub/deep", 100000, 200000, S_IFDIR | 01777));
    assert(is(fd, "fifo", 100000, 200000, at(source, "fifo").st_mode));
    assert(is(fd, "null", 100000, 200000, at(source, "null").st_mode) && at(fd, "null").st_rdev == makedev(1, 3));
    assert(at(fd, "plain").st_ino == at(fd, "sub/deep/again").st_ino);
    status = at(fd, "sub");
    assert(status.st_mtim.tv_sec == 2000000 && status.st_mtim.tv_nsec == 7);
    assert(at(fd, "plain").st_mtim.tv_sec == 2000000);
    assert(readlinkat(fd, "link", text, sizeof(text)) == 11 && memcmp(text, "/etc/shadow", 11) == 0);
    assert(at(fd, "link").st_uid == 100003 && at(fd, "link").st_gid == 200004);
    status = at(fd, "holes");
    assert(status.st_size == 16 << 20 && status.st_blocks < 4096);
    assert(getxattr(path_of("copy", "plain"), "user.colour", value, sizeof(value)) == 4);
    assert(getxattr(path_of("copy", "capable"), "security.capability", value, sizeof(value)) == sizeof(capability));
    assert(memcmp(value, capability, sizeof(capability)) == 0);
    assert(getxattr(path_of("copy", "listed"), "system.posix_acl_access", value, sizeof(value)) == sizeof(acl));
    assert(value[16] == (100033 & 255) && value[17] == (100033 >> 8 & 255) && value[18] == 100033 >> 16);
    assert(value[32] == (200044 & 255) && value[33] == (200044 >> 8 & 255) && value[34] == 200044 >> 16);
}

static void test_a_target_that_is_there_is_refused(int source)
{
    assert(remora_copy_shifted(source, path_of(".", "copy"), &maps, OTHER, OTHER) == -EEXIST);
    assert(remora_copy_shifted(source, path_of(".", "none/copy"), &maps, OTHER, OTHER) == -ENOENT);
}

static void test_a_large_file_arrives_whole(void)
{
    CLEANUP_FD int source = -1;
    CLEANUP_FD int one = -1;
    CLEANUP_FD int two = -1;
    char block[4096], other[4096];

    assert(mkdir(path_of(".", "large"), 0755) == 0);
    source = open(path_of(".", "large"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    one = openat(source, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (unsigned i = 0; i < 1000; i++) {
        memset(block, (int)i, sizeof(block));
        assert(fd_write_all(one, block, sizeof(block) - (i == 999 ? 17 : 0)) == 0);
    }
    assert(remora_copy_shifted(source, path_of(".", "large-copy"), &maps, OTHER, OTHER) == 0);
    two = open(path_of("large-copy", "file"), O_RDONLY | O_CLOEXEC);
    for (unsigned i = 0; i < 1000; i++) {
        ssize_t n = fd_read_at(one, block, sizeof(block), (off_t)i * 4096);

        assert(fd_read_at(two, other, sizeof(other), (off_t)i * 4096) == n && memcmp(block, other, (size_t)n) == 0);
    }
}

int main(void)
{
    int source;

    assert(mkdtemp(folder) != NULL);
    source = make_source();
    test_a_copy_has_other_owners_and_is_else_the_same(source);
    test_a_target_that_is_there_is_refused(source);
    test_a_large_file_arrives_whole();
    close(source);
    assert(remora_remove_tree(folder) == 0);
    return 0;
}
