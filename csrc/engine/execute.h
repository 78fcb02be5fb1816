/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executing a program: its descriptors where it expects them and no other, no blocked signals.
 */
#ifndef REMORA_ENGINE_EXECUTE_H
#define REMORA_ENGINE_EXECUTE_H

#include <stddef.h>
#include <sys/types.h>

#define EXECUTE_KEPT_MAX 72 /* preserved ones of an exec packet, and its process object */
#define EXECUTE_FAILED 127 /* the exit status of a child that could not execute its program */

struct execution {
    const char *const *argv; /* argv[0] is looked for in PATH when it has no slash */
    char *const *environment;
    int stdio[3]; /* borrowed, -1 = /dev/null */
    int kept[EXECUTE_KEPT_MAX]; /* borrowed: the program gets them as 3, 4, … */
    size_t n_kept;
    const char *login_uid; /* of whom it acts for (loginuid.h), NULL: our own */
};

/* Fork and execute. The child's pid or -errno. */
pid_t execute(const struct execution *execution);

#endif
