/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spawning: this program is its own monitor. Executed as "remora-monitor" it forks as a monitor does, looks at the
 * state that it was given, and reports over its first connection.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "include/remora.h"
#include "util/fd.h"

#define PRESERVED 3

extern char **environ;

/* A line for each thing that is not as it should be; nothing when all is well. */
static void inspect(char **argv, char *report, size_t size)
{
    char text[64] = "";
    struct stat status, null;
    sigset_t mask;
    size_t at = 0;
    DIR *open_fds;
    int n = 0;

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            at += (size_t)snprintf(report + at, size - at, "%s\n", #condition);                                        \
    } while (0)

    EXPECT(strcmp(argv[1], "0123456789ab") == 0 && strcmp(argv[2], "some name") == 0 && argv[3] == NULL);
    EXPECT(getenv("ONLY") != NULL && environ[1] == NULL);
    EXPECT(pread(3, text, sizeof(text), 0) == 13 && memcmp(text, "configuration", 13) == 0);
    EXPECT((fcntl(3, F_GET_SEALS) & (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) ==
           (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
    EXPECT(lseek(3, 0, SEEK_CUR) == 0);
    EXPECT(fstat(4, &status) == 0 && S_ISSOCK(status.st_mode));
    EXPECT(stat("/dev/null", &null) == 0);
    for (int fd = 0; fd < 3; fd++)
        EXPECT(fstat(fd, &status) == 0 && status.st_rdev == null.st_rdev);
    EXPECT(fstat(6, &status) == 0 && status.st_rdev == null.st_rdev);
    EXPECT(pread(5, text, sizeof(text), 0) == 4 && memcmp(text, "lock", 4) == 0);
    for (int i = 0; i < PRESERVED; i++)
        EXPECT(pread(7 + i, text, sizeof(text), 0) == 1 && text[0] == 'a' + i);
    open_fds = opendir("/proc/self/fd");
    while (readdir(open_fds) != NULL)
        n++;
    closedir(open_fds);
    EXPECT(n == 2 + 7 + PRESERVED + 1);
    for (int fd = 3; fd < 7 + PRESERVED; fd++)
        EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    for (int number = 1; number < 32; number++) {
        struct sigaction action;

        EXPECT(!sigismember(&mask, number));
        EXPECT(sigaction(number, NULL, &action) < 0 || action.sa_handler != SIG_IGN);
    }
    EXPECT(getcwd(text, sizeof(text)) != NULL && strcmp(text, "/") == 0);
    EXPECT(getsid(0) != getpid());
#undef EXPECT
}

static int monitor_main(char **argv)
{
    char report[4096] = "";

    if (strcmp(argv[2], "fails") == 0)
        return 3;
    if (fork() != 0)
        return 0;
    inspect(argv, report, sizeof(report));
    return remora_send(4, REMORA_PACKET_CONTROL, report, strlen(report), NULL, 0) < 0;
}

static int file_with(const char *text)
{
    int fd = remora_sealed_memory("test", text, strlen(text));

    assert(fd >= 0);
    return fd;
}

static int put_at(int fd, int number)
{
    assert(dup3(fd, number, O_CLOEXEC) == number);
    close(fd);
    return number;
}

static void check_child(int lock, const int *preserved)
{
    char *environment[] = {"ONLY=this", NULL};
    char report[4096];
    int type = -1;
    int connection = remora_spawn("/proc/self/exe", "0123456789ab", "some name", "configuration", 13, lock, -1,
                                  preserved, PRESERVED, environment);
    ssize_t n;

    assert(connection >= 0);
    assert(fcntl(connection, F_GETFD) & FD_CLOEXEC);
    assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    n = remora_receive(connection, &type, report, sizeof(report) - 1, 10000);
    assert(n >= 0 && type == REMORA_PACKET_CONTROL);
    report[n] = 0;
    if (n > 0)
        fprintf(stderr, "%s", report);
    assert(n == 0);
    assert(remora_receive(connection, &type, report, sizeof(report), 10000) == -ECONNRESET);
    close(connection);
}

static void test_descriptors_land_on_their_numbers_whatever_they_were(void)
{
    /* Each source is another one's target. */
    int preserved[PRESERVED] = {put_at(file_with("a"), 25), put_at(file_with("b"), 26), put_at(file_with("c"), 27)};
    int lock = put_at(file_with("lock"), 28);

    preserved[0] = put_at(preserved[0], 9);
    preserved[1] = put_at(preserved[1], 7);
    preserved[2] = put_at(preserved[2], 5);
    lock = put_at(lock, 8);
    check_child(lock, preserved);
    for (int i = 0; i < PRESERVED; i++)
        close(preserved[i]);
    close(lock);
}

static void test_high_numbers_and_a_hostile_caller(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t mask, now;
    int preserved[PRESERVED] = {put_at(file_with("a"), 500), put_at(file_with("b"), 501), put_at(file_with("c"), 502)};
    int lock = put_at(file_with("lock"), 503);
    int leak = open("/dev/zero", O_RDONLY); /* not close-on-exec */

    sigaction(SIGHUP, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGUSR1, &ignore, NULL);
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    check_child(lock, preserved);
    sigprocmask(SIG_BLOCK, NULL, &now);
    assert(sigismember(&now, SIGTERM) && !sigismember(&now, SIGINT));
    sigaction(SIGHUP, NULL, &ignore);
    assert(ignore.sa_handler == SIG_IGN);
    /* And one that lets the kernel reap its children. */
    sigaction(SIGCHLD, &ignore, NULL);
    check_child(lock, preserved);
    ignore.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &ignore, NULL);
    close(leak);
    close(lock);
    for (int i = 0; i < PRESERVED; i++)
        close(preserved[i]);
}

static void test_failures_leave_nothing_behind(void)
{
    char *environment[] = {NULL};
    int next = dup(0);

    assert(remora_spawn("/nonexistent/monitor", "i", "n", "", 0, 0, -1, NULL, 0, environment) == -ENOENT);
    assert(remora_spawn("/dev/null", "i", "n", "", 0, 0, -1, NULL, 0, environment) == -EACCES);
    assert(remora_spawn("/proc/self/exe", "i", "fails", "", 0, 0, -1, NULL, 0, environment) == -ECHILD);
    assert(remora_spawn("/proc/self/exe", "i", "n", "", 0, 999, -1, NULL, 0, environment) == -EBADF);
    assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    close(next);
    assert(dup(0) == next);
    close(next);
}

static void test_packets_carry_descriptors_and_sizes(void)
{
    static char big[REMORA_PAYLOAD_MAX + 1];
    int pair[2], type;

    assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    assert(remora_send(pair[0], REMORA_PACKET_STDIN, big, sizeof(big), NULL, 0) == -EMSGSIZE);
    assert(remora_send(pair[0], REMORA_PACKET_STDIN, big, REMORA_PAYLOAD_MAX, NULL, 0) == 0);
    assert(remora_send(pair[0], REMORA_PACKET_STDIN, NULL, 0, NULL, 0) == 0);
    /* Descriptors that the receiver has no use for do not stay open in it. */
    assert(remora_send(pair[0], REMORA_PACKET_CONTROL, "x", 1, pair, 2) == 0);
    assert(remora_receive(pair[1], &type, big, REMORA_PAYLOAD_MAX, 1000) == REMORA_PAYLOAD_MAX);
    assert(remora_receive(pair[1], &type, big, REMORA_PAYLOAD_MAX, 1000) == 0 && type == REMORA_PACKET_STDIN);
    assert(remora_receive(pair[1], &type, big, REMORA_PAYLOAD_MAX, 1000) == 1 && type == REMORA_PACKET_CONTROL);
    assert(remora_receive(pair[1], &type, big, REMORA_PAYLOAD_MAX, 20) == -ETIMEDOUT);
    /* The peer's last packet is seen though it did not read ours. */
    assert(remora_send(pair[1], REMORA_PACKET_STDIN, "unread", 6, NULL, 0) == 0);
    assert(remora_send(pair[0], REMORA_PACKET_EXIT, "last", 4, NULL, 0) == 0);
    close(pair[0]);
    assert(remora_receive(pair[1], &type, big, REMORA_PAYLOAD_MAX, 1000) == 4 && type == REMORA_PACKET_EXIT);
    assert(remora_receive(pair[1], &type, big, REMORA_PAYLOAD_MAX, 1000) == -ECONNRESET);
    assert(remora_send(pair[1], REMORA_PACKET_STDIN, "x", 1, NULL, 0) == -EPIPE);
    close(pair[1]);
}

int main(int argc, char **argv)
{
    (void)argc;
    if (strcmp(argv[0], "remora-monitor") == 0)
        return monitor_main(argv);
    test_descriptors_land_on_their_numbers_whatever_they_were();
    test_high_numbers_and_a_hostile_caller();
    test_failures_leave_nothing_behind();
    test_packets_carry_descriptors_and_sizes();
    return 0;
}
