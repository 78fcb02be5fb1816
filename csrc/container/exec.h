/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Further commands in the container: each is a session of this monitor, so that an exec costs no process of its own.
 */
#ifndef REMORA_CONTAINER_EXEC_H
#define REMORA_CONTAINER_EXEC_H

#include "container/container.h"

#define EXEC_ID_MAX 64
#define EXEC_RESULTS 16 /* of this many last ones the results are remembered */

struct client;
struct msg;
struct monitor;

struct exec {
    struct exec *next;
    struct session session; /* first the process, then its end */
    struct stdio stdio;
    struct runtime_call call;
    struct client *requester; /* who waits for the start; NULL when it went away */
    struct outcome outcome;
    int console;
    bool detached, running, unwatched;
    unsigned rows, cols;
    char id[EXEC_ID_MAX + 1];
};

#define EXECS_MAX 1024 /* at the same time */

struct exec_result {
    char id[EXEC_ID_MAX + 1];
    int code;
    bool known;
};

struct exec_results {
    struct exec_result last[EXEC_RESULTS];
    unsigned n; /* ever written */
};

/* Take a request with its descriptors and answer it, now or later. */
void exec_request(struct monitor *monitor, struct client *client, struct msg *request, int *fds, size_t n_fds);
/* The running exec of that id, or NULL. */
struct exec *exec_find(struct monitor *monitor, const char *id);
/* A client goes away that may be waiting for a start. */
void exec_forget_client(struct monitor *monitor, struct client *client);
/* Put the list of running and remembered ones. */
void exec_put_list(const struct monitor *monitor, struct msg_out *out);
/* In a new worker: take over what is open; then, when clients are back, go on. */
void exec_resume_all(struct monitor *monitor);
void exec_resumed_all(struct monitor *monitor);
/* After an upgrade: before its fields come, and after. */
void exec_bind(struct monitor *monitor, struct exec *exec);
void exec_bind_call(struct exec *exec);
/* Free what is left (end of the monitor). */
void exec_free_all(struct monitor *monitor);

#endif
