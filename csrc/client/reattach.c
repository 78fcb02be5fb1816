/* SPDX-License-Identifier: Apache-2.0 */
#include "client/reattach.h"

#include "client/client.h"
#include "include/remora.h"
#include "util/fd.h"
#include "util/msg.h"

#define BOUND_MS 2000
#define STEP_MS 10
#define REPLY_MAX 4096

static int send_request(int fd, const struct reattach *wanted)
{
    CLEANUP_MSG_OUT struct msg_out out;

    msg_out_init(&out, 7);
    msg_put_text(&out, "op", "attach");
    msg_put_text(&out, "session", wanted->session);
    msg_put_bool(&out, "stdin", wanted->in);
    msg_put_bool(&out, "stdout", wanted->out);
    msg_put_bool(&out, "stderr", wanted->err);
    msg_put_bool(&out, "block", wanted->block);
    msg_put_bool(&out, "owner", wanted->owner);
    return remora_send(fd, REMORA_PACKET_CONTROL, out.buffer.data, out.buffer.size, NULL, 0);
}

/* The reply is the first packet: nothing of the session comes before it. */
static int take_reply(int fd, int timeout_ms, int64_t read_bytes[2])
{
    unsigned char bytes[REPLY_MAX];
    CLEANUP_MSG struct msg message = {0};
    int type = 0;
    ssize_t n = remora_receive(fd, &type, bytes, sizeof(bytes), timeout_ms);
    int r;

    if (n < 0)
        return (int)n;
    r = type == REMORA_PACKET_CONTROL ? msg_parse(&message, bytes, (size_t)n) : -EBADMSG;
    if (r < 0)
        return r;
    if (!msg_bool(&message.root, "ok", false))
        return -ENOENT;
    read_bytes[0] = msg_int(&message.root, "stdout_bytes", -1);
    read_bytes[1] = msg_int(&message.root, "stderr_bytes", -1);
    return 0;
}

static int try_once(const struct reattach *wanted, int timeout_ms, int64_t read_bytes[2])
{
    CLEANUP_FD int fd = remora_connect(wanted->run_dir);
    int r;

    if (fd < 0)
        return fd;
    r = send_request(fd, wanted);
    if (r == 0)
        r = take_reply(fd, timeout_ms, read_bytes);
    return r < 0 ? r : fd_take(&fd);
}

int reattach(const struct reattach *wanted, int64_t read_bytes[2])
{
    int64_t deadline = client_now_ms() + BOUND_MS;

    for (;;) {
        int64_t left = deadline - client_now_ms();
        int r;

        if (remora_lock_held(wanted->run_dir) != 1)
            return -ECONNRESET;
        if (left <= 0)
            return -ETIMEDOUT;
        r = try_once(wanted, (int)left, read_bytes);
        if (r >= 0 || r == -ENOENT)
            return r;
        /* Its last moment, or its worker is just being replaced. */
        (void)remora_lock_wait(wanted->run_dir, STEP_MS);
    }
}
