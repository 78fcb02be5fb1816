/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the client's side share: not public.
 */
#ifndef REMORA_CLIENT_CLIENT_H
#define REMORA_CLIENT_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Give a socket a send buffer that holds several packets, as far as this process may. */
void client_enlarge(int fd);

/*
 * Take one packet from a socket, with recvmsg flags: the payload's size, -ECONNRESET at the end, -EAGAIN, -EMSGSIZE
 * (longer than `capacity`), other -errno.
 */
ssize_t client_take(int fd, int *type, void *payload, size_t capacity, int flags);

/* Send one packet without waiting: 0, -EAGAIN, -EPIPE (the peer is gone), other -errno. */
int client_put(int fd, int type, const void *payload, size_t size);

/* Milliseconds of the monotonic clock. */
int64_t client_now_ms(void);

#endif
