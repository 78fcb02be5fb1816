/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the attach socket is: in the bundle, reached through a short link for clients whose socket addresses are short.
 */
#ifndef REMORA_CONMON_ATTACH_H
#define REMORA_CONMON_ATTACH_H

#include <stddef.h>

/*
 * The path of the link SOCKET_DIR/CUUID, one character shorter where it would take all of a socket address, for the
 * link and the socket would then have the same name. 0 or -ENAMETOOLONG.
 */
int attach_link_path(char *to, size_t capacity, const char *socket_dir, const char *cuuid);

/*
 * A bound socket of a type (SOCK_SEQPACKET, SOCK_DGRAM) at FOLDER/NAME, whatever the length of the path; replaces what
 * is there. A non-blocking descriptor or -errno.
 */
int socket_bind_in(const char *folder, const char *name, int type, unsigned mode);

/* A fifo at FOLDER/NAME, new; held open for writing by ourselves, so that it has no end. A descriptor or -errno. */
int fifo_open_in(const char *folder, const char *name);

#endif
