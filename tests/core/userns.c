/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entering, joining and making user namespaces: as root, and as an ordinary user with and without ranges. Needs root.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "include/remora.h"
#include "system/userns.h"
#include "util/fd.h"

/* A user that is in every /etc/passwd, and a group that is not its own. */
#define DAEMON 1
#define OTHER_GROUP 12345

#define FIRST 300000

static char folder[] = "/tmp/remora-userns-XXXXXX";

static const struct remora_id_range whole[] = {{0, FIRST, 65536}};
static const struct remora_id_range ranged[] = {{0, DAEMON, 1}, {1, FIRST, 1000}};
static const struct remora_id_range single[] = {{0, DAEMON, 1}};

static struct remora_userns_maps maps_of(const struct remora_id_range *ranges, size_t n)
{
    return (struct remora_userns_maps){ranges, ranges, n, n, "/usr/bin/newuidmap", "/usr/bin/newgidmap"};
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

static bool file_holds(const char *path, const char *text)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    char buffer[512];
    ssize_t n = fd < 0 ? -1 : fd_read_all(fd, buffer, sizeof(buffer) - 1);

    buffer[n > 0 ? n : 0] = 0;
    return n >= 0 && strstr(buffer, text) != NULL;
}

static void put(const char *path, const char *text)
{
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
}

/* Run a test in a child, for there is no way back from a namespace. */
static void apart(void (*test)(void))
{
    pid_t pid = fork();
    int status;

    assert(pid >= 0);
    if (pid == 0) {
        test();
        _exit(0);
    }
    assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void become_daemon(void)
{
    gid_t groups[] = {OTHER_GROUP};

    assert(setgroups(1, groups) == 0);
    assert(setresgid(DAEMON, DAEMON, DAEMON) == 0 && setresuid(DAEMON, DAEMON, DAEMON) == 0);
    /* As after execve(2): /proc/self belongs to the user. */
    assert(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void test_root_enters_without_a_program(void)
{
    struct remora_userns_maps maps = maps_of(whole, 1);
    struct remora_userns_failure failure;
    int before = count_fds();

    maps.newuidmap = maps.newgidmap = NULL;
    assert(userns_is_initial());
    assert(remora_enter_userns(&maps, &failure) == 0 && failure.step == 0);
    assert(!userns_is_initial());
    assert(file_holds("/proc/self/uid_map", "300000      65536"));
    assert(file_holds("/proc/self/gid_map", "300000      65536"));
    assert(file_holds("/proc/self/setgroups", "allow"));
    assert(count_fds() == before);
    assert(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void test_mounts_of_it_are_seen_by_nobody_else(void)
{
    struct remora_userns_maps maps = maps_of(whole, 1);
    struct remora_userns_failure failure;

    struct stat outside, inside;
    int root = open("/proc/self/root/tmp", O_PATH | O_CLOEXEC);

    assert(stat("/tmp", &outside) == 0);
    assert(remora_enter_userns(&maps, &failure) == 0);
    assert(mount("tmpfs", "/tmp", "tmpfs", 0, NULL) == 0);
    assert(stat("/tmp", &inside) == 0 && inside.st_dev != outside.st_dev);
    assert(fstat(root, &inside) == 0 && inside.st_dev == outside.st_dev);
    close(root);
}

static void test_a_user_without_ranges_has_one_id(void)
{
    struct remora_userns_maps maps = maps_of(single, 1);
    struct remora_userns_failure failure;
    gid_t group = 0;

    become_daemon();
    maps.newuidmap = maps.newgidmap = NULL;
    assert(remora_enter_userns(&maps, &failure) == 0);
    assert(geteuid() == 0 && getegid() == 0 && !userns_is_initial());
    assert(file_holds("/proc/self/setgroups", "deny"));
    assert(setgroups(1, &group) < 0 && errno == EPERM);
    assert(mount("tmpfs", "/tmp", "tmpfs", 0, NULL) == 0);
}

static void test_a_user_with_ranges_has_them_through_the_programs(void)
{
    struct remora_userns_maps maps = maps_of(ranged, 2);
    struct remora_userns_failure failure;
    int before, fd;

    become_daemon();
    before = count_fds();
    assert(remora_enter_userns(&maps, &failure) == 0 && failure.words[0] == 0);
    assert(geteuid() == 0 && getegid() == 0);
    assert(file_holds("/proc/self/uid_map", "300000       1000"));
    assert(mount("tmpfs", "/tmp", "tmpfs", 0, NULL) == 0);
    fd = open("/tmp/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert(fd >= 0 && fchown(fd, 999, 1000) == 0);
    assert(fchown(fd, 1001, 0) < 0 && errno == EINVAL);
    close(fd);
    assert(count_fds() == before);
    assert(setgroups(0, NULL) == 0);
}

static void test_a_refused_map_is_told_in_the_programs_words(void)
{
    static const struct remora_id_range others[] = {{0, DAEMON, 1}, {1, FIRST + 5000000, 1000}};
    struct remora_userns_maps maps = maps_of(others, 2);
    struct remora_userns_failure failure;

    become_daemon();
    assert(remora_enter_userns(&maps, &failure) == -EPERM);
    assert(failure.step == REMORA_USERNS_UIDS);
    assert(strstr(failure.words, "newuidmap") != NULL && strchr(failure.words, '\n') == NULL);
}

static void test_groups_may_be_refused_alone(void)
{
    static const struct remora_id_range others[] = {{0, DAEMON, 1}, {1, FIRST + 5000000, 1000}};
    struct remora_userns_maps maps = maps_of(ranged, 2);
    struct remora_userns_failure failure;

    become_daemon();
    maps.gids = others;
    assert(remora_enter_userns(&maps, &failure) == -EPERM);
    assert(failure.step == REMORA_USERNS_GIDS && strstr(failure.words, "newgidmap") != NULL);
}

static void test_a_missing_program_is_told(void)
{
    struct remora_userns_maps maps = maps_of(ranged, 2);
    struct remora_userns_failure failure;

    become_daemon();
    maps.newuidmap = "/nowhere/newuidmap";
    assert(remora_enter_userns(&maps, &failure) == -EPERM);
    assert(failure.step == REMORA_USERNS_UIDS && strstr(failure.words, "No such file") != NULL);
}

static void test_no_program_for_a_user_with_ranges_is_refused(void)
{
    struct remora_userns_maps maps = maps_of(ranged, 2);
    struct remora_userns_failure failure;

    become_daemon();
    maps.newuidmap = NULL;
    assert(remora_enter_userns(&maps, &failure) == -EPERM);
    assert(failure.step == REMORA_USERNS_UIDS && failure.words[0] == 0);
}

static void test_a_kernel_that_gives_none_is_told_apart(void)
{
    struct remora_userns_maps maps = maps_of(whole, 1);
    struct remora_userns_failure failure;
    static const struct remora_id_range same[] = {{0, 0, 1}};

    /* The limit of this namespace alone. */
    assert(remora_enter_userns(&maps, &failure) == 0);
    assert(setresuid(0, 0, 0) == 0);
    put("/proc/sys/user/max_user_namespaces", "0");
    maps = maps_of(same, 1);
    assert(remora_enter_userns(&maps, &failure) == -ENOSPC);
    assert(failure.step == REMORA_USERNS_UNSHARE);
    assert(remora_make_userns(&maps, &failure) == -ENOSPC);
    assert(failure.step == REMORA_USERNS_UNSHARE);
    assert(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void test_a_namespace_is_made_and_read_from_outside(void)
{
    struct remora_userns_maps maps = maps_of(whole, 1);
    struct remora_userns_failure failure;
    int before = count_fds();
    char text[256];
    int fd = remora_make_userns(&maps, &failure);
    ssize_t n;

    assert(fd >= 0 && fcntl(fd, F_GETFD) & FD_CLOEXEC);
    n = remora_userns_map(fd, false, text, sizeof(text) - 1);
    assert(n > 0);
    text[n] = 0;
    assert(strstr(text, " 300000 ") != NULL && strstr(text, " 65536\n") != NULL);
    assert(remora_userns_map(fd, true, text, 5) == -EFBIG);
    assert(userns_is_initial());
    close(fd);
    assert(count_fds() == before);
}

static void test_namespaces_belong_to_the_user_namespace_given(void)
{
    struct remora_userns_maps maps = maps_of(whole, 1);
    struct remora_userns_failure failure;
    static const char *const kinds[] = {"network", "uts"};
    static const char *const wrong[] = {"network", "time"};
    int user = remora_make_userns(&maps, &failure);
    int before = count_fds();
    int fds[2];

    assert(user >= 0);
    assert(remora_make_namespaces(user, wrong, 2, fds) == -EINVAL);
    assert(remora_make_namespaces(user, kinds, 0, fds) == -EINVAL);
    assert(remora_make_namespaces(user, kinds, 2, fds) == 0);
    assert(count_fds() == before + 2);
    assert(remora_join_userns(user) == 0);
    assert(!userns_is_initial());
    /* Only its owner's root may change its name, or set up its network. */
    assert(setns(fds[1], CLONE_NEWUTS) == 0 && sethostname("inside", 6) == 0);
    assert(setns(fds[0], CLONE_NEWNET) == 0);
    assert(mount("sysfs", "/sys", "sysfs", 0, NULL) == 0);
}

static void test_what_is_no_user_namespace_is_refused(void)
{
    CLEANUP_FD int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    char text[64];

    assert(remora_join_userns(fd) == -EINVAL);
    assert(remora_userns_map(fd, false, text, sizeof(text)) == -EINVAL);
}

static void test_maps_without_a_line_or_with_too_many_are_refused(void)
{
    struct remora_userns_maps maps = maps_of(whole, 0);
    struct remora_userns_failure failure;

    assert(remora_enter_userns(&maps, &failure) == -EINVAL);
    maps = maps_of(whole, USERNS_RANGES_MAX + 1);
    assert(remora_make_userns(&maps, &failure) == -EINVAL);
}

/* Ranges for the user of the tests, where only this process and its children see them. */
static void give_ranges(void)
{
    char path[64];

    assert(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/ranges", folder);
    put(path, "daemon:300000:65536\n");
    assert(mount(path, "/etc/subuid", NULL, MS_BIND, NULL) == 0);
    assert(mount(path, "/etc/subgid", NULL, MS_BIND, NULL) == 0);
}

int main(void)
{
    give_ranges();
    apart(test_root_enters_without_a_program);
    apart(test_mounts_of_it_are_seen_by_nobody_else);
    apart(test_a_user_without_ranges_has_one_id);
    apart(test_a_user_with_ranges_has_them_through_the_programs);
    apart(test_a_refused_map_is_told_in_the_programs_words);
    apart(test_groups_may_be_refused_alone);
    apart(test_a_missing_program_is_told);
    apart(test_no_program_for_a_user_with_ranges_is_refused);
    apart(test_a_kernel_that_gives_none_is_told_apart);
    apart(test_a_namespace_is_made_and_read_from_outside);
    apart(test_namespaces_belong_to_the_user_namespace_given);
    apart(test_what_is_no_user_namespace_is_refused);
    apart(test_maps_without_a_line_or_with_too_many_are_refused);
    assert(umount("/etc/subuid") == 0 && umount("/etc/subgid") == 0);
    assert(remora_remove_tree(folder) == 0);
    return 0;
}
