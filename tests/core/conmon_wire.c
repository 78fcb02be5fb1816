/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over conmon's pipes, fifos and sockets, and into its files and the runtime's command line. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "conmon/arguments.h"
#include "conmon/attach.h"
#include "conmon/files.h"
#include "conmon/lines.h"
#include "conmon/message.h"
#include "conmon/notify.h"
#include "conmon/syncpipe.h"

static void is_line(const char *want, const char *key, int number, const char *message, size_t size)
{
    char line[SYNC_LINE_MAX];
    size_t n = sync_line(line, sizeof(line), key, number, message, size);

    assert(n == strlen(want) && memcmp(line, want, n) == 0);
}

static void sync_lines_have_their_exact_form(void)
{
    char message[SYNC_MESSAGE_MAX + 100], line[SYNC_LINE_MAX];
    size_t n;

    is_line("{\"pid\": 42}\n", "pid", 42, NULL, 0);
    is_line("{\"data\": -1, \"message\": \"command timed out\"}\n", "data", -1, "command timed out", 17);
    is_line("{\"exit_code\": -1, \"message\": \"\"}\n", "exit_code", -1, "", 0);
    is_line("{\"data\": -1, \"message\": \"a\\\"b\\\\c\\n\\t\\r\\b\\f/\"}\n", "data", -1, "a\"b\\c\n\t\r\b\f/", 11);
    is_line("{\"data\": -1, \"message\": \"\\u0000\\u001b\\u001f\\u007f\xc3\xa4\xff\"}\n", "data", -1,
            "\0\x1b\x1f\x7f\xc3\xa4\xff", 7);
    memset(message, 1, sizeof(message));
    n = sync_line(line, sizeof(line), "data", -1, message, sizeof(message));
    assert(n == strlen("{\"data\": -1, \"message\": \"\"}\n") + 6 * (size_t)SYNC_MESSAGE_MAX);
    assert(memcmp(line + n - 3, "\"}\n", 3) == 0);
}

static void pipes_come_from_the_environment(void)
{
    char refusal[256];
    int fd = open("/dev/null", O_RDONLY);
    char text[16];

    unsetenv("TEST_PIPE");
    assert(pipe_from_environment("TEST_PIPE", refusal, sizeof(refusal)) == -1);
    snprintf(text, sizeof(text), "%d", fd);
    setenv("TEST_PIPE", text, 1);
    assert(pipe_from_environment("TEST_PIPE", refusal, sizeof(refusal)) == fd);
    assert(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    close(fd);
    assert(pipe_from_environment("TEST_PIPE", refusal, sizeof(refusal)) == -EBADF);
    assert(strcmp(refusal, "unable to make TEST_PIPE CLOEXEC Bad file descriptor") == 0);
    setenv("TEST_PIPE", "7x", 1);
    assert(pipe_from_environment("TEST_PIPE", refusal, sizeof(refusal)) == -EINVAL);
    assert(strncmp(refusal, "unable to parse TEST_PIPE ", 26) == 0);
    setenv("TEST_PIPE", "0", 1);
    assert(pipe_from_environment("TEST_PIPE", refusal, sizeof(refusal)) == -1);
}

/* Feed a text in two pieces, cut at `cut`, and join the lines with '|'. */
static void cut_lines(const char *text, size_t cut, char *joined, bool *too_long)
{
    struct lines lines = {0};
    char line[LINE_BUFFER];
    size_t sizes[2] = {cut, strlen(text) - cut};
    const char *at = text;

    *joined = '\0';
    for (int i = 0; i < 2; i++) {
        const char *piece = at;
        size_t size = sizes[i];

        at += size;
        while (lines_next(&lines, &piece, &size, line, too_long)) {
            strcat(joined, line);
            strcat(joined, "|");
        }
        assert(size == 0);
    }
}

static void lines_are_cut_wherever_the_reads_end(void)
{
    static const char text[] = "1 24 80\n\n2 0 0\n1 25";
    char joined[1024], large[600];
    bool too_long = false;

    for (size_t cut = 0; cut < sizeof(text); cut++) {
        cut_lines(text, cut, joined, &too_long);
        assert(strcmp(joined, "1 24 80||2 0 0|") == 0 && !too_long);
    }
    memset(large, 'x', sizeof(large));
    memcpy(large + 400, "\n1 2 3\n", 8);
    for (size_t cut = 0; cut < strlen(large); cut++) {
        too_long = false;
        cut_lines(large, cut, joined, &too_long);
        assert(strcmp(joined, "1 2 3|") == 0 && too_long);
    }
}

static void is_control(enum control_line want, const char *line, int type, int height, int width)
{
    struct control_message message;

    assert(control_line_parse(line, &message) == want);
    if (want != CONTROL_LINE_BAD)
        assert(message.type == type && message.height == height && message.width == width);
}

static void control_lines_are_understood_as_by_scanf(void)
{
    struct control_message message;

    is_control(CONTROL_LINE_RESIZE, "1 24 80", 1, 24, 80);
    is_control(CONTROL_LINE_RESIZE, "\t +1  0032\t0099 and more", 1, 32, 99);
    is_control(CONTROL_LINE_RESIZE, "1 2 3x", 1, 2, 3);
    is_control(CONTROL_LINE_RESIZE, "1 65535 0", 1, 65535, 0);
    is_control(CONTROL_LINE_WINDOW_INVALID, "1 65536 80", 1, 65536, 80);
    is_control(CONTROL_LINE_WINDOW_INVALID, "1 24 -1", 1, 24, -1);
    is_control(CONTROL_LINE_WINDOW_INVALID, "1 99999999999999999999999 1", 1, 2147483647, 1);
    is_control(CONTROL_LINE_REOPEN, "2 0 0", 2, 0, 0);
    is_control(CONTROL_LINE_UNKNOWN, "3 0 0", 3, 0, 0);
    is_control(CONTROL_LINE_BAD, "", 0, 0, 0);
    is_control(CONTROL_LINE_BAD, "1 24", 0, 0, 0);
    is_control(CONTROL_LINE_BAD, "2", 0, 0, 0);
    is_control(CONTROL_LINE_BAD, "1 - 2", 0, 0, 0);
    is_control(CONTROL_LINE_BAD, "x 1 2", 0, 0, 0);
    assert(window_line_parse("30 90 rest", &message) == CONTROL_LINE_RESIZE);
    assert(message.height == 30 && message.width == 90);
    assert(window_line_parse("30", &message) == CONTROL_LINE_BAD);
}

static void is_passed(const char *want, const char *datagram)
{
    char to[256];
    size_t n = notify_filter(to, datagram, strlen(datagram));

    assert(n == strlen(want) && memcmp(to, want, n) == 0);
}

static void only_harmless_notifications_pass(void)
{
    is_passed("READY=1", "READY=1");
    is_passed("READY=1", "READY=1\n");
    is_passed("", "XREADY=12\nREADY=1x\nREADY=0");
    is_passed("READY=1\nSTATUS=a=b c", "MAINPID=1\nREADY=1\nFDSTORE=1\nSTATUS=a=b c\nBARRIER=1\nNOTIFYACCESS=all\n");
    is_passed("RELOADING=1\nMONOTONIC_USEC=12\nSTOPPING=1\nWATCHDOG=1\nWATCHDOG=trigger\nERRNO=2\nBUSERROR=b",
              "RELOADING=1\nMONOTONIC_USEC=12\nSTOPPING=1\nWATCHDOG=1\nWATCHDOG=trigger\nERRNO=2\nBUSERROR=b\n");
    is_passed("", "");
    is_passed("", "WATCHDOG=2\nWATCHDOG_USEC=5\n\n");
    assert(notify_filter((char[8]){0}, "STATUS=a\0b", 10) == 0);
}

static void numbers_appear_whole_and_empty_files_stay(void)
{
    char text[32];
    struct stat status;
    int fd;

    umask(022);
    assert(file_put_number("number", -1, false) == 0 && file_put_number_in(".", "number", 137) == 0);
    fd = open("number", O_RDONLY);
    assert(read(fd, text, sizeof(text)) == 3 && memcmp(text, "137", 3) == 0);
    assert(fstat(fd, &status) == 0 && (status.st_mode & 07777) == 0644);
    close(fd);
    assert(file_read_pid("number") == 137 && file_read_pid("none") == -ENOENT);
    assert(file_put_number_in("nowhere", "number", 1) == -ENOENT);
    assert(file_touch(".", "oom") == 0 && file_touch(".", "oom") == 0 && file_touch("nowhere", "oom") == -ENOENT);
    assert(stat("oom", &status) == 0 && status.st_size == 0);
    assert(file_read_pid("oom") == -ENODATA);
    assert(file_put_number("number", 1, true) == 0 && file_read_pid("number") == -EBADMSG);
}

static void attach_links_leave_room_for_the_socket(void)
{
    char folder[108], path[256];

    assert(attach_link_path(path, sizeof(path), "/var/run/crio", "abc") == 0 && strcmp(path, "/var/run/crio/abc") == 0);
    assert(attach_link_path(path, sizeof(path), "/run//", "/abc") == 0 && strcmp(path, "/run/abc") == 0);
    assert(attach_link_path(path, sizeof(path), "/", "abc") == 0 && strcmp(path, "/abc") == 0);
    memset(folder, 'd', sizeof(folder));
    folder[0] = '/';
    folder[100] = '\0';
    assert(attach_link_path(path, sizeof(path), folder, "12345") == 0 && strlen(path) == 106);
    assert(attach_link_path(path, sizeof(path), folder, "123456") == 0 && strlen(path) == 106);
    assert(attach_link_path(path, sizeof(path), folder, "1234567") == 0 && strlen(path) == 108);
    assert(attach_link_path(path, 100, folder, "1") == -ENAMETOOLONG);
}

static void sockets_are_bound_below_any_path(void)
{
    char folder[400] = "";
    struct stat status;
    int fd;

    /* Longer than a socket address. */
    for (int i = 0; i < 6; i++) {
        strcat(folder, i == 0 ? "" : "/");
        strcat(folder, "0123456789012345678901234567890123456789");
        assert(mkdir(folder, 0700) == 0 || errno == EEXIST);
    }
    umask(077);
    for (int i = 0; i < 2; i++) {
        fd = socket_bind_in(folder, "attach", SOCK_SEQPACKET, 0777);
        assert(fd >= 0 && listen(fd, 1) == 0);
        close(fd);
    }
    strcat(folder, "/attach");
    assert(stat(folder, &status) == 0 && S_ISSOCK(status.st_mode) && (status.st_mode & 07777) == 0777);
    umask(022);
    for (int i = 0; i < 2; i++) {
        fd = fifo_open_in(".", "ctl");
        assert(fd >= 0 && write(fd, "x", 1) == 1);
        close(fd);
    }
    assert(stat("ctl", &status) == 0 && S_ISFIFO(status.st_mode) && (status.st_mode & 07777) == 0640);
    assert(fifo_open_in("nowhere", "ctl") == -ENOENT);
}

static void is_call(const struct conmon_options *options, const char *console, const char *want)
{
    const char **argv = runtime_arguments(options, "/pid", console);
    char joined[512] = "";

    for (size_t i = 0; argv[i] != NULL; i++) {
        strcat(joined, i == 0 ? "" : " ");
        strcat(joined, argv[i]);
    }
    if (strcmp(joined, want) != 0)
        printf("want \"%s\", got \"%s\"\n", want, joined);
    assert(strcmp(joined, want) == 0);
    free(argv);
}

static void the_runtime_is_called_as_conmon_does(void)
{
    const char *args[] = {"--log", "/l", NULL};
    const char *opts[] = {"--preserve-fds", "2", NULL};
    struct conmon_options options = {.runtime = "/r", .cid = "id", .bundle = "/b", .systemd_cgroup = true};

    is_call(&options, NULL, "/r --systemd-cgroup create --bundle /b --pid-file /pid id");
    options.runtime_args = (struct conmon_list){.items = args, .n = 2};
    options.runtime_opts = (struct conmon_list){.items = opts, .n = 2};
    options.no_pivot = options.no_new_keyring = true;
    is_call(&options, "/c",
            "/r --systemd-cgroup --log /l create --bundle /b --pid-file /pid --no-pivot --no-new-keyring "
            "--preserve-fds 2 --console-socket /c id");
    options.restore = "/image";
    options.no_pivot = options.systemd_cgroup = false;
    is_call(&options, NULL,
            "/r --log /l restore --bundle /b --pid-file /pid --no-new-keyring --detach --image-path /image "
            "--work-path /b --preserve-fds 2 id");
    options = (struct conmon_options){.runtime = "/r",
                                      .cid = "id",
                                      .exec = true,
                                      .systemd_cgroup = true,
                                      .exec_process_spec = "/s",
                                      .terminal = true};
    options.runtime_opts = (struct conmon_list){.items = opts, .n = 2};
    is_call(&options, "/c", "/r exec --pid-file /pid --process /s --detach --preserve-fds 2 --console-socket /c id");
}

static void listen_pid_is_rewritten_for_its_owner(void)
{
    assert(listen_pid_check(NULL, 100, true) == 0 && listen_pid_check("100", 100, false) == 1);
    assert(listen_pid_check("99", 100, false) == 0 && listen_pid_check("99", 100, true) == 1);
    assert(listen_pid_check("0", 100, false) == -EINVAL && listen_pid_check("-3", 100, true) == -EINVAL);
    assert(listen_pid_check("x", 100, false) == -EINVAL && listen_pid_check("99999999999", 1, false) == -EINVAL);
}

static void messages_have_conmons_form_and_level(void)
{
    struct messages messages;
    enum message_level level;
    char text[512];
    int ends[2], saved = dup(2);
    ssize_t n;

    assert(message_level_parse("WARN", &level) && level == MESSAGE_WARNING);
    assert(message_level_parse("Panic", &level) && level == MESSAGE_ERROR);
    assert(!message_level_parse("warnings", &level) && !message_level_parse("", &level));
    assert(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
    messages_init(&messages, MESSAGE_WARNING, "id", NULL, true);
    message(&messages, MESSAGE_ERROR, "one %d", 1);
    message(&messages, MESSAGE_WARNING, "two");
    message(&messages, MESSAGE_INFO, "three");
    messages.level = MESSAGE_TRACE;
    message(&messages, MESSAGE_TRACE, "four");
    messages_deinit(&messages);
    dup2(saved, 2);
    close(saved);
    close(ends[1]);
    n = read(ends[0], text, sizeof(text) - 1);
    assert(n > 0);
    text[n] = '\0';
    assert(strcmp(text, "[conmon:e]: one 1\n[conmon:w]: two\n[conmon:d]: four\n") == 0);
    close(ends[0]);
}

int main(void)
{
    sync_lines_have_their_exact_form();
    pipes_come_from_the_environment();
    lines_are_cut_wherever_the_reads_end();
    control_lines_are_understood_as_by_scanf();
    only_harmless_notifications_pass();
    numbers_appear_whole_and_empty_files_stay();
    attach_links_leave_room_for_the_socket();
    sockets_are_bound_below_any_path();
    the_runtime_is_called_as_conmon_does();
    listen_pid_is_rewritten_for_its_owner();
    messages_have_conmons_form_and_level();
    return 0;
}
