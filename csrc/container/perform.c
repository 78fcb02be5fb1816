/* SPDX-License-Identifier: Apache-2.0 */
#include "container/perform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/handover.h"
#include "container/monitor.h"
#include "container/namespaces.h"
#include "container/runtime.h"
#include "container/strays.h"
#include "engine/keeper.h"
#include "remora.h"
#include "util/fd.h"

#define ARGV_MAX 96
#define PATH_MAX_HERE 4096

void perform_log_name(char name[PERFORM_NAME_MAX], unsigned number)
{
    snprintf(name, PERFORM_NAME_MAX, "runtime-%u.log", number);
}

void perform_pid_name(char name[PERFORM_NAME_MAX], unsigned number)
{
    snprintf(name, PERFORM_NAME_MAX, "%u.pid", number);
}

void perform_console_name(char name[PERFORM_NAME_MAX], unsigned number)
{
    snprintf(name, PERFORM_NAME_MAX, "console-%u", number);
}

/* ---- runtime calls ---- */

struct command {
    const char *argv[ARGV_MAX];
    size_t n;
    char log[PATH_MAX_HERE], pid_file[PATH_MAX_HERE], bundle[PATH_MAX_HERE];
    char console[64], process[32], preserved[24];
};

static void add(struct command *command, const char *word)
{
    if (command->n + 1 < ARGV_MAX)
        command->argv[command->n++] = word;
}

static void add_option(struct command *command, const char *option, const char *value)
{
    add(command, option);
    add(command, value);
}

static void add_start(struct command *command, const struct native *native, const struct task *task, size_t preserved)
{
    char name[PERFORM_NAME_MAX];

    perform_pid_name(name, task->number);
    snprintf(command->pid_file, sizeof(command->pid_file), "%s/%s", native->config.run_dir, name);
    add(command, "--detach");
    add_option(command, "--pid-file", command->pid_file);
    if (task->tty) {
        /* Through this process's /proc entry: short enough for a socket address whatever the folder is called. */
        perform_console_name(name, task->number);
        snprintf(command->console, sizeof(command->console), "/proc/%d/fd/%d/%s", getpid(), native->run_dir_fd, name);
        add_option(command, "--console-socket", command->console);
    }
    if (preserved > 0) {
        snprintf(command->preserved, sizeof(command->preserved), "%zu", preserved);
        add_option(command, "--preserve-fds", command->preserved);
    }
}

/* The command line of a call; false: no such call. */
static bool compose(struct command *command, const struct native *native, const struct task *task)
{
    const struct config *config = &native->config;
    char name[PERFORM_NAME_MAX];

    for (size_t i = 0; i < config->n_runtime; i++)
        add(command, config->runtime[i]);
    if (!task->unlogged) {
        perform_log_name(name, task->number);
        snprintf(command->log, sizeof(command->log), "%s/%s", config->run_dir, name);
        add_option(command, "--log", command->log);
        add_option(command, "--log-format", "json");
    }
    switch ((enum native_task)task->kind) {
    case TASK_RUN:
        snprintf(command->bundle, sizeof(command->bundle), "%s/bundle", config->data_dir);
        add(command, "run");
        add_option(command, "--bundle", command->bundle);
        add_start(command, native, task, task->n_kept);
        break;
    case TASK_EXEC:
        if (task->n_kept < 1)
            return false;
        /* The process object comes after the preserved descriptors; the runtime opens it before it starts anything. */
        snprintf(command->process, sizeof(command->process), "/proc/self/fd/%zu", 2 + task->n_kept);
        add(command, "exec");
        add_option(command, "--process", command->process);
        add_start(command, native, task, task->n_kept - 1);
        break;
    case TASK_DELETE:
        add(command, "delete");
        add(command, "--force");
        break;
    case TASK_PAUSE:
        add(command, "pause");
        break;
    case TASK_UNPAUSE:
        add(command, "resume");
        break;
    case TASK_REMOVE:
    case TASK_TRY_UPGRADE:
    case TASK_HELP:
    case TASK_CLEAN_UP:
    default:
        return false;
    }
    add(command, config->id);
    return config->n_runtime + 24 < ARGV_MAX;
}

/* ---- removal ---- */

/*
 * The folder goes only if no other container uses the image: then its guard has to go, too. Until it has, the empty
 * folder is the sign of that, so it is made again.
 */
static void last_use(const struct native *native, struct task *task, const char *const *words, size_t n)
{
    struct execution unguard = {.argv = words + 1, .environment = native->config.environment, .stdio = {-1, -1, -1}};

    if (n < 2 || rmdir(words[0]) < 0)
        return;
    mkdir(words[0], 0700);
    task->result = 1;
    if (!task->attended)
        execute(&unguard);
}

/* The link in the folder of names, under the name that the container has by now. */
static void forget_name(const struct native *native, const char *folder)
{
    CLEANUP_FD int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char name[CONTAINER_NAME_MAX + 1];

    memcpy(name, native->monitor->name, sizeof(name));
    name[CONTAINER_NAME_MAX] = 0;
    if (fd >= 0 && strchr(name, '/') == NULL)
        unlinkat(fd, name, 0);
}

static void remove_step(struct native *native, struct task *task, const msgpack_object *step)
{
    const char *words[16];
    size_t n = 0;

    if (step->type != MSGPACK_OBJECT_ARRAY || step->via.array.size < 2 ||
        step->via.array.size >= sizeof(words) / sizeof(words[0]))
        return;
    for (uint32_t i = 0; i < step->via.array.size; i++) {
        words[n] = msg_element(&native->config.msg, &step->via.array.ptr[i]);
        if (words[n++] == NULL)
            return;
    }
    words[n] = NULL;
    if (strcmp(words[0], "unlink") == 0)
        unlink(words[1]);
    else if (strcmp(words[0], "name") == 0)
        forget_name(native, words[1]);
    else if (strcmp(words[0], "tree") == 0)
        remora_remove_tree(words[1]);
    else if (strcmp(words[0], "last_use") == 0)
        last_use(native, task, words + 1, n - 1);
}

static void remove_container(struct native *native, struct task *task)
{
    const msgpack_object_array *steps = native->config.remove;

    /* A tree is removed up to the next mount: ours have to go first. */
    if (native->config.rootfs[0] != 0)
        umount2(native->config.rootfs, MNT_DETACH | UMOUNT_NOFOLLOW);
    namespaces_unbind(&native->config);
    for (uint32_t i = 0; steps != NULL && i < steps->size; i++)
        remove_step(native, task, &steps->ptr[i]);
}

/* ---- helpers ---- */

static void help(struct native *native, struct board *board, struct task *task)
{
    CLEANUP_FD int words = -1;
    int stdio[3] = {-1, -1, -1};

    if (task->item >= native->config.n_helpers)
        return;
    words = memfd_create("remora-helper", MFD_CLOEXEC);
    if (words < 0 || fcntl(words, F_SETFL, O_APPEND) < 0) {
        task->result = -errno;
        return;
    }
    stdio[STDERR_FILENO] = words;
    task->n_kept = 0;
    task->pipes = false;
    keeper_execute(board, task, native->config.helpers[task->item].argv, native->config.environment, stdio);
    if (task->result == 0)
        task->err = fd_take(&words);
}

/* ---- clean-up ---- */

/* A program of the configuration with the first word after "execute" as its input; nobody reads what it says. */
static void execute_step(struct native *native, struct board *board, struct task *task, const char *const *words)
{
    CLEANUP_FD int input = memfd_create("remora-cleanup", MFD_CLOEXEC);
    int stdio[3] = {input, -1, -1};

    task->result = input < 0 ? -errno : fd_write_all(input, words[1], strlen(words[1]));
    if (task->result == 0 && lseek(input, 0, SEEK_SET) < 0)
        task->result = -errno;
    if (task->result == 0)
        keeper_execute(board, task, words + 2, native->config.environment, stdio);
}

static void clean_up(struct native *native, struct board *board, struct task *task)
{
    const char *const *words;

    if (task->item >= config_n_steps(&native->config))
        return;
    words = config_step_words(&native->config, task->item);
    task->n_kept = 0;
    task->pipes = false;
    if (words == NULL) {
        task->result = -ENOMEM;
    } else if (config_step_executes(&native->config, task->item)) {
        execute_step(native, board, task, words);
    } else {
        /* What failed once may go a second time. */
        if (unlink(words[1]) < 0 && errno != ENOENT)
            unlink(words[1]);
        task->result = 0;
    }
}

void native_perform(void *state, struct board *board, struct task *task)
{
    struct native *native = state;
    static const int handed_on[3] = {FD_PRESERVED, FD_PRESERVED + 1, FD_PRESERVED + 2};
    struct command command = {0};

    task->result = -EINVAL;
    if (task->kind == TASK_REMOVE) {
        task->result = 0;
        remove_container(native, task);
    } else if (task->kind == TASK_TRY_UPGRADE) {
        task->result = handover_try(native, task->kept[0]);
    } else if (task->kind == TASK_HELP) {
        help(native, board, task);
    } else if (task->kind == TASK_CLEAN_UP) {
        clean_up(native, board, task);
    } else if (compose(&command, native, task)) {
        if (task->kind == TASK_DELETE && native->config.shared_pids)
            strays_kill(native, board);
        keeper_execute(board, task, command.argv, native->config.environment,
                       task->kind == TASK_RUN && native->config.passthrough ? handed_on : NULL);
    }
}
