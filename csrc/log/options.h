/* SPDX-License-Identifier: Apache-2.0 */
/* The log's options from the map `log` of a monitor's configuration (docs/architecture.md). */
#ifndef REMORA_LOG_OPTIONS_H
#define REMORA_LOG_OPTIONS_H

#include "log/log.h"
#include "util/msg.h"

/* What the name of a driver means: 0, or -EINVAL. */
int log_driver_parse(const char *name, enum log_driver *driver);
/* Texts and vectors are in the message's zone. A missing map is no log. 0, -EINVAL or -ENOMEM, then *what names the key
 * that is wrong. */
int log_options_parse(struct log_options *options, struct msg *msg, const msgpack_object *map, const char **what);

#endif
