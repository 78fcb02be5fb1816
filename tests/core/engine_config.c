/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration handed to a monitor: a good one is taken whole, a bad one names its key, no bytes do harm. */
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/config.h"

/* Announced sizes may be huge: a sanitizer should refuse them as the kernel may, and not poison gigabytes. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=64:allocator_may_return_null=1";
}

static const char ID[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct packed {
    char *bytes;
    size_t size;
};

static void put_texts(struct msg_out *out, const char *key, const char *const *texts, size_t n)
{
    msg_put_key(out, key);
    msgpack_pack_array(&out->packer, n);
    for (size_t i = 0; i < n; i++)
        msg_put_key(out, texts[i]);
}

static void put_words(struct msg_out *out, const char *const *words, size_t n)
{
    msgpack_pack_array(&out->packer, n);
    for (size_t i = 0; i < n; i++)
        msg_put_key(out, words[i]);
}

static void put_helper(struct msg_out *out, const char *name, const char *pidfile)
{
    static const char *const argv[] = {"/bin/pasta", "--pid"};

    msgpack_pack_map(&out->packer, 3);
    msg_put_text(out, "name", name);
    put_texts(out, "argv", argv, 2);
    msg_put_text(out, "pidfile", pidfile);
}

/* Keys in the order of the table below; all but `without`. */
static const char *const keys[] = {
    "version", "id",      "name",        "data_dir",     "run_dir", "runtime", "env",     "tty",     "rows",
    "log",     "restart", "stop_signal", "stop_timeout", "uid",     "remove",  "helpers", "cleanup", "namespaces",
};

enum { KEYS = sizeof(keys) / sizeof(keys[0]) };

static void put_good(struct msg_out *out, const char *key)
{
    static const char *const runtime[] = {"runc", "--root", "/run/x"};
    static const char *const environment[] = {"PATH=/bin", "A="};

    if (strcmp(key, "version") == 0 || strcmp(key, "rows") == 0)
        msg_put_int(out, key, 1);
    else if (strcmp(key, "id") == 0)
        msg_put_text(out, key, ID);
    else if (strcmp(key, "name") == 0)
        msg_put_text(out, key, "web");
    else if (strcmp(key, "data_dir") == 0 || strcmp(key, "run_dir") == 0)
        msg_put_text(out, key, "/x");
    else if (strcmp(key, "runtime") == 0)
        put_texts(out, key, runtime, 3);
    else if (strcmp(key, "env") == 0)
        put_texts(out, key, environment, 2);
    else if (strcmp(key, "tty") == 0)
        msg_put_bool(out, key, true);
    else if (strcmp(key, "log") == 0) {
        msg_put_key(out, key);
        msgpack_pack_map(&out->packer, 1);
        msg_put_key(out, "drivers");
        msgpack_pack_array(&out->packer, 1);
        msgpack_pack_map(&out->packer, 2);
        msg_put_text(out, "driver", "k8s-file");
        msg_put_text(out, "path", "/log");
    } else if (strcmp(key, "restart") == 0) {
        msg_put_key(out, key);
        msgpack_pack_map(&out->packer, 2);
        msg_put_text(out, "policy", "on-failure");
        msg_put_int(out, "max", 3);
    } else if (strcmp(key, "remove") == 0) {
        msg_put_key(out, key);
        msgpack_pack_array(&out->packer, 0);
    } else if (strcmp(key, "namespaces") == 0) {
        msg_put_key(out, key);
        msgpack_pack_array(&out->packer, 1);
        msgpack_pack_map(&out->packer, 2);
        msg_put_text(out, "type", "network");
        msg_put_text(out, "path", "/x/ns/network");
    } else if (strcmp(key, "helpers") == 0) {
        msg_put_key(out, key);
        msgpack_pack_array(&out->packer, 1);
        put_helper(out, "pasta", "/x/pasta.pid");
    } else if (strcmp(key, "cleanup") == 0) {
        static const char *const execute[] = {"execute", "", "/bin/true"};

        msg_put_key(out, key);
        msgpack_pack_array(&out->packer, 2);
        put_words(out, execute, 3);
        put_words(out, (const char *const[]){"unlink", "/x/lease"}, 2);
    } else {
        msg_put_int(out, key, strcmp(key, "stop_timeout") == 0 ? -1 : SIGUSR1);
    }
}

static struct packed finish(struct msg_out *out)
{
    struct packed packed = {malloc(out->buffer.size), out->buffer.size};

    assert(packed.bytes != NULL);
    memcpy(packed.bytes, out->buffer.data, packed.size);
    msg_out_deinit(out);
    return packed;
}

static struct packed good_without(const char *without)
{
    struct msg_out out = {0};

    msg_out_init(&out, KEYS - (without != NULL));
    for (size_t i = 0; i < KEYS; i++)
        if (without == NULL || strcmp(keys[i], without) != 0)
            put_good(&out, keys[i]);
    return finish(&out);
}

/* The good one with a key's value replaced by something of `kind`. */
static struct packed good_with(const char *key, int kind)
{
    struct msg_out out = {0};

    msg_out_init(&out, KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        if (strcmp(keys[i], key) != 0) {
            put_good(&out, keys[i]);
            continue;
        }
        msg_put_key(&out, key);
        switch (kind) {
        case 0:
            msgpack_pack_nil(&out.packer);
            break;
        case 1:
            msgpack_pack_double(&out.packer, 1.5);
            break;
        case 2:
            msgpack_pack_str(&out.packer, 4);
            msgpack_pack_str_body(&out.packer, "/a\0b", 4);
            break;
        case 3:
            msgpack_pack_array(&out.packer, 1);
            msgpack_pack_array(&out.packer, 0);
            break;
        case 4:
            msgpack_pack_map(&out.packer, 1);
            msgpack_pack_int(&out.packer, 1);
            msgpack_pack_true(&out.packer);
            break;
        default:
            msgpack_pack_uint64(&out.packer, UINT64_MAX);
        }
    }
    return finish(&out);
}

static int parse(struct packed packed, struct config *config, const char **what)
{
    return config_init(config, packed.bytes, packed.size, what);
}

static void a_good_one_is_taken_whole(void)
{
    struct config config;
    const char *what;

    assert(parse(good_without(NULL), &config, &what) == 0);
    assert(strcmp(config.id, ID) == 0 && strcmp(config.name, "web") == 0);
    assert(config.n_runtime == 3 && strcmp(config.runtime[2], "/run/x") == 0 && config.runtime[3] == NULL);
    assert(strcmp(config.environment[1], "A=") == 0 && config.environment[2] == NULL);
    assert(config.tty && config.rows == 1 && config.cols == 0 && config.uid == SIGUSR1 && config.gid == 0);
    assert(config.log.n_sinks == 1 && config.log.sinks[0].driver == LOG_K8S_FILE &&
           strcmp(config.log.sinks[0].path, "/log") == 0);
    assert(config.restart == RESTART_ON_FAILURE && config.restart_max == 3);
    assert(config.stop_signal == SIGUSR1 && config.stop_timeout == -1 && config.timeout == 0);
    assert(config.n_namespaces == 1 && strcmp(config.namespaces[0].path, "/x/ns/network") == 0);
    assert(config.namespaces[0].flag == CLONE_NEWNET && config_first_namespace(&config) == FD_PRESERVED);
    assert(config_first_preserved(&config) == FD_PRESERVED + 1 && config_first_foreign(&config) == FD_PRESERVED + 1);
    assert(config.n_helpers == 1 && strcmp(config.helpers[0].name, "pasta") == 0);
    assert(strcmp(config.helpers[0].argv[1], "--pid") == 0 && config.helpers[0].argv[2] == NULL);
    assert(config_n_steps(&config) == 2 && config_step_executes(&config, 0) && !config_step_executes(&config, 1));
    assert(strcmp(config_step_words(&config, 0)[2], "/bin/true") == 0 && config_step_words(&config, 0)[3] == NULL);
    assert(strcmp(config_step_words(&config, 1)[1], "/x/lease") == 0);
    assert(config.attach == NULL && config.remove != NULL && config.remove->size == 0);
    config_deinit(&config);
    config_deinit(&config);
}

static void a_missing_key_is_named(void)
{
    static const struct {
        const char *key, *named;
    } needed[] = {
        {"version", "version"}, {"id", "id"},           {"data_dir", "data_dir"},
        {"run_dir", "run_dir"}, {"runtime", "runtime"}, {"env", "env"},
    };

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        for (int kind = -1; kind < 6; kind++) {
            struct packed packed = kind < 0 ? good_without(needed[i].key) : good_with(needed[i].key, kind);
            struct config config;
            const char *what = NULL;

            assert(parse(packed, &config, &what) < 0);
            assert(what != NULL && strstr(what, needed[i].named) != NULL);
            config_deinit(&config);
        }
    }
}

static void a_key_that_may_be_missing_has_a_default(void)
{
    static const char *const optional[] = {"name",         "tty", "rows",   "log",     "restart", "stop_signal",
                                           "stop_timeout", "uid", "remove", "helpers", "cleanup", "namespaces"};

    for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
        struct config config;
        const char *what;

        assert(parse(good_without(optional[i]), &config, &what) == 0);
        assert(strcmp(optional[i], "log") != 0 || config.log.n_sinks == 0);
        assert(strcmp(optional[i], "restart") != 0 || config.restart == RESTART_NO);
        assert(strcmp(optional[i], "stop_signal") != 0 || config.stop_signal == SIGTERM);
        assert(strcmp(optional[i], "stop_timeout") != 0 || config.stop_timeout == 10);
        assert(strcmp(optional[i], "helpers") != 0 || config.n_helpers == 0);
        assert(strcmp(optional[i], "cleanup") != 0 || config_n_steps(&config) == 0);
        assert(strcmp(optional[i], "namespaces") != 0 || config.n_namespaces == 0);
        config_deinit(&config);
    }
}

static void what_cannot_be_meant_is_refused_by_name(void)
{
    static const struct {
        const char *key, *value, *named;
    } bad[] = {
        {"id", "0123", "id"},
        {"id", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde/", "id"},
        {"id", "../../../../etc/passwd", "id"},
        {"run_dir", "relative", "run_dir"},
        {"data_dir", "", "data_dir"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct msg_out out = {0};
        struct config config;
        const char *what;

        msg_out_init(&out, KEYS);
        for (size_t k = 0; k < KEYS; k++) {
            if (strcmp(keys[k], bad[i].key) == 0)
                msg_put_text(&out, bad[i].key, bad[i].value);
            else
                put_good(&out, keys[k]);
        }
        assert(parse(finish(&out), &config, &what) == -EINVAL && strstr(what, bad[i].named) != NULL);
        config_deinit(&config);
    }
}

/* A good configuration whose map `place` (`log` or `restart`) has one key. */
static int parse_in(const char *place, const char *key, const char *driver, const char *path, const char **what)
{
    struct msg_out out = {0};
    struct config config;
    int r;

    msg_out_init(&out, KEYS);
    for (size_t k = 0; k < KEYS; k++) {
        if (strcmp(keys[k], place) != 0) {
            put_good(&out, keys[k]);
            continue;
        }
        msg_put_key(&out, place);
        msgpack_pack_map(&out.packer, 1);
        if (strcmp(key, "policy") == 0) {
            msg_put_text(&out, key, driver);
            continue;
        }
        msg_put_key(&out, key);
        if (strcmp(key, "drivers") == 0)
            msgpack_pack_array(&out.packer, 1);
        msgpack_pack_map(&out.packer, 2);
        msg_put_text(&out, strcmp(key, "drivers") == 0 ? "driver" : "policy", driver);
        msg_put_text(&out, "path", path);
    }
    r = parse(finish(&out), &config, what);
    assert(r < 0 || strcmp(key, "drivers") != 0 || config.log.n_sinks == 1);
    config_deinit(&config);
    return r;
}

static void an_unknown_driver_or_policy_is_refused(void)
{
    static const char *const good[] = {"k8s-file", "json-file", "journald", "none", "passthrough"};
    const char *what;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert(parse_in("log", "drivers", good[i], "/log", &what) == 0);
    assert(parse_in("log", "drivers", "syslog", "/log", &what) == -EINVAL && strcmp(what, "log drivers") == 0);
    assert(parse_in("log", "drivers", "k8s-file", "relative", &what) == -EINVAL && strcmp(what, "log drivers") == 0);
    assert(parse_in("log", "stderr", "sometimes", "", &what) == -EINVAL && strcmp(what, "log stderr") == 0);
    assert(parse_in("log", "stdout", "rate", "", &what) == -EINVAL && strcmp(what, "log stdout") == 0);
    assert(parse_in("log", "stdout", "drop", "", &what) == 0);
    assert(parse_in("restart", "policy", "sometimes", "", &what) == -EINVAL && strcmp(what, "restart") == 0);
    assert(parse_in("restart", "policy", "always", "", &what) == 0);
}

/* The good one with one element in the list of a key, made by `put`. */
static int parse_element(const char *key, void (*put)(struct msg_out *out, int which), int which)
{
    struct msg_out out = {0};
    struct config config;
    const char *what;
    int r;

    msg_out_init(&out, KEYS);
    for (size_t k = 0; k < KEYS; k++) {
        if (strcmp(keys[k], key) != 0) {
            put_good(&out, keys[k]);
            continue;
        }
        msg_put_key(&out, key);
        msgpack_pack_array(&out.packer, 1);
        put(&out, which);
    }
    r = parse(finish(&out), &config, &what);
    assert(r == 0 || strcmp(what, key) == 0);
    config_deinit(&config);
    return r;
}

static void put_namespace(struct msg_out *out, int which)
{
    static const char *const rows[][2] = {{"network", "/x"}, {"user", "/x"}, {"time", "/x"},
                                          {"", "/x"},        {"ipc", "x/y"}, {"uts", ""}};

    msgpack_pack_map(&out->packer, 2);
    msg_put_text(out, "type", rows[which][0]);
    msg_put_text(out, "path", rows[which][1]);
}

static void put_step(struct msg_out *out, int which)
{
    static const char *const rows[][4] = {{"unlink", "/x"},  {"execute", "in", "/bin/true", "a"},
                                          {"execute", "in"}, {"unlink", "relative"},
                                          {"tree", "/x"},    {"unlink"}};
    size_t n = 0;

    while (n < 4 && rows[which][n] != NULL)
        n++;
    put_words(out, rows[which], n);
}

static void put_any_helper(struct msg_out *out, int which)
{
    static const char *const rows[][2] = {{"pasta", "/x/pid"}, {"", "/x/pid"},      {"pasta", "/y/pid"},
                                          {"pasta", "pid"},    {"pasta", "/x/a/b"}, {"pasta", ""}};

    put_helper(out, rows[which][0], rows[which][1]);
}

static void what_is_handed_over_is_looked_at(void)
{
    for (int which = 0; which < 6; which++) {
        assert(parse_element("namespaces", put_namespace, which) == (which < 2 ? 0 : -EINVAL));
        assert(parse_element("cleanup", put_step, which) == (which < 2 ? 0 : -EINVAL));
        assert(parse_element("helpers", put_any_helper, which) == (which < 1 ? 0 : -EINVAL));
    }
}

/* Every value of another type and every truncation gives an error or a default: never a crash (sanitizer build). */
static void values_of_another_type_do_no_harm(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        for (int kind = 0; kind < 6; kind++) {
            struct config config;
            const char *what;

            (void)parse(good_with(keys[i], kind), &config, &what);
            config_deinit(&config);
        }
    }
}

static void a_truncated_message_is_refused(void)
{
    struct packed good = good_without(NULL);

    for (size_t size = 0; size < good.size; size++) {
        struct packed cut = {malloc(size + 1), size};
        struct config config;
        const char *what = NULL;

        assert(cut.bytes != NULL);
        memcpy(cut.bytes, good.bytes, size);
        assert(parse(cut, &config, &what) == -EBADMSG && strcmp(what, "message") == 0);
        config_deinit(&config);
    }
    free(good.bytes);
}

static void random_bytes_do_no_harm(void)
{
    struct packed good = good_without(NULL);
    unsigned seed = 20;

    for (int round = 0; round < 20000; round++) {
        size_t size = round % 2 == 0 ? good.size : (size_t)rand_r(&seed) % 300;
        struct packed bad = {malloc(size + 1), size};
        struct config config;
        const char *what = NULL;

        assert(bad.bytes != NULL);
        for (size_t i = 0; i < size; i++)
            bad.bytes[i] = round % 2 == 0 ? good.bytes[i] : (char)rand_r(&seed);
        if (round % 2 == 0)
            for (int n = 1 + rand_r(&seed) % 4; n > 0; n--)
                bad.bytes[(size_t)rand_r(&seed) % size] = (char)rand_r(&seed);
        assert(parse(bad, &config, &what) <= 0 && what != NULL);
        config_deinit(&config);
    }
    free(good.bytes);
}

int main(void)
{
    a_good_one_is_taken_whole();
    a_missing_key_is_named();
    a_key_that_may_be_missing_has_a_default();
    what_cannot_be_meant_is_refused_by_name();
    an_unknown_driver_or_policy_is_refused();
    what_is_handed_over_is_looked_at();
    values_of_another_type_do_no_harm();
    a_truncated_message_is_refused();
    random_bytes_do_no_harm();
    return 0;
}
