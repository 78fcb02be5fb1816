/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: any bytes are an exit record. What is read is the newest slot whose checksum is right, or nothing, as a
 * second reader written here sees it; and a record can be written after whatever was there, and is the one that counts
 * then.
 *
 * The first byte says whether the checksums of the two slots are put right before the file is read, for no mutation
 * finds one by chance.
 */
#include "container/record.h"
#include "fuzz.h"
#include "include/remora.h"

enum {
    FILE_MAX = RECORD_STRIDE + REMORA_RECORD_MAX,
};

static const char name[] = "record";

static uint32_t u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t crc(const uint8_t *bytes, size_t size, uint32_t value)
{
    value = ~value;
    for (size_t i = 0; i < size; i++) {
        value ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    }
    return ~value;
}

/* The checksum that a slot should have; false: it doesn't fit into what is there. */
static bool slot_sum(const uint8_t *slot, size_t available, uint32_t *sum)
{
    uint32_t size = available >= RECORD_HEADER ? u32(slot + 8) : 0;

    if (available < RECORD_HEADER || size > REMORA_RECORD_MAX - RECORD_HEADER || size > available - RECORD_HEADER)
        return false;
    *sum = crc(slot + RECORD_HEADER, size, crc(slot + 4, 8, 0));
    return true;
}

static size_t available(size_t size, int slot)
{
    if (slot == 0)
        return size < REMORA_RECORD_MAX ? size : REMORA_RECORD_MAX;
    return size > RECORD_STRIDE ? size - RECORD_STRIDE : 0;
}

/* The sequence of the slot, 0: it is not valid. */
static uint32_t sequence(const uint8_t *file, size_t size, int slot)
{
    const uint8_t *at = file + (size_t)slot * RECORD_STRIDE;
    uint32_t sum;

    if (!slot_sum(at, available(size, slot), &sum) || memcmp(at, "RMX1", 4) != 0 || u32(at + 12) != sum)
        return 0;
    return u32(at + 4);
}

static void expect(ssize_t read, const uint8_t *payload, const uint8_t *file, size_t size)
{
    uint32_t first = sequence(file, size, 0), second = sequence(file, size, 1);
    const uint8_t *slot = file + (second > first ? RECORD_STRIDE : 0);

    if (first == 0 && second == 0) {
        if (read != 0)
            abort();
    } else if (read != (ssize_t)u32(slot + 8) || memcmp(payload, slot + RECORD_HEADER, (size_t)read) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[FILE_MAX], payload[REMORA_RECORD_MAX];
    static int fd = -1;
    struct fuzz_input input = {data, size};
    struct record_file record;
    unsigned flags = fuzz_byte(&input);
    bool last;

    if (fd < 0)
        fd = fuzz_file(name);
    memset(file, 0, sizeof(file));
    size = input.size < FILE_MAX ? input.size : FILE_MAX;
    memcpy(file, input.at, size);
    for (int slot = 0; slot < 2; slot++) {
        uint8_t *at = file + (size_t)slot * RECORD_STRIDE;
        uint32_t sum;

        if ((flags & 1U << slot) != 0 && slot_sum(at, available(size, slot), &sum))
            for (int i = 0; i < 4; i++)
                at[12 + i] = (uint8_t)(sum >> (8 * i));
    }
    fuzz_fill(fd, file, size);
    expect(remora_record_read(name, payload, sizeof(payload)), payload, file, size);

    last = sequence(file, size, 0) == UINT32_MAX || sequence(file, size, 1) == UINT32_MAX;
    if (record_open(&record, name, (flags & 4) != 0) < 0 || record_write(&record, "new", 3, false) < 0)
        abort();
    record_deinit(&record);
    /* After four thousand million runs the count begins anew: then the old one may stay. */
    if (!last && (remora_record_read(name, payload, sizeof(payload)) != 3 || memcmp(payload, "new", 3) != 0))
        abort();
    return 0;
}
