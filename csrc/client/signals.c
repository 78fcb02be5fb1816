/* SPDX-License-Identifier: Apache-2.0 */
#include "client/signals.h"

#include <sys/signalfd.h>
#include <time.h>

#include "util/fd.h"

/* Those that ask a process to end, or that programs give a meaning of their own. */
static const int passed[] = {SIGHUP,  SIGINT,    SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                             SIGALRM, SIGVTALRM, SIGPROF, SIGIO,   SIGPWR,  SIGXCPU};

/*
 * About the terminal and job control. SIGTTIN and SIGTTOU are left out: blocked, a read in the background would fail
 * with EIO instead of stopping the process.
 */
static const int terminal[] = {SIGWINCH, SIGTSTP, SIGCONT};

static void add_unless_ignored(sigset_t *set, int number)
{
    struct sigaction action;

    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

int signals_init(struct signals *signals)
{
    sigset_t set;

    *signals = (struct signals){.fd = -1};
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++)
        add_unless_ignored(&set, passed[i]);
    for (size_t i = 0; i < sizeof(terminal) / sizeof(*terminal); i++)
        add_unless_ignored(&set, terminal[i]);
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0)
        return -errno;
    sigaddset(&set, SIGPIPE);
    if (sigprocmask(SIG_BLOCK, &set, &signals->saved) < 0)
        return -errno;
    signals->blocked = true;
    return 0;
}

void signals_deinit(struct signals *signals)
{
    const struct timespec now = {0};
    sigset_t set;

    fd_close(&signals->fd);
    if (!signals->blocked)
        return;
    signals->blocked = false;
    if (!sigismember(&signals->saved, SIGPIPE)) {
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        while (sigtimedwait(&set, NULL, &now) > 0)
            ;
    }
    sigprocmask(SIG_SETMASK, &signals->saved, NULL);
}

int signals_take(struct signals *signals)
{
    struct signalfd_siginfo info;

    return read(signals->fd, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

bool signals_is_passed(int number)
{
    for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++)
        if (passed[i] == number)
            return true;
    return false;
}
