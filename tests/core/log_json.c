/* SPDX-License-Identifier: Apache-2.0 */
/* Docker's json-file: what its records mean, with every escape, and that nothing else is taken for one. */
#include "log/log.h"
#include "log/parse.h"
#include "log_help.h"

#define HEAD "{\"log\":\""
#define TAIL "\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02.5Z\"}"

/* A copy of its own size, so that a sanitizer sees reading past the end. */
static char *exact(const char *text, size_t *size)
{
    char *copy;

    *size = strlen(text);
    copy = malloc(*size > 0 ? *size : 1);
    assert(copy != NULL);
    memcpy(copy, text, *size);
    return copy;
}

static void texts_are_what_was_written(void)
{
    static const struct {
        const char *log; /* the inside of the text in JSON */
        const char *content;
        bool partial;
    } table[] = {
        {"one\\n", "one", false},
        {"par", "par", true},
        {"", "", true},
        {"\\n", "", false},
        {"\\\\n", "\\n", true},
        {"\\\\\\n", "\\", false},
        {"a\\nb\\n", "a\nb", false},
        {"\\\"\\\\\\/\\b\\f\\r\\t|\\n", "\"\\/\b\f\r\t|", false},
        {"\\u003ca\\u003E\\u0026\\n", "<a>&", false},
        {"\\u001b[1m\\u007f", "\033[1m\177", true},
        {"\\u00e9\\u20ac\\n", "\303\251\342\202\254", false},
        {"\\ud83d\\ude00\\uD83D\\uDE00\\n", "\360\237\230\200\360\237\230\200", false},
        {"\\ud83d|\\ude00|\\ud83d\\u0041\\n", "\357\277\275|\357\277\275|\357\277\275A", false},
        {"\\udbff\\udfff\\ud800\\udc00", "\364\217\277\277\360\220\200\200", true},
        {"\\u2028\\ufffd", "\342\200\250\357\277\275", true},
        {"caf\303\251 \377\\n", "caf\303\251 \377", false},
        {"\\u00\\u12", "0012", true}, /* no escapes: shown without them */
        {"x\\q", "x", true},
        {"end \\\\", "end \\", true},
        {"\\ud83d\\u", "\357\277\275", true},
        {"\\\",\\\"stream\\\":\\\"stderr", "\",\"stream\":\"stderr", true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char text[512];
        char *line;
        size_t size;
        struct log_record record;

        snprintf(text, sizeof(text), HEAD "%s" TAIL, table[i].log);
        line = exact(text, &size);
        assert(record_parse(line, size, &record));
        assert(record.stream == LOG_STDOUT && record.time_ns == 1795296602500000000);
        assert(record.time_length == 22 && memcmp(record.time, "2026-11-21T21:30:02.5Z", 22) == 0);
        assert(record.partial == table[i].partial && record.escaped);
        record_unescape(&record, line + (record.content - line));
        if (record.size != strlen(table[i].content) || memcmp(record.content, table[i].content, record.size) != 0) {
            printf("%s: %.*s\n", table[i].log, (int)record.size, record.content);
            abort();
        }
        free(line);
    }
}

static void whatever_else_an_object_holds_is_passed_over(void)
{
    static const char *const good[] = {
        "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"stream\":\"stdout\",\"log\":\"no\",\"time\":\"no\"},"
        "\"time\":\"2026-11-21T21:30:02Z\"}",
        "{ \"time\" : \"2026-11-21T23:30:02.000+02:00\" , \"stream\" : \"stderr\" , \"log\" : \"x\\n\" }",
        "{\"n\":-1.5e3,\"t\":true,\"a\":[1,[{}],{\"}\":\"]\"}],\"log\":\"x\\n\",\"stream\":\"stderr\","
        "\"time\":\"2026-11-21T21:30:02Z\",\"z\":null}",
    };
    static const char *const bad[] = {
        "{",
        "{}",
        "{\"log\":\"x\"}",
        "{\"log\":\"x\",\"stream\":\"stdout\"}",
        "{\"log\":\"x\",\"stream\":\"stdlog\",\"time\":\"2026-11-21T21:30:02Z\"}",
        "{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Zx\"}",
        "{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Z\"",
        "{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Z",
        "{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Z\\",
        "{\"log\":1,\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Z\"}",
        "{\"a\":[1,\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Z\"}",
        "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],\"log\":\"x\","
        "\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Z\"}",
    };
    struct log_record record;
    size_t size;
    char *line;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        line = exact(good[i], &size);
        assert(record_parse(line, size, &record) && record.stream == LOG_STDERR && !record.partial);
        assert(record.time_ns == 1795296602000000000 && record.size == 1 && record.content[0] == 'x');
        free(line);
        /* A record that is cut off anywhere is none. */
        for (size_t cut = 0; cut < strlen(good[i]); cut++)
            assert(!record_parse(good[i], cut, &record));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        line = exact(bad[i], &size);
        assert(!record_parse(line, size, &record));
        free(line);
    }
}

static void a_file_of_them_is_printed_as_any_other(void)
{
    static const char file[] = "{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:01Z\"}\n"
                               "{\"log\":\"t\\u0077\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02Z\"}\n"
                               "{\"log\":\"err\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-21T21:30:02.1Z\"}\n"
                               "{\"log\":\"o\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:02.2Z\"}\n"
                               "rubbish\n"
                               "{\"log\":\"end\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:30:03Z\"}\n"
                               "{\"log\":\"torn";
    struct remora_log_options options = print_all();
    struct text out, err;
    int fd = open("log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert(fd >= 0 && write(fd, file, strlen(file)) == (ssize_t)strlen(file));
    close(fd);
    assert(print_into("log", options, &out, &err) == 0);
    assert(strcmp(out.bytes, "one\ntwo\nend") == 0 && strcmp(err.bytes, "err\n") == 0);
    text_free(&out);
    text_free(&err);
    options.timestamps = true;
    options.tail = 3;
    assert(print_into("log", options, &out, &err) == 0);
    assert(strcmp(out.bytes, "2026-11-21T21:30:02Z two\n2026-11-21T21:30:03Z end") == 0);
    assert(strcmp(err.bytes, "2026-11-21T21:30:02.1Z err\n") == 0);
    text_free(&out);
    text_free(&err);
    options = print_all();
    options.since_ns = 1795296602000000000;
    options.until_ns = 1795296602200000000;
    assert(print_into("log", options, &out, &err) == 0);
    assert(strcmp(out.bytes, "o\n") == 0 && strcmp(err.bytes, "err\n") == 0);
    text_free(&out);
    text_free(&err);
    unlink("log");
}

/* The longest pieces that Docker writes: 16 KiB of bytes that take six each. */
static void the_longest_records_are_found_from_the_end_and_by_time(void)
{
    struct remora_log_options options = print_all();
    struct text out;
    FILE *file = fopen("log", "we");

    assert(file != NULL);
    for (int i = 0; i < 40; i++) {
        fprintf(file, "{\"log\":\"%d", i);
        for (int k = 0; k < 16380; k++)
            fputs("\\u0001", file);
        fprintf(file, "\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T21:%02d:00Z\"}\n", i);
    }
    fclose(file);
    options.tail = 2;
    assert(print_into("log", options, &out, NULL) == 0);
    assert(out.size == 2 * (2 + 16380 + 1) && strncmp(out.bytes, "38\1", 3) == 0);
    text_free(&out);
    options.tail = -1;
    options.since_ns = 1795296600000000000 - 300000000000; /* 21:25 */
    options.until_ns = options.since_ns + 60000000000;
    assert(print_into("log", options, &out, NULL) == 0);
    assert(out.size == 2 + 16380 + 1 && strncmp(out.bytes, "26\1", 3) == 0);
    text_free(&out);
    unlink("log");
}

int main(void)
{
    texts_are_what_was_written();
    whatever_else_an_object_holds_is_passed_over();
    a_file_of_them_is_printed_as_any_other();
    the_longest_records_are_found_from_the_end_and_by_time();
    return 0;
}
