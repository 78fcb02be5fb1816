/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a fresh process to a running monitor: daemonise, read the configuration, take what was handed over, listen.
 */
#ifndef REMORA_CONTAINER_START_H
#define REMORA_CONTAINER_START_H

/* Own session, parent gone, signals blocked, subreaper. 1: this is the parent, which has to end; 0: the daemon; -errno.
 */
int start_daemon(void);
/*
 * Set up what needs rights, and be the keeper until the end. The exit status, or -errno when there was nothing to run
 * (the spawner was told as far as possible).
 */
int start_monitor(void);

struct board;
struct native;

/* Lay out the kept memory of a monitor whose configuration is known. 0 or -errno. */
int start_lay_out(struct native *native, struct board **board);
/* Be the keeper to the end: keeper_run. */
int start_keeper(struct native *native, struct board *board);

#endif
