/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conmon's own messages: `[conmon:LETTER]: TEXT` on stderr, and with --syslog to the system's log as well. Callers show
 * the first kind to their users, so the form is part of the interface.
 */
#ifndef REMORA_CONMON_MESSAGE_H
#define REMORA_CONMON_MESSAGE_H

#include <stdbool.h>

enum message_level {
    MESSAGE_ERROR, /* always shown */
    MESSAGE_WARNING,
    MESSAGE_INFO,
    MESSAGE_DEBUG,
    MESSAGE_TRACE,
};

struct messages {
    enum message_level level; /* of the least important ones that are shown */
    const char *id; /* borrowed: the container's */
    const char *tag; /* borrowed, or NULL */
    int syslog_fd; /* owned; -1 = not to syslog */
};

/* error/fatal/panic, warn/warning, info, debug, trace, in any case. */
bool message_level_parse(const char *name, enum message_level *level);

/* With to_syslog a socket is made for it; a system without a log daemon is no error. */
void messages_init(struct messages *messages, enum message_level level, const char *id, const char *tag,
                   bool to_syslog);
void messages_deinit(struct messages *messages);

/* Never waits for the reader of the system's log. */
void message(const struct messages *messages, enum message_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
