/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container leaves behind in a pid namespace that is not its own: there the end of its first process ends no
 * other. The runtime finds them by the container's cgroup; an ordinary user's container may have none of its own.
 */
#ifndef REMORA_CONTAINER_STRAYS_H
#define REMORA_CONTAINER_STRAYS_H

struct board;
struct native;

/*
 * In the keeper, once the container has ended: kill all that has become our child but the worker and the helpers, and
 * what becomes our child by that.
 */
void strays_kill(const struct native *native, const struct board *board);

#endif
