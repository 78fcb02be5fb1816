/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a monitor is told at its start: the msgpack map of docs/architecture.md, "Configuration handed to a monitor".
 *
 * All texts live in the parsed message, which lives as long as the configuration.
 */
#ifndef REMORA_CONTAINER_CONFIG_H
#define REMORA_CONTAINER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log/log.h"
#include "util/msg.h"

/* The descriptors a monitor starts with. */
enum handed_over {
    FD_CONFIG = 3,
    FD_SPAWNER = 4,
    FD_LOCK = 5,
    FD_ROOTFS = 6,
    FD_PRESERVED = 7,
};

/* A program that has to run as long as the container does (helpers.h). */
struct config_helper {
    const char *name;
    const char *const *argv; /* NULL-terminated */
    const char *pidfile; /* in the run folder */
    bool shared; /* not this container's alone: left to itself at the end */
};

enum restart_policy {
    RESTART_NO,
    RESTART_ON_FAILURE,
    RESTART_ALWAYS,
    RESTART_UNLESS_STOPPED,
};

#define PASSTHROUGH_FDS 3
#define NAMESPACES_MAX 8

/* A namespace, or a detached mount, that comes as a descriptor. */
struct config_namespace {
    const char *path; /* where the keeper binds it */
    int flag; /* CLONE_NEW…; of a mount CLONE_NEWNS */
};

struct config {
    const char *id, *name, *data_dir, *run_dir, *cgroup, *pidfile, *rootfs;
    const char *const *runtime; /* argv prefix, NULL-terminated */
    size_t n_runtime;
    char *const *environment; /* of the runtime, NULL-terminated */
    bool tty, stdin_open, stdin_once;
    uid_t uid; /* who owns the stdio pipes */
    gid_t gid;
    unsigned rows, cols;
    struct log_options log;
    enum restart_policy restart;
    int64_t restart_max; /* 0: no bound */
    int stop_signal;
    int64_t stop_timeout; /* seconds, -1: for ever */
    int64_t timeout; /* seconds, 0: none */
    bool shared_pids; /* the pid namespace is not the container's own */
    bool passthrough; /* the container has the spawner's own stdio: three descriptors before the preserved ones */
    unsigned n_namespaces; /* as many descriptors come before the preserved ones */
    const struct config_namespace *namespaces;
    unsigned n_helpers;
    const struct config_helper *helpers;
    unsigned n_preserved;
    unsigned n_held; /* as many descriptors come after the preserved ones: kept open until the container has ended */
    const msgpack_object *attach; /* or NULL */
    const msgpack_object_array *remove; /* or NULL */
    const msgpack_object_array *cleanup; /* or NULL; each element is a list of words that make sense */
    struct msg msg;
    char *bytes; /* owned: what msg refers to */
    size_t size;
};

/* The first descriptor of a namespace, that is preserved for the container, that is only held; the first after all. */
int config_first_namespace(const struct config *config);
int config_first_preserved(const struct config *config);
int config_first_held(const struct config *config);
int config_first_foreign(const struct config *config);
/* Parse; takes `bytes` (malloc'ed). 0 or -errno, then *what names the key that is wrong. */
int config_init(struct config *config, char *bytes, size_t size, const char **what);
/* Steps of the clean-up: how many; whether one executes a program; its words, NULL-terminated (NULL: no memory). */
unsigned config_n_steps(const struct config *config);
bool config_step_executes(const struct config *config, unsigned step);
const char *const *config_step_words(struct config *config, unsigned step);
void config_deinit(struct config *config);

#endif
