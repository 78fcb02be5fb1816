/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User namespaces: what the public functions (remora.h) and their tests share.
 */
#ifndef REMORA_SYSTEM_USERNS_H
#define REMORA_SYSTEM_USERNS_H

#include <stdbool.h>
#include <stddef.h>

/* As many lines as a map may have (linux/user_namespace.h: UID_GID_MAP_MAX_EXTENTS). */
#define USERNS_RANGES_MAX 340

/* One line of a map: three numbers, two separators, a newline. */
#define USERNS_LINE_MAX 33

/* Whether this process is in the first user namespace, the one that all ids belong to. */
bool userns_is_initial(void);

#endif
