/* SPDX-License-Identifier: Apache-2.0 */
#include "client/requests.h"

#include <sys/socket.h>

#include "client/client.h"
#include "include/remora.h"
#include "util/fd.h"
#include "util/msg.h"

void requests_init(struct requests *requests, const char *run_dir, const char *session)
{
    *requests = (struct requests){.run_dir = run_dir, .session = session != NULL ? session : "", .fd = -1};
}

void requests_deinit(struct requests *requests)
{
    fd_close(&requests->fd);
}

static void begin(const struct requests *requests, struct msg_out *out, const char *op, size_t n_more)
{
    msg_out_init(out, 2 + n_more);
    msg_put_text(out, "op", op);
    msg_put_text(out, "session", requests->session);
}

static void send_request(struct requests *requests, int attached, const struct msg_out *out)
{
    if (requests->fd < 0 && requests->run_dir != NULL)
        requests->fd = remora_connect(requests->run_dir);
    (void)client_put(requests->fd >= 0 ? requests->fd : attached, REMORA_PACKET_CONTROL, out->buffer.data,
                     out->buffer.size);
}

void requests_signal(struct requests *requests, int attached, int number)
{
    CLEANUP_MSG_OUT struct msg_out out;

    begin(requests, &out, "signal", 1);
    msg_put_int(&out, "signal", number);
    send_request(requests, attached, &out);
}

void requests_close_output(struct requests *requests, int attached, const char *stream)
{
    CLEANUP_MSG_OUT struct msg_out out;

    begin(requests, &out, "close_output", 1);
    msg_put_text(&out, "stream", stream);
    send_request(requests, attached, &out);
}

void requests_resize(struct requests *requests, int attached, int rows, int cols)
{
    CLEANUP_MSG_OUT struct msg_out out;

    begin(requests, &out, "resize", 2);
    msg_put_int(&out, "rows", rows);
    msg_put_int(&out, "cols", cols);
    send_request(requests, attached, &out);
}

void requests_drop_replies(struct requests *requests)
{
    unsigned char reply[1024];
    int type;
    ssize_t n;

    do {
        n = client_take(requests->fd, &type, reply, sizeof(reply), MSG_DONTWAIT);
    } while (n >= 0 || n == -EMSGSIZE);
    if (n != -EAGAIN && n != -EINTR)
        fd_close(&requests->fd);
}
