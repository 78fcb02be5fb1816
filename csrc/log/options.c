/* SPDX-License-Identifier: Apache-2.0 */
#include "log/options.h"

#include <errno.h>
#include <string.h>

#define LABELS_MAX 1024

/* The place of a name in a table, or -1. */
static int find(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

int log_driver_parse(const char *name, enum log_driver *driver)
{
    const char *const names[] = {
        [LOG_NONE] = "none",         [LOG_K8S_FILE] = "k8s-file",       [LOG_JSON_FILE] = "json-file",
        [LOG_JOURNALD] = "journald", [LOG_PASSTHROUGH] = "passthrough",
    };
    int i = find(names, sizeof(names) / sizeof(names[0]), name);

    if (i < 0)
        return -EINVAL;
    *driver = (enum log_driver)i;
    return 0;
}

static int parse_sink(struct log_options *options, struct msg *msg, const msgpack_object *map)
{
    struct log_sink_options *sink = &options->sinks[options->n_sinks];
    int64_t max_files = msg_int(map, "max_files", 0);

    *sink = (struct log_sink_options){
        .path = msg_text(msg, map, "path", ""),
        .max_size = msg_int(map, "max_size", 0),
        .max_total = msg_int(map, "max_total", 0),
        .max_files = (unsigned)max_files,
    };
    if (log_driver_parse(msg_text(msg, map, "driver", "none"), &sink->driver) < 0 || sink->max_size < 0 ||
        sink->max_total < 0 || max_files < 0 || max_files > LOG_FILES_MAX)
        return -EINVAL;
    if ((sink->driver == LOG_K8S_FILE || sink->driver == LOG_JSON_FILE) && sink->path[0] != '/')
        return -EINVAL;
    /* A second one would only send every line twice. */
    for (size_t i = 0; i < options->n_sinks; i++)
        if (sink->driver == LOG_JOURNALD && options->sinks[i].driver == LOG_JOURNALD)
            return -EINVAL;
    options->n_sinks++;
    return 0;
}

static int parse_stream(struct log_stream_options *stream, struct msg *msg, const msgpack_object *map)
{
    const char *const names[] = {[LOG_BLOCK] = "block", [LOG_DROP] = "drop", [LOG_RATE] = "rate"};
    int policy = find(names, sizeof(names) / sizeof(names[0]), msg_text(msg, map, "policy", "block"));

    stream->rate = msg_int(map, "rate", 0);
    if (policy < 0 || (policy == LOG_RATE && stream->rate <= 0))
        return -EINVAL;
    stream->policy = (enum log_policy)policy;
    return 0;
}

static int parse_labels(struct log_options *options, struct msg *msg, const msgpack_object_array *array)
{
    const char **labels;

    if (array == NULL || array->size == 0)
        return 0;
    labels = array->size <= LABELS_MAX ? msgpack_zone_malloc(&msg->zone, array->size * sizeof(*labels)) : NULL;
    if (labels == NULL)
        return array->size <= LABELS_MAX ? -ENOMEM : -EINVAL;
    for (uint32_t i = 0; i < array->size; i++) {
        labels[i] = msg_element(msg, &array->ptr[i]);
        if (labels[i] == NULL || strchr(labels[i], '=') == NULL || labels[i][0] == '=')
            return -EINVAL;
    }
    options->labels = labels;
    options->n_labels = array->size;
    return 0;
}

int log_options_parse(struct log_options *options, struct msg *msg, const msgpack_object *map, const char **what)
{
    const msgpack_object_array *drivers = msg_array(map, "drivers");
    int r = 0;

    *options = (struct log_options){.tag = msg_text(msg, map, "tag", "")};
    *what = "log drivers";
    if (drivers != NULL && drivers->size > LOG_SINKS_MAX)
        return -EINVAL;
    for (uint32_t i = 0; r == 0 && drivers != NULL && i < drivers->size; i++)
        r = parse_sink(options, msg, &drivers->ptr[i]);
    if (r < 0)
        return r;
    *what = "log stdout";
    r = parse_stream(&options->streams[LOG_STDOUT], msg, msg_get(map, "stdout"));
    if (r < 0)
        return r;
    *what = "log stderr";
    r = parse_stream(&options->streams[LOG_STDERR], msg, msg_get(map, "stderr"));
    if (r < 0)
        return r;
    *what = "log labels";
    return parse_labels(options, msg, msg_array(map, "labels"));
}
