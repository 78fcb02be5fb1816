/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of the end, in the order in which callers may rely on it, and the exit command. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conmon/conmon.h"
#include "conmon/files.h"
#include "engine/client.h"
#include "remora.h"
#include "util/fd.h"

#define LINGER_NS (10 * SECOND_NS) /* for clients that still have bytes to read */
#define STATUS_UNKNOWN -1

void conmon_check_done(struct conmon *conmon)
{
    if (conmon->state == CONMON_ENDED && conmon->hub.clients == NULL)
        conmon->hub.loop.quit = true;
}

static int status_of(const struct conmon *conmon)
{
    const struct child_end *end = &conmon->session.end;

    if (conmon->timed_out || !conmon->session.process_ended || !end->known)
        return STATUS_UNKNOWN;
    return WIFEXITED(end->status) ? WEXITSTATUS(end->status) : 128 + WTERMSIG(end->status);
}

static void finish_log(struct conmon *conmon)
{
    int r;

    log_finish(&conmon->log);
    r = conmon->setup->options.no_sync_log ? 0 : log_sync(&conmon->log);
    if (r < 0)
        message(&conmon->setup->messages, MESSAGE_WARNING, "Failed to sync log file before exit %s", strerror(-r));
}

/* Ports that were kept busy for the container may be used again by whoever reads of its end. */
static void close_inherited(struct conmon *conmon)
{
    const struct setup *setup = conmon->setup;

    if (conmon->inherited_closed)
        return;
    /* First: what a killed worker leaves open then is closed as nobody's. */
    conmon->inherited_closed = true;
    for (size_t i = 0; i < setup->n_inherited; i++)
        if (setup->inherited[i] >= 0)
            close(setup->inherited[i]);
}

static void write_status(struct conmon *conmon, const char *folder, const char *name)
{
    int r = folder == NULL ? 0 : file_put_number_in(folder, name, conmon->exit_status);

    if (r < 0)
        message(&conmon->setup->messages, MESSAGE_ERROR, "Failed to write %s to exit file: %s/%s %s",
                "container status", folder, name, strerror(-r));
}

/* What it sent is not wanted any more; left unread it would give the client an error in place of its last bytes. */
static void drop_input(struct conmon *conmon, const struct client *client)
{
    char *scratch = hub_scratch(&conmon->hub);

    while (scratch != NULL && recv(client->source.fd, scratch, REMORA_PAYLOAD_MAX, MSG_DONTWAIT) > 0)
        ;
}

void conmon_dismiss_clients(struct conmon *conmon)
{
    struct client *next;

    source_remove(&conmon->attach);
    for (struct client *client = conmon->hub.clients; client != NULL; client = next) {
        next = client->next;
        if (client->first != NULL) {
            client_finish(client);
            continue;
        }
        drop_input(conmon, client);
        client_free(client);
    }
    timer_set(&conmon->patience, LINGER_NS);
    conmon_check_done(conmon);
}

static void remove_sockets(struct conmon *conmon)
{
    char path[CONMON_PATH_MAX];

    if (conmon->setup->options.bundle != NULL && !conmon->setup->logs.passthrough &&
        snprintf(path, sizeof(path), "%s/attach", conmon->setup->options.bundle) < CONMON_PATH_MAX)
        unlink(path);
    if (conmon->attach_link[0] != '\0')
        unlink(conmon->attach_link);
}

void conmon_end(struct conmon *conmon)
{
    static const char timed_out[] = "command timed out";
    const struct conmon_options *options = &conmon->setup->options;

    conmon->state = CONMON_ENDED;
    timer_clear(&conmon->time_limit);
    cgroup_read(&conmon->cgroup);
    conmon_check_oom(conmon);
    finish_log(conmon);
    conmon->exit_status = status_of(conmon);
    message(&conmon->setup->messages, MESSAGE_INFO, "container %d exited with status %d",
            (int)conmon->session.process.pid, conmon->exit_status);
    close_inherited(conmon);
    /* Before the clients see their end: who reacts to that finds the files. */
    write_status(conmon, options->persist_dir, "exit");
    write_status(conmon, options->exit_dir, options->cid);
    if (options->exec)
        conmon_report(conmon, conmon->exit_status, conmon->timed_out ? timed_out : NULL, sizeof(timed_out) - 1);
    remove_sockets(conmon);
    conmon_dismiss_clients(conmon);
}

void conmon_deinit(struct conmon *conmon)
{
    session_stop(&conmon->session);
    stdio_deinit(&conmon->stdio);
    child_forget(&conmon->runtime);
    relay_deinit(&conmon->relay);
    source_remove(&conmon->attach);
    source_remove(&conmon->ctl);
    source_remove(&conmon->winsz);
    source_remove(&conmon->oom);
    source_remove(&conmon->wordy);
    source_remove(&conmon->signals);
    timer_deinit(&conmon->time_limit);
    timer_deinit(&conmon->patience);
    cgroup_deinit(&conmon->cgroup);
    log_deinit(&conmon->log);
    close_inherited(conmon);
    fd_close(&conmon->sync_fd);
    fd_close(&conmon->attach_fd);
    hub_deinit(&conmon->hub);
}
