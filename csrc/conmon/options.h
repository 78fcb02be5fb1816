/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conmon's command line: every option of conmon 2.1 and of its successors, with the same rules for writing them and the
 * same words for refusing them. Pure: nothing is opened, nothing is printed.
 *
 * All texts are borrowed from argv.
 */
#ifndef REMORA_CONMON_OPTIONS_H
#define REMORA_CONMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conmon_list {
    const char **items; /* owned; NULL-terminated, NULL when empty */
    size_t n;
};

struct conmon_options {
    bool api_version; /* API 1; else API 0 */
    bool exec, exec_attach, terminal, gives_stdin, leave_stdin_open, full_attach;
    bool systemd_cgroup, no_pivot, no_new_keyring, replace_listen_pid;
    bool no_sync_log, log_rotate, no_partial_message, syslog, sync, version;
    int exit_delay, timeout; /* seconds */
    int log_max_files; /* old files beside the live one, with log_rotate */
    int64_t log_size_max, log_global_size_max; /* bytes; <= 0: no limit */
    const char *bundle, *cid, *cuuid, *name, *runtime;
    const char *container_pidfile, *conmon_pidfile, *exit_dir, *persist_dir, *socket_dir;
    const char *exec_process_spec, *restore, *exit_command, *sdnotify_socket;
    const char *log_level, *log_tag;
    const char *seccomp_socket, *seccomp_plugins;
    struct conmon_list runtime_args, runtime_opts, exit_args, log_paths, log_labels, log_dirs;
};

#define CONMON_REFUSAL_MAX 1024

/* What to do with a command line. */
enum conmon_parsed {
    CONMON_PARSED_RUN,
    CONMON_PARSED_HELP,
    CONMON_PARSED_VERSION,
};

/*
 * Parse. An enum conmon_parsed, -ENOMEM, or -EINVAL with the reason, as a whole line without its newline, in `refusal`.
 * Stops at the first option it can't take. `options` is initialised and to be deinitialised in any case.
 */
int options_parse(struct conmon_options *options, int argc, char *const *argv, char refusal[CONMON_REFUSAL_MAX]);

/*
 * What can be wrong with options that are each well written, in conmon's order, from the log level up to the log paths
 * (these are log_paths_parse's). 0, or -EINVAL with a text for message_fatal in `refusal`.
 */
int options_check(const struct conmon_options *options, char refusal[CONMON_REFUSAL_MAX]);

void options_deinit(struct conmon_options *options);

/* The help text, all of it. */
extern const char options_help[];

#endif
