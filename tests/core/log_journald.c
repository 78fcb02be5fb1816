/* SPDX-License-Identifier: Apache-2.0 */
/* journald's native protocol, spoken to a socket of our own in its place: bytes, limits, absence, slowness, kills. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "log/log.h"
#include "log_files.h"
#include "log_help.h"
#include "log_writing.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID_FIELD "CONTAINER_ID_FULL=" ID "\n"
#define NAMES "CONTAINER_ID=0123456789ab\nCONTAINER_NAME=web\nSYSLOG_IDENTIFIER=web\n"
#define PARTIAL "CONTAINER_PARTIAL_MESSAGE=true\n"

static const struct timespec NOW = {1700000000, 123456789};

static struct log_options *journal_options(void)
{
    struct log_options *options = new_options(LOG_JOURNALD, NULL);

    options->id = ID;
    options->name = "web";
    options->journal = "journal";
    return options;
}

static int listen_here(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "journal"};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    unlink("journal");
    assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

static struct log *open_journal(const struct log_options *options)
{
    struct log *log = mmap(NULL, sizeof(*log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const char *what;

    assert(log != MAP_FAILED && log_open(log, options, &what) == 0);
    return log;
}

static void close_journal(struct log *log)
{
    log_deinit(log);
    munmap(log, sizeof(*log));
}

static void put(struct log *log, enum log_stream stream, const char *text)
{
    log_write(log, stream, &NOW, text, strlen(text));
}

/* The next entry as it came; from the memfd, when it came in one. Its size, or -1 when there is none. */
static ssize_t receive(int fd, char *to, size_t capacity, bool *large)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {to, capacity};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int memory;

    if (large != NULL)
        *large = false;
    if (n != 0 || message.msg_controllen == 0)
        return n;
    assert(control.header.cmsg_type == SCM_RIGHTS && control.header.cmsg_len == CMSG_LEN(sizeof(int)));
    memcpy(&memory, CMSG_DATA(&control.header), sizeof(int));
    assert(fcntl(memory, F_GET_SEALS) == (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    n = pread(memory, to, capacity, 0);
    close(memory);
    if (large != NULL)
        *large = true;
    return n;
}

static void expect(int fd, const void *wanted, size_t size)
{
    static char got[1 << 20];
    ssize_t n = receive(fd, got, sizeof(got), NULL);

    if (n == (ssize_t)size && memcmp(got, wanted, size) == 0)
        return;
    printf("got %zd bytes, wanted %zu:\n%.*s\nwanted:\n%.*s\n", n, size, n > 0 ? (int)n : 0, got, (int)size,
           (const char *)wanted);
    fflush(stdout);
    abort();
}

#define EXPECT(fd, text) expect(fd, text, sizeof(text) - 1)

static void expect_nothing(int fd)
{
    char byte;

    assert(receive(fd, &byte, 1, NULL) == -1 && errno == EAGAIN);
}

static void entries_have_conmons_fields(void)
{
    static const char *const labels[] = {"APP=shop", "com.example/name=two\nlines", "_9=odd"};
    struct log_options *options = journal_options();
    int fd = listen_here();
    struct log *log = open_journal(options);

    put(log, LOG_STDOUT, "hello\n\n");
    EXPECT(fd, "MESSAGE\n\x06\0\0\0\0\0\0\0hello\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    EXPECT(fd, "MESSAGE\n\x01\0\0\0\0\0\0\0\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    put(log, LOG_STDERR, "bad\n");
    EXPECT(fd, "MESSAGE\n\x04\0\0\0\0\0\0\0bad\n\n" ID_FIELD "PRIORITY=3\n" NAMES);
    close_journal(log);

    options->name = NULL;
    log = open_journal(options);
    put(log, LOG_STDOUT, "x\n");
    EXPECT(fd, "MESSAGE\n\x02\0\0\0\0\0\0\0x\n\n" ID_FIELD
               "PRIORITY=6\nCONTAINER_ID=0123456789ab\nSYSLOG_IDENTIFIER=0123456789ab\n");
    close_journal(log);

    options->name = "web";
    options->tag = "tg";
    options->labels = labels;
    options->n_labels = 3;
    log = open_journal(options);
    put(log, LOG_STDOUT, "x\n");
    EXPECT(fd, "MESSAGE\n\x02\0\0\0\0\0\0\0x\n\n" ID_FIELD "PRIORITY=6\nCONTAINER_ID=0123456789ab\nCONTAINER_TAG=tg\n"
               "CONTAINER_NAME=web\nSYSLOG_IDENTIFIER=tg\nAPP=shop\n"
               "COM_EXAMPLE_NAME\n\x09\0\0\0\0\0\0\0two\nlines\n");
    expect_nothing(fd);
    close_journal(log);
    close(fd);
}

static void the_parts_of_a_line_are_joined(void)
{
    static char longer[LOG_LINE_MAX + 2], wanted[LOG_LINE_MAX + 1024];
    struct log_options *options = journal_options();
    int fd = listen_here();
    struct log *log = open_journal(options);
    size_t size;

    put(log, LOG_STDOUT, "par");
    put(log, LOG_STDERR, "other\n");
    put(log, LOG_STDOUT, "ti");
    EXPECT(fd, "MESSAGE\n\x06\0\0\0\0\0\0\0other\n\n" ID_FIELD "PRIORITY=3\n" NAMES);
    expect_nothing(fd);
    put(log, LOG_STDOUT, "al\nrest");
    EXPECT(fd, "MESSAGE\n\x08\0\0\0\0\0\0\0partial\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    expect_nothing(fd);
    log_finish(log);
    EXPECT(fd, "MESSAGE=rest\n" ID_FIELD "PRIORITY=6\n" NAMES PARTIAL);
    expect_nothing(fd);

    /* Up to a bound. */
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\n';
    log_write(log, LOG_STDOUT, &NOW, longer, 5000);
    log_write(log, LOG_STDOUT, &NOW, longer + 5000, sizeof(longer) - 5000);
    size = (size_t)snprintf(wanted, sizeof(wanted), "MESSAGE=%.*s\n%s", LOG_LINE_MAX, longer,
                            ID_FIELD "PRIORITY=6\n" NAMES PARTIAL);
    expect(fd, wanted, size);
    EXPECT(fd, "MESSAGE\n\x02\0\0\0\0\0\0\0x\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    expect_nothing(fd);
    assert(log_written(log) == 3 + 6 + 2 + 7 + sizeof(longer) && log_dropped(log) == 0);
    close_journal(log);

    options->no_partial_marks = true;
    log = open_journal(options);
    put(log, LOG_STDOUT, "rest");
    log_finish(log);
    EXPECT(fd, "MESSAGE=rest\n" ID_FIELD "PRIORITY=6\n" NAMES);
    close_journal(log);
    close(fd);
}

static void a_prefix_gives_the_priority(void)
{
    struct log_options *options = journal_options();
    int fd = listen_here();
    struct log *log = open_journal(options);

    put(log, LOG_STDOUT, "<4>as it is\n");
    EXPECT(fd, "MESSAGE\n\x0c\0\0\0\0\0\0\0<4>as it is\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    close_journal(log);
    options->priority_prefix = true;
    log = open_journal(options);
    put(log, LOG_STDOUT, "<4>warn\n<9>no\n<2");
    put(log, LOG_STDOUT, ">in parts\n<0>");
    EXPECT(fd, "MESSAGE\n\x05\0\0\0\0\0\0\0warn\n\n" ID_FIELD "PRIORITY=4\n" NAMES);
    EXPECT(fd, "MESSAGE\n\x06\0\0\0\0\0\0\0<9>no\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    EXPECT(fd, "MESSAGE\n\x09\0\0\0\0\0\0\0in parts\n\n" ID_FIELD "PRIORITY=2\n" NAMES);
    put(log, LOG_STDOUT, "\n");
    EXPECT(fd, "MESSAGE\n\x01\0\0\0\0\0\0\0\n\n" ID_FIELD "PRIORITY=0\n" NAMES);
    expect_nothing(fd);
    close_journal(log);
    close(fd);
}

static void a_large_entry_goes_in_a_sealed_memfd(void)
{
    static char line[20000], wanted[21000], got[21000];
    struct log *log = open_journal(journal_options());
    int fd = listen_here(), small = 4096, before = count_descriptors();
    size_t size = (size_t)sprintf(wanted, "MESSAGE\n%c%c", (char)(20000 & 255), (char)(20000 >> 8));
    bool large;

    assert(setsockopt(log->targets[0].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    put(log, LOG_STDOUT, "small\n");
    EXPECT(fd, "MESSAGE\n\x06\0\0\0\0\0\0\0small\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    log_write(log, LOG_STDOUT, &NOW, line, sizeof(line));
    memset(wanted + size, 0, 6);
    memcpy(wanted + 16, line, sizeof(line));
    size = 16 + sizeof(line);
    size += (size_t)sprintf(wanted + size, "\n%s", ID_FIELD "PRIORITY=6\n" NAMES);
    assert(receive(fd, got, sizeof(got), &large) == (ssize_t)size && large && memcmp(got, wanted, size) == 0);
    put(log, LOG_STDOUT, "and on\n");
    EXPECT(fd, "MESSAGE\n\x07\0\0\0\0\0\0\0and on\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    assert(log_dropped(log) == 0 && count_descriptors() == before);
    close_journal(log);
    close(fd);
}

static void without_a_journal_output_is_counted_and_told_when_it_is_back(void)
{
    struct log *log;
    int fd;

    unlink("journal");
    log = open_journal(journal_options());
    put(log, LOG_STDOUT, "lost\nand");
    put(log, LOG_STDERR, "gone\n");
    assert(log_dropped(log) == 13 && log_written(log) == 0 && log_error(log) == ENOENT);
    fd = listen_here();
    put(log, LOG_STDOUT, "back\n");
    EXPECT(fd,
           "MESSAGE=remora: 13 bytes of output were not logged: no journal is running\n" ID_FIELD "PRIORITY=4\n" NAMES);
    EXPECT(fd, "MESSAGE\n\x05\0\0\0\0\0\0\0back\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    /* A journal that is started again is another socket; a line that has begun loses its end. */
    put(log, LOG_STDOUT, "begun, ");
    close(fd);
    put(log, LOG_STDOUT, "ended\n");
    assert(log_error(log) == ECONNREFUSED);
    fd = listen_here();
    log_finish(log);
    EXPECT(fd, "MESSAGE=begun, \n" ID_FIELD "PRIORITY=6\n" NAMES PARTIAL);
    EXPECT(fd,
           "MESSAGE=remora: 6 bytes of output were not logged: no journal is running\n" ID_FIELD "PRIORITY=4\n" NAMES);
    expect_nothing(fd);
    assert(log_dropped(log) == 19 && log_written(log) == 5 + 7);
    close_journal(log);
    close(fd);
}

static void a_journal_that_reads_nothing_holds_nobody_up_who_may_drop(void)
{
    struct log_options *options = journal_options();
    struct log *log;
    int fd = listen_here();
    uint64_t total = 0, received = 0;
    char got[4096], text[32];
    ssize_t n;

    options->streams[LOG_STDOUT].policy = LOG_DROP;
    log = open_journal(options);
    while (log_dropped(log) == 0) {
        total += (uint64_t)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)total);
        put(log, LOG_STDOUT, text);
        assert(total < 10000000);
    }
    while (receive(fd, got, sizeof(got), NULL) > 0)
        received++;
    put(log, LOG_STDOUT, "again\n");
    n = receive(fd, got, sizeof(got), NULL);
    assert(n > 0 && received > 0);
    got[n] = '\0';
    snprintf(text, sizeof(text), "MESSAGE=remora: %llu bytes", (unsigned long long)log_dropped(log));
    assert(strncmp(got, text, strlen(text)) == 0 && strstr(got, ": the journal was too slow\n") != NULL);
    EXPECT(fd, "MESSAGE\n\x06\0\0\0\0\0\0\0again\n\n" ID_FIELD "PRIORITY=6\n" NAMES);
    assert(log_written(log) + log_dropped(log) == total + 6);
    close_journal(log);
    close(fd);
}

/* Killed at each system call: no entry is missing, and none comes twice. */
static void a_kill_at_any_system_call_loses_no_entry(void)
{
    enum { LINES = 8 }; /* fewer than a socket holds */
    struct {
        struct log log;
        char text[LINES * 16 + 1];
        bool pending;
        uint64_t calls;
    } *scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = listen_here();
    const char *what;
    unsigned next = 0, number = 0;

    assert(scene != MAP_FAILED && log_open(&scene->log, journal_options(), &what) == 0);
    for (int stop = 0; stop < 8; stop++) {
        for (int steps = 0; steps < 300; steps += steps < 20 ? 3 : 70) {
            static char got[4096];
            ssize_t n;
            int status;
            pid_t pid;

            /* The last line's end comes with the next round. */
            for (unsigned i = 0; i < LINES; i++, number++)
                snprintf(scene->text + (size_t)i * 15, 16, "%14u\n", number);
            scene->calls = log_calls(&scene->log);
            pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
            if (pid == 0) {
                ptrace(PTRACE_TRACEME, 0, NULL, NULL);
                raise(SIGSTOP);
                log_write(&scene->log, LOG_STDOUT, &NOW, scene->text, LINES * 15 - 4);
                _exit(0);
            }
            assert(pid > 0 && waitpid(pid, &status, 0) == pid);
            for (int i = 0; i < stop + steps && WIFSTOPPED(status); i++) {
                assert(ptrace(i < stop ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
                assert(waitpid(pid, &status, 0) == pid);
            }
            if (WIFSTOPPED(status))
                assert(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
            log_resume(&scene->log);
            if (log_calls(&scene->log) == scene->calls)
                log_write(&scene->log, LOG_STDOUT, &NOW, scene->text, LINES * 15 - 4);
            log_write(&scene->log, LOG_STDOUT, &NOW, scene->text + LINES * 15 - 4, 4);
            log_idle(&scene->log);
            while ((n = receive(fd, got, sizeof(got) - 1, NULL)) > 0) {
                got[n] = '\0';
                assert(memcmp(got, "MESSAGE\n\x0f\0\0\0\0\0\0\0", 16) == 0);
                assert(strtoul(got + 16, NULL, 10) == next);
                next++;
            }
            assert(next == number);
        }
    }
    assert(log_dropped(&scene->log) == 0 && log_written(&scene->log) == (uint64_t)number * 15);
    log_deinit(&scene->log);
    munmap(scene, sizeof(*scene));
    close(fd);
}

int main(void)
{
    entries_have_conmons_fields();
    the_parts_of_a_line_are_joined();
    a_prefix_gives_the_priority();
    a_large_entry_goes_in_a_sealed_memfd();
    without_a_journal_output_is_counted_and_told_when_it_is_back();
    a_journal_that_reads_nothing_holds_nobody_up_who_may_drop();
    a_kill_at_any_system_call_loses_no_entry();
    unlink("journal");
    return 0;
}
