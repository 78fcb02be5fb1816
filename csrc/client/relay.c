/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attached terminal: copies between the caller's descriptors and an attached connection.
 *
 * One poll loop, nothing in it blocks. Each direction holds at most one packet: while it can't be delivered, no further
 * one is taken, so that back-pressure reaches from one end to the other. Signals and close_output go over a second
 * connection, made when first needed, and so overtake input that the container does not read.
 *
 * A connection that ends while the container has a monitor is made anew; what was to be sent is sent there. The bytes
 * of each stream are counted, so that what is missing afterwards is known.
 *
 * Whatever ends the loop, the terminal is put back before remora_relay returns; a fatal signal takes effect after that.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "client/client.h"
#include "client/detach.h"
#include "client/reattach.h"
#include "client/requests.h"
#include "client/signals.h"
#include "client/stream.h"
#include "client/terminal.h"
#include "include/remora.h"
#include "util/fd.h"
#include "util/msg.h"

/* The beginning of the detach keys is held for so long; then it was meant for the session. */
#define HOLD_MS 500

/* Packets in one direction before the other one has its turn. */
#define ROUND_PACKETS 16

/* What the loop goes on with, beside enum remora_relay_end and -errno. */
#define GO_ON 100

struct relay {
    const struct remora_relay_options *options; /* borrowed */
    struct remora_relay_result *result; /* borrowed */
    int connection; /* the attached one: the caller's, or the one made anew, which is in the result */
    bool broken; /* it takes nothing any more; what it still holds is to be read */
    int64_t position[2]; /* bytes of stdout and stderr up to the last one that came; -1: not known */
    struct requests requests;
    struct stream in, out, err;
    struct terminal terminal;
    int sized; /* borrowed: the terminal whose size counts, -1: none */
    struct signals signals;
    struct detach detach;
    int64_t held_until; /* monotonic ms; only while keys are held */
    bool input_waits; /* `input` is a packet to be sent (an empty one: end of input) */
    bool detached; /* when it is sent */
    bool lagged;
    int fatal; /* a signal that ends this process after the clean-up */
    struct stream *output_to; /* `output` from output_at on is for this one */
    size_t input_size, output_at, output_size;
    unsigned char input[REMORA_PAYLOAD_MAX];
    unsigned char typed[REMORA_PAYLOAD_MAX - DETACH_KEYS_MAX];
    unsigned char output[REMORA_PAYLOAD_MAX];
};

static void relay_free(struct relay **pointer)
{
    struct relay *relay = *pointer;

    if (relay == NULL)
        return;
    terminal_restore(&relay->terminal);
    stream_deinit(&relay->in);
    stream_deinit(&relay->out);
    stream_deinit(&relay->err);
    requests_deinit(&relay->requests);
    /* Still blocked: it waits until the mask is put back, and then does what the caller has arranged for it. */
    if (relay->fatal != 0)
        kill(getpid(), relay->fatal);
    signals_deinit(&relay->signals);
    free(relay);
    *pointer = NULL;
}

static void send_size(struct relay *relay)
{
    int size = relay->sized >= 0 ? remora_window_size(relay->sized) : -ENOTTY;
    unsigned char packet[7] = {0x92, 0xcd, 0, 0, 0xcd, 0, 0}; /* msgpack: an array of two uint16 */

    if (size < 0)
        return;
    packet[2] = (unsigned char)(size >> 24);
    packet[3] = (unsigned char)(size >> 16);
    packet[5] = (unsigned char)(size >> 8);
    packet[6] = (unsigned char)size;
    if (client_put(relay->connection, REMORA_PACKET_RESIZE, packet, sizeof(packet)) == -EAGAIN)
        requests_resize(&relay->requests, relay->connection, size >> 16, size & 0xffff);
}

/* ---- the attached connection ---- */

/* Output that never came here. */
static void missing(struct relay *relay, int stream, int64_t bytes)
{
    if (bytes <= 0)
        return;
    relay->result->lost_bytes += (uint64_t)bytes;
    if (relay->position[stream] >= 0)
        relay->position[stream] += bytes;
}

/* It ended without a word: go on over a new one, if there is still a monitor to go on with. */
static int connection_ended(struct relay *relay)
{
    const struct remora_relay_options *options = relay->options;
    const struct reattach wanted = {
        .run_dir = options->run_dir,
        .session = relay->requests.session,
        .in = relay->in.fd >= 0 || relay->input_waits,
        .out = relay->out.fd >= 0,
        .err = relay->err.fd >= 0,
        .block = options->block,
        .owner = options->owner,
    };
    const bool shown[2] = {wanted.out, wanted.err};
    int64_t read_bytes[2] = {-1, -1};
    int fd;

    if (relay->lagged)
        return REMORA_RELAY_LAGGED;
    fd = options->run_dir != NULL ? reattach(&wanted, read_bytes) : -ECONNRESET;
    if (fd < 0)
        return REMORA_RELAY_LOST;
    fd_close(&relay->result->connection);
    relay->connection = relay->result->connection = fd;
    relay->broken = false;
    for (int i = 0; i < 2; i++) {
        if (relay->position[i] >= 0 && shown[i])
            missing(relay, i, read_bytes[i] - relay->position[i]);
        relay->position[i] = read_bytes[i];
    }
    send_size(relay);
    return GO_ON;
}

/* ---- input ---- */

static void input_end(struct relay *relay)
{
    stream_deinit(&relay->in);
}

/* Whether keys are typed on a terminal of ours; not whether it is raw now: hung up, it can't be made raw again. */
static bool has_keyboard(const struct relay *relay)
{
    return relay->options->raw && relay->terminal.fd >= 0;
}

/* Fill `input` from what the caller's side has. -EAGAIN: nothing there. */
static int input_read(struct relay *relay)
{
    bool detaches = relay->detach.length > 0;
    ssize_t n;

    n = detaches ? stream_read(&relay->in, relay->typed, sizeof(relay->typed))
                 : stream_read(&relay->in, relay->input, sizeof(relay->input));
    if (n == -EAGAIN)
        return -EAGAIN;
    if (n == -EIO || (n == 0 && has_keyboard(relay))) {
        /* A terminal that is gone, or a background read that nothing can stop: nobody types, but no end was typed. */
        input_end(relay);
        return -EAGAIN;
    }
    if (n < 0)
        n = 0; /* nothing can ever come from it: a folder, a descriptor that is not open */
    relay->input_size = (size_t)n;
    if (n == 0) {
        relay->input_size = detach_flush(&relay->detach, relay->input);
        /* With keys still held, the end itself comes with the next read. */
        if (relay->input_size == 0)
            input_end(relay);
    } else if (detaches) {
        relay->input_size = detach_feed(&relay->detach, relay->typed, (size_t)n, relay->input, &relay->detached);
        relay->held_until = client_now_ms() + HOLD_MS;
        /* All of it is held: an empty packet would be the end of input. */
        if (relay->input_size == 0)
            return 0;
    }
    relay->input_waits = true;
    return 0;
}

/* The terminal hung up: nobody types and nobody sees the output any more. */
static bool hung_up(const struct relay *relay)
{
    struct pollfd out = {.fd = relay->out.fd};

    return has_keyboard(relay) && relay->in.fd < 0 && out.fd >= 0 && poll(&out, 1, 0) > 0 &&
           (out.revents & POLLHUP) != 0;
}

static int input_round(struct relay *relay)
{
    for (int i = 0; i < ROUND_PACKETS; i++) {
        int result;

        if (relay->input_waits) {
            result = relay->broken
                         ? -EAGAIN
                         : client_put(relay->connection, REMORA_PACKET_STDIN, relay->input, relay->input_size);
            if (result < 0 && result != -EAGAIN) {
                relay->broken = true; /* the other direction tells how it ended */
                result = -EAGAIN;
            }
            if (result == -EAGAIN && !relay->detached)
                return GO_ON;
            relay->input_waits = false;
        }
        if (relay->detached)
            return REMORA_RELAY_DETACHED;
        if (relay->in.fd < 0)
            return GO_ON;
        result = input_read(relay);
        if (result == -EAGAIN)
            return hung_up(relay) ? REMORA_RELAY_OUTPUT_CLOSED : GO_ON;
    }
    return GO_ON;
}

static void input_unhold(struct relay *relay)
{
    if (relay->detach.held == 0 || relay->input_waits || client_now_ms() < relay->held_until)
        return;
    relay->input_size = detach_flush(&relay->detach, relay->input);
    relay->input_waits = true;
}

/* ---- output ---- */

/* The reader of one of our streams is gone; with -EIO it was a terminal: that is no reason to disturb the session. */
static int output_closed(struct relay *relay, int cause)
{
    bool is_out = relay->output_to == &relay->out;

    stream_deinit(relay->output_to);
    relay->output_to = NULL;
    if (!relay->options->handle_output_closed || cause == -EIO)
        return is_out ? REMORA_RELAY_OUTPUT_CLOSED : GO_ON;
    requests_close_output(&relay->requests, relay->connection, is_out ? "stdout" : "stderr");
    return GO_ON;
}

static int output_write(struct relay *relay)
{
    while (relay->output_to != NULL && relay->output_at < relay->output_size) {
        ssize_t n =
            stream_write(relay->output_to, relay->output + relay->output_at, relay->output_size - relay->output_at);

        if (n == -EPIPE || n == -EIO || n == -ECONNRESET)
            return output_closed(relay, (int)n);
        if (n < 0)
            return (int)n;
        relay->output_at += (size_t)n;
    }
    relay->output_to = NULL;
    return GO_ON;
}

static void see_event(struct relay *relay, size_t size)
{
    CLEANUP_MSG struct msg message;
    const char *event;

    if (msg_parse(&message, relay->output, size) < 0)
        return;
    event = msg_text(&message, &message.root, "event", "");
    if (strcmp(event, "lagging") == 0)
        relay->lagged = true;
    else if (strcmp(event, "lost") == 0)
        missing(relay, strcmp(msg_text(&message, &message.root, "stream", ""), "stderr") == 0,
                msg_int(&message.root, "bytes", 0));
}

static int output_take(struct relay *relay)
{
    int type = 0;
    ssize_t n = client_take(relay->connection, &type, relay->output, sizeof(relay->output), MSG_DONTWAIT);

    if (n == -ECONNRESET || n == -EPIPE)
        return connection_ended(relay);
    if (n == -EINTR)
        return -EAGAIN;
    if (n < 0)
        return (int)n;
    switch (type) {
    case REMORA_PACKET_STDOUT:
    case REMORA_PACKET_STDERR:
        if (relay->position[type == REMORA_PACKET_STDERR] >= 0)
            relay->position[type == REMORA_PACKET_STDERR] += n;
        relay->output_to = type == REMORA_PACKET_STDERR ? &relay->err : &relay->out;
        if (relay->output_to->fd < 0)
            relay->output_to = NULL;
        relay->output_at = 0;
        relay->output_size = (size_t)n;
        return GO_ON;
    case REMORA_PACKET_CONTROL:
        see_event(relay, (size_t)n);
        return GO_ON;
    case REMORA_PACKET_EXIT:
        if ((size_t)n > sizeof(relay->result->exit))
            return -EMSGSIZE;
        memcpy(relay->result->exit, relay->output, (size_t)n);
        relay->result->exit_size = (size_t)n;
        return REMORA_RELAY_EXITED;
    default:
        return GO_ON;
    }
}

static int output_round(struct relay *relay)
{
    for (int i = 0; i < ROUND_PACKETS; i++) {
        int result = output_write(relay);

        if (result == GO_ON)
            result = output_take(relay);
        if (result == -EAGAIN)
            return GO_ON;
        if (result != GO_ON)
            return result;
    }
    return GO_ON;
}

/* ---- signals ---- */

static int signal_round(struct relay *relay)
{
    int number;

    while ((number = signals_take(&relay->signals)) != 0) {
        if (signals_is_passed(number)) {
            if (!relay->options->proxy_signals) {
                relay->fatal = number;
                return -EINTR;
            }
            requests_signal(&relay->requests, relay->connection, number);
        } else {
            if (number == SIGTSTP) {
                terminal_restore(&relay->terminal);
                kill(getpid(), SIGSTOP);
            }
            if (number != SIGWINCH)
                (void)terminal_raw_again(&relay->terminal);
            send_size(relay);
        }
    }
    return GO_ON;
}

/* ---- the loop ---- */

static int relay_wait(struct relay *relay)
{
    bool takes = relay->output_to == NULL;
    bool sends = relay->input_waits && !relay->broken;
    bool reads = relay->in.fd >= 0 && !relay->input_waits;
    struct pollfd ready[] = {
        {.fd = relay->signals.fd, .events = POLLIN},
        {.fd = takes || sends ? relay->connection : -1,
         .events = (short)((takes ? POLLIN : 0) | (sends ? POLLOUT : 0))},
        {.fd = reads ? relay->in.fd : -1, .events = POLLIN},
        {.fd = takes ? -1 : relay->output_to->fd, .events = POLLOUT},
        {.fd = relay->requests.fd, .events = POLLIN},
    };
    int timeout = -1;

    if (relay->detach.held > 0 && !relay->input_waits) {
        int64_t rest = relay->held_until - client_now_ms();

        timeout = rest > 0 ? (int)rest : 0;
    }
    if (poll(ready, sizeof(ready) / sizeof(*ready), timeout) < 0 && errno != EINTR)
        return -errno;
    if (ready[4].revents != 0)
        requests_drop_replies(&relay->requests);
    return GO_ON;
}

static int relay_run(struct relay *relay)
{
    int result = GO_ON;

    send_size(relay);
    while (result == GO_ON) {
        result = signal_round(relay);
        if (result == GO_ON)
            result = output_round(relay);
        if (result == GO_ON) {
            input_unhold(relay);
            result = input_round(relay);
        }
        if (result == GO_ON)
            result = relay_wait(relay);
    }
    return result;
}

static int relay_init(struct relay *relay, const struct remora_relay_options *options)
{
    int result = signals_init(&relay->signals);

    if (result < 0)
        return result;
    stream_init(&relay->in, options->in, false);
    stream_init(&relay->out, options->out, true);
    stream_init(&relay->err, options->err, true);
    terminal_init(&relay->terminal, options->in);
    /* Keys are typed: what comes from a file or pipe is data. */
    if (relay->terminal.fd >= 0)
        detach_init(&relay->detach, options->detach_keys, options->detach_length);
    if (!options->raw)
        return 0;
    relay->sized = relay->terminal.fd >= 0 ? relay->terminal.fd : options->out;
    return terminal_raw(&relay->terminal);
}

int remora_relay(const struct remora_relay_options *options, struct remora_relay_result *result)
{
    CLEANUP(relay_free) struct relay *relay = calloc(1, sizeof(*relay));
    int end;

    result->exit_size = 0;
    result->connection = -1;
    result->lost_bytes = 0;
    if (relay == NULL)
        return -ENOMEM;
    relay->options = options;
    relay->result = result;
    relay->connection = options->connection;
    relay->position[0] = options->out >= 0 ? options->out_position : -1;
    relay->position[1] = options->err >= 0 ? options->err_position : -1;
    relay->sized = relay->terminal.fd = -1;
    requests_init(&relay->requests, options->run_dir, options->session);
    relay->in = relay->out = relay->err = (struct stream){.fd = -1, .owned = -1};
    relay->signals.fd = -1;
    end = relay_init(relay, options);
    if (end == 0)
        end = relay_run(relay);
    if (end < 0) {
        fd_close(&result->connection);
        return end;
    }
    result->end = end;
    return 0;
}
