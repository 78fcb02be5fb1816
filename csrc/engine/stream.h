/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output on its way: read into the hub's scratch buffer, logged, sent to the clients. Each step is noted first (struct
 * flight), so that the successor of a worker that is killed at any instruction goes on from there: no byte is lost, and
 * none is logged twice. A packet may reach a client twice when the worker is killed right after sending it.
 */
#ifndef REMORA_ENGINE_STREAM_H
#define REMORA_ENGINE_STREAM_H

#include "engine/session.h"

/* Read until there is nothing more for now, at most `turns` times. false: the stream has ended. */
bool stream_pump(struct stream *stream, int turns);
/* In a new worker: deliver what the killed one had read. */
void stream_finish_flight(struct hub *hub);

#endif
