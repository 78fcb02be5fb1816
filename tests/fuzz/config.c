/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes are a monitor's configuration. It is refused with the name of what is wrong, or it is whole:
 * every text that the monitor relies on is there, and a new name is taken.
 */
#include "container/config.h"
#include "fuzz.h"

FUZZ_BOUNDED_ALLOCATIONS

static void walk(const char *const *texts)
{
    for (; *texts != NULL; texts++)
        if (strlen(*texts) > 65536)
            abort();
}

static void check(struct config *config)
{
    const char *const wanted[] = {config->id,     config->name,    config->data_dir, config->run_dir,
                                  config->cgroup, config->pidfile, config->rootfs};

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (wanted[i] == NULL || strlen(wanted[i]) > 65536)
            abort();
    if (config->n_runtime == 0 || config->runtime[config->n_runtime] != NULL)
        abort();
    if (config->n_namespaces > NAMESPACES_MAX || config_first_foreign(config) < config_first_preserved(config))
        abort();
    for (unsigned i = 0; i < config->n_namespaces; i++)
        if (config->namespaces[i].path[0] != '/' || config->namespaces[i].flag == 0)
            abort();
    for (unsigned i = 0; i < config->n_helpers; i++) {
        if (config->helpers[i].name[0] == 0 || config->helpers[i].argv[0] == NULL ||
            config->helpers[i].pidfile[0] != '/')
            abort();
        walk(config->helpers[i].argv);
    }
    for (unsigned i = 0; i < config_n_steps(config); i++) {
        const char *const *words = config_step_words(config, i);

        if (words == NULL || (!config_step_executes(config, i) && words[1][0] != '/'))
            abort();
        walk(words);
    }
    walk(config->runtime);
    walk((const char *const *)config->environment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    const char *what = NULL;
    char *copy = malloc(size + 1);

    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (config_init(&config, copy, size, &what) == 0)
        check(&config);
    else if (what == NULL)
        abort(); /* a refusal names its reason */
    config_deinit(&config);
    return 0;
}
