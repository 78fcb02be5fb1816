/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conmon's command line: what is taken, and each refusal word for word. Where Debian's conmon is installed, the
 * refusals that both know are compared with what it says itself.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conmon/logs.h"
#include "conmon/options.h"

#define ARGS_MAX 24
#define REFERENCE "/usr/bin/conmon"
#define COMPLETE "-c", "0123456789abcdef", "-u", "u", "-r", "/bin/true"

struct refusal {
    const char *text; /* as conmon prints it: a whole line */
    bool newer; /* Debian's version says something else, or nothing */
    const char *args[ARGS_MAX];
};

static const struct refusal refusals[] = {
    {"conmon: option parsing failed: Unknown option --bogus", false, {"--bogus"}},
    {"conmon: option parsing failed: Unknown option --log-pat", false, {"-c", "x", "--log-pat", "y"}},
    {"conmon: option parsing failed: Unknown option --cidx=3", false, {"--cidx=3"}},
    {"conmon: option parsing failed: Unknown option -zz", false, {"-zz"}},
    {"conmon: option parsing failed: Unknown option -i5", false, {"-i5"}},
    {"conmon: option parsing failed: Unknown option -cfoo", false, {"-cfoo", "x"}},
    {"conmon: option parsing failed: Error parsing option -u", false, {"-cu", "x", "y"}},
    {"conmon: option parsing failed: Missing argument for --cid", false, {"--cid"}},
    {"conmon: option parsing failed: Missing argument for -c", false, {"-c"}},
    {"conmon: option parsing failed: Missing argument for -c", false, {"-itc"}},
    {"conmon: option parsing failed: Missing argument for --bundle", false, {"-c", "x", "--bundle"}},
    {"conmon: option parsing failed: Cannot parse integer value “abc” for --log-size-max",
     false,
     {"--log-size-max", "abc"}},
    {"conmon: option parsing failed: Cannot parse integer value “12x” for --log-size-max",
     false,
     {"--log-size-max=12x"}},
    {"conmon: option parsing failed: Cannot parse integer value “” for --timeout", false, {"--timeout="}},
    {"conmon: option parsing failed: Integer value “5000000000” for -T out of range", false, {"-T", "5000000000"}},
    {"conmon: option parsing failed: Integer value “99999999999999999999” for --log-size-max out of range",
     false,
     {"--log-size-max=99999999999999999999"}},
    {"conmon: log-max-files must be non-negative, got -1", true, {"--log-max-files", "-1"}},
    {"conmon: log-max-files must be at least 1 when log-rotate is enabled, got 0",
     true,
     {"--log-rotate", "--log-max-files=0"}},
    {"conmon: Container ID not provided. Use --cid", false, {NULL}},
    {"conmon: Container ID not provided. Use --cid", false, {"--exit-delay=-1", "--api-version=1"}},
    {"conmon: Container ID not provided. Use --cid", false, {"--", "-c", "x"}},
    {"[conmon:e]: No such log level bogus", false, {"-c", "x", "--log-level", "bogus", "-e", "--restore", "y"}},
    {"[conmon:e]: Cannot use 'exec' and 'restore' at the same time", false, {"-c", "x", "-e", "--restore", "y"}},
    {"[conmon:e]: Attach can only be specified with exec", false, {"-c", "x", "--exec-attach"}},
    {"[conmon:e]: Attach can only be specified for a non-legacy exec session",
     false,
     {"-c", "x", "-e", "--exec-attach"}},
    {"[conmon:e]: Container UUID not provided. Use --cuuid", false, {"-c", "x", "--log-level", "TRACE"}},
    {"[conmon:e]: Container UUID not provided. Use --cuuid", false, {"-c", "x", "--api-version", "1", "-e"}},
    {"[conmon:e]: Runtime path not provided. Use --runtime", false, {"-c", "x", "-u", "y"}},
    {"[conmon:e]: Runtime path not provided. Use --runtime", false, {"-c", "x", "-e"}},
    {"[conmon:e]: Runtime path /nope is not valid No such file or directory",
     false,
     {"-c", "x", "-u", "y", "-r", "/nope"}},
    {"[conmon:e]: Runtime path runc is not valid No such file or directory",
     false,
     {"-c", "x", "-u", "y", "-r", "runc"}},
    {"[conmon:e]: Exec process spec path not provided. Use --exec-process-spec", false, {COMPLETE, "-e"}},
    {"[conmon:e]: Delay before invoking exit command must be greater than or equal to 0",
     false,
     {COMPLETE, "-l", "none", "--exit-delay", "-3"}},
    {"[conmon:e]: Log driver not provided. Use --log-path", false, {COMPLETE}},
    {"[conmon:e]: log-path must not be empty", false, {COMPLETE, "-l", ""}},
    {"[conmon:e]: log-path must not be empty", false, {COMPLETE, "-l", "none", "-l", ":"}},
    {"[conmon:e]: log-path must not be empty", false, {COMPLETE, "-l", "::"}},
    {"[conmon:e]: k8s-file requires a filename", false, {COMPLETE, "-l", "k8s-file"}},
    {"[conmon:e]: k8s-file requires a filename", false, {COMPLETE, "-l", "k8s-file:"}},
    {"[conmon:e]: No such log driver a", false, {COMPLETE, "-l", "a:b:c"}},
    {"[conmon:e]: No such log driver json-file", false, {COMPLETE, "-l", "json-file:/x", "-l", ""}},
    {"[conmon:e]: Container ID must be longer than 12 characters",
     false,
     {"-c", "0123456789ab", "-u", "u", "-r", "/bin/true", "-l", "journald"}},
    {"[conmon:e]: k8s-file doesn't support --log-tag",
     false,
     {COMPLETE, "-l", "k8s-file:unused.log", "--log-tag", "t"}},
    {"[conmon:e]: k8s-file doesn't support --log-label", true, {COMPLETE, "-l", "unused.log", "--log-label", "A=b"}},
    {"[conmon:e]: Container labels must be in format LABEL=VALUE (no LABEL present in '=b')",
     true,
     {COMPLETE, "-l", "journald", "--log-label", "=b"}},
    {"[conmon:e]: Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'A=b=c')",
     true,
     {COMPLETE, "-l", "journald", "--log-label", "OK=1", "--log-label", "A=b=c"}},
    {"[conmon:e]: Container labels must be in format LABEL=VALUE (none or more than one '=' present in 'A')",
     true,
     {COMPLETE, "-l", "journald", "--log-label", "A"}},
    {"[conmon:e]: Container label names must contain only uppercase letters, numbers and underscore (in 'aB=c')",
     true,
     {COMPLETE, "-l", "journald", "--log-label", "aB=c"}},
    {"[conmon:e]: seccomp support not present", true, {COMPLETE, "-l", "none", "--seccomp-notify-socket", "s"}},
};

static int vector(const char *const *args, const char *argv[ARGS_MAX + 2])
{
    int n = 0;

    argv[n++] = "conmon";
    for (size_t i = 0; i < ARGS_MAX && args[i] != NULL; i++)
        argv[n++] = args[i];
    argv[n] = NULL;
    return n;
}

/* The line with which the options are refused; empty: they are not. */
static void refuse(const char *const *args, char line[CONMON_REFUSAL_MAX + 16])
{
    const char *argv[ARGS_MAX + 2];
    char refusal[CONMON_REFUSAL_MAX];
    struct conmon_options options;
    struct conmon_logs logs;
    int n = vector(args, argv);
    int r = options_parse(&options, n, (char *const *)(uintptr_t)argv, refusal);

    line[0] = '\0';
    if (r < 0) {
        snprintf(line, CONMON_REFUSAL_MAX + 16, "%s", refusal);
    } else {
        assert(r == CONMON_PARSED_RUN);
        r = options_check(&options, refusal);
        if (r == 0)
            r = log_paths_parse(&logs, &options.log_paths, refusal);
        if (r == 0)
            r = logs_check(&logs, &options, refusal);
        if (r < 0)
            snprintf(line, CONMON_REFUSAL_MAX + 16, "[conmon:e]: %s", refusal);
    }
    options_deinit(&options);
}

/* What Debian's conmon says, without the colon that it forgets in some of its lines. */
static void ask_reference(const char *const *args, char line[CONMON_REFUSAL_MAX + 16])
{
    const char *argv[ARGS_MAX + 2];
    char text[CONMON_REFUSAL_MAX] = "";
    int ends[2], status;
    ssize_t n;
    pid_t pid;

    vector(args, argv);
    assert(pipe(ends) == 0);
    pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        setenv("LC_ALL", "C.UTF-8", 1);
        execv(REFERENCE, (char *const *)(uintptr_t)argv);
        _exit(99);
    }
    close(ends[1]);
    n = read(ends[0], text, sizeof(text) - 1);
    assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1);
    close(ends[0]);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (strncmp(text, "[conmon:e] ", 11) == 0)
        snprintf(line, CONMON_REFUSAL_MAX + 16, "[conmon:e]: %s", text + 11);
    else
        snprintf(line, CONMON_REFUSAL_MAX + 16, "%s", text);
}

static void each_refusal_has_conmons_words(void)
{
    bool reference = access(REFERENCE, X_OK) == 0;
    char line[CONMON_REFUSAL_MAX + 16];

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *refusal = &refusals[i];

        assert(refusal->text != NULL);
        refuse(refusal->args, line);
        if (strcmp(line, refusal->text) != 0)
            printf("row %zu: want \"%s\", got \"%s\"\n", i, refusal->text, line);
        assert(strcmp(line, refusal->text) == 0);
        if (!reference || refusal->newer)
            continue;
        ask_reference(refusal->args, line);
        if (strcmp(line, refusal->text) != 0)
            printf("row %zu: want \"%s\", conmon says \"%s\"\n", i, refusal->text, line);
        assert(strcmp(line, refusal->text) == 0);
    }
}

static void every_option_is_taken(void)
{
    static const char *const args[ARGS_MAX * 4] = {
        "conmon",
        "--api-version",
        "1",
        "-b",
        "B",
        "-c",
        "C",
        "-P",
        "CP",
        "-p",
        "PP",
        "-u",
        "U",
        "-e",
        "--exec-attach",
        "--exec-process-spec",
        "S",
        "--exit-command",
        "X",
        "--exit-command-arg",
        "x1",
        "--exit-command-arg=--rm",
        "--exit-delay",
        "0x10",
        "--exit-dir",
        "D",
        "--full-attach",
        "--leave-stdin-open",
        "--log-allowlist-dir",
        "/l",
        "--log-global-size-max",
        "010",
        "--log-label",
        "A=b",
        "--log-level",
        "debug",
        "--log-max-files",
        "4",
        "-l",
        "none",
        "--log-path=k8s-file:f",
        "--log-rotate",
        "--log-size-max=-5",
        "--log-tag",
        "T",
        "-n",
        "N",
        "--no-container-partial-message",
        "--no-new-keyring",
        "--no-pivot",
        "--no-sync-log",
        "-0",
        "PD",
        "--replace-listen-pid",
        "--restore=R",
        "--restore-arg",
        "r1",
        "-r",
        "RT",
        "--runtime-arg",
        "--log",
        "--runtime-opt",
        "r2",
        "--sdnotify-socket",
        "@s",
        "--socket-dir-path",
        "SD",
        "-its",
        "--sync",
        "--syslog",
        "-T",
        "7",
        "stray",
    };
    struct conmon_options o;
    char refusal[CONMON_REFUSAL_MAX];
    int n = 0;

    while (args[n] != NULL)
        n++;
    assert(options_parse(&o, n, (char *const *)(uintptr_t)args, refusal) == CONMON_PARSED_RUN);
    assert(o.api_version && o.exec && o.exec_attach && o.terminal && o.gives_stdin && o.leave_stdin_open);
    assert(o.full_attach && o.systemd_cgroup && o.no_pivot && o.no_new_keyring && o.replace_listen_pid);
    assert(o.no_sync_log && o.log_rotate && o.no_partial_message && o.syslog && o.sync && !o.version);
    assert(o.exit_delay == 16 && o.timeout == 7 && o.log_max_files == 4);
    assert(o.log_size_max == -5 && o.log_global_size_max == 8);
    assert(strcmp(o.bundle, "B") == 0 && strcmp(o.cid, "C") == 0 && strcmp(o.cuuid, "U") == 0);
    assert(strcmp(o.name, "N") == 0 && strcmp(o.runtime, "RT") == 0 && strcmp(o.container_pidfile, "PP") == 0);
    assert(strcmp(o.conmon_pidfile, "CP") == 0 && strcmp(o.exit_dir, "D") == 0 && strcmp(o.persist_dir, "PD") == 0);
    assert(strcmp(o.socket_dir, "SD") == 0 && strcmp(o.exec_process_spec, "S") == 0 && strcmp(o.restore, "R") == 0);
    assert(strcmp(o.exit_command, "X") == 0 && strcmp(o.sdnotify_socket, "@s") == 0);
    assert(strcmp(o.log_level, "debug") == 0 && strcmp(o.log_tag, "T") == 0);
    assert(o.runtime_args.n == 1 && strcmp(o.runtime_args.items[0], "--log") == 0 && o.runtime_args.items[1] == NULL);
    assert(o.runtime_opts.n == 2 && strcmp(o.runtime_opts.items[0], "r1") == 0);
    assert(o.exit_args.n == 2 && strcmp(o.exit_args.items[1], "--rm") == 0);
    assert(o.log_paths.n == 2 && o.log_labels.n == 1 && o.log_dirs.n == 1);
    options_deinit(&o);
}

static enum conmon_parsed parse_one(const char *argument)
{
    const char *argv[] = {"conmon", argument, NULL};
    struct conmon_options options;
    char refusal[CONMON_REFUSAL_MAX];
    int r = options_parse(&options, 2, (char *const *)(uintptr_t)argv, refusal);

    options_deinit(&options);
    assert(r >= 0);
    return (enum conmon_parsed)r;
}

static void help_and_version_are_asked_for(void)
{
    assert(parse_one("--help") == CONMON_PARSED_HELP && parse_one("-h") == CONMON_PARSED_HELP);
    assert(parse_one("-?") == CONMON_PARSED_HELP && parse_one("--version") == CONMON_PARSED_VERSION);
    assert(strstr(options_help, "--log-max-files") != NULL);
}

static struct conmon_logs logs_of(const char *first, const char *second, const char *third)
{
    const char *items[] = {first, second, third, NULL};
    struct conmon_list list = {.items = items, .n = second == NULL ? 1 : third == NULL ? 2 : 3};
    char refusal[CONMON_REFUSAL_MAX];
    struct conmon_logs logs;

    assert(log_paths_parse(&logs, &list, refusal) == 0);
    return logs;
}

static void log_paths_name_drivers_and_files(void)
{
    struct conmon_logs logs = logs_of("k8s-file:/a/b:c", "journald:x", "none");

    assert(logs.n_files == 1 && strcmp(logs.files[0], "/a/b:c") == 0 && logs.journald && !logs.passthrough);
    logs = logs_of(":/f", "/plain", "k8s-file:/plain");
    assert(logs.n_files == 2 && strcmp(logs.files[0], "/f") == 0 && strcmp(logs.files[1], "/plain") == 0);
    logs = logs_of("off", "null", "none:what");
    assert(logs.n_files == 0 && !logs.journald && !logs.passthrough);
    logs = logs_of("passthrough", NULL, NULL);
    assert(logs.passthrough);
    logs = logs_of("journal", NULL, NULL);
    assert(logs.n_files == 1 && strcmp(logs.files[0], "journal") == 0);
}

int main(void)
{
    each_refusal_has_conmons_words();
    every_option_is_taken();
    help_and_version_are_asked_for();
    log_paths_name_drivers_and_files();
    return 0;
}
