/* SPDX-License-Identifier: Apache-2.0 */
#include "conmon/arguments.h"

#include <errno.h>
#include <stdlib.h>

#define FIXED_MAX 24 /* all that stands there beside the lists */

struct builder {
    const char **argv;
    size_t n;
};

static void add(struct builder *builder, const char *argument)
{
    builder->argv[builder->n++] = argument;
}

static void add_pair(struct builder *builder, const char *option, const char *value)
{
    add(builder, option);
    add(builder, value);
}

static void add_list(struct builder *builder, const struct conmon_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        add(builder, list->items[i]);
}

static void add_exec(struct builder *builder, const struct conmon_options *options, const char *pidfile)
{
    add(builder, "exec");
    add_pair(builder, "--pid-file", pidfile);
    add_pair(builder, "--process", options->exec_process_spec);
    add(builder, "--detach");
}

static void add_create(struct builder *builder, const struct conmon_options *options, const char *pidfile)
{
    add(builder, options->restore != NULL ? "restore" : "create");
    add_pair(builder, "--bundle", options->bundle);
    add_pair(builder, "--pid-file", pidfile);
    if (options->no_pivot)
        add(builder, "--no-pivot");
    if (options->no_new_keyring)
        add(builder, "--no-new-keyring");
    if (options->restore == NULL)
        return;
    add(builder, "--detach");
    add_pair(builder, "--image-path", options->restore);
    add_pair(builder, "--work-path", options->bundle);
}

const char **runtime_arguments(const struct conmon_options *options, const char *pidfile, const char *console)
{
    size_t n = FIXED_MAX + options->runtime_args.n + options->runtime_opts.n;
    struct builder builder = {.argv = calloc(n, sizeof(char *))};

    if (builder.argv == NULL)
        return NULL;
    add(&builder, options->runtime);
    /* An exec gets its place from the container. */
    if (options->systemd_cgroup && !options->exec)
        add(&builder, "--systemd-cgroup");
    add_list(&builder, &options->runtime_args);
    if (options->exec)
        add_exec(&builder, options, pidfile);
    else
        add_create(&builder, options, pidfile);
    add_list(&builder, &options->runtime_opts);
    if (console != NULL)
        add_pair(&builder, "--console-socket", console);
    add(&builder, options->cid);
    return builder.argv;
}

int listen_pid_check(const char *value, pid_t parent, bool replace)
{
    long pid;

    if (value == NULL)
        return 0;
    errno = 0;
    pid = strtol(value, NULL, 10);
    if (errno != 0 || pid <= 0 || pid > 0x7fffffff)
        return -EINVAL;
    return replace || pid == (long)parent;
}
