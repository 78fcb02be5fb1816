/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standard streams of a process in a container: pipes, or a pty that the runtime hands over on its console socket.
 *
 * The monitor's ends are non-blocking. `theirs` are the process's ends, borrowed by the runtime call and closed once
 * it has started.
 */
#ifndef REMORA_ENGINE_STDIO_H
#define REMORA_ENGINE_STDIO_H

#include <stdbool.h>
#include <sys/types.h>

struct stdio {
    int in; /* write end, or the pty's second descriptor; -1 = none */
    int out, err; /* read ends; a pty has only `out` */
    int theirs[3]; /* for the process */
};

void stdio_init(struct stdio *stdio);
/* Pipes owned by uid:gid, so that a process that is not root may open /dev/stdout anew. 0 or -errno. */
int stdio_pipes(struct stdio *stdio, bool with_stdin, uid_t uid, gid_t gid);
/* `out` is the master of a pty: set it up, with a second descriptor for `in`. 0 or -errno. */
int stdio_pty(struct stdio *stdio, unsigned rows, unsigned cols);
void stdio_close_theirs(struct stdio *stdio);
void stdio_deinit(struct stdio *stdio);

/* Set a window size; 0 × 0 leaves it as it is. */
void pty_resize(int master, unsigned rows, unsigned cols);

/* A listening console socket `name` in the folder `dir_fd`: a descriptor or -errno. */
int console_listen(int dir_fd, const char *name);
/*
 * Accept one connection and take the pty master that came with it; never blocks. To be called once the runtime has
 * ended well: the master is in the queue then. A descriptor, -EAGAIN when there is none, or another -errno.
 */
int console_receive(int listener);

#endif
