/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of one log: PATH, and what was rotated away from it: PATH.1 (the newest of these), PATH.2 …
 *
 * They are opened while a writer may be shifting them. Files only ever move to higher numbers, and that is the order in
 * which they are looked for: so none is passed by, and one that moved between two looks is met twice and known again by
 * its inode. What is open stays readable, whatever becomes of its name.
 *
 * The files are taken as one text: an offset of the set counts from the beginning of its oldest file. No line goes over
 * the end of a file.
 */
#ifndef REMORA_LOG_SET_H
#define REMORA_LOG_SET_H

#include <stddef.h>
#include <sys/types.h>

struct log_file {
    int fd; /* owned */
    off_t start; /* offset of its first byte in the set */
    off_t size; /* bytes when it was opened; the last file may have grown since */
};

struct log_set {
    struct log_file *files; /* owned; oldest first */
    size_t n;
    off_t size; /* of all */
};

/*
 * Open the files, of those that are newer than `known` (a descriptor, -1: none) only. When that one is in the set no
 * more, for others have renamed or removed it, the time of birth tells which ones are newer. 0, or -errno: -ENOENT when
 * there is none and none is known. What stands at the path and is no regular file makes an empty set.
 */
int set_open(struct log_set *set, const char *path, int known);
void set_deinit(struct log_set *set);

#endif
