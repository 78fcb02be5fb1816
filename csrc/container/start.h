/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a fresh process to a running monitor: daemonise, read the configuration, take what was handed over, listen.
 */
#ifndef REMORA_CONTAINER_START_H
#define REMORA_CONTAINER_START_H

struct monitor;

/* Own session, parent gone, signals blocked, subreaper. 1: this is the parent, which has to end; 0: the daemon; -errno.
 */
int start_daemon(void);
/*
 * Set all up and start the container. 0: the loop may run, also if the container couldn't be started (the spawner is
 * told); -errno: there is nothing to run (the spawner was told as far as possible).
 */
int start_monitor(struct monitor *monitor);
void start_deinit(struct monitor *monitor);

#endif
