/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drop-in for conmon: one process in a container (its init, or that of an exec), seen through conmon's interface:
 * command line, pipes, sockets, fifos and files.
 *
 *   CREATING ──▶ RUNNING ──▶ (process gone, output drained) ──▶ files, sync pipe ──▶ ENDED ──▶ exit command
 *       └──(the runtime failed)── sync pipe ──────────────────────────────────────────┘
 *
 * In ENDED the loop goes on only until the clients have their last bytes, and not for ever.
 */
#ifndef REMORA_CONMON_CONMON_H
#define REMORA_CONMON_CONMON_H

#include <stdbool.h>
#include <sys/types.h>

#include "conmon/lines.h"
#include "conmon/notify.h"
#include "conmon/setup.h"
#include "conmon/syncpipe.h"
#include "engine/hub.h"
#include "engine/session.h"
#include "engine/stdio.h"
#include "log/log.h"
#include "system/cgroup.h"

enum conmon_state {
    CONMON_CREATING,
    CONMON_RUNNING,
    CONMON_ENDED,
};

/* How far the runtime call is: what a new worker has to go on with. */
enum call_state {
    CALL_NONE,
    CALL_ASKED,
    CALL_RUNNING,
    CALL_ENDED,
};

/* The container's socket for notifications and the service manager's. */
struct relay {
    struct source source;
    int host; /* owned; -1 = there is no relay */
    struct timer again; /* the service manager's queue was full */
    size_t pending; /* bytes of the datagram that wait for it */
};

/* Kept memory. */
struct conmon {
    struct hub hub;
    const struct setup *setup;
    bool begun;
    enum conmon_state state;
    struct session session;
    struct stdio stdio; /* between the making of the pipes and the session's start */
    int console; /* listening console socket while creating; -1 */
    enum call_state call;
    struct child runtime; /* while creating */
    struct child_end runtime_end; /* in CALL_ENDED */
    struct source wordy; /* a second descriptor of the runtime's stderr while creating */
    size_t said_size;
    char said[SYNC_MESSAGE_MAX]; /* the runtime's first words, where they had to make room for more */
    struct cgroup cgroup;
    bool oom_told;
    struct source signals, attach, ctl, winsz, oom;
    struct lines ctl_lines, winsz_lines;
    struct control_message window; /* the last size that came through ctl */
    bool window_known, watched; /* all that conmon_serve_running does is done */
    struct relay relay;
    struct timer time_limit; /* the process's; then, that of its death */
    struct timer patience; /* with clients that don't read */
    int sync_fd, attach_fd; /* owned; the caller's pipes */
    bool inherited_closed;
    char created_name[20]; /* of the process that is created but not started: the runtime's */
    bool process_begun; /* it has another name now */
    bool pid_told, failed, timed_out;
    int exit_status; /* conmon's own */
    /* Large, and mostly never touched: last, so that the rest lies on few pages. */
    struct log log;
    char attach_link[CONMON_PATH_MAX]; /* "" = none */
    char datagram[NOTIFY_MAX]; /* of the relay */
};

static inline struct conmon *conmon_of(struct hub *hub)
{
    return container_of(hub, struct conmon, hub);
}

/* ---- create.c ---- */

/* The session, before there is anything in it. */
void conmon_prepare(struct conmon *conmon);
/* Call the runtime. On failure it has been told and the state is ENDED. */
void conmon_create(struct conmon *conmon);
/* In a new worker, in CREATING. */
void conmon_create_resumed(struct conmon *conmon);
/* Something before the container's process failed: tell it everywhere and end. error: 0 or negative errno. */
void conmon_fail(struct conmon *conmon, const char *what, int error);
/* One line on the sync pipe, or nothing if there is none. */
void conmon_report(struct conmon *conmon, int number, const char *message, size_t size);

/* ---- serve.c ---- */

/* Signals that are meant for the container. */
void conmon_signalled(struct children *children, int signal);
int conmon_watch_signals(struct conmon *conmon);
/* The attach socket, the fifos and the notification socket, as asked for. 0 or -errno with the failed step in *what. */
int conmon_serve(struct conmon *conmon, const char **what);
/* The process runs: window sizes, out-of-memory events and the time limit count from now on. */
void conmon_serve_running(struct conmon *conmon, pid_t pid);
/* In a new worker: all sources and timers. */
void conmon_serve_resume(struct conmon *conmon);
/* Take in what the cgroup tells. */
void conmon_check_oom(struct conmon *conmon);

/* ---- clients.c ---- */

extern const struct protocol conmon_protocol;
/* Accept who waits at the attach socket. */
void clients_accept(struct source *source, uint32_t events);
/* In a new worker: attach who was accepted and not yet attached. */
void clients_resumed(struct conmon *conmon);
/* Clients that hold up the container and take nothing are cut off. */
void conmon_patience_due(struct timer *timer);

/* ---- relay.c ---- */

int relay_init(struct relay *relay, struct conmon *conmon, const char **what);
void relay_resume(struct relay *relay);
void relay_deinit(struct relay *relay);

/* ---- ending.c ---- */

/* The process is gone and its output is logged. All steps may be taken again by a new worker. */
void conmon_end(struct conmon *conmon);
/* In ENDED: the clients get what is queued for them, then the end; the loop ends once they are gone. */
void conmon_dismiss_clients(struct conmon *conmon);
/* End the loop once the clients are gone. */
void conmon_check_done(struct conmon *conmon);
void conmon_deinit(struct conmon *conmon);

#endif
