/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker of a monitor gives up before it reads the first byte from a container, a client or a file: rights
 * that its loop never needs. Whoever takes it over through such bytes has a process that can't start another, can't
 * become another user, reaches no network, traces and mounts nothing.
 *
 * Capabilities: all but CAP_KILL go, from every set. System calls: those of one table (confine_calls.h, with the reason
 * for each) are allowed, some of them only with certain arguments; any other kills the process at once. Files: it
 * writes below the folders that it was given and nowhere else. All of it works in a user namespace without privileges,
 * and nothing of it can be undone.
 *
 * Sources: capabilities(7), seccomp(2), landlock(7), kernel Documentation/userspace-api/seccomp_filter.rst.
 */
#ifndef REMORA_SYSTEM_CONFINE_H
#define REMORA_SYSTEM_CONFINE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFINE_PATHS_MAX 16

struct confine_options {
    uint64_t capabilities; /* bits (1 << CAP_…) to keep beside CAP_KILL, as far as they are there */
    const char *writable[CONFINE_PATHS_MAX]; /* folders, and files that are written in their folders */
    size_t n_writable; /* 0: it may write anywhere */
    const char *emptied; /* a folder out of which empty folders may be removed, or NULL */
};

/*
 * Whether the file at this path, or those in this folder, can be made, renamed, removed and written with the rights of
 * an owner or of anybody, so without CAP_DAC_OVERRIDE.
 */
bool confine_reaches(const char *path);

/*
 * A path at which the worker makes, renames, removes or writes files: it may, also where that takes more than the
 * rights of a file's owner (with CAP_DAC_OVERRIDE then). NULL and "" are left out.
 */
void confine_allow(struct confine_options *options, const char *path);

/* A folder that another one, which the worker empties, is removed from in the end. */
void confine_allow_removal(struct confine_options *options, const char *path);

/*
 * Confine this process. 0, or -errno with the failed step in *what (static): then what came before it is in force, and
 * the process is no worse off than before. To be called by a process of one thread that has all its long-lived
 * descriptors. The process stays dumpable: else it could not go through its own /proc/self/fd where it isn't root's.
 */
int confine_worker(const struct confine_options *options, const char **what);

/* The part about files alone; cgroups, where OOM events are asked for, are always among them. 0 or -errno (-ENOSYS,
 * -EOPNOTSUPP: not with this kernel). */
int confine_files(const char *const *paths, size_t n, const char *emptied);

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
