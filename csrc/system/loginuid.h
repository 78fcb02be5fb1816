/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The login uid: whom the kernel's audit trail names. It is inherited, so what a monitor executes acts for who started
 * the container; what somebody else asks for is to bear that one's. Needs CAP_AUDIT_CONTROL, or a login uid of our own
 * that is unset (audit_set_loginuid, kernel/audit.c).
 */
#ifndef REMORA_SYSTEM_LOGINUID_H
#define REMORA_SYSTEM_LOGINUID_H

#include <stdbool.h>

#define LOGINUID_SIZE 16

/* The login uid of the process at the other end of a connection, where it is another than our own. */
bool loginuid_of_peer(int socket, char text[LOGINUID_SIZE]);
/* Take it on as well as may be. Async-signal-safe. */
void loginuid_become(const char text[LOGINUID_SIZE]);

#endif
