/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of a confined worker, of both machines: each program is run here, by an interpreter, over every call
 * number and over the arguments that count. The native one in force: confine.c.
 */
#include "system/confine.h"

/* What aarch64 has of the generic numbers; the native ones (sys/syscall.h) can't stand beside them. */
#define __ARCH_WANT_RENAMEAT
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SYS_CLONE3
#include <asm-generic/unistd.h>
#include <assert.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

#include "system/confine_calls.h"

#define CALLS_END 600 /* above any call number there is */
#define X32 0x40000000

struct row {
    const char *name;
    int numbers[2];
    enum confine_check check;
};

#define ROW(name, x86_64, aarch64, check) {#name, {x86_64, aarch64}, CONFINE_##check},
static const struct row rows[] = {CONFINE_CALLS(ROW)};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static const uint32_t machines[2] = {AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64};

/* ---- an interpreter of what the filter is made of ---- */

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
    uint32_t value;

    assert(offset % 4 == 0 && offset + 4 <= sizeof(*data));
    memcpy(&value, (const char *)data + offset, 4);
    return value;
}

static uint32_t interpret(const struct sock_filter *program, size_t size, const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t at = 0; at < size; at++) {
        const struct sock_filter *code = &program[at];
        bool holds = false;

        switch (code->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            a = load(data, code->k);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= code->k;
            continue;
        case BPF_RET | BPF_K:
            return code->k;
        case BPF_JMP | BPF_JEQ | BPF_K:
            holds = a == code->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            holds = a >= code->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            holds = (a & code->k) != 0;
            break;
        default:
            assert(!"an instruction that the filter is not made of");
        }
        at += holds ? code->jt : code->jf;
    }
    assert(!"the program runs out of its end");
    return 0;
}

static const struct row *find(int machine, int number)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (rows[i].numbers[machine] == number)
            return &rows[i];
    return NULL;
}

static bool allows(int machine, uint32_t arch, int number, int argument, uint64_t value)
{
    static struct sock_filter program[CONFINE_PROGRAM_MAX];
    struct seccomp_data data = {.nr = number, .arch = arch};
    size_t size = confine_program(program, (enum confine_machine)machine);
    uint32_t action;

    assert(size <= CONFINE_PROGRAM_MAX);
    data.args[argument] = value;
    action = interpret(program, size, &data);
    assert(action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_KILL_PROCESS);
    return action == SECCOMP_RET_ALLOW;
}

/* ---- both tables ---- */

static void every_call_not_listed_kills(void)
{
    for (int machine = 0; machine < 2; machine++) {
        unsigned n = 0;

        for (int number = 0; number < CALLS_END; number++) {
            const struct row *row = find(machine, number);

            if (row == NULL || row->check == CONFINE_ANY)
                assert(allows(machine, machines[machine], number, 0, 0) == (row != NULL));
            n += row != NULL;
        }
        for (size_t i = 0; i < N_ROWS; i++)
            n -= rows[i].numbers[machine] >= 0;
        assert(n == 0); /* each row was met, and once only */
        assert(!allows(machine, machines[machine], INT32_MIN, 0, 0));
        assert(allows(machine, machines[machine], -1, 0, 0)); /* a tracer has taken the call back */
    }
}

static void every_call_of_another_machine_kills(void)
{
    static const uint32_t others[] = {AUDIT_ARCH_I386, AUDIT_ARCH_ARM, 0};

    for (int machine = 0; machine < 2; machine++)
        for (int number = 0; number < CALLS_END; number++) {
            for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
                assert(!allows(machine, others[i], number, 0, 0));
            assert(!allows(machine, machines[!machine], number, 0, 0));
            assert(!allows(machine, machines[machine], number | X32, 0, 0));
        }
}

static void expect(const char *name, int argument, uint64_t value, bool allowed)
{
    unsigned met = 0;

    for (size_t i = 0; i < N_ROWS; i++) {
        for (int machine = 0; machine < 2 && strcmp(rows[i].name, name) == 0; machine++) {
            assert(allows(machine, machines[machine], rows[i].numbers[machine], argument, value) == allowed);
            met++;
        }
    }
    assert(met == 2);
}

static void arguments_are_looked_at(void)
{
    static const uint64_t bad_requests[] = {0x5412 /* TIOCSTI */,
                                            0x540e /* TIOCSCTTY */,
                                            0x5423 /* TIOCSETD */,
                                            0,
                                            0x8902 /* SIOCSPGRP */,
                                            0x40049409 /* FICLONE */,
                                            0xc000ff0a};
    static const int bad_commands[] = {0, F_SETOWN, 10 /* F_SETSIG */, 15 /* F_SETOWN_EX */, F_SETLEASE, F_NOTIFY};

    expect("ioctl", 1, TCGETS, true);
    expect("ioctl", 1, TCSETS, true);
    expect("ioctl", 1, TIOCSWINSZ, true);
    expect("ioctl", 1, FIONREAD, true);
    expect("ioctl", 1, 0xc040ff0b, true); /* PIDFD_GET_INFO of one size and of another */
    expect("ioctl", 1, 0xc100ff0b, true);
    for (size_t i = 0; i < sizeof(bad_requests) / sizeof(bad_requests[0]); i++)
        expect("ioctl", 1, bad_requests[i], false);
    expect("fcntl", 1, F_SETFL, true);
    expect("fcntl", 1, F_DUPFD_CLOEXEC, true);
    expect("fcntl", 1, F_ADD_SEALS, true);
    for (size_t i = 0; i < sizeof(bad_commands) / sizeof(bad_commands[0]); i++)
        expect("fcntl", 1, (uint64_t)bad_commands[i], false);
    for (uint64_t protection = 0; protection < 16; protection++) {
        expect("mmap", 2, protection, (protection & PROT_EXEC) == 0);
        expect("mprotect", 2, protection, (protection & PROT_EXEC) == 0);
    }
    for (uint64_t kind = 0; kind <= S_IFMT; kind += S_IFIFO)
        expect("mknodat", 2, kind | 0640, kind == S_IFIFO);
    for (uint64_t family = 0; family < AF_MAX; family++) {
        expect("socket", 0, family, family == AF_UNIX);
    }
}

/* The ones of x86-64 are compared where they are used. */
static void numbers_of_aarch64_are_the_kernels(void)
{
#define CHECK(name)                                                                                                    \
    {                                                                                                                  \
#name, __NR_##name                                                                                             \
    }
    static const struct {
        const char *name;
        int number;
    } known[] = {
        CHECK(read),
        CHECK(write),
        CHECK(epoll_pwait),
        CHECK(sendto),
        CHECK(recvmsg),
        CHECK(sendmsg),
        CHECK(recvfrom),
        CHECK(writev),
        CHECK(readv),
        CHECK(pread64),
        CHECK(pwrite64),

        CHECK(lseek),
        CHECK(epoll_ctl),
        CHECK(epoll_create1),
        CHECK(timerfd_create),
        CHECK(timerfd_settime),

        CHECK(eventfd2),
        CHECK(signalfd4),
        CHECK(ppoll),
        CHECK(restart_syscall),
        CHECK(close),
        CHECK(fcntl),
        CHECK(dup3),
        CHECK(mknodat),
        CHECK(symlinkat),
        CHECK(nanosleep),
        CHECK(clock_nanosleep),
        CHECK(sendmmsg),
        CHECK(linkat),
        CHECK(ioctl),
        CHECK(memfd_create),
        CHECK(ftruncate),
        CHECK(accept4),
        CHECK(getsockopt),
        CHECK(setsockopt),
        CHECK(socket),

        CHECK(connect),
        CHECK(bind),
        CHECK(listen),
        CHECK(shutdown),

        CHECK(openat),
        CHECK(fstat),
        CHECK(newfstatat),
        CHECK(statx),
        CHECK(faccessat),

        CHECK(getdents64),
        CHECK(renameat),

        CHECK(unlinkat),
        CHECK(mkdirat),
        CHECK(fchmod),
        CHECK(fchmodat),
        CHECK(fallocate),
        CHECK(fsync),
        CHECK(fdatasync),

        CHECK(pidfd_open),
        CHECK(pidfd_send_signal),
        CHECK(inotify_init1),
        CHECK(inotify_add_watch),

        CHECK(mmap),
        CHECK(mprotect),
        CHECK(munmap),
        CHECK(mremap),
        CHECK(madvise),
        CHECK(brk),
        CHECK(rt_sigprocmask),
        CHECK(rt_sigaction),
        CHECK(rt_sigreturn),
        CHECK(futex),
        CHECK(clock_gettime),

        CHECK(getrandom),
        CHECK(getpid),

        CHECK(gettid),

        CHECK(geteuid),

        CHECK(exit),
        CHECK(exit_group),
    };
    size_t n = sizeof(known) / sizeof(known[0]);

    for (size_t i = 0; i < N_ROWS; i++) {
        size_t at = 0;

        if (rows[i].numbers[CONFINE_AARCH64] < 0)
            continue;
        while (at < n && strcmp(known[at].name, rows[i].name) != 0)
            at++;
        if (at == n || known[at].number != rows[i].numbers[CONFINE_AARCH64]) {
            fprintf(stderr, "%s: not the number of aarch64\n", rows[i].name);
            abort();
        }
    }
}

int main(void)
{
    numbers_of_aarch64_are_the_kernels();
    every_call_not_listed_kills();
    every_call_of_another_machine_kills();
    arguments_are_looked_at();
    return 0;
}
