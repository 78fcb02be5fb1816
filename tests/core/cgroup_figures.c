/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real cgroups with a memory limit, v1 or v2 as the machine has them: an OOM kill is seen and told, the figures outlive
 * the process, and the removal of a cgroup is no OOM kill.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system/cgroup.h"

enum { MEGABYTE = 1 << 20, LIMIT = 16 * MEGABYTE };

static bool v1; /* the memory controller is on a v1 hierarchy */
static char name[64]; /* "/remora-test-PID" */

static void path_of(char *path, size_t size, const char *controller, const char *file)
{
    snprintf(path, size, "/sys/fs/cgroup%s%s%s%s%s", v1 ? "/" : "", v1 ? controller : "", name, file[0] ? "/" : "",
             file);
}

static int put(const char *controller, const char *file, const char *text)
{
    char path[256];
    int fd;
    ssize_t n;

    path_of(path, sizeof(path), controller, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -errno;
}

static void make(void)
{
    char path[256];
    char limit[32];
    int fd;

    snprintf(limit, sizeof(limit), "%d", LIMIT);
    if (v1) {
        path_of(path, sizeof(path), "cpuacct", "");
        assert(mkdir(path, 0755) == 0);
    } else {
        fd = open("/sys/fs/cgroup/cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
        assert(fd >= 0 && write(fd, "+memory +cpu", 12) == 12);
        close(fd);
    }
    path_of(path, sizeof(path), "memory", "");
    assert(mkdir(path, 0755) == 0);
    assert(put("memory", v1 ? "memory.limit_in_bytes" : "memory.max", limit) == 0);
    put("memory", v1 ? "memory.memsw.limit_in_bytes" : "memory.swap.max", v1 ? limit : "0"); /* absent without swap */
}

static void destroy(void)
{
    char path[256];

    for (int i = 0; i < 100; i++) {
        path_of(path, sizeof(path), "memory", "");
        if (rmdir(path) == 0 || errno != EBUSY)
            break;
        usleep(10000); /* the kernel lets go of the last process some moments after its end */
    }
    if (v1) {
        path_of(path, sizeof(path), "cpuacct", "");
        assert(rmdir(path) == 0);
    }
    path_of(path, sizeof(path), "memory", "");
    assert(access(path, F_OK) < 0);
}

/* A process in the cgroup that uses memory and CPU time when told to. */
static pid_t start(size_t bytes, int *go)
{
    int pipes[2], ready[2];
    pid_t pid;
    char byte;

    assert(pipe2(pipes, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        volatile char *memory;

        if (put("memory", "cgroup.procs", "0") < 0 || (v1 && put("cpuacct", "cgroup.procs", "0") < 0))
            _exit(3);
        close(pipes[1]);
        if (write(ready[1], "r", 1) != 1 || read(pipes[0], &byte, 1) != 1)
            _exit(4);
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (size_t i = 0; i < bytes; i += 4096)
            memory[i] = 1;
        _exit(0);
    }
    close(pipes[0]);
    close(ready[1]);
    assert(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    *go = pipes[1];
    return pid;
}

static int finish(pid_t pid, int go)
{
    int status;

    assert(write(go, "g", 1) == 1);
    close(go);
    assert(waitpid(pid, &status, 0) == pid);
    return status;
}

static void figures_are_read_and_outlive_the_process(void)
{
    struct cgroup cgroup;
    struct pollfd ready;
    int go;
    pid_t pid;

    make();
    pid = start(4 * MEGABYTE, &go);
    cgroup_open(&cgroup, pid, "");
    assert(cgroup.version == (v1 ? 1 : 2) && cgroup.event_fd >= 0 && cgroup.oom_fd >= 0 && cgroup.cpu_fd >= 0);
    assert(WEXITSTATUS(finish(pid, go)) == 0);
    cgroup_read(&cgroup);
    assert(!cgroup.oom && cgroup.cpu_ns > 0);
    assert(cgroup.peak_fd < 0 || (cgroup.peak_bytes >= 4 * MEGABYTE && cgroup.peak_bytes <= LIMIT));
    assert(!v1 || cgroup.peak_fd >= 0);
    /* v1 signals the removal on the same descriptor. */
    destroy();
    ready = (struct pollfd){.fd = cgroup.event_fd, .events = POLLIN};
    assert(poll(&ready, 1, v1 ? 10000 : 0) == (v1 ? 1 : 0) || !v1);
    cgroup_event(&cgroup);
    cgroup_read(&cgroup);
    assert(!cgroup.oom && cgroup.cpu_ns > 0);
    cgroup_deinit(&cgroup);
    cgroup_deinit(&cgroup);
}

static void a_kill_is_seen_as_an_event(void)
{
    struct cgroup cgroup;
    struct pollfd ready;
    int go;
    pid_t pid;

    make();
    pid = start(64 * MEGABYTE, &go);
    cgroup_open(&cgroup, pid, name);
    cgroup_event(&cgroup);
    assert(!cgroup.oom);
    assert(WTERMSIG(finish(pid, go)) == SIGKILL);
    ready = (struct pollfd){.fd = cgroup.event_fd, .events = POLLIN};
    assert(poll(&ready, 1, 10000) == 1);
    cgroup_event(&cgroup);
    assert(cgroup.oom);
    /* Taken in: the loop isn't woken again. */
    assert(poll(&ready, 1, 0) == 0);
    cgroup_read(&cgroup);
    assert(cgroup.oom && cgroup.cpu_ns > 0);
    assert(cgroup.peak_fd < 0 || cgroup.peak_bytes >= LIMIT / 2);
    cgroup_deinit(&cgroup);
    destroy();
}

/* The process was killed before anybody looked: on v1 its own entry says "/" by then. */
static void a_kill_before_the_opening_is_seen_through_the_hint(void)
{
    struct cgroup cgroup;
    siginfo_t info;
    int go;
    pid_t pid;

    make();
    pid = start(64 * MEGABYTE, &go);
    assert(write(go, "g", 1) == 1);
    assert(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
    cgroup_open(&cgroup, pid, name);
    assert(cgroup.version == (v1 ? 1 : 2));
    cgroup_read(&cgroup);
    assert(cgroup.oom);
    cgroup_deinit(&cgroup);
    assert(waitpid(pid, NULL, 0) == pid);
    close(go);
    destroy();
}

static void what_is_not_there_stays_unknown(void)
{
    struct cgroup cgroup;
    pid_t pid = fork();

    assert(pid >= 0);
    if (pid == 0)
        _exit(0);
    assert(waitpid(pid, NULL, 0) == pid);
    cgroup_open(&cgroup, pid, "/no/such/cgroup");
    assert(cgroup.event_fd == -1 && cgroup.oom_fd == -1 && cgroup.cpu_fd == -1 && cgroup.peak_fd == -1);
    cgroup_event(&cgroup);
    cgroup_read(&cgroup);
    assert(!cgroup.oom && cgroup.cpu_ns == 0 && cgroup.peak_bytes == 0);
    cgroup_deinit(&cgroup);
    cgroup_open(&cgroup, pid, "/../etc");
    assert(cgroup.oom_fd == -1);
    cgroup_deinit(&cgroup);
}

int main(void)
{
    v1 = access("/sys/fs/cgroup/memory/cgroup.procs", F_OK) == 0;
    snprintf(name, sizeof(name), "/remora-test-%d", (int)getpid());
    figures_are_read_and_outlive_the_process();
    a_kill_is_seen_as_an_event();
    a_kill_before_the_opening_is_seen_through_the_hint();
    what_is_not_there_stays_unknown();
    return 0;
}
