/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay's second connection, made when first needed: what is asked there overtakes input that the container does not
 * read. Best effort: a monitor that does not take a request is either gone, which the attached connection tells, or
 * beyond help.
 */
#ifndef REMORA_CLIENT_REQUESTS_H
#define REMORA_CLIENT_REQUESTS_H

struct requests {
    const char *run_dir; /* borrowed; NULL: only the attached connection can be used */
    const char *session; /* borrowed */
    int fd; /* owned; -1 until needed */
};

void requests_init(struct requests *requests, const char *run_dir, const char *session);
void requests_deinit(struct requests *requests);
/* `attached` is the connection to use where there can be no second one. */
void requests_signal(struct requests *requests, int attached, int number);
void requests_close_output(struct requests *requests, int attached, const char *stream);
void requests_resize(struct requests *requests, int attached, int rows, int cols);
/* When something came on `fd`: the replies interest nobody. */
void requests_drop_replies(struct requests *requests);

#endif
