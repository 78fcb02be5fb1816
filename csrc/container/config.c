/* SPDX-License-Identifier: Apache-2.0 */
#include "container/config.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "log/options.h"

#define PRESERVED_MAX 1024
#define HELD_MAX 16
#define STEPS_MAX 1024
#define HELPERS_MAX 8

/* A NULL-terminated vector of the texts of an array, in the message's zone; NULL when it isn't one. */
static char **texts(struct config *config, const msgpack_object_array *array, size_t *n)
{
    char **vector;

    if (array == NULL)
        return NULL;
    vector = msgpack_zone_malloc(&config->msg.zone, ((size_t)array->size + 1) * sizeof(*vector));
    if (vector == NULL)
        return NULL;
    for (uint32_t i = 0; i < array->size; i++) {
        vector[i] = (char *)(uintptr_t)msg_element(&config->msg, &array->ptr[i]);
        if (vector[i] == NULL)
            return NULL;
    }
    vector[array->size] = NULL;
    if (n != NULL)
        *n = array->size;
    return vector;
}

static int parse_restart(struct config *config)
{
    static const char *const names[] = {
        [RESTART_NO] = "no",
        [RESTART_ON_FAILURE] = "on-failure",
        [RESTART_ALWAYS] = "always",
        [RESTART_UNLESS_STOPPED] = "unless-stopped",
    };
    const msgpack_object *restart = msg_get(&config->msg.root, "restart");
    const char *policy = msg_text(&config->msg, restart, "policy", "no");

    config->restart_max = msg_int(restart, "max", 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(policy, names[i]) == 0) {
            config->restart = (enum restart_policy)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_log(struct config *config, const char **what)
{
    int r = log_options_parse(&config->log, &config->msg, msg_get(&config->msg.root, "log"), what);

    config->log.id = config->id;
    config->log.name = config->name;
    return r;
}

static int namespace_flag(const char *type)
{
    static const struct {
        const char *type;
        int flag;
    } types[] = {
        {"network", CLONE_NEWNET},   {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},  {"pid", CLONE_NEWPID},
        {"cgroup", CLONE_NEWCGROUP}, {"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, /* not a namespace: a detached
                                                                                         mount */
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(type, types[i].type) == 0)
            return types[i].flag;
    return 0;
}

/* A list that may be missing: then *list is NULL. 0 or -errno. */
static int get_list(const struct config *config, const char *key, uint32_t most, const msgpack_object_array **list)
{
    *list = msg_array(&config->msg.root, key);
    if (*list == NULL)
        return msg_get(&config->msg.root, key) == NULL ? 0 : -EINVAL;
    return (*list)->size > most ? -E2BIG : 0;
}

static bool is_word(const msgpack_object *object, const char *word)
{
    return object->via.str.size == strlen(word) && memcmp(object->via.str.ptr, word, strlen(word)) == 0;
}

static int parse_namespaces(struct config *config)
{
    const msgpack_object_array *array;
    struct config_namespace *namespaces;
    int r = get_list(config, "namespaces", NAMESPACES_MAX, &array);

    if (r < 0 || array == NULL || array->size == 0)
        return r;
    namespaces = msgpack_zone_malloc(&config->msg.zone, array->size * sizeof(*namespaces));
    if (namespaces == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < array->size; i++) {
        namespaces[i] = (struct config_namespace){
            .path = msg_text(&config->msg, &array->ptr[i], "path", ""),
            .flag = namespace_flag(msg_text(&config->msg, &array->ptr[i], "type", "")),
        };
        if (namespaces[i].path[0] != '/' || namespaces[i].flag == 0)
            return -EINVAL;
    }
    config->namespaces = namespaces;
    config->n_namespaces = array->size;
    return 0;
}

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return strncmp(path, folder, length) == 0 && path[length] == '/' && strchr(path + length + 1, '/') == NULL;
}

static int parse_helpers(struct config *config)
{
    const msgpack_object_array *array;
    struct config_helper *helpers;
    int r = get_list(config, "helpers", HELPERS_MAX, &array);

    if (r < 0 || array == NULL || array->size == 0)
        return r;
    helpers = msgpack_zone_malloc(&config->msg.zone, array->size * sizeof(*helpers));
    if (helpers == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < array->size; i++) {
        const msgpack_object_array *argv = msg_array(&array->ptr[i], "argv");

        helpers[i] = (struct config_helper){
            .name = msg_text(&config->msg, &array->ptr[i], "name", ""),
            .argv = (const char *const *)texts(config, argv, NULL),
            .pidfile = msg_text(&config->msg, &array->ptr[i], "pidfile", ""),
            .shared = msg_bool(&array->ptr[i], "shared", false),
        };
        if (helpers[i].name[0] == 0 || helpers[i].argv == NULL || helpers[i].argv[0] == NULL ||
            !is_below(helpers[i].pidfile, config->run_dir))
            return -EINVAL;
    }
    config->helpers = helpers;
    config->n_helpers = array->size;
    return 0;
}

/* Not made into vectors before they are needed: the texts may be long, and are needed once. */
static bool is_step(const msgpack_object *step)
{
    const msgpack_object *words = step->via.array.ptr;

    if (step->type != MSGPACK_OBJECT_ARRAY || step->via.array.size < 2)
        return false;
    for (uint32_t i = 0; i < step->via.array.size; i++)
        if (words[i].type != MSGPACK_OBJECT_STR ||
            (words[i].via.str.size > 0 && memchr(words[i].via.str.ptr, 0, words[i].via.str.size) != NULL))
            return false;
    if (is_word(&words[0], "execute"))
        return step->via.array.size > 2;
    return is_word(&words[0], "unlink") && words[1].via.str.size > 0 && words[1].via.str.ptr[0] == '/';
}

static int parse_cleanup(struct config *config)
{
    int r = get_list(config, "cleanup", STEPS_MAX, &config->cleanup);

    for (uint32_t i = 0; r == 0 && i < config_n_steps(config); i++)
        if (!is_step(&config->cleanup->ptr[i]))
            r = -EINVAL;
    return r;
}

unsigned config_n_steps(const struct config *config)
{
    return config->cleanup != NULL ? config->cleanup->size : 0;
}

bool config_step_executes(const struct config *config, unsigned step)
{
    return is_word(&config->cleanup->ptr[step].via.array.ptr[0], "execute");
}

const char *const *config_step_words(struct config *config, unsigned step)
{
    return (const char *const *)texts(config, &config->cleanup->ptr[step].via.array, NULL);
}

static bool is_id(const char *id)
{
    return strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
}

static int parse(struct config *config, const char **what)
{
    const msgpack_object *root = &config->msg.root;
    int r;

    config->id = msg_text(&config->msg, root, "id", "");
    config->name = msg_text(&config->msg, root, "name", "");
    config->data_dir = msg_text(&config->msg, root, "data_dir", "");
    config->run_dir = msg_text(&config->msg, root, "run_dir", "");
    config->cgroup = msg_text(&config->msg, root, "cgroup", "");
    config->pidfile = msg_text(&config->msg, root, "pidfile", "");
    config->rootfs = msg_text(&config->msg, root, "rootfs", "");
    config->runtime = (const char *const *)texts(config, msg_array(root, *what = "runtime"), &config->n_runtime);
    if (config->runtime == NULL || config->n_runtime == 0)
        return -EINVAL;
    config->environment = texts(config, msg_array(root, *what = "env"), NULL);
    if (config->environment == NULL)
        return -EINVAL;
    *what = "id";
    if (!is_id(config->id))
        return -EINVAL;
    *what = "data_dir or run_dir";
    if (config->data_dir[0] != '/' || config->run_dir[0] != '/')
        return -EINVAL;
    config->tty = msg_bool(root, "tty", false);
    config->stdin_open = msg_bool(root, "stdin", false);
    config->stdin_once = msg_bool(root, "stdin_once", false);
    config->uid = (uid_t)msg_int(root, "uid", 0);
    config->gid = (gid_t)msg_int(root, "gid", 0);
    config->rows = (unsigned)msg_int(root, "rows", 0) & 0xffff;
    config->cols = (unsigned)msg_int(root, "cols", 0) & 0xffff;
    config->stop_signal = (int)msg_int(root, "stop_signal", SIGTERM);
    config->stop_timeout = msg_int(root, "stop_timeout", 10);
    config->timeout = msg_int(root, "timeout", 0);
    config->passthrough = msg_bool(root, "passthrough", false);
    config->shared_pids = msg_bool(root, "shared_pids", false);
    config->n_preserved = (unsigned)msg_int(root, *what = "preserve_fds", 0);
    if (config->n_preserved > PRESERVED_MAX)
        return -EINVAL;
    config->n_held = (unsigned)msg_int(root, *what = "held_fds", 0);
    if (config->n_held > HELD_MAX)
        return -EINVAL;
    *what = "namespaces";
    r = parse_namespaces(config);
    if (r < 0)
        return r;
    *what = "helpers";
    r = parse_helpers(config);
    if (r < 0)
        return r;
    *what = "cleanup";
    r = parse_cleanup(config);
    if (r < 0)
        return r;
    config->attach = msg_get(root, "attach");
    config->remove = msg_array(root, "remove");
    r = parse_log(config, what);
    if (r < 0)
        return r;
    *what = "restart";
    return parse_restart(config);
}

int config_init(struct config *config, char *bytes, size_t size, const char **what)
{
    int r;

    *config = (struct config){.bytes = bytes, .size = size};
    *what = "message";
    r = msg_parse(&config->msg, bytes, size);
    if (r < 0)
        return r;
    *what = "version";
    if (msg_int(&config->msg.root, "version", 0) != 1)
        return -EPROTONOSUPPORT;
    return parse(config, what);
}

int config_first_namespace(const struct config *config)
{
    return FD_PRESERVED + (config->passthrough ? PASSTHROUGH_FDS : 0);
}

int config_first_preserved(const struct config *config)
{
    return config_first_namespace(config) + (int)config->n_namespaces;
}

int config_first_held(const struct config *config)
{
    return config_first_preserved(config) + (int)config->n_preserved;
}

int config_first_foreign(const struct config *config)
{
    return config_first_held(config) + (int)config->n_held;
}

void config_deinit(struct config *config)
{
    msg_deinit(&config->msg);
    free(config->bytes);
    config->bytes = NULL;
}
