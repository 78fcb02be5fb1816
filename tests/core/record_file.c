/* SPDX-License-Identifier: Apache-2.0 */
/* The exit record: what was written last and whole is what is read, whatever happens to the rest. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container/record.h"
#include "include/remora.h"

static const char PATH[] = "record";

static void expect(const char *payload)
{
    char buffer[REMORA_RECORD_MAX];
    ssize_t n = remora_record_read(PATH, buffer, sizeof(buffer));

    assert(n == (ssize_t)strlen(payload));
    assert(memcmp(buffer, payload, strlen(payload)) == 0);
}

static void put(struct record_file *file, const char *payload)
{
    assert(record_write(file, payload, strlen(payload), true) == 0);
}

static void a_new_file_has_no_record_and_all_its_space(void)
{
    struct record_file file;
    struct stat status;
    char buffer[16];

    assert(remora_record_read(PATH, buffer, sizeof(buffer)) == -ENOENT);
    assert(record_open(&file, PATH, false) == 0);
    assert(remora_record_read(PATH, buffer, sizeof(buffer)) == 0);
    assert(fstat(file.fd, &status) == 0);
    assert(status.st_size == RECORD_STRIDE + REMORA_RECORD_MAX && (status.st_mode & 07777) == 0600);
    assert(status.st_blocks * 512 >= status.st_size);
    record_deinit(&file);
    record_deinit(&file);
    assert(file.fd == -1);
}

static void the_last_record_counts_also_after_opening_again(void)
{
    struct record_file file;

    assert(record_open(&file, PATH, false) == 0);
    put(&file, "first");
    expect("first");
    put(&file, "second one");
    expect("second one");
    put(&file, "3");
    expect("3");
    record_deinit(&file);
    assert(record_open(&file, PATH, false) == 0);
    assert(file.sequence == 3);
    expect("3");
    put(&file, "fourth");
    expect("fourth");
    record_deinit(&file);
}

static void a_fresh_start_leaves_no_record(void)
{
    struct record_file file;
    char buffer[16];

    assert(record_open(&file, PATH, true) == 0);
    assert(file.sequence == 0);
    assert(remora_record_read(PATH, buffer, sizeof(buffer)) == 0);
    put(&file, "anew");
    expect("anew");
    record_deinit(&file);
}

static void sizes_are_bounded(void)
{
    static char payload[REMORA_RECORD_MAX];
    char buffer[REMORA_RECORD_MAX];
    struct record_file file;

    memset(payload, 'x', sizeof(payload));
    assert(record_open(&file, PATH, true) == 0);
    assert(record_write(&file, payload, REMORA_RECORD_MAX - RECORD_HEADER + 1, false) == -EMSGSIZE);
    for (int i = 0; i < 2; i++) {
        assert(record_write(&file, payload, REMORA_RECORD_MAX - RECORD_HEADER, false) == 0);
        assert(remora_record_read(PATH, buffer, sizeof(buffer)) == REMORA_RECORD_MAX - RECORD_HEADER);
        assert(memcmp(buffer, payload, REMORA_RECORD_MAX - RECORD_HEADER) == 0);
    }
    assert(remora_record_read(PATH, buffer, 10) == -EMSGSIZE);
    record_deinit(&file);
}

/* One byte changed anywhere in the last record, or the write cut off anywhere: the one before counts. */
static void a_torn_record_gives_the_one_before(void)
{
    static const char last[] = "the last record, which was torn";
    const size_t size = RECORD_HEADER + sizeof(last) - 1;
    unsigned char good[RECORD_HEADER + sizeof(last)];
    struct record_file file;
    off_t slot;

    for (int round = 0; round < 2; round++) {
        assert(record_open(&file, PATH, true) == 0);
        for (int i = 0; i < round; i++)
            put(&file, "filler");
        put(&file, "the good one");
        put(&file, last);
        slot = (file.sequence & 1) ? 0 : RECORD_STRIDE;
        assert(pread(file.fd, good, size, slot) == (ssize_t)size);
        for (size_t i = 0; i < size; i++) {
            for (int bit = 0; bit < 8; bit++) {
                unsigned char bad = good[i] ^ (unsigned char)(1 << bit);

                assert(pwrite(file.fd, &bad, 1, slot + (off_t)i) == 1);
                expect("the good one");
            }
            assert(pwrite(file.fd, good + i, 1, slot + (off_t)i) == 1);
        }
        expect(last);
        for (size_t cut = 0; cut < size; cut++) {
            unsigned char zeros[sizeof(good)] = {0};

            assert(pwrite(file.fd, good, size, slot) == (ssize_t)size);
            assert(pwrite(file.fd, zeros, size - cut, slot + (off_t)cut) == (ssize_t)(size - cut));
            expect("the good one");
        }
        /* And the writer goes on after it: with the slot that does not hold the good one. */
        record_deinit(&file);
        assert(record_open(&file, PATH, false) == 0);
        put(&file, "after the crash");
        expect("after the crash");
        record_deinit(&file);
    }
}

static void a_short_or_senseless_file_is_no_record(void)
{
    unsigned char bytes[RECORD_STRIDE + REMORA_RECORD_MAX];
    char buffer[REMORA_RECORD_MAX];
    struct record_file file;
    unsigned seed = 1;

    assert(record_open(&file, PATH, true) == 0);
    put(&file, "one");
    put(&file, "two");
    assert(pread(file.fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
    for (off_t size = sizeof(bytes); size >= 0; size -= 13) {
        ssize_t n;

        assert(ftruncate(file.fd, size) == 0);
        n = remora_record_read(PATH, buffer, sizeof(buffer));
        assert(size >= RECORD_STRIDE + RECORD_HEADER + 3 || size < RECORD_HEADER + 3 || n == 3);
        assert(size >= RECORD_HEADER + 3 || n == 0);
    }
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (unsigned char)rand_r(&seed);
        if (round % 2 == 0)
            memcpy(bytes, "RMX1", 4);
        assert(pwrite(file.fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes));
        assert(remora_record_read(PATH, buffer, sizeof(buffer)) == 0);
    }
    record_deinit(&file);
}

static void other_kinds_of_files_are_refused(void)
{
    struct record_file file;

    assert(mkfifo("fifo", 0600) == 0 && record_open(&file, "fifo", true) == -EINVAL && file.fd == -1);
    assert(symlink(PATH, "link") == 0 && record_open(&file, "link", true) == -ELOOP);
    assert(remora_record_read("link", NULL, 0) == -ELOOP);
    assert(record_open(&file, "missing/record", true) == -ENOENT);
    unlink("fifo");
    unlink("link");
}

int main(void)
{
    unlink(PATH);
    a_new_file_has_no_record_and_all_its_space();
    the_last_record_counts_also_after_opening_again();
    a_fresh_start_leaves_no_record();
    sizes_are_bounded();
    a_torn_record_gives_the_one_before();
    a_short_or_senseless_file_is_no_record();
    other_kinds_of_files_are_refused();
    unlink(PATH);
    return 0;
}
