/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lines of a container's sd_notify datagram a service manager may see: what tells of the service, never what
 * speaks for other processes (MAINPID), hands over descriptors or changes who may speak. Pure.
 */
#ifndef REMORA_CONMON_NOTIFY_H
#define REMORA_CONMON_NOTIFY_H

#include <stddef.h>

#define NOTIFY_MAX 32768 /* bytes of a datagram */

/* Copy the allowed lines, joined with newlines, none behind the last; to may be from. Returns the size, 0 = nothing. */
size_t notify_filter(char *to, const char *from, size_t size);

#endif
