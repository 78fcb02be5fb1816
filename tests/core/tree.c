/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing trees: deep, wide, hostile, mounted over, immutable.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "include/remora.h"
#include "util/fd.h"

static char folder[] = "/tmp/remora-tree-XXXXXX";

static const char *at(const char *name)
{
    static char paths[4][256];
    static int turn;

    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", folder, name);
    return paths[turn];
}

static void touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    assert(fd >= 0);
    close(fd);
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
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

static void test_absent_is_no_error(void)
{
    assert(remora_remove_tree(at("absent")) == 0);
}

static void test_a_file_and_a_symlink_are_removed_themselves(void)
{
    touch(at("file"));
    assert(remora_remove_tree(at("file")) == 0 && !exists(at("file")));
    assert(mkdir(at("target"), 0700) == 0);
    touch(at("target/kept"));
    assert(symlink("target", at("link")) == 0);
    assert(remora_remove_tree(at("link")) == 0);
    assert(!exists(at("link")) && exists(at("target/kept")));
}

static void test_symlinks_inside_lead_nowhere(void)
{
    assert(mkdir(at("tree"), 0700) == 0);
    assert(symlink(at("target"), at("tree/absolute")) == 0);
    assert(symlink("../target", at("tree/relative")) == 0);
    assert(symlink("..", at("tree/up")) == 0);
    assert(remora_remove_tree(at("tree")) == 0);
    assert(exists(at("target/kept")));
}

static void test_five_thousand_levels_with_few_descriptors(void)
{
    struct rlimit saved, few = {64, 64};
    int fd, before;

    assert(mkdir(at("deep"), 0700) == 0);
    fd = open(at("deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 5000; i++) {
        int next, file;

        assert(mkdirat(fd, "a", 0700) == 0);
        file = openat(fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        next = openat(fd, "a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(file >= 0 && next >= 0);
        close(file);
        close(fd);
        fd = next;
    }
    close(fd);
    before = count_fds();
    assert(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    few.rlim_max = saved.rlim_max;
    assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
    assert(remora_remove_tree(at("deep")) == 0 && !exists(at("deep")));
    assert(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    assert(count_fds() == before);
}

static void test_many_entries_and_folders_without_rights(void)
{
    char name[64];

    assert(mkdir(at("wide"), 0700) == 0);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "wide/%d-and-some-more-letters", i);
        if (i % 3 == 0) {
            assert(mkdir(at(name), 0700) == 0);
            strcat(name, "/x");
        }
        touch(at(name));
    }
    assert(mkdir(at("wide/closed"), 0700) == 0);
    touch(at("wide/closed/x"));
    assert(chmod(at("wide/closed"), 0) == 0);
    assert(mknod(at("wide/fifo"), S_IFIFO | 0600, 0) == 0);
    assert(remora_remove_tree(at("wide")) == 0 && !exists(at("wide")));
}

static void test_another_mount_is_not_entered(void)
{
    assert(mkdir(at("mounted"), 0700) == 0 && mkdir(at("mounted/here"), 0700) == 0);
    assert(mount("none", at("mounted/here"), "tmpfs", 0, NULL) == 0);
    touch(at("mounted/here/kept"));
    assert(remora_remove_tree(at("mounted")) == -EBUSY);
    assert(exists(at("mounted/here/kept")));
    assert(umount(at("mounted/here")) == 0);
    /* The same file system once more, as a bind mount. */
    assert(mount(at("target"), at("mounted/here"), NULL, MS_BIND, NULL) == 0);
    assert(remora_remove_tree(at("mounted")) == -EBUSY);
    assert(exists(at("target/kept")));
    assert(umount(at("mounted/here")) == 0);
    assert(remora_remove_tree(at("mounted")) == 0);
}

static void test_what_is_immutable_is_an_error(void)
{
    int flags = FS_IMMUTABLE_FL;
    int before = count_fds();
    int fd;

    assert(mkdir(at("fixed"), 0700) == 0 && mkdir(at("fixed/a"), 0700) == 0);
    touch(at("fixed/a/file"));
    fd = open(at("fixed/a/file"), O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) {
        assert(remora_remove_tree(at("fixed")) == -EPERM);
        flags = 0;
        assert(ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0);
    }
    close(fd);
    assert(remora_remove_tree(at("fixed")) == 0);
    assert(count_fds() == before);
}

static volatile bool stop;

/* Puts a folder and a symlink to something precious in each other's place. */
static void *swap(void *unused)
{
    while (!stop) {
        (void)mkdir(at("race/a"), 0700);
        (void)mkdir(at("race/a/b"), 0700);
        (void)symlink(folder, at("race/l"));
        (void)renameat2(AT_FDCWD, at("race/a"), AT_FDCWD, at("race/l"), RENAME_EXCHANGE);
    }
    return unused;
}

static void test_a_tree_that_changes_meanwhile_leads_nowhere(void)
{
    pthread_t thread;

    for (int i = 0; i < 3000; i++) {
        int result;

        if (i == 0)
            assert(mkdir(at("race"), 0700) == 0 && pthread_create(&thread, NULL, swap, NULL) == 0);
        result = remora_remove_tree(at("race"));
        assert(result == 0 || result == -ENOTEMPTY || result == -EAGAIN || result == -ESTALE);
        (void)mkdir(at("race"), 0700);
    }
    stop = true;
    pthread_join(thread, NULL);
    assert(exists(at("target/kept")));
    assert(remora_remove_tree(at("race")) == 0);
}

int main(void)
{
    /* Mounts of this test are nobody else's. */
    bool mounts = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;

    assert(mkdtemp(folder) != NULL);
    test_absent_is_no_error();
    test_a_file_and_a_symlink_are_removed_themselves();
    test_symlinks_inside_lead_nowhere();
    test_five_thousand_levels_with_few_descriptors();
    test_many_entries_and_folders_without_rights();
    if (mounts)
        test_another_mount_is_not_entered();
    test_what_is_immutable_is_an_error();
    test_a_tree_that_changes_meanwhile_leads_nowhere();
    assert(remora_remove_tree(folder) == 0 && !exists(folder));
    return 0;
}
