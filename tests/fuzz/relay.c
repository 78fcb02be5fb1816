/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: a monitor sends any packets to an attached command. The command ends, and what it wrote is, byte for
 * byte, what the packets of each stream held up to the one that ended the session.
 *
 * The input: a byte of flags, then packets, each a stretch (fuzz.h) that begins with its type byte.
 */
#include "client/client.h"
#include "fuzz.h"
#include "include/remora.h"

#include <errno.h>
#include <sys/socket.h>

FUZZ_BOUNDED_ALLOCATIONS

enum {
    OUTPUT_MAX = 65536,
    PACKETS_MAX = 64, /* so many wait in the socket */
};

struct expected {
    size_t size[2];
    uint8_t bytes[2][OUTPUT_MAX];
    bool ended; /* an EXIT packet came: the rest is not for the streams */
    bool too_long; /* its record is larger than any */
    size_t exit_size;
};

static void expect(struct expected *expected, const uint8_t *packet, size_t size)
{
    if (expected->ended)
        return;
    if (packet[0] == REMORA_PACKET_EXIT) {
        expected->ended = true;
        expected->exit_size = size - 1;
        expected->too_long = size - 1 > sizeof(((struct remora_relay_result *)NULL)->exit);
    } else if (packet[0] == REMORA_PACKET_STDOUT || packet[0] == REMORA_PACKET_STDERR) {
        int stream = packet[0] == REMORA_PACKET_STDERR;

        memcpy(expected->bytes[stream] + expected->size[stream], packet + 1, size - 1);
        expected->size[stream] += size - 1;
    }
}

static void compare(int fd, const uint8_t *bytes, size_t size)
{
    static uint8_t written[OUTPUT_MAX + 1];

    if (pread(fd, written, sizeof(written), 0) != (ssize_t)size || memcmp(written, bytes, size) != 0)
        abort();
}

static void relay(int connection, unsigned flags, const int outputs[2], const struct expected *expected)
{
    static const unsigned char keys[] = {16, 17};
    struct remora_relay_result result;
    struct remora_relay_options options = {
        .connection = connection,
        .in = (flags & 1) != 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1,
        .out = (flags & 2) != 0 ? -1 : outputs[0],
        .err = (flags & 4) != 0 ? -1 : outputs[1],
        .detach_keys = keys,
        .detach_length = sizeof(keys),
        .handle_output_closed = (flags & 8) != 0,
    };
    int r = remora_relay(&options, &result);

    close(options.in);
    if (expected->ended ? r != (expected->too_long ? -EMSGSIZE : 0) : r != 0)
        abort();
    if (r == 0 && (result.end == REMORA_RELAY_EXITED) != expected->ended)
        abort();
    if (r == 0 && expected->ended && result.exit_size != expected->exit_size)
        abort();
    compare(outputs[0], expected->bytes[0], options.out < 0 ? 0 : expected->size[0]);
    compare(outputs[1], expected->bytes[1], options.err < 0 ? 0 : expected->size[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct expected expected;
    struct fuzz_input input = {data, size < OUTPUT_MAX ? size : OUTPUT_MAX};
    unsigned flags = fuzz_byte(&input);
    int lowest = fuzz_free_descriptor();
    int outputs[2] = {memfd_create("out", MFD_CLOEXEC), memfd_create("err", MFD_CLOEXEC)};
    int pair[2];

    if (outputs[0] < 0 || outputs[1] < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    client_enlarge(pair[0]);
    expected.size[0] = expected.size[1] = 0;
    expected.ended = expected.too_long = false;
    for (int i = 0; i < PACKETS_MAX && input.size > 2; i++) {
        const uint8_t *packet = fuzz_stretch(&input, &size);

        if (size == 0 || send(pair[0], packet, size, MSG_DONTWAIT) < 0)
            continue;
        expect(&expected, packet, size);
    }
    close(pair[0]);
    relay(pair[1], flags, outputs, &expected);
    close(pair[1]);
    close(outputs[0]);
    close(outputs[1]);
    if (fuzz_free_descriptor() != lowest)
        abort();
    return 0;
}
