/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces that come to the monitor as descriptors: each is bound on a path of the keeper's own mount namespace,
 * where the runtime finds it by the name that config.json has. Nobody else's mount namespace has that name; it lives as
 * long as the keeper, also across restarts, and others reach it through /proc/<keeper>/root.
 */
#ifndef REMORA_CONTAINER_NAMESPACES_H
#define REMORA_CONTAINER_NAMESPACES_H

#include "container/config.h"
#include "engine/failure.h"

/* In the keeper, once it has a mount namespace of its own: bind them all. 0, or -errno and a failure. */
int namespaces_bind(const struct config *config, struct failure *failure);
/* Close the descriptors they came as: whether they are bound or could not be. */
void namespaces_close(const struct config *config);
/* Unbind them: before the folder that the paths are in is removed. */
void namespaces_unbind(const struct config *config);

#endif
