/* SPDX-License-Identifier: Apache-2.0 */
#include "system/confine.h"

#include <errno.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "system/confine_calls.h"

#define X32_BIT 0x40000000U /* a call number with it is one of the x32 ABI, which has the same AUDIT_ARCH */
#define NO_CALL                                                                                                        \
    0xffffffffU /* what a tracer puts in the place of a call that it takes back: the kernel does nothing               \
                 */

/* ---- the table ---- */

struct call {
    int16_t numbers[2]; /* by enum confine_machine */
    uint8_t check;
};

#define ROW(name, x86_64, aarch64, check) {{x86_64, aarch64}, CONFINE_##check},
static const struct call calls[] = {CONFINE_CALLS(ROW)};

#define ARGUMENT(value) value,
static const uint32_t ioctls[] = {CONFINE_IOCTLS(ARGUMENT)};
static const uint32_t fcntls[] = {CONFINE_FCNTLS(ARGUMENT)};

#if defined(__x86_64__) || defined(__aarch64__)
#ifdef __x86_64__
#define NATIVE CONFINE_X86_64
#define CHECK_ROW(name, x86_64, aarch64, check) _Static_assert((x86_64) == SYS_##name, #name);
#else
/* What this machine lacks has no name here. */
#define NATIVE CONFINE_AARCH64
#define CHECK_ROW(name, x86_64, aarch64, check)
#endif
CONFINE_CALLS(CHECK_ROW)
#define HAS_FILTER 1
#else
#define NATIVE CONFINE_X86_64
#define HAS_FILTER 0
#endif

/* ---- the filter ---- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
/* The kernel takes 32 bits of every argument that is looked at, so the upper half does not count. */
#define LOAD_ARGUMENT(n) LOAD(args[n]) /* little-endian: the lower half comes first */
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
/* The next instruction only if equal, or the one after it. */
#define IF_EQUAL(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1)
#define IF_NOT_EQUAL(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 1, 0)
#define IF_ANY_BIT(value) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (value), 0, 1)
#define IF_AT_LEAST(value) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (value), 0, 1)
#define AND(value) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (value))

struct program {
    struct sock_filter *code;
    size_t size;
};

static void emit(struct program *program, const struct sock_filter *code, size_t n)
{
    memcpy(program->code + program->size, code, n * sizeof(*code));
    program->size += n;
}

#define EMIT(program, ...)                                                                                             \
    do {                                                                                                               \
        const struct sock_filter part[] = {__VA_ARGS__};                                                               \
        emit(program, part, sizeof(part) / sizeof(part[0]));                                                           \
    } while (0)

static void emit_values(struct program *program, const uint32_t *values, size_t n)
{
    EMIT(program, LOAD_ARGUMENT(1));
    for (size_t i = 0; i < n; i++)
        EMIT(program, IF_EQUAL(values[i]), ALLOW);
}

/* What decides about the arguments of a call; every path ends in it. */
static void emit_check(struct program *program, enum confine_check check)
{
    switch (check) {
    case CONFINE_ANY:
        EMIT(program, ALLOW);
        return;
    case CONFINE_IOCTL:
        emit_values(program, ioctls, sizeof(ioctls) / sizeof(ioctls[0]));
        EMIT(program, AND(~CONFINE_IOCTL_SIZE), IF_EQUAL(CONFINE_PIDFD_GET_INFO), ALLOW);
        break;
    case CONFINE_FCNTL:
        emit_values(program, fcntls, sizeof(fcntls) / sizeof(fcntls[0]));
        break;
    case CONFINE_NO_EXEC:
        EMIT(program, LOAD_ARGUMENT(2), IF_ANY_BIT(CONFINE_PROT_EXEC), KILL, ALLOW);
        return;
    case CONFINE_UNIX:
        EMIT(program, LOAD_ARGUMENT(0), IF_EQUAL(CONFINE_AF_UNIX), ALLOW);
        break;
    case CONFINE_FIFO:
        EMIT(program, LOAD_ARGUMENT(2), AND(CONFINE_S_IFMT), IF_EQUAL(CONFINE_S_IFIFO), ALLOW);
        break;
    }
    EMIT(program, KILL);
}

size_t confine_program(struct sock_filter code[CONFINE_PROGRAM_MAX], enum confine_machine machine)
{
    struct program program = {.code = code};

    EMIT(&program, LOAD(arch), IF_NOT_EQUAL(machine == CONFINE_X86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64), KILL,
         LOAD(nr), IF_EQUAL(NO_CALL), ALLOW, IF_AT_LEAST(X32_BIT), KILL);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        size_t jump = program.size;

        if (calls[i].numbers[machine] < 0)
            continue;
        EMIT(&program, IF_EQUAL((uint32_t)calls[i].numbers[machine]));
        emit_check(&program, (enum confine_check)calls[i].check);
        code[jump].jf = (uint8_t)(program.size - jump - 1);
    }
    EMIT(&program, KILL);
    return program.size;
}

/* Out of line: the program is four kilobytes that the stack need not keep. */
__attribute__((noinline)) static int set_filter(void)
{
    struct sock_filter code[CONFINE_PROGRAM_MAX];
    struct sock_fprog program = {.filter = code};

    if (!HAS_FILTER)
        return -ENOSYS;
    program.len = (unsigned short)confine_program(code, NATIVE);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
}

/* ---- capabilities ---- */

static int drop_capabilities(uint64_t kept)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};

    /* Where these can't be changed (no CAP_SETPCAP, an old kernel), no_new_privs has made them useless. */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno == EPERM)
            break;
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        data[i].permitted &= (uint32_t)(kept >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

/* ---- all of it ---- */

/* `rights`: as for others. A group's rights are left out: they only ever are more. */
static bool permits(const char *path, unsigned rights)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return errno == ENOENT; /* then the folder decides */
    if (status.st_uid == geteuid())
        rights *= S_IRWXU / S_IRWXO;
    return (status.st_mode & rights) == rights;
}

bool confine_reaches(const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX] = "./";
    struct stat status;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return permits(path, S_IRWXO);
    if (slash != NULL && slash - path >= PATH_MAX - 1)
        return false;
    if (slash != NULL)
        snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - path), path);
    return permits(folder, S_IRWXO) && permits(path, S_IROTH | S_IWOTH);
}

void confine_allow(struct confine_options *options, const char *path)
{
    if (path == NULL || path[0] == 0)
        return;
    if (!confine_reaches(path))
        options->capabilities |= UINT64_C(1) << CAP_DAC_OVERRIDE;
    if (options->n_writable < CONFINE_PATHS_MAX)
        options->writable[options->n_writable++] = path;
}

void confine_allow_removal(struct confine_options *options, const char *path)
{
    if (!confine_reaches(path))
        options->capabilities |= UINT64_C(1) << CAP_DAC_OVERRIDE;
    options->emptied = path;
}

bool confine_is_built(void)
{
#ifdef REMORA_UNCONFINED
    return false;
#else
    return true;
#endif
}

int confine_worker(const struct confine_options *options, const char **what)
{
    int r;

    if (!confine_is_built())
        return 0;
    /* First: without privileges the kernel takes a filter from no other process. */
    *what = "give up new privileges";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    *what = "drop capabilities";
    r = drop_capabilities(options->capabilities | UINT64_C(1) << CAP_KILL);
    if (r < 0)
        return r;
    *what = "restrict writing";
    r = options->n_writable > 0 ? confine_files(options->writable, options->n_writable, options->emptied) : 0;
    if (r < 0 && r != -ENOSYS && r != -EOPNOTSUPP)
        return r;
    *what = "filter system calls";
    return set_filter();
}
