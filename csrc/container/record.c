/* SPDX-License-Identifier: Apache-2.0 */
#include "container/record.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "include/remora.h"
#include "util/fd.h"

enum {
    FILE_SIZE = RECORD_STRIDE + REMORA_RECORD_MAX,
    PAYLOAD_MAX = REMORA_RECORD_MAX - RECORD_HEADER,
};

static const char MAGIC[4] = {'R', 'M', 'X', '1'};

struct slot {
    uint32_t sequence; /* 0 = the slot holds no valid record */
    size_t size;
    const unsigned char *payload;
};

/* CRC-32 (IEEE 802.3, reflected), four bits at a time: a record is too small to deserve a larger table. */
static uint32_t crc32_of(const unsigned char *bytes, size_t size, uint32_t crc)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };

    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc = table[(crc ^ bytes[i]) & 15] ^ (crc >> 4);
        crc = table[(crc ^ (bytes[i] >> 4)) & 15] ^ (crc >> 4);
    }
    return ~crc;
}

static void put_u32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static uint32_t get_u32(const unsigned char *from)
{
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

/* CRC over sequence and size (adjacent in the header), then the payload. */
static uint32_t slot_crc(const unsigned char *slot, size_t size)
{
    return crc32_of(slot + RECORD_HEADER, size, crc32_of(slot + 4, 8, 0));
}

static struct slot slot_parse(const unsigned char *bytes, size_t available)
{
    const struct slot invalid = {0};
    size_t size;

    if (available < RECORD_HEADER || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0)
        return invalid;
    size = get_u32(bytes + 8);
    if (size > PAYLOAD_MAX || size > available - RECORD_HEADER || get_u32(bytes + 12) != slot_crc(bytes, size))
        return invalid;
    return (struct slot){get_u32(bytes + 4), size, bytes + RECORD_HEADER};
}

/* The newest valid record among the first `size` bytes of a record file. */
static struct slot newest(const unsigned char *bytes, size_t size)
{
    struct slot first = slot_parse(bytes, size < REMORA_RECORD_MAX ? size : REMORA_RECORD_MAX);
    struct slot second = slot_parse(bytes + RECORD_STRIDE, size > RECORD_STRIDE ? size - RECORD_STRIDE : 0);

    return second.sequence > first.sequence ? second : first;
}

static int write_at(int fd, const unsigned char *bytes, size_t size, off_t offset)
{
    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, offset);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        bytes += n;
        size -= (size_t)n;
        offset += n;
    }
    return 0;
}

/* Allocate and write all of the file. Blocks that hold data already are only overwritten where they have to change. */
static int reserve(int fd, unsigned char *bytes, size_t size, bool fresh)
{
    bool had_records = newest(bytes, size).sequence != 0;
    int r;

    /* EOPNOTSUPP, ENOSYS: a file system without preallocation; the written zeros then have to do. */
    if (fallocate(fd, 0, 0, FILE_SIZE) < 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        return -errno;
    if (fresh) {
        memset(bytes, 0, FILE_SIZE);
        r = write_at(fd, bytes, FILE_SIZE, 0);
    } else {
        memset(bytes + size, 0, FILE_SIZE - size);
        r = write_at(fd, bytes + size, FILE_SIZE - size, (off_t)size);
    }
    if (r < 0)
        return r;
    if (fresh && had_records && fdatasync(fd) < 0)
        return -errno;
    return 0;
}

int record_open(struct record_file *file, const char *path, bool fresh)
{
    /* O_NONBLOCK: a fifo in the file's place must not stop us. */
    CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
    unsigned char bytes[FILE_SIZE];
    struct stat status;
    ssize_t size;
    int r;

    *file = (struct record_file){.fd = -1};
    if (fd < 0)
        return -errno;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    size = fd_read_at(fd, bytes, FILE_SIZE, 0);
    if (size < 0)
        return (int)size;
    if (!fresh)
        file->sequence = newest(bytes, (size_t)size).sequence;
    r = reserve(fd, bytes, (size_t)size, fresh);
    if (r < 0)
        return r;
    file->fd = fd_take(&fd);
    return 0;
}

int record_write(struct record_file *file, const void *payload, size_t size, bool sync)
{
    unsigned char slot[REMORA_RECORD_MAX];
    uint32_t sequence = file->sequence + 1;
    int r;

    if (file->fd < 0)
        return -EBADF;
    if (size > PAYLOAD_MAX)
        return -EMSGSIZE;
    memcpy(slot, MAGIC, sizeof(MAGIC));
    put_u32(slot + 4, sequence);
    put_u32(slot + 8, (uint32_t)size);
    memcpy(slot + RECORD_HEADER, payload, size);
    put_u32(slot + 12, slot_crc(slot, size));
    r = write_at(file->fd, slot, RECORD_HEADER + size, (sequence & 1) ? 0 : RECORD_STRIDE);
    if (r < 0)
        return r;
    if (sync && fdatasync(file->fd) < 0)
        return -errno;
    file->sequence = sequence;
    return 0;
}

void record_deinit(struct record_file *file)
{
    fd_close(&file->fd);
    file->sequence = 0;
}

ssize_t remora_record_read(const char *path, void *buffer, size_t capacity)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    unsigned char bytes[FILE_SIZE];
    struct slot slot;
    ssize_t size;

    if (fd < 0)
        return -errno;
    size = fd_read_at(fd, bytes, FILE_SIZE, 0);
    if (size < 0)
        return size;
    slot = newest(bytes, (size_t)size);
    if (slot.sequence == 0)
        return 0;
    if (slot.size > capacity)
        return -EMSGSIZE;
    memcpy(buffer, slot.payload, slot.size);
    return (ssize_t)slot.size;
}
