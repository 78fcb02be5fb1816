/* SPDX-License-Identifier: Apache-2.0 */
#include "util/memory.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#define STACK_RELEASED ((uintptr_t)65536)
#define STACK_KEPT ((uintptr_t)512)

#ifdef __GLIBC__ /* else: heap.c */
void memory_begin(void)
{
}

void memory_trim(void)
{
    malloc_trim(0);
}
#endif

/*
 * The start goes deeper down the stack than the loop does afterwards: three pages that would stay with an idle monitor.
 * Half a kilobyte below this frame is kept, for the call itself. What of the range was never mapped doesn't matter.
 */
void memory_release_stack(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) - STACK_KEPT) & ~(page - 1);

    (void)madvise((void *)(end - STACK_RELEASED), STACK_RELEASED, MADV_DONTNEED);
}
