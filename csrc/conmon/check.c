/* SPDX-License-Identifier: Apache-2.0 */
/* What options must have with and without each other; the order is conmon's, for the first that fails is told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conmon/message.h"
#include "conmon/options.h"

static const char *wrong_mode(const struct conmon_options *options)
{
    if (options->restore != NULL && options->exec)
        return "Cannot use 'exec' and 'restore' at the same time";
    if (options->exec_attach && !options->exec)
        return "Attach can only be specified with exec";
    if (options->exec_attach && !options->api_version)
        return "Attach can only be specified for a non-legacy exec session";
    /* The old way to execute had no id of its own. */
    if (options->cuuid == NULL && (!options->exec || options->api_version))
        return "Container UUID not provided. Use --cuuid";
    /* Who asks for this waits for an answer that will not come. */
    if (options->seccomp_socket != NULL)
        return "seccomp support not present";
    if (options->runtime == NULL)
        return "Runtime path not provided. Use --runtime";
    return NULL;
}

static const char *missing(const struct conmon_options *options)
{
    if (options->exec && options->exec_process_spec == NULL)
        return "Exec process spec path not provided. Use --exec-process-spec";
    if (options->exit_delay < 0)
        return "Delay before invoking exit command must be greater than or equal to 0";
    return NULL;
}

int options_check(const struct conmon_options *options, char refusal[CONMON_REFUSAL_MAX])
{
    enum message_level level;
    const char *wrong;

    if (options->log_level != NULL && !message_level_parse(options->log_level, &level)) {
        snprintf(refusal, CONMON_REFUSAL_MAX, "No such log level %.400s", options->log_level);
        return -EINVAL;
    }
    wrong = wrong_mode(options);
    if (wrong == NULL && access(options->runtime, X_OK) < 0) {
        snprintf(refusal, CONMON_REFUSAL_MAX, "Runtime path %.400s is not valid %s", options->runtime, strerror(errno));
        return -EINVAL;
    }
    if (wrong == NULL)
        wrong = missing(options);
    if (wrong == NULL)
        return 0;
    snprintf(refusal, CONMON_REFUSAL_MAX, "%s", wrong);
    return -EINVAL;
}
