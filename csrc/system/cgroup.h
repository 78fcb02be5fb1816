/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the container's cgroup tells: OOM kills, CPU time, peak memory; cgroup v1, hybrid and v2.
 *
 * The files are opened while the container starts and held, so that a cgroup that is removed early can't take the
 * answer with it. `event_fd` is for the loop: an eventfd (v1) or inotify (v2); readable → cgroup_event.
 */
#ifndef REMORA_SYSTEM_CGROUP_H
#define REMORA_SYSTEM_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup {
    int version; /* 1, 2, 0 = not known */
    int event_fd; /* -1 = none */
    int oom_fd, cpu_fd, peak_fd; /* held open; -1 = none */
    uint64_t oom_kills_before; /* counter at open */
    bool oom; /* a kill was seen */
    uint64_t cpu_ns, peak_bytes; /* last values read; 0 = not known */
};

/*
 * Open for a process; `hint` is the cgroup path asked for ("/remora/<id>", may be ""), used where /proc/PID/cgroup no
 * longer tells (v1 shows "/" for a zombie). Never fails: what is missing stays unknown. `cgroup` may be uninitialised.
 */
void cgroup_open(struct cgroup *cgroup, pid_t pid, const char *hint);
/* Take in an event; updates `oom`. */
void cgroup_event(struct cgroup *cgroup);
/* Read all figures once more (at the end of the container, before the cgroup is removed). */
void cgroup_read(struct cgroup *cgroup);
void cgroup_deinit(struct cgroup *cgroup); /* safe on a zeroed struct after cgroup_init */
void cgroup_init(struct cgroup *cgroup); /* all descriptors -1 */

#endif
