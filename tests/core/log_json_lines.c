/* SPDX-License-Identifier: Apache-2.0 */
/* Docker's json-file format byte by byte, and against a plain model: characters of any kind in pieces of any size. */
#include <errno.h>
#include <time.h>

#include "log/json.h"
#include "log/log.h"
#include "log_files.h"
#include "log_help.h"
#include "log_writing.h"

static const struct timespec NOW = {1546341071, 111111111};

static void put(struct log *log, enum log_stream stream, const struct timespec *time, const char *bytes, size_t size)
{
    /* A copy of its own size, so that a sanitizer sees reading past the end. */
    char *copy = malloc(size);

    assert(copy != NULL || size == 0);
    if (size > 0)
        memcpy(copy, bytes, size);
    log_write(log, stream, time, copy, size);
    free(copy);
}

static void expect(const struct log_options *options, const char *bytes, size_t size, const char *wanted)
{
    struct text raw;
    struct log log;
    const char *what;

    assert(log_open(&log, options, &what) == 0);
    put(&log, LOG_STDOUT, &NOW, bytes, size);
    raw = path_text("log");
    if (raw.size != strlen(wanted) || memcmp(raw.bytes, wanted, raw.size) != 0) {
        printf("got:    %swanted: %s", raw.bytes, wanted);
        fflush(stdout);
        abort();
    }
    text_free(&raw);
    log_deinit(&log);
    unlink("log");
}

#define TAIL "\",\"stream\":\"stdout\",\"time\":\"2019-01-01T11:11:11.111111111Z\"}\n"
#define LINE(text) "{\"log\":\"" text "\\n" TAIL
#define PART(text) "{\"log\":\"" text TAIL

static void records_have_dockers_form(void)
{
    static const struct {
        const char *bytes, *wanted;
    } table[] = {
        {"text\n", LINE("text")},
        {"\n", LINE("")},
        {"one\ntwo\n", LINE("one") LINE("two")},
        {"no end", PART("no end")},
        {"a\nb", LINE("a") PART("b")},
        {"\\ \" \r \t \x01 \x1f \x7f\n", LINE("\\\\ \\\" \\r \\u0009 \\u0001 \\u001f \x7f")},
        {"<a href='x'>&amp;</a>\n", LINE("\\u003ca href='x'\\u003e\\u0026amp;\\u003c/a\\u003e")},
        {"\xe2\x80\xa8 \xe2\x80\xa9 \xe2\x80\xaa\n", LINE("\\u2028 \\u2029 \xe2\x80\xaa")},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f\n",
         LINE("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f")},
        {"\xff \xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80\n",
         LINE("\\ufffd \\ufffd\\ufffd \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\\ufffd\\ufffd")},
        {"\xe2\x82\n", LINE("\\ufffd\\ufffd")},
        {"\xe2\x82x\n", LINE("\\ufffd\\ufffdx")},
        {"a line that is longer than the sixteen bytes that are looked at, with \"quotes\" behind\n",
         LINE("a line that is longer than the sixteen bytes that are looked at, with \\\"quotes\\\" behind")},
    };
    const struct log_options *options = new_options(LOG_JSON_FILE, "log");

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        expect(options, table[i].bytes, strlen(table[i].bytes), table[i].wanted);
    expect(options, "a\0b\n", 4, LINE("a\\u0000b"));
}

static void labels_and_tag_are_attributes(void)
{
    static const char *const labels[] = {"com.example.name=web \"1\"", "empty="};
    struct log_options *options = new_options(LOG_JSON_FILE, "log");

    options->labels = labels;
    options->n_labels = 2;
    expect(options, "x\n", 2,
           "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"com.example.name\":\"web \\\"1\\\"\",\"empty\":\"\"},"
           "\"time\":\"2019-01-01T11:11:11.111111111Z\"}\n");
    options->tag = "tg";
    options->n_labels = 0;
    expect(options, "x\ny\n", 4,
           "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"tg\"},\"time\":\"2019-01-01T11:11:11."
           "111111111Z\"}\n"
           "{\"log\":\"y\\n\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"tg\"},\"time\":\"2019-01-01T11:11:11."
           "111111111Z\"}\n");
}

static void labels_beyond_the_bound_are_refused(void)
{
    struct log_options *options = new_options(LOG_JSON_FILE, "log");
    char *label = malloc(10000);
    const char *const labels[] = {label};
    const char *what;
    struct log log;

    assert(label != NULL);
    memset(label, 'x', 9999);
    label[2] = '=';
    label[9999] = '\0';
    options->labels = labels;
    options->n_labels = 1;
    assert(log_open(&log, options, &what) == -E2BIG && strcmp(what, "log") == 0 && access("log", F_OK) < 0);
    free(label);
}

static void the_fraction_of_a_second_has_no_zeros_at_its_end(void)
{
    static const struct {
        long ns;
        const char *wanted;
    } table[] = {{0, "11:11:11Z"}, {100000000, "11:11:11.1Z"}, {1, "11:11:11.000000001Z"}, {120, "11:11:11.00000012Z"}};

    setenv("TZ", "XYZ+03:30", 1); /* the time is UTC all the same */
    tzset();
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct timespec time = {NOW.tv_sec, table[i].ns};
        char wanted[128];
        struct text raw;
        struct log log;

        assert(open_driver(&log, LOG_JSON_FILE, "log") == 0);
        put(&log, LOG_STDERR, &time, "x\n", 2);
        raw = path_text("log");
        snprintf(wanted, sizeof(wanted), "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"time\":\"2019-01-01T%s\"}\n",
                 table[i].wanted);
        assert(strcmp(raw.bytes, wanted) == 0);
        text_free(&raw);
        log_deinit(&log);
        unlink("log");
    }
}

static void long_lines_are_cut_between_characters(void)
{
    struct text text = {0}, raw;
    struct log log;
    const char *at;

    for (int i = 0; i < 20000; i++)
        text_add(&text, i == 10000 ? "xx" : "\xe2\x82\xac", i == 10000 ? 2 : 3);
    text_add(&text, "\n", 1);
    assert(open_driver(&log, LOG_JSON_FILE, "log") == 0);
    put(&log, LOG_STDOUT, &NOW, text.bytes, text.size);
    raw = path_text("log");
    assert(strstr(raw.bytes, "ufffd") == NULL);
    at = raw.bytes;
    for (size_t pieces = 0; *at != '\0'; pieces++) {
        struct text piece = {0};

        at = strchr(json_string(at + 8, &piece), '\n') + 1;
        assert(piece.size <= JSON_PIECE + 1 && piece.size > (*at == '\0' ? 0 : JSON_PIECE - 3));
        assert(*at != '\0' || pieces == 3);
        text_free(&piece);
    }
    text_free(&raw);
    text_free(&text);
    log_deinit(&log);
    unlink("log");
}

/* ---- against a model ---- */

/* As text_add, to a text that was made large enough: a sanitizer takes its time over each allocation. */
static void add(struct text *text, const void *bytes, size_t size)
{
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

static struct text empty_text(size_t capacity)
{
    struct text text = {.bytes = calloc(1, capacity)};

    assert(text.bytes != NULL);
    return text;
}

/* The whole stream at once: how a byte that is no UTF-8 looks, a record's bounds don't change. */
static void model_escape(struct text *to, const unsigned char *at, size_t size)
{
    for (const unsigned char *end = at + size; at < end;) {
        static const unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        unsigned value = *at;
        int length = 1;
        char text[8];

        if (value >= 0xf0 && value < 0xf8)
            length = 4, value &= 7;
        else if (value >= 0xe0 && value < 0xf0)
            length = 3, value &= 15;
        else if (value >= 0xc0 && value < 0xe0)
            length = 2, value &= 31;
        for (int i = 1; i < length; i++) {
            if (at + i >= end || (at[i] & 0xc0) != 0x80) {
                length = 0;
                break;
            }
            value = value << 6 | (at[i] & 63);
        }
        if (length > 1 && (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)))
            length = 0;
        if (length == 0 || (length == 1 && value >= 0x80)) {
            add(to, "\\ufffd", 6);
            at++;
            continue;
        }
        if (value == '\n' || value == '\r')
            add(to, value == '\n' ? "\\n" : "\\r", 2);
        else if (value == '"' || value == '\\')
            add(to, text, (size_t)snprintf(text, sizeof(text), "\\%c", value));
        else if (value < 0x20 || value == '<' || value == '>' || value == '&' || value == 0x2028 || value == 0x2029)
            add(to, text, (size_t)snprintf(text, sizeof(text), "\\u%04x", value));
        else
            add(to, at, (size_t)length);
        at += length;
    }
}

static void random_part(struct text *to, uint64_t *random, int flavour)
{
    static const char *const words[] = {"\n",
                                        "\n",
                                        "a",
                                        "<",
                                        "\"",
                                        "\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xe2\x80\xa8",
                                        "\xf0\x9f\x90\x9f",
                                        "\r",
                                        "plain text of some length, enough for a wide copy",
                                        "\xe2",
                                        "\x82",
                                        "\xff",
                                        "\xf0\x9f"};
    char byte;

    switch (flavour) {
    case 0:
        byte = (char)random_below(random, 256);
        add(to, &byte, 1);
        break;
    case 1:
        byte = random_below(random, 40) == 0 ? '\n' : (char)('a' + random_below(random, 26));
        add(to, &byte, 1);
        break;
    default: {
        const char *word = words[random_below(random, flavour == 2 ? 11 : 15)];

        add(to, word, strlen(word));
    }
    }
}

static void same(const struct text *got, const struct text *wanted)
{
    size_t at = 0;

    while (at < got->size && at < wanted->size && got->bytes[at] == wanted->bytes[at])
        at++;
    if (at == got->size && at == wanted->size)
        return;
    printf("%zu bytes, wanted %zu, alike up to %zu\n", got->size, wanted->size, at);
    printf("got:    %.80s\nwanted: %.80s\n", got->bytes + at, wanted->bytes + at);
    fflush(stdout);
    abort();
}

static void any_bytes_in_any_pieces_give_what_the_model_gives(uint64_t *random)
{
    for (int round = 0; round < 80; round++) {
        static const size_t sizes[] = {10, 100, 1000, 70000};
        struct text streams[2], wanted[2], got[2], file;
        size_t size = sizes[random_below(random, 4)];
        int flavour = (int)random_below(random, 4);
        size_t at[2] = {0, 0};
        struct log log;

        for (int i = 0; i < 2; i++) {
            streams[i] = empty_text(size + 64);
            wanted[i] = empty_text(6 * (size + 64));
            got[i] = empty_text(6 * (size + 64));
            while (streams[i].size < size)
                random_part(&streams[i], random, flavour);
        }
        assert(open_driver(&log, LOG_JSON_FILE, "log") == 0);
        for (bool more = true; more;) {
            more = false;
            for (int i = 0; i < 2; i++) {
                size_t left = streams[i].size - at[i];
                size_t piece = random_below(random, random_below(random, 3) == 0 ? 4 : size) + 1;

                piece = piece < left ? piece : left;
                put(&log, (enum log_stream)i, &NOW, streams[i].bytes + at[i], piece);
                at[i] += piece;
                more = more || at[i] < streams[i].size;
                if (random_below(random, 10) == 0)
                    log_idle(&log);
            }
        }
        log_finish(&log);
        assert(log_written(&log) == streams[0].size + streams[1].size && log_dropped(&log) == 0);
        file = path_text("log");
        assert((int64_t)file.size == log_size(&log));
        for (const char *record = file.bytes; record < file.bytes + file.size;) {
            const char *end = strstr(record, "\",\"stream\":\"std");
            const char *newline = memchr(record, '\n', (size_t)(file.bytes + file.size - record));
            int stream;

            assert(memcmp(record, "{\"log\":\"", 8) == 0 && end != NULL && newline != NULL && end < newline);
            stream = memcmp(end + 15, "err\"", 4) == 0;
            add(&got[stream], record + 8, (size_t)(end - record) - 8);
            record = newline + 1;
        }
        for (int i = 0; i < 2; i++) {
            model_escape(&wanted[i], (const unsigned char *)streams[i].bytes, streams[i].size);
            same(&got[i], &wanted[i]);
            text_free(&got[i]);
            text_free(&wanted[i]);
            text_free(&streams[i]);
        }
        text_free(&file);
        log_deinit(&log);
        unlink("log");
    }
}

int main(void)
{
    uint64_t random = random_seed();

    records_have_dockers_form();
    labels_and_tag_are_attributes();
    labels_beyond_the_bound_are_refused();
    the_fraction_of_a_second_has_no_zeros_at_its_end();
    long_lines_are_cut_between_characters();
    any_bytes_in_any_pieces_give_what_the_model_gives(&random);
    return 0;
}
