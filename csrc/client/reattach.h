/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching again, after a connection that ended while the container still has a monitor.
 *
 * A monitor whose worker was killed goes on in a new one, and keeps its connections where it can. One that was lost is
 * made anew: the monitor then says how much of the session's output was read so far, and what this side did not get
 * of it is known to be missing.
 */
#ifndef REMORA_CLIENT_REATTACH_H
#define REMORA_CLIENT_REATTACH_H

#include <stdbool.h>
#include <stdint.h>

struct reattach {
    const char *run_dir, *session;
    bool in, out, err; /* what is wanted of the session */
    bool block, owner;
};

/*
 * Connect and attach within two seconds. A connection, and in read_bytes how much of stdout and stderr the monitor had
 * read by then (-1: it does not say); -ECONNRESET: there is no monitor any more, -ENOENT: no such session any more,
 * -ETIMEDOUT.
 */
int reattach(const struct reattach *wanted, int64_t read_bytes[2]);

#endif
