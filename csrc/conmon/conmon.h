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

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "conmon/lines.h"
#include "conmon/logs.h"
#include "conmon/message.h"
#include "conmon/notify.h"
#include "conmon/options.h"
#include "engine/child.h"
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

#define CONMON_PATH_MAX 4096
#define CONMON_INHERITED_MAX 1024 /* descriptors of the caller that are closed at the end */

/* The container's socket for notifications and the service manager's. */
struct relay {
    struct source source;
    int host; /* owned; -1 = there is no relay */
    struct timer again; /* the service manager's queue was full */
    size_t pending; /* bytes of `datagram` that wait for it */
    char datagram[NOTIFY_MAX];
};

struct conmon {
    struct hub hub;
    struct conmon_options options;
    struct conmon_logs logs;
    struct messages messages;
    enum conmon_state state;
    struct session session;
    struct stdio stdio; /* between the making of the pipes and the session's start */
    int console; /* listening console socket while creating; -1 */
    int console_folder; /* owned: its folder, where the path is too long for an address; -1 */
    char console_path[CONMON_PATH_MAX]; /* where it is, to be unlinked; "" = there is none */
    struct child runtime; /* while creating */
    struct log log;
    struct log_options log_options;
    struct cgroup cgroup;
    bool oom_told;
    struct source signals, attach, ctl, winsz, oom;
    struct lines ctl_lines, winsz_lines;
    struct control_message window; /* the last size that came through ctl */
    bool window_known;
    struct relay relay;
    struct timer time_limit; /* the process's; then, that of its death */
    struct timer patience; /* with clients that don't read */
    int start_fd, sync_fd, attach_fd; /* owned; the caller's pipes */
    int inherited[CONMON_INHERITED_MAX]; /* owned: the caller's other descriptors, which the runtime gets */
    size_t n_inherited;
    char pidfile[CONMON_PATH_MAX], bundle[CONMON_PATH_MAX], attach_link[CONMON_PATH_MAX]; /* "" = none */
    sigset_t caller_mask; /* of the caller: for programs that are executed */
    char oom_score[16]; /* as it was at the start; "" = not known */
    dev_t runtime_device; /* what a process executes that is created but not started */
    ino_t runtime_inode;
    bool started; /* it executes something else now */
    bool timed_out;
    bool exit_command_due; /* from the moment at which the runtime is called */
    int exit_status; /* conmon's own */
};

static inline struct conmon *conmon_of(struct hub *hub)
{
    return container_of(hub, struct conmon, hub);
}

/* Replace stdin, stdout and stderr by /dev/null. */
void conmon_leave_stdio(void);
/* Whether a command line is meant for conmon. */
bool conmon_is_meant(int argc, char *const *argv);
/* All of it; the exit status. */
int conmon_main(int argc, char **argv);

/* ---- create.c ---- */

/* Call the runtime. On failure it has been told and the state is ENDED. */
void conmon_create(struct conmon *conmon);
/* Something before the container's process failed: tell it everywhere and end. error: 0 or negative errno. */
void conmon_fail(struct conmon *conmon, const char *what, int error);
/* In a child: as the caller had it. */
void conmon_restore_oom_score(const struct conmon *conmon);
/* One line on the sync pipe, or nothing if there is none. */
void conmon_report(struct conmon *conmon, int number, const char *message, size_t size);

/* ---- serve.c ---- */

/* The attach socket, the fifos and the notification socket, as asked for. 0 or -errno with the failed step in *what. */
int conmon_serve(struct conmon *conmon, const char **what);
/* The process runs: window sizes, out-of-memory events and the time limit count from now on. */
void conmon_serve_running(struct conmon *conmon, pid_t pid);
/* Take in what the cgroup tells. */
void conmon_check_oom(struct conmon *conmon);
void conmon_patience_due(struct timer *timer);

/* ---- clients.c ---- */

extern const struct protocol conmon_protocol;
/* Accept who waits at the attach socket. */
void clients_accept(struct source *source, uint32_t events);
/* Cut off those who hold up the container and take nothing. true: some still do, look again. */
bool clients_cut_stalled(struct conmon *conmon);

/* ---- relay.c ---- */

int relay_init(struct relay *relay, struct conmon *conmon, const char **what);
void relay_deinit(struct relay *relay);

/* ---- ending.c ---- */

/* The process is gone and its output is logged. */
void conmon_end(struct conmon *conmon);
/* In ENDED: the clients get what is queued for them, then the end; the loop ends once they are gone. */
void conmon_dismiss_clients(struct conmon *conmon);
/* End the loop once the clients are gone. */
void conmon_check_done(struct conmon *conmon);
/* Execute the exit command and wait for it; the last thing to be done. */
void conmon_run_exit_command(struct conmon *conmon);
void conmon_deinit(struct conmon *conmon);

#endif
