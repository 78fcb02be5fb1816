/* SPDX-License-Identifier: Apache-2.0 */
/* From the command line to the loop, in conmon's order: callers synchronise with its steps. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conmon/conmon.h"
#include "conmon/files.h"
#include "conmon/syncpipe.h"
#include "engine/keeper.h"
#include "remora.h"
#include "util/fd.h"

/* The interface's version, by which callers tell what they may ask for. */
#define INTERFACE_VERSION "2.2.1"
#define START_MAX 8192
#define KEPT_SIZE ((size_t)64 << 20) /* of addresses; little of it is ever touched */

bool conmon_is_meant(int argc, char *const *argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc > 0 ? (slash != NULL ? slash + 1 : argv[0]) : "";

    /* A monitor of our own gets an id and a name, which never begin like an option. */
    return strcmp(name, "conmon") == 0 || (argc > 1 && argv[1][0] == '-');
}

/* The caller's descriptors, before there are any of ours. */
static void list_inherited(struct setup *setup)
{
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;

    if (folder == NULL)
        return;
    while ((entry = readdir(folder)) != NULL && setup->n_inherited < CONMON_INHERITED_MAX) {
        int fd = atoi(entry->d_name);

        if (fd > STDERR_FILENO && fd != dirfd(folder))
            setup->inherited[setup->n_inherited++] = fd;
    }
    closedir(folder);
}

/* A descriptor got an owner of its own. */
static void forget_inherited(struct setup *setup, int fd)
{
    for (size_t i = 0; i < setup->n_inherited; i++)
        if (setup->inherited[i] == fd)
            setup->inherited[i] = -1;
}

static int take_pipe(struct setup *setup, const char *variable, int *to)
{
    char refusal[CONMON_REFUSAL_MAX];
    int fd = pipe_from_environment(variable, refusal, sizeof(refusal));

    if (fd < -1) {
        message(&setup->messages, MESSAGE_ERROR, "%s", refusal);
        return fd;
    }
    forget_inherited(setup, fd);
    *to = fd;
    return 0;
}

static void adjust_oom_score(struct setup *setup)
{
    CLEANUP_FD int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, setup->oom_score, sizeof(setup->oom_score) - 1);

    if (n > 0)
        (void)!pwrite(fd, "-1000", 5, 0);
}

/* The caller uses this pause to put us into a cgroup. Any byte or the end releases; 1: we were asked to end. */
static int await_start(struct setup *setup, int signals)
{
    struct pollfd waits[] = {{.fd = setup->start_fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    char bytes[START_MAX];

    if (setup->start_fd < 0)
        return 0;
    while (poll(waits, 2, -1) < 0)
        if (errno != EINTR)
            return -errno;
    if (waits[1].revents != 0)
        return 1;
    return read(setup->start_fd, bytes, sizeof(bytes)) < 0 ? -errno : 0;
}

/* In the daemon: nothing is done before its pid can be read where the caller looks for it. false: the caller failed. */
static bool await_caller(int fd)
{
    char byte;
    ssize_t n;

    do
        n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

/* The daemon goes on in the child: 0. The caller's process: 1 when all is well, or -errno. */
static int leave_caller(struct setup *setup)
{
    CLEANUP_FD int ready = -1;
    CLEANUP_FD int tell = -1;
    int ends[2];
    pid_t pid;
    int r = 0;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    ready = ends[0];
    tell = ends[1];
    pid = fork();
    if (pid == 0) {
        fd_close(&tell);
        return await_caller(ready) ? 0 : -ECANCELED;
    }
    if (pid < 0) {
        r = -errno;
        message(&setup->messages, MESSAGE_ERROR, "Failed to fork the create command %s", strerror(-r));
        return r;
    }
    if (setup->options.conmon_pidfile != NULL)
        r = file_put_number(setup->options.conmon_pidfile, pid, false);
    if (r < 0) {
        message(&setup->messages, MESSAGE_ERROR, "Failed to write conmon pidfile: %s: %s",
                setup->options.conmon_pidfile, strerror(-r));
        return r;
    }
    return fd_write_all(tell, "", 1) < 0 ? -ECHILD : 1;
}

static int block_signals(struct setup *setup)
{
    sigset_t all, ours;
    int fd;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &setup->caller_mask);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    fd = signalfd(-1, &ours, SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Up to the daemon: 0, or 1 with the exit status of the caller's process, which shares the kept memory with it. */
static int start(struct setup *setup, int *status)
{
    CLEANUP_FD int signals = -1;
    int r;

    *status = EXIT_FAILURE;
    list_inherited(setup);
    if (setup_check(setup) < 0)
        return 1;
    adjust_oom_score(setup);
    signals = block_signals(setup);
    if (signals < 0 || take_pipe(setup, "_OCI_STARTPIPE", &setup->start_fd) < 0)
        return 1;
    r = await_start(setup, signals);
    if (r < 0)
        message(&setup->messages, MESSAGE_ERROR, "start-pipe read failed %s", strerror(-r));
    if (r != 0)
        return 1;
    if (!setup->options.exec_attach)
        fd_close(&setup->start_fd);
    if (setup->options.sync)
        return 0;
    r = leave_caller(setup);
    if (r > 0)
        *status = EXIT_SUCCESS;
    return r != 0;
}

/* ---- in the daemon ---- */

/* TMPDIR/conmon-term.XXXXXX */
static int choose_console(struct setup *setup)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    const char *folder = getenv("TMPDIR");
    unsigned char random[6];

    if (folder == NULL || folder[0] == '\0')
        folder = "/tmp";
    setup->console_folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (setup->console_folder < 0)
        return -errno;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -EIO;
    strcpy(setup->console_name, "conmon-term.XXXXXX");
    for (size_t i = 0; i < sizeof(random); i++)
        setup->console_name[sizeof("conmon-term.") - 1 + i] = letters[random[i] % 32];
    return asprintf(&setup->console_path, "%s/%s", folder, setup->console_name) < 0 ? -ENOMEM : 0;
}

static int take_pipes(struct setup *setup)
{
    struct conmon *conmon = setup->conmon;

    if (take_pipe(setup, "_OCI_SYNCPIPE", &conmon->sync_fd) < 0)
        return -EINVAL;
    if (!setup->options.exec_attach)
        return 0;
    if (take_pipe(setup, "_OCI_ATTACHPIPE", &conmon->attach_fd) < 0)
        return -EINVAL;
    if (conmon->attach_fd < 0) {
        conmon_fail(conmon, "--attach specified but _OCI_ATTACHPIPE was not", -ENOENT);
        return -EINVAL;
    }
    return 0;
}

/* Be the keeper. The exit status. */
static int run(struct setup *setup)
{
    static const struct keeper_program program = {.work = conmon_work, .perform = conmon_perform};
    int r;

    if (take_pipes(setup) < 0)
        return EXIT_FAILURE;
    if (!setup->logs.passthrough)
        conmon_leave_stdio();
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    r = setup->options.terminal ? choose_console(setup) : 0;
    if (r < 0) {
        conmon_fail(setup->conmon, "Failed to generate random path for console-socket", r);
        return EXIT_FAILURE;
    }
    r = board_init(setup->board);
    if (r == 0)
        r = keeper_run(setup->board, &program, setup);
    if (r < 0)
        conmon_fail(setup->conmon, "Failed to start the worker", r);
    return r < 0 ? EXIT_FAILURE : r;
}

/* All zero but for what is set here. */
static int lay_out(struct setup *setup)
{
    struct source none = {.fd = -1};
    struct kept kept;
    struct conmon *conmon;
    int r = kept_map(&kept, KEPT_SIZE);

    if (r < 0)
        return r;
    conmon = kept_take(&kept, sizeof(*conmon), sizeof(max_align_t));
    setup->board = kept_take(&kept, sizeof(*setup->board), sizeof(max_align_t));
    if (conmon == NULL || setup->board == NULL)
        return -ENOMEM;
    setup->conmon = conmon;
    conmon->setup = setup;
    conmon->hub.children.board = setup->board;
    conmon->sync_fd = conmon->attach_fd = conmon->console = conmon->relay.host = -1;
    conmon->signals = conmon->attach = conmon->ctl = conmon->winsz = conmon->oom = conmon->wordy = none;
    conmon->relay.source = none;
    conmon->time_limit.source = conmon->patience.source = conmon->relay.again.source = none;
    conmon->exit_status = EXIT_FAILURE;
    cgroup_init(&conmon->cgroup);
    stdio_init(&conmon->stdio);
    return hub_lay_out(&conmon->hub, &kept);
}

static int parse(struct setup *setup, int argc, char **argv, int *status)
{
    char refusal[CONMON_REFUSAL_MAX];
    int r = options_parse(&setup->options, argc, argv, refusal);

    *status = r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (r < 0)
        fprintf(stderr, "%s\n", r == -EINVAL ? refusal : "conmon: out of memory");
    else if (r == CONMON_PARSED_HELP)
        fputs(options_help, stdout);
    else if (r == CONMON_PARSED_VERSION)
        printf("conmon version " INTERFACE_VERSION "\ncommit: remora-monitor %s\n", remora_version());
    return r == CONMON_PARSED_RUN ? 0 : 1;
}

/* Where stdin, stdout or stderr are closed, a file of ours would take their place. */
static void fill_stdio(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    fd_close(&fd);
}

int conmon_main(int argc, char **argv)
{
    struct setup *setup = calloc(1, sizeof(*setup));
    int status = EXIT_FAILURE;

    if (setup == NULL)
        return status;
    setup->start_fd = setup->console_folder = setup->messages.syslog_fd = -1;
    fill_stdio();
    umask(022);
    if (parse(setup, argc, argv, &status) != 0)
        return status;
    if (lay_out(setup) < 0) {
        fputs("[conmon:e]: Failed to allocate memory\n", stderr);
        return EXIT_FAILURE;
    }
    if (start(setup, &status) != 0)
        return status;
    status = run(setup);
    if (setup->called && setup->options.exit_command != NULL)
        conmon_run_exit_command(setup);
    return status;
}
