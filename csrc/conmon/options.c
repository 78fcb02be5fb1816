/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules are those of GLib's option parser, which conmon uses: long options as `--name value` or `--name=value`,
 * short ones in clusters whose members take their value from the next argument, `--` ends the options, what is no
 * option is ignored, a flag ignores a value given with `=`, a later value replaces an earlier one.
 */
#include "conmon/options.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SOCKET_DIR "/var/run/crio"

enum kind {
    FLAG,
    TEXT,
    LIST,
    NUMBER, /* int */
    LONG_NUMBER, /* int64_t */
};

struct option_rule {
    char name[30];
    char letter; /* 0 = none */
    unsigned char kind;
    unsigned short offset; /* in struct conmon_options */
};

#define RULE(name, letter, kind, field)                                                                                \
    {                                                                                                                  \
        name, letter, kind, offsetof(struct conmon_options, field)                                                     \
    }

static const struct option_rule rules[] = {
    RULE("api-version", 0, FLAG, api_version),
    RULE("bundle", 'b', TEXT, bundle),
    RULE("cid", 'c', TEXT, cid),
    RULE("conmon-pidfile", 'P', TEXT, conmon_pidfile),
    RULE("container-pidfile", 'p', TEXT, container_pidfile),
    RULE("cuuid", 'u', TEXT, cuuid),
    RULE("exec", 'e', FLAG, exec),
    RULE("exec-attach", 0, FLAG, exec_attach),
    RULE("exec-process-spec", 0, TEXT, exec_process_spec),
    RULE("exit-command", 0, TEXT, exit_command),
    RULE("exit-command-arg", 0, LIST, exit_args),
    RULE("exit-delay", 0, NUMBER, exit_delay),
    RULE("exit-dir", 0, TEXT, exit_dir),
    RULE("full-attach", 0, FLAG, full_attach),
    RULE("leave-stdin-open", 0, FLAG, leave_stdin_open),
    RULE("log-allowlist-dir", 0, LIST, log_dirs),
    RULE("log-global-size-max", 0, LONG_NUMBER, log_global_size_max),
    RULE("log-label", 0, LIST, log_labels),
    RULE("log-level", 0, TEXT, log_level),
    RULE("log-max-files", 0, NUMBER, log_max_files),
    RULE("log-path", 'l', LIST, log_paths),
    RULE("log-rotate", 0, FLAG, log_rotate),
    RULE("log-size-max", 0, LONG_NUMBER, log_size_max),
    RULE("log-tag", 0, TEXT, log_tag),
    RULE("name", 'n', TEXT, name),
    RULE("no-container-partial-message", 0, FLAG, no_partial_message),
    RULE("no-new-keyring", 0, FLAG, no_new_keyring),
    RULE("no-pivot", 0, FLAG, no_pivot),
    RULE("no-sync-log", 0, FLAG, no_sync_log),
    RULE("persist-dir", '0', TEXT, persist_dir),
    RULE("pidfile", 0, TEXT, container_pidfile),
    RULE("replace-listen-pid", 0, FLAG, replace_listen_pid),
    RULE("restore", 0, TEXT, restore),
    RULE("restore-arg", 0, LIST, runtime_opts),
    RULE("runtime", 'r', TEXT, runtime),
    RULE("runtime-arg", 0, LIST, runtime_args),
    RULE("runtime-opt", 0, LIST, runtime_opts),
    RULE("sdnotify-socket", 0, TEXT, sdnotify_socket),
    RULE("seccomp-notify-plugins", 0, TEXT, seccomp_plugins),
    RULE("seccomp-notify-socket", 0, TEXT, seccomp_socket),
    RULE("socket-dir-path", 0, TEXT, socket_dir),
    RULE("stdin", 'i', FLAG, gives_stdin),
    RULE("sync", 0, FLAG, sync),
    RULE("syslog", 0, FLAG, syslog),
    RULE("systemd-cgroup", 's', FLAG, systemd_cgroup),
    RULE("terminal", 't', FLAG, terminal),
    RULE("timeout", 'T', NUMBER, timeout),
    RULE("version", 0, FLAG, version),
};

const char options_help[] =
    "Usage:\n"
    "  conmon [OPTION…] - monitor of one OCI container, by remora-monitor\n"
    "\n"
    "  -h, --help                       Show this help\n"
    "  --version                        Show the version\n"
    "  --api-version                    Use API 1 (a following number is ignored)\n"
    "  -b, --bundle                     Folder of the OCI bundle; home of attach, ctl and winsz\n"
    "  -c, --cid                        Container id, as the runtime knows it\n"
    "  -u, --cuuid                      Unique id of the container or of the exec session\n"
    "  -n, --name                       Container name, for journald\n"
    "  -r, --runtime                    Path of the OCI runtime\n"
    "  --runtime-arg                    Global argument of the runtime (repeatable)\n"
    "  --runtime-opt                    Argument of the runtime's subcommand (repeatable)\n"
    "  -p, --container-pidfile          Where the runtime writes the container's pid\n"
    "  -P, --conmon-pidfile             Where this program's own pid is written\n"
    "  --exit-dir                       Folder that gets a file CID with the exit status\n"
    "  -0, --persist-dir                Folder that gets the files exit and oom\n"
    "  -l, --log-path                   DRIVER:PATH, PATH or DRIVER (repeatable)\n"
    "  --log-size-max                   Largest size of a log file in bytes\n"
    "  --log-global-size-max            Log at most so many bytes in all\n"
    "  --log-rotate                     Keep old log files instead of dropping them\n"
    "  --log-max-files                  Number of old log files\n"
    "  --log-allowlist-dir              Folder in which logs may be made (repeatable)\n"
    "  --log-tag                        Tag, for journald\n"
    "  --log-label                      Further field KEY=VALUE, for journald (repeatable)\n"
    "  --no-container-partial-message   Don't mark partial journald entries\n"
    "  --no-sync-log                    Don't sync logs at the end\n"
    "  --log-level                      error, warning, info, debug or trace\n"
    "  --syslog                         Messages go to syslog, too\n"
    "  -t, --terminal                   The process has a terminal\n"
    "  -i, --stdin                      The process has an input\n"
    "  --leave-stdin-open               An attached client's end does not end the input\n"
    "  -e, --exec                       Execute a process in a running container\n"
    "  --exec-process-spec              OCI process object for --exec\n"
    "  --exec-attach                    Wait for a client before the execution\n"
    "  --restore                        Restore from this checkpoint\n"
    "  -s, --systemd-cgroup             Passed to the runtime\n"
    "  --no-pivot                       Passed to the runtime\n"
    "  --no-new-keyring                 Passed to the runtime\n"
    "  --exit-command                   Program to execute at the end\n"
    "  --exit-command-arg               Its argument (repeatable)\n"
    "  --exit-delay                     Seconds to wait before it\n"
    "  -T, --timeout                    Kill after so many seconds\n"
    "  --socket-dir-path                Folder of the short links to attach sockets\n"
    "  --full-attach                    Attach sockets are in the bundle only\n"
    "  --sdnotify-socket                Service manager's socket to pass notifications on to\n"
    "  --replace-listen-pid             Always set LISTEN_PID for the runtime\n"
    "  --sync                           Stay in the foreground\n";

/* What parsing goes along with. */
struct parser {
    struct conmon_options *options;
    int argc, at; /* argv[at] is the argument that was taken last */
    char *const *argv;
    char *refusal;
};

__attribute__((format(printf, 2, 3))) static int refuse(char *refusal, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(refusal, CONMON_REFUSAL_MAX, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

#define UNPARSED "conmon: option parsing failed: "

static int list_append(struct parser *parser, struct conmon_list *list, const char *value)
{
    if (list->items == NULL) {
        /* As many as there can ever be. */
        list->items = calloc((size_t)parser->argc + 1, sizeof(*list->items));
        if (list->items == NULL)
            return -ENOMEM;
    }
    list->items[list->n++] = value;
    return 0;
}

/* Decimal, octal or hexadecimal, as C writes them. */
static int parse_number(struct parser *parser, const char *name, const char *value, bool wide, int64_t *number)
{
    char *end;

    errno = 0;
    *number = strtoll(value, &end, 0);
    if (*value == '\0' || *end != '\0')
        return refuse(parser->refusal, UNPARSED "Cannot parse integer value “%.400s” for %s", value, name);
    if (errno == ERANGE || (!wide && (*number < INT_MIN || *number > INT_MAX)))
        return refuse(parser->refusal, UNPARSED "Integer value “%.400s” for %s out of range", value, name);
    return 0;
}

/* name: as it was written, for messages. */
static int assign(struct parser *parser, const struct option_rule *rule, const char *name, const char *value)
{
    char *field = (char *)parser->options + rule->offset;
    int64_t number = 0;
    int r;

    switch ((enum kind)rule->kind) {
    case FLAG:
        *(bool *)(void *)field = true;
        return 0;
    case TEXT:
        *(const char **)(void *)field = value;
        return 0;
    case LIST:
        return list_append(parser, (struct conmon_list *)(void *)field, value);
    case NUMBER:
        r = parse_number(parser, name, value, false, &number);
        if (r == 0)
            *(int *)(void *)field = (int)number;
        return r;
    case LONG_NUMBER:
        r = parse_number(parser, name, value, true, &number);
        if (r == 0)
            *(int64_t *)(void *)field = number;
        return r;
    }
    return -EINVAL;
}

/* The value of an option that has none with it: the next argument, whatever that looks like. */
static int assign_next(struct parser *parser, const struct option_rule *rule, const char *name)
{
    if (parser->at + 1 >= parser->argc)
        return refuse(parser->refusal, UNPARSED "Missing argument for %s", name);
    parser->at++;
    return assign(parser, rule, name, parser->argv[parser->at]);
}

static int parse_long(struct parser *parser, const char *argument)
{
    const char *name = argument + 2;
    size_t length = strcspn(name, "=");
    char written[40];

    if (strcmp(name, "help") == 0 || strcmp(name, "help-all") == 0)
        return CONMON_PARSED_HELP;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct option_rule *rule = &rules[i];

        if (strlen(rule->name) != length || strncmp(rule->name, name, length) != 0)
            continue;
        if (rule->kind == FLAG)
            return assign(parser, rule, NULL, NULL);
        snprintf(written, sizeof(written), "--%s", rule->name);
        if (name[length] == '=')
            return assign(parser, rule, written, name + length + 1);
        return assign_next(parser, rule, written);
    }
    return refuse(parser->refusal, UNPARSED "Unknown option %.400s", argument);
}

static const struct option_rule *find_letter(char letter)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].letter == letter)
            return &rules[i];
    return NULL;
}

static int parse_short(struct parser *parser, const char *argument)
{
    int own = parser->at;
    int r;

    for (const char *letter = argument + 1; *letter != '\0'; letter++) {
        const struct option_rule *rule = find_letter(*letter);
        char written[3] = {'-', *letter, '\0'};

        if (*letter == 'h' || *letter == '?')
            return CONMON_PARSED_HELP;
        if (rule == NULL)
            return refuse(parser->refusal, UNPARSED "Unknown option %.400s", argument);
        if (rule->kind == FLAG)
            r = assign(parser, rule, NULL, NULL);
        else if (parser->at > own)
            r = refuse(parser->refusal, UNPARSED "Error parsing option %s", written);
        else
            r = assign_next(parser, rule, written);
        if (r != 0)
            return r;
    }
    return 0;
}

int options_parse(struct conmon_options *options, int argc, char *const *argv, char refusal[CONMON_REFUSAL_MAX])
{
    struct parser parser = {.options = options, .argc = argc, .argv = argv, .refusal = refusal};

    *options = (struct conmon_options){
        .log_size_max = -1, .log_global_size_max = -1, .log_max_files = 1, .socket_dir = DEFAULT_SOCKET_DIR};
    refusal[0] = '\0';
    for (parser.at = 1; parser.at < argc; parser.at++) {
        const char *argument = argv[parser.at];
        int r;

        if (argument[0] != '-' || argument[1] == '\0')
            continue;
        if (strcmp(argument, "--") == 0)
            break;
        r = argument[1] == '-' ? parse_long(&parser, argument) : parse_short(&parser, argument);
        if (r != 0)
            return r;
    }
    if (options->version)
        return CONMON_PARSED_VERSION;
    if (options->log_max_files < 0 || (options->log_max_files == 0 && options->log_rotate))
        return refuse(refusal, "conmon: log-max-files must be %s, got %d",
                      options->log_max_files < 0 ? "non-negative" : "at least 1 when log-rotate is enabled",
                      options->log_max_files);
    if (options->cid == NULL)
        return refuse(refusal, "conmon: Container ID not provided. Use --cid");
    return CONMON_PARSED_RUN;
}

void options_deinit(struct conmon_options *options)
{
    free(options->runtime_args.items);
    free(options->runtime_opts.items);
    free(options->exit_args.items);
    free(options->log_paths.items);
    free(options->log_labels.items);
    free(options->log_dirs.items);
    *options = (struct conmon_options){0};
}
