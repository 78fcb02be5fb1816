/* SPDX-License-Identifier: Apache-2.0 */
/* The CRI format byte by byte, what is accepted of other writers, and text made harmless for a terminal. */
#include <sys/sysmacros.h>
#include <time.h>

#include "log/log.h"
#include "log/neutral.h"
#include "log/parse.h"
#include "log_help.h"
#include "log_writing.h"

static void records_have_the_form_of_the_standard(const char *zone, const char *expected)
{
    static const struct timespec times[] = {{1763760722, 30194562}, {1763760722, 999999999}, {1763760723, 0}};
    struct log log;
    struct text raw;

    assert(setenv("TZ", zone, 1) == 0);
    tzset();
    unlink("log");
    assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
    log_write(&log, LOG_STDOUT, &times[0], "one\n\n", 5);
    log_write(&log, LOG_STDERR, &times[1], "par", 3);
    log_write(&log, LOG_STDERR, &times[2], "tial\r\n", 6);
    log_write(&log, LOG_STDERR, &times[2], "", 0);
    raw = file_text(log_fd(&log));
    assert(strcmp(raw.bytes, expected) == 0);
    text_free(&raw);
    log_deinit(&log);
    unlink("log");
}

static void the_driver_none_writes_nothing(void)
{
    struct timespec now = {1, 1};
    struct log log;

    assert(open_driver(&log, LOG_NONE, "log") == 0 && log_fd(&log) == -1);
    log_write(&log, LOG_STDOUT, &now, "x\n", 2);
    assert(log_written(&log) == 0 && log_dropped(&log) == 0 && log_sync(&log) == 0 && access("log", F_OK) < 0);
    log_deinit(&log);
    assert(symlink("elsewhere", "log") == 0 && open_driver(&log, LOG_K8S_FILE, "log") < 0 && log_fd(&log) == -1);
    unlink("log");
    assert(mkfifo("log", 0600) == 0 && open_driver(&log, LOG_K8S_FILE, "log") < 0);
    unlink("log");
}

static void a_limit_divides_the_log_between_records(int64_t limit)
{
    struct remora_log_options options = print_all();
    struct timespec now = {1763760722, 30194562};
    struct text raw, out, all = {0};
    struct log log;
    char line[64];
    struct stat status;
    int inode_changes = 0;
    ino_t inode = 0;

    unlink("log");
    assert(open_limited(&log, "log", limit) == 0);
    for (int i = 0; i < 500; i++) {
        int size = snprintf(line, sizeof(line), "%d%s", i, i % 7 == 0 ? "\n\nx" : "\n");

        log_write(&log, LOG_STDOUT, &now, line, (size_t)size);
        text_add(&all, line, (size_t)size);
        assert(stat("log", &status) == 0);
        assert(status.st_size <= limit || limit < 60);
        inode_changes += inode != 0 && inode != status.st_ino;
        inode = status.st_ino;
    }
    assert(inode_changes > 5 && log_written(&log) == all.size && log_dropped(&log) == 0);
    raw = file_text(log_fd(&log));
    assert(raw.bytes[raw.size - 1] == '\n' && (int64_t)raw.size == log_size(&log) &&
           strncmp(raw.bytes, "2025-", 5) == 0);
    assert(print_into("log", options, &out, NULL) == 0);
    assert(out.size > 0 && memcmp(out.bytes, all.bytes + all.size - out.size, out.size) == 0);
    text_free(&out);
    text_free(&raw);
    /* Many records at once, too: the last ones are there. */
    log_write(&log, LOG_STDOUT, &now, all.bytes, all.size);
    assert(print_into("log", options, &out, NULL) == 0);
    assert(out.size > 0 && memcmp(out.bytes, all.bytes + all.size - out.size, out.size) == 0);
    assert(log_size(&log) <= limit || limit < 60);
    text_free(&out);
    text_free(&all);
    assert(access("log.new", F_OK) < 0);
    log_deinit(&log);
    unlink("log");
}

static void a_device_is_never_replaced(void)
{
    struct timespec now = {1, 1};
    struct stat status;
    struct log log;

    /* Not the machine's own /dev/null: a defect would destroy it. */
    assert(mknod("null", S_IFCHR | 0600, makedev(1, 3)) == 0);
    assert(open_limited(&log, "null", 100) == 0);
    for (int i = 0; i < 100; i++)
        log_write(&log, LOG_STDOUT, &now, "one more line\n", 14);
    assert(stat("null", &status) == 0 && S_ISCHR(status.st_mode) && log_dropped(&log) == 0);
    log_deinit(&log);
    unlink("null");
}

static void records_of_other_writers_are_read(void)
{
    static const struct {
        const char *line;
        int64_t time_ns; /* -1: not a record */
        int stream;
        bool partial;
        const char *content;
    } table[] = {
        {"2026-11-21T21:30:02.030194562+00:00 stdout F hello", 1795296602030194562, LOG_STDOUT, false, "hello"},
        {"2026-11-21T21:30:02.03Z stderr P hel lo ", 1795296602030000000, LOG_STDERR, true, "hel lo "},
        {"2026-11-21T21:30:02Z stdout F ", 1795296602000000000, LOG_STDOUT, false, ""},
        {"2026-11-21T21:30:02Z stdout F", 1795296602000000000, LOG_STDOUT, false, ""},
        {"2026-11-21T23:30:02.5+02:00 stdout P:x:y  z", 1795296602500000000, LOG_STDOUT, true, " z"},
        {"2026-11-21T16:00:02.5-05:30 stdout F:x a", 1795296602500000000, LOG_STDOUT, false, "a"},
        {"1969-12-31T23:59:59.999999999Z stdout F a", -1 + 0, LOG_STDOUT, false, NULL},
        {"2024-02-29T00:00:00Z stdout Q a", 1709164800000000000, LOG_STDOUT, false, "a"},
        {"2026-11-21T21:30:02.0301945629999Z stdout F a", 1795296602030194562, LOG_STDOUT, false, "a"},
        {"2026-11-21T21:30:02Z stdlog F a", -1, 0, false, NULL},
        {"2026-11-21T21:30:02 stdout F a", -1, 0, false, NULL},
        {"2026-11-21T21:30:02.Z stdout F a", -1, 0, false, NULL},
        {"2026-13-21T21:30:02Z stdout F a", -1, 0, false, NULL},
        {"2026-11-21T24:30:02Z stdout F a", -1, 0, false, NULL},
        {"2026-11-21 21:30:02Z stdout F a", -1, 0, false, NULL},
        {"2026-11-21T21:30:02Z stdout  a", -1, 0, false, NULL},
        {"2026-11-21T21:30:02Z stdout", -1, 0, false, NULL},
        {"2026-11-21T21:30:02Z", -1, 0, false, NULL},
        {"9999-11-21T21:30:02Z stdout F a", -1, 0, false, NULL},
        {"", -1, 0, false, NULL},
        {"{\"log\":\"text\\n\"}", -1, 0, false, NULL},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        size_t size = strlen(table[i].line);
        char *copy = malloc(size + 1); /* with nothing behind it, for the sanitizer */
        struct log_record record = {0};
        bool good;

        assert(copy != NULL);
        memcpy(copy, table[i].line, size);
        copy = realloc(copy, size > 0 ? size : 1);
        good = cri_parse(copy, size, &record);
        if (table[i].content == NULL && i != 6) {
            assert(!good);
        } else if (i == 6) {
            assert(good && record.time_ns == -1);
        } else {
            assert(good && record.time_ns == table[i].time_ns && record.stream == table[i].stream);
            assert(record.partial == table[i].partial && record.size == strlen(table[i].content));
            assert(memcmp(record.content, table[i].content, record.size) == 0);
            assert(memchr(copy, ' ', size) == copy + record.time_length);
        }
        free(copy);
    }
}

static void make_neutral(const char *from, size_t size, size_t piece, struct text *result)
{
    struct neutral state = {0};
    char to[NEUTRAL_GROWTH * (1024 + 4)];

    *result = (struct text){0};
    for (size_t at = 0; at < size; at += piece) {
        size_t part = size - at < piece ? size - at : piece;

        text_add(result, to, neutral_text(&state, to, from + at, part));
    }
    text_add(result, to, neutral_end(&state, to, 0));
}

static void control_characters_are_shown(void)
{
    static const char *const table[][2] = {
        {"plain\ttext\r\n", "plain\ttext\r\n"},
        {"\033[31mred\033]0;title\007", "^[[31mred^[]0;title^G"},
        {"a\rb\r\rc\r", "a^Mb^M^Mc^M"},
        {"caf\303\251 \342\202\254 \360\237\230\200", "caf\303\251 \342\202\254 \360\237\230\200"},
        {"\302\233[31m", "\\xc2\\x9b[31m"},
        {"\302\237\302\240", "\\xc2\\x9f\302\240"},
        {"\233[31m\377", "\\x9b[31m\\xff"},
        {"\303(", "\\xc3("},
        {"\340\200\200", "\\xe0\\x80\\x80"},
        {"\355\240\200", "\\xed\\xa0\\x80"},
        {"\364\220\200\200", "\\xf4\\x90\\x80\\x80"},
        {"\342\202", "\\xe2\\x82"},
        {"\342\202\033", "\\xe2\\x82^["},
        {"\177\001", "^?^A"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        for (size_t piece = 1; piece < 20; piece++) {
            struct text result;

            make_neutral(table[i][0], strlen(table[i][0]), piece, &result);
            assert(strcmp(result.bytes, table[i][1]) == 0);
            text_free(&result);
        }
    }
}

static void nothing_that_a_terminal_obeys_comes_through(void)
{
    uint64_t state = random_seed();

    for (int round = 0; round < 3000; round++) {
        char bytes[256];
        struct text result, again;
        size_t size = 1 + random_below(&state, sizeof(bytes));

        for (size_t i = 0; i < size; i++)
            bytes[i] = round % 2 ? (char)random_below(&state, 256)
                                 : "\033\r\n\302\233\237a\303\355\240\360"[random_below(&state, 11)];
        make_neutral(bytes, size, 1024, &result);
        make_neutral(bytes, size, 1 + random_below(&state, 7), &again);
        assert(result.size == again.size && memcmp(result.bytes, again.bytes, result.size) == 0);
        for (size_t i = 0; i < result.size; i++) {
            unsigned char byte = (unsigned char)result.bytes[i];

            assert(byte >= 0x20 || byte == '\t' || byte == '\n' || (byte == '\r' && result.bytes[i + 1] == '\n'));
            assert(byte != 0x7f);
            assert(byte != 0xc2 || (unsigned char)result.bytes[i + 1] >= 0xa0);
        }
        text_free(&result);
        text_free(&again);
    }
}

static void the_printer_neutralises_labels_and_stamps_lines(void)
{
    struct remora_log_options options = print_all();
    struct timespec now = {1763760722, 30194562};
    struct text out;
    struct log log;

    unlink("log");
    assert(setenv("TZ", "UTC0", 1) == 0);
    tzset();
    assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
    log_write(&log, LOG_STDOUT, &now, "\033[1mbold\r\ncaf\303", 14);
    log_write(&log, LOG_STDERR, &now, "error\n", 6);
    log_write(&log, LOG_STDOUT, &now, "\251\nend\r", 6);
    log_deinit(&log);
    options.neutralise = options.timestamps = true;
    options.prefix = "c1 ";
    assert(print_into("log", options, &out, NULL) == 0);
    assert(strcmp(out.bytes, "c1 2025-11-21T21:32:02.030194562+00:00 ^[[1mbold\r\n"
                             "c1 2025-11-21T21:32:02.030194562+00:00 error\n"
                             "c1 2025-11-21T21:32:02.030194562+00:00 caf\303\251\n"
                             "c1 2025-11-21T21:32:02.030194562+00:00 end^M") == 0);
    text_free(&out);
    unlink("log");
}

/* A record far longer than any buffer, of a writer without limits, and rubbish between records. */
static void records_of_any_length_are_printed(void)
{
    static const char head[] = "2026-11-21T21:30:02Z stdout F ";
    struct remora_log_options options = print_all();
    struct text out, file = {0};
    struct text wanted = {0};
    char *line = malloc(3000000);
    int fd = open("log", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    assert(line != NULL && fd >= 0);
    memset(line, 'y', 3000000);
    for (size_t size = 1000000; size < 3000000; size += 262144 - 15) {
        text_add(&file, "rubbish\n\n", 9);
        text_add(&file, head, sizeof(head) - 1);
        text_add(&file, line, size);
        text_add(&file, "\n", 1);
        text_add(&wanted, line, size);
        text_add(&wanted, "\n", 1);
    }
    assert(write(fd, file.bytes, file.size) == (ssize_t)file.size);
    close(fd);
    assert(print_into("log", options, &out, NULL) == 0);
    assert(out.size == wanted.size && memcmp(out.bytes, wanted.bytes, out.size) == 0);
    text_free(&out);
    options.tail = 1;
    assert(print_into("log", options, &out, NULL) == 0);
    assert(out.size > 2000000 && memcmp(out.bytes, wanted.bytes + wanted.size - out.size, out.size) == 0);
    assert(memchr(out.bytes, '\n', out.size) == out.bytes + out.size - 1);
    text_free(&out);
    text_free(&file);
    text_free(&wanted);
    free(line);
    unlink("log");
}

/* 20 MB with a record each millisecond: the place is found by bisection, and found right. */
static void a_time_is_found_in_a_large_file(void)
{
    struct remora_log_options options = print_all();
    struct log log;
    struct text out;
    char line[100];

    assert(open_driver(&log, LOG_K8S_FILE, "log") == 0);
    for (int i = 0; i < 200000; i++) {
        struct timespec time = {1700000000 + i / 1000, (i % 1000) * 1000000L};
        int size = snprintf(line, sizeof(line), "%060d\n", i);

        log_write(&log, LOG_STDOUT, &time, line, (size_t)size);
    }
    log_deinit(&log);
    for (int i = 0; i < 200000; i += 19999) {
        options.since_ns = 1700000000000000000LL + i * 1000000LL;
        options.until_ns = options.since_ns + 5000000;
        assert(print_into("log", options, &out, NULL) == 0);
        assert(out.size == 61 * (i + 5 < 200000 ? 5 : (size_t)(199999 - i)));
        assert(out.size == 0 || atoi(out.bytes) == i + 1);
        text_free(&out);
    }
    unlink("log");
}

int main(void)
{
    records_have_the_form_of_the_standard("UTC0", "2025-11-21T21:32:02.030194562+00:00 stdout F one\n"
                                                  "2025-11-21T21:32:02.030194562+00:00 stdout F \n"
                                                  "2025-11-21T21:32:02.999999999+00:00 stderr P par\n"
                                                  "2025-11-21T21:32:03.000000000+00:00 stderr F tial\r\n");
    records_have_the_form_of_the_standard("XYZ+03:30", "2025-11-21T18:02:02.030194562-03:30 stdout F one\n"
                                                       "2025-11-21T18:02:02.030194562-03:30 stdout F \n"
                                                       "2025-11-21T18:02:02.999999999-03:30 stderr P par\n"
                                                       "2025-11-21T18:02:03.000000000-03:30 stderr F tial\r\n");
    the_driver_none_writes_nothing();
    a_limit_divides_the_log_between_records(1);
    a_limit_divides_the_log_between_records(60);
    a_limit_divides_the_log_between_records(1000);
    a_limit_divides_the_log_between_records(4096);
    a_device_is_never_replaced();
    records_of_other_writers_are_read();
    control_characters_are_shown();
    nothing_that_a_terminal_obeys_comes_through();
    the_printer_neutralises_labels_and_stamps_lines();
    records_of_any_length_are_printed();
    a_time_is_found_in_a_large_file();
    return 0;
}
