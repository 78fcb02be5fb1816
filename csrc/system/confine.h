/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker of a monitor gives up before it reads the first byte from a container, a client or a file: rights
 * that its loop never needs. Whoever takes it over through such bytes has a process that can't start another, can't
 * become another user, reaches no network, traces and mounts nothing.
 *
 * Capabilities: all but CAP_KILL go, from every set. System calls: those of one table (confine_calls.h, with the reason
 * for each) are allowed, some of them only with certain arguments; any other kills the process at once. All of it works
 * in a user namespace without privileges, and nothing of it can be undone.
 *
 * Sources: capabilities(7), seccomp(2), kernel Documentation/userspace-api/seccomp_filter.rst.
 */
#ifndef REMORA_SYSTEM_CONFINE_H
#define REMORA_SYSTEM_CONFINE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct confine_options {
    uint64_t capabilities; /* bits (1 << CAP_…) to keep beside CAP_KILL, as far as they are there */
};

/*
 * Confine this process. 0, or -errno with the failed step in *what (static): then what came before it is in force, and
 * the process is no worse off than before. To be called by a process of one thread that has all its long-lived
 * descriptors. The process stays dumpable: else it could not go through its own /proc/self/fd where it isn't root's.
 */
int confine_worker(const struct confine_options *options, const char **what);

/*
 * Whether the file at this path can be made, renamed, removed and written with the rights of a file's owner or of
 * anybody, so without CAP_DAC_OVERRIDE.
 */
bool confine_reaches(const char *path);

/* Whether this build confines: one with sanitizers can't, for they need calls of their own. */
bool confine_is_built(void);

enum confine_machine {
    CONFINE_X86_64,
    CONFINE_AARCH64,
};

#define CONFINE_PROGRAM_MAX 512

/* The filter for a machine, also for one that this isn't: its length in instructions. */
size_t confine_program(struct sock_filter program[CONFINE_PROGRAM_MAX], enum confine_machine machine);

#endif
