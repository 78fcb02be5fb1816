/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: one process in the container (its init, or the command of an exec), its streams, and who is attached.
 *
 * A session has ended when its process is gone *and* its output is at its end (or the bound for that is over); `ended`
 * is then called, once for each start. Sessions own their descriptors and their process; clients are only linked.
 */
#ifndef REMORA_ENGINE_SESSION_H
#define REMORA_ENGINE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/child.h"
#include "engine/loop.h"
#include "engine/stdio.h"
#include "log/log.h"

/* After the process is gone, what a grandchild still holds open is read for this long at the most. */
#define DRAIN_BOUND_NS (200 * MILLISECOND_NS)

struct client;
struct hub;
struct session;

struct stream {
    struct session *session;
    struct source source; /* in no loop: ended or never there */
    enum log_stream kind;
    uint64_t bytes; /* read since the container's first start */
};

struct session {
    struct hub *hub;
    bool tty;
    bool stdin_once; /* the loss of the owning client ends the input */
    struct stream out, err;
    struct source in; /* in no loop: there is no stdin, or not any more */
    char *pending; /* owned, of the hub's input_pool: input that the process didn't take yet */
    size_t pending_at, pending_size;
    bool input_ended; /* close stdin once `pending` is written */
    bool started; /* its process is, or was, watched */
    bool waiting; /* not started yet: input has to wait */
    unsigned blockers; /* clients whose queues stop our reading */
    bool draining; /* the process is gone: back-pressure doesn't count any more */
    struct timer drain_bound;
    struct log *log; /* borrowed, NULL = not logged */
    struct child process;
    bool process_ended, ended_told;
    struct child_end end; /* once process_ended */
    void (*ended)(struct session *session);
};

void session_init(struct session *session, struct hub *hub, bool tty, void (*ended)(struct session *session));
/* Take the monitor's ends and the process and begin to read. 0 or -errno (-ESRCH); the session ends either way. */
int session_start(struct session *session, struct stdio *stdio, pid_t pid);
/* The process is gone already, and nobody knows how it ended: take out what it wrote, and end. */
void session_start_gone(struct session *session, struct stdio *stdio);
/* Close all; the session can be started again (clients stay attached). */
void session_stop(struct session *session);

/* Input for the process. Never blocks: what it doesn't take waits, and session_stdin_full tells the senders to wait. */
void session_input(struct session *session, const char *bytes, size_t size);
void session_input_end(struct session *session);
bool session_stdin_full(const struct session *session);
void session_resize(struct session *session, unsigned rows, unsigned cols);
/* The reader of one stream, or of both, is gone for good: break the pipes, as a shell pipeline would. */
void session_close_output(struct session *session, bool out, bool err);

/*
 * In a new worker: take over what is open, also what the killed one was just taking from `stdio`; then, when clients
 * are back, go on. `ended` may be called, also once more if the killed worker did not come to the end of that.
 */
void session_resume(struct session *session, struct stdio *stdio);
void session_resumed(struct session *session);
/* As if it were as it was, after its fields came from elsewhere: for session_resume. */
void session_bind(struct session *session);

void session_attach(struct session *session, struct client *client);
/* Unlink; a lost owner may end the input. */
void session_detach(struct session *session, struct client *client);
/* A client's queue has something in it, or is empty again. */
void session_block(struct session *session);
void session_unblock(struct session *session);

#endif
