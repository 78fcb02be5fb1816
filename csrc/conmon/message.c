/* SPDX-License-Identifier: Apache-2.0 */
/* The datagram to /dev/log is the BSD syslog form that libc's syslog(3) writes: <PRIORITY>TIME NAME: TEXT. */
#include "conmon/message.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "util/fd.h"

#define TEXT_MAX 9000 /* a runtime's words of 8 KiB and ours around them */

bool message_level_parse(const char *name, enum message_level *level)
{
    static const struct {
        char name[8];
        unsigned char level;
    } names[] = {
        {"error", MESSAGE_ERROR},     {"fatal", MESSAGE_ERROR}, {"panic", MESSAGE_ERROR}, {"warn", MESSAGE_WARNING},
        {"warning", MESSAGE_WARNING}, {"info", MESSAGE_INFO},   {"debug", MESSAGE_DEBUG}, {"trace", MESSAGE_TRACE},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(name, names[i].name) == 0) {
            *level = (enum message_level)names[i].level;
            return true;
        }
    }
    return false;
}

void messages_init(struct messages *messages, enum message_level level, const char *id, const char *tag, bool to_syslog)
{
    *messages = (struct messages){.level = level, .id = id, .tag = tag, .syslog_fd = -1};
    if (to_syslog)
        messages->syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void messages_deinit(struct messages *messages)
{
    fd_close(&messages->syslog_fd);
}

static void send_to_syslog(const struct messages *messages, enum message_level level, const char *text)
{
    static const char kinds[][8] = {
        [MESSAGE_ERROR] = "error",  [MESSAGE_WARNING] = "nwarn", [MESSAGE_INFO] = "ninfo",
        [MESSAGE_DEBUG] = "ndebug", [MESSAGE_TRACE] = "ntrace",
    };
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    char whole[TEXT_MAX + 128], now[32], id[64];
    time_t seconds = time(NULL);
    struct tm local;
    int length;

    snprintf(id, sizeof(id), messages->tag != NULL ? "%s: %s" : "%s", messages->id, messages->tag);
    /* RFC 3164: "Mmm dd hh:mm:ss". */
    if (localtime_r(&seconds, &local) == NULL || strftime(now, sizeof(now), "%h %e %T", &local) == 0)
        now[0] = '\0';
    length = snprintf(whole, sizeof(whole), "<%d>%s conmon: conmon %.20s <%s>: %s",
                      LOG_USER | (level == MESSAGE_ERROR ? LOG_ERR : LOG_INFO), now, id, kinds[level], text);
    if ((size_t)length >= sizeof(whole))
        length = (int)sizeof(whole) - 1;
    (void)!sendto(messages->syslog_fd, whole, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (const struct sockaddr *)&address, sizeof(address));
}

void message(const struct messages *messages, enum message_level level, const char *format, ...)
{
    static const char letters[] = "ewidd";
    char line[TEXT_MAX];
    va_list arguments;
    int prefix, length;

    if (level > messages->level)
        return;
    prefix = snprintf(line, sizeof(line), "[conmon:%c]: ", letters[level]);
    va_start(arguments, format);
    length = prefix + vsnprintf(line + prefix, sizeof(line) - 1 - (size_t)prefix, format, arguments);
    va_end(arguments);
    if ((size_t)length > sizeof(line) - 2)
        length = (int)sizeof(line) - 2;
    if (messages->syslog_fd >= 0)
        send_to_syslog(messages, level, line + prefix);
    line[length] = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)length + 1);
}
