/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving memory back: a monitor waits for days between two moments of work.
 */
#ifndef REMORA_UTIL_MEMORY_H
#define REMORA_UTIL_MEMORY_H

/* In a forked process: what was allocated before stays as it is, shared; new allocations begin on a page of their own.
 */
void memory_begin(void);
/* Freed memory, where the C library does not do that by itself. */
void memory_trim(void);
/* The pages of the stack below the caller's frame. */
void memory_release_stack(void);

#endif
