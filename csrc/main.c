/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remora-monitor: holds on to one container. Started by the frontend with its configuration on a descriptor
 * (docs/architecture.md), or as conmon, by Podman or CRI-O, with conmon's options (docs/drop-in.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conmon/setup.h"
#include "container/config.h"
#include "container/handover.h"
#include "container/start.h"
#include "remora.h"
#include "system/confine.h"

static int usage(void)
{
    fprintf(stderr,
            "remora-monitor %s%s: holds on to one container; `remora run` starts it.\n"
            "It takes its configuration on descriptor 3, which is not there.\n",
            remora_version(), confine_is_built() ? "" : " (unconfined)");
    return 125;
}

int main(int argc, char **argv)
{
    int r;

    if (conmon_is_meant(argc, argv))
        return conmon_main(argc, argv);
    if (handover_is_meant())
        return handover_main();
    if (fcntl(FD_CONFIG, F_GETFD) < 0 || fcntl(FD_SPAWNER, F_GETFD) < 0)
        return usage();
    r = start_daemon();
    if (r != 0)
        return r < 0 ? 125 : 0;
    r = start_monitor();
    return r < 0 ? 125 : r;
}
