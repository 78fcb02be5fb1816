/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor that can be made only elsewhere: in other namespaces, which a child enters so that this process stays
 * where it is.
 */
#ifndef REMORA_SYSTEM_CHILD_FD_H
#define REMORA_SYSTEM_CHILD_FD_H

/*
 * Call `make` in a forked child and take the descriptor that it returns there; or its -errno. The child holds back all
 * signals and must not allocate: other threads may hold the heap.
 */
int child_fd(int (*make)(const void *context), const void *context);

#endif
