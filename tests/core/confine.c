/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A confined worker, by children that confine themselves: each listed call gets through, each forbidden one kills, the
 * work of a worker can be done, and no right is left that it doesn't need. The tables themselves: confine_tables.c.
 */
#include "system/confine.h"

/* What aarch64 has of the generic numbers; the native ones (sys/syscall.h) can't stand beside them. */
#define __ARCH_WANT_RENAMEAT
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SYS_CLONE3
#include <asm-generic/unistd.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "system/confine_calls.h"

#define X32 0x40000000
#define NO_SUCH_CALL 600

struct row {
    const char *name;
    int numbers[2];
    enum confine_check check;
};

#define ROW(name, x86_64, aarch64, check) {#name, {x86_64, aarch64}, CONFINE_##check},
static const struct row rows[] = {CONFINE_CALLS(ROW)};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

#if defined(__x86_64__)
#define NATIVE CONFINE_X86_64
#else
#define NATIVE CONFINE_AARCH64
#endif

static void confine(void)
{
    const struct confine_options options = {0};
    const char *what = "nothing";

    if (confine_worker(&options, &what) < 0) {
        perror(what);
        _exit(99);
    }
}

/* How a child ends that confines itself and then does this. */
static int end_of(void (*act)(const void *), const void *argument)
{
    int status;
    pid_t pid = fork();

    assert(pid >= 0);
    if (pid == 0) {
        confine();
        act(argument);
        _exit(0);
    }
    assert(waitpid(pid, &status, 0) == pid);
    return status;
}

static void call_row(const void *argument)
{
    const struct row *row = argument;
    /* Arguments that nothing can be done with, but for those that are looked at. */
    long first = row->check == CONFINE_UNIX ? AF_UNIX : -1;
    long second = row->check == CONFINE_IOCTL ? TCGETS : row->check == CONFINE_FCNTL ? F_GETFD : -1;
    long third = row->check == CONFINE_NO_EXEC ? PROT_READ : row->check == CONFINE_FIFO ? S_IFIFO : -1;

    syscall(row->numbers[NATIVE], first, second, third, -1, -1, -1);
}

static void each_listed_call_gets_through(void)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        int status;

        if (rows[i].numbers[NATIVE] < 0)
            continue;
        status = end_of(call_row, &rows[i]);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
            fprintf(stderr, "%s is listed and kills\n", rows[i].name);
            abort();
        }
    }
}

struct forbidden {
    const char *name;
    long numbers[2]; /* as in a row */
    long arguments[3];
};

static void call_forbidden(const void *argument)
{
    const struct forbidden *call = argument;

    syscall(call->numbers[NATIVE], call->arguments[0], call->arguments[1], call->arguments[2], 0, 0, 0);
}

static void each_forbidden_call_kills(void)
{
    static const struct forbidden calls[] = {
        {"fork", {57, -1}, {0}},
        {"vfork", {58, -1}, {0}},
        {"clone", {56, __NR_clone}, {SIGCHLD}},
        {"clone3", {435, __NR_clone3}, {0}},
        {"execve", {59, __NR_execve}, {0}},
        {"execveat", {322, __NR_execveat}, {-1}},
        {"ptrace", {101, __NR_ptrace}, {0}},
        {"process_vm_readv", {310, __NR_process_vm_readv}, {1}},
        {"process_vm_writev", {311, __NR_process_vm_writev}, {1}},
        {"pidfd_getfd", {438, __NR_pidfd_getfd}, {-1}},
        {"kill", {62, __NR_kill}, {0}},
        {"tkill", {200, __NR_tkill}, {0}},
        {"tgkill", {234, __NR_tgkill}, {0}},
        {"mount", {165, __NR_mount}, {0}},
        {"umount2", {166, __NR_umount2}, {0}},
        {"move_mount", {429, __NR_move_mount}, {-1}},
        {"open_tree", {428, __NR_open_tree}, {-1}},
        {"fsopen", {430, __NR_fsopen}, {0}},
        {"pivot_root", {155, __NR_pivot_root}, {0}},
        {"chroot", {161, __NR_chroot}, {0}},
        {"setns", {308, __NR_setns}, {-1}},
        {"unshare", {272, __NR_unshare}, {0}},
        {"open_by_handle_at", {304, __NR_open_by_handle_at}, {-1}},
        {"name_to_handle_at", {303, __NR_name_to_handle_at}, {-1}},
        {"bpf", {321, __NR_bpf}, {0}},
        {"perf_event_open", {298, __NR_perf_event_open}, {0}},
        {"io_uring_setup", {425, __NR_io_uring_setup}, {0}},
        {"userfaultfd", {323, __NR_userfaultfd}, {0}},
        {"keyctl", {250, __NR_keyctl}, {0}},
        {"add_key", {248, __NR_add_key}, {0}},
        {"init_module", {175, __NR_init_module}, {0}},
        {"finit_module", {313, __NR_finit_module}, {-1}},
        {"kexec_load", {246, __NR_kexec_load}, {0}},
        {"reboot", {169, __NR_reboot}, {0}},
        {"personality", {135, __NR_personality}, {-1}},
        {"setuid", {105, __NR_setuid}, {0}},
        {"setresgid", {119, __NR_setresgid}, {-1, -1, -1}},
        {"setgroups", {116, __NR_setgroups}, {0}},
        {"capset", {126, __NR_capset}, {0}},
        {"prctl", {157, __NR_prctl}, {PR_GET_DUMPABLE}},
        {"seccomp", {317, __NR_seccomp}, {-1}},
        {"setsid", {112, __NR_setsid}, {0}},
        {"prlimit64", {302, __NR_prlimit64}, {0}},
        {"a device node", {259, __NR_mknodat}, {-1, 0, S_IFCHR | 0600}},
        {"an unknown kind of node", {259, __NR_mknodat}, {-1, 0, 0600}},
        {"fchownat", {260, __NR_fchownat}, {-1}},
        {"setxattr", {188, __NR_setxattr}, {0}},
        {"socket of IPv4", {41, __NR_socket}, {AF_INET, SOCK_STREAM}},
        {"socket of IPv6", {41, __NR_socket}, {AF_INET6, SOCK_DGRAM}},
        {"socket of the kernel", {41, __NR_socket}, {AF_NETLINK, SOCK_RAW}},
        {"packet socket", {41, __NR_socket}, {AF_PACKET, SOCK_RAW}},
        {"typing into a terminal", {16, __NR_ioctl}, {-1, 0x5412 /* TIOCSTI */}},
        {"taking a terminal", {16, __NR_ioctl}, {-1, 0x540e /* TIOCSCTTY */}},
        {"signals for input", {72, __NR_fcntl}, {-1, F_SETOWN}},
        {"memory to execute", {9, __NR_mmap}, {0, 4096, PROT_READ | PROT_EXEC}},
        {"making memory executable", {10, __NR_mprotect}, {0, 0, PROT_EXEC}},
        {"pkey_mprotect", {329, __NR_pkey_mprotect}, {0, 0, PROT_EXEC}},
        {"a call of the x32 ABI", {X32 | 39, -1}, {0}},
        {"a call that there isn't", {NO_SUCH_CALL, NO_SUCH_CALL}, {0}},
    };

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        int status;

        if (calls[i].numbers[NATIVE] < 0)
            continue;
        status = end_of(call_forbidden, &calls[i]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS) {
            fprintf(stderr, "%s does not kill: %#x\n", calls[i].name, (unsigned)status);
            abort();
        }
    }
}

#ifdef __x86_64__
static void old_gate(const void *argument)
{
    long result;

    (void)argument;
    /* getpid of the 32-bit machine */
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
}

static void the_gate_of_32_bit_programs_kills(void)
{
    int status = end_of(old_gate, NULL);

    /* SIGSEGV: a kernel without 32-bit programs. */
    assert(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV));
}
#endif

/* ---- what a worker does, done by a confined child ---- */

static void copy_and_wait(const int *given)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 1000}};
    struct epoll_event event = {.events = EPOLLIN};
    int loop = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int ends[2] = {given[2], given[3]};
    char byte;

    assert(loop >= 0 && timer >= 0 && timerfd_settime(timer, 0, &soon, NULL) == 0);
    assert(epoll_ctl(loop, EPOLL_CTL_ADD, timer, &event) == 0 && epoll_wait(loop, &event, 1, -1) == 1);
    assert(send(ends[0], "x", 1, MSG_NOSIGNAL) == 1 && read(ends[1], &byte, 1) == 1 && byte == 'x');
}

static void write_files(void)
{
    FILE *file = fopen("confined", "we");
    struct stat status;

    assert(file != NULL && fprintf(file, "%ld\n", 5L) == 2 && fflush(file) == 0);
    assert(fallocate(fileno(file), 0, 0, 4096) == 0 && ftruncate(fileno(file), 2) == 0);
    assert(pwrite(fileno(file), "6", 1, 0) == 1 && fdatasync(fileno(file)) == 0 && fclose(file) == 0);
    assert(rename("confined", "renamed") == 0 && stat("renamed", &status) == 0 && status.st_size == 2);
    assert(mkdir("folder", 0700) == 0 && rmdir("folder") == 0 && unlink("renamed") == 0);
}

static void use_memory(void)
{
    void *large = malloc(10 << 20);
    int entry = memfd_create("entry", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    assert(large != NULL && (large = realloc(large, 20 << 20)) != NULL);
    free(large);
    assert(ftruncate(entry, 5) == 0 && fcntl(entry, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE) == 0);
}

static void use_terminal(int master)
{
    struct winsize size = {.ws_row = 5, .ws_col = 7};
    struct termios settings;

    assert(tcgetattr(master, &settings) == 0 && tcsetattr(master, TCSANOW, &settings) == 0);
    assert(ioctl(master, TIOCSWINSZ, &size) == 0);
}

static void work(const void *argument)
{
    const int *given = argument; /* a pty's master, a process that is another user's, two connected sockets */
    int pidfd = (int)syscall(434, given[1], 0);

    copy_and_wait(given);
    write_files();
    use_memory();
    use_terminal(given[0]);
    assert(pidfd >= 0 && syscall(424, pidfd, SIGKILL, NULL, 0) == 0);
}

static void a_workers_work_can_be_done(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    pid_t other = fork();
    int given[4] = {master, other};
    int status;

    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, given + 2) == 0);
    assert(master >= 0 && other >= 0);
    if (other == 0) {
        if (geteuid() == 0 && setuid(65534) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    assert(end_of(work, given) == 0);
    assert(waitpid(other, &status, 0) == other && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(master);
}

/* ---- where it may write ---- */

static int can_write(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : close(fd);
}

static void check_writing(const void *argument)
{
    (void)argument;
    assert(can_write("given/file") == 0 && rename("given/file", "given/other") == 0 && unlink("given/other") == 0);
    assert(mkdir("given/folder", 0700) == 0 && can_write("given/folder/file") == 0);
    assert(can_write("beside/log") == 0 && rename("beside/log", "beside/log.1") == 0 && can_write("/dev/null") == 0);
    assert(can_write("outside") == -EACCES && can_write("new") == -EACCES && can_write("/dev/full") == -EACCES);
    assert(can_write("given/../new") == -EACCES && can_write("given/link") == -EACCES);
    assert(mkdir("folder", 0700) < 0 && errno == EACCES && unlink("outside") < 0 && errno == EACCES);
    assert(unlink("runs/own/lock") == 0 && rmdir("runs/own") == 0);
    assert(can_write("runs/other/state") == -EACCES && can_write("runs/new") == -EACCES);
    assert(unlink("runs/other/state") < 0 && mkdir("runs/new", 0700) < 0 && rmdir("runs/other") < 0);
    assert(rename("outside", "given/outside") < 0 && open("outside", O_WRONLY | O_TRUNC | O_CLOEXEC) < 0);
    assert(open("outside", O_RDONLY | O_CLOEXEC) >= 0);
}

static void it_writes_where_it_was_told_and_nowhere_else(void)
{
    char here[PATH_MAX], given[PATH_MAX + 8], log[PATH_MAX + 16], own[PATH_MAX + 16], runs[PATH_MAX + 8];
    struct confine_options options = {0};
    const char *what;
    int status;
    pid_t pid;

    assert(getcwd(here, sizeof(here)) != NULL && mkdir("given", 0700) == 0 && mkdir("beside", 0700) == 0);
    assert(can_write("outside") == 0 && symlink("../outside", "given/link") == 0);
    snprintf(given, sizeof(given), "%s/given", here);
    snprintf(log, sizeof(log), "%s/beside/log", here);
    assert(mkdir("runs", 0700) == 0 && mkdir("runs/own", 0700) == 0 && mkdir("runs/other", 0700) == 0);
    assert(can_write("runs/own/lock") == 0 && can_write("runs/other/state") == 0);
    snprintf(own, sizeof(own), "%s/runs/own", here);
    snprintf(runs, sizeof(runs), "%s/runs/", here);
    confine_allow(&options, own);
    confine_allow_removal(&options, runs);
    confine_allow(&options, given);
    confine_allow(&options, log);
    confine_allow(&options, "/dev/null");
    confine_allow(&options, "");
    assert(options.n_writable == 4 && (geteuid() != 0 || options.capabilities == 0));
    if (syscall(__NR_landlock_create_ruleset, NULL, 0, 1) < 1) {
        puts("this kernel has no Landlock");
        return;
    }
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        assert(confine_worker(&options, &what) == 0);
        check_writing(NULL);
        _exit(0);
    }
    assert(waitpid(pid, &status, 0) == pid && status == 0);
}

/* ---- what is left of its rights ---- */

static uint64_t field(const char *text, const char *key)
{
    const char *line = strstr(text, key);

    assert(line != NULL);
    return strtoull(line + strlen(key), NULL, 16);
}

static void check_rights(const void *argument)
{
    uint64_t kept = *(const uint64_t *)argument;
    static char text[8192];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    /* Also what lies behind its own /proc/self/fd can be opened: it has remained dumpable. */
    assert(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && access("/proc/self/fd/0", F_OK) == 0);
    assert(field(text, "\nCapEff:") == kept && field(text, "\nCapPrm:") == kept);
    assert(field(text, "\nCapInh:") == 0 && field(text, "\nCapAmb:") == 0);
    assert(field(text, "\nNoNewPrivs:") == 1 && field(text, "\nSeccomp:") == 2);
    if (kept != 0)
        assert(field(text, "\nCapBnd:") == 0);
}

static void only_the_right_to_signal_is_left(void)
{
    const uint64_t kept = 1 << 5; /* CAP_KILL */

    if (geteuid() == 0)
        assert(end_of(check_rights, &kept) == 0);
}

static void as_somebody(bool in_namespace)
{
    const uint64_t kept = in_namespace ? 1 << 5 : 0;
    int status;
    pid_t pid = fork();

    assert(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1);
        if (in_namespace && unshare(CLONE_NEWUSER) < 0)
            _exit(77); /* not allowed to that user here */
        _exit(end_of(check_rights, &kept) == 0 ? 0 : 2);
    }
    assert(waitpid(pid, &status, 0) == pid && (status == 0 || WEXITSTATUS(status) == 77));
}

static void it_works_without_privileges(void)
{
    as_somebody(false);
    as_somebody(true);
}

int main(void)
{
    if (!confine_is_built()) {
        puts("this build does not confine (sanitizers): there is nothing to test");
        return 0;
    }
    each_listed_call_gets_through();
    each_forbidden_call_kills();
#ifdef __x86_64__
    the_gate_of_32_bit_programs_kills();
#endif
    a_workers_work_can_be_done();
    it_writes_where_it_was_told_and_nowhere_else();
    only_the_right_to_signal_is_left();
    it_works_without_privileges();
    return 0;
}
