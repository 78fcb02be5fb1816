/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files a caller reads: pids, exit statuses, the sign of an out-of-memory kill. A reader sees the whole file or
 * none.
 */
#ifndef REMORA_CONMON_FILES_H
#define REMORA_CONMON_FILES_H

#include <stdbool.h>
#include <sys/types.h>

/* Put a decimal number without newline at a path: a temporary file beside it, then renamed. 0 or -errno. */
int file_put_number(const char *path, int number, bool durable);
/* The same at FOLDER/NAME, durable. */
int file_put_number_in(const char *folder, const char *name, int number);
/* An empty file at FOLDER/NAME (also when it is there already). 0 or -errno. */
int file_touch(const char *folder, const char *name);

/* The pid in a runtime's pid file; -ENOENT, -ENODATA (empty), -EBADMSG (no pid), other -errno. */
pid_t file_read_pid(const char *path);

#define PROCESS_NAME_MAX 20

/* The name of a process, as the kernel has it. false: there is none. */
bool file_read_name(pid_t pid, char name[PROCESS_NAME_MAX]);

#endif
