/* SPDX-License-Identifier: Apache-2.0 */
#include "log/parse.h"

#include <string.h>

#include "log/log.h"

#define SECOND_NS 1000000000LL

/* `count` decimal digits, or -1. */
static int number(const char *text, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';

        if (digit > 9)
            return -1;
        value = value * 10 + (int)digit;
    }
    return value;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March here, so that leap days come last. */
static int64_t days_from_date(int year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

size_t parse_time(const char *text, size_t size, int64_t *time_ns)
{
    int year, month, day, hour, minute, second;
    int64_t seconds;
    int64_t fraction = 0;
    size_t at = 19;

    if (size < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':')
        return 0;
    year = number(text, 4);
    month = number(text + 5, 2);
    day = number(text + 8, 2);
    hour = number(text + 11, 2);
    minute = number(text + 14, 2);
    second = number(text + 17, 2);
    if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60)
        return 0;
    seconds = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    if (text[at] == '.') {
        int64_t unit = SECOND_NS / 10;
        size_t first = ++at;

        for (; at < size && text[at] >= '0' && text[at] <= '9'; at++, unit /= 10)
            fraction += unit * (text[at] - '0');
        if (at == first)
            return 0;
    }
    if (at < size && text[at] == 'Z') {
        at++;
    } else if (size - at >= 6 && (text[at] == '+' || text[at] == '-') && text[at + 3] == ':') {
        int hours = number(text + at + 1, 2);
        int minutes = number(text + at + 4, 2);

        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
            return 0;
        seconds -= (text[at] == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
        at += 6;
    } else {
        return 0;
    }
    if (__builtin_mul_overflow(seconds, SECOND_NS, time_ns) || __builtin_add_overflow(*time_ns, fraction, time_ns))
        return 0;
    return at;
}

bool cri_parse(const char *line, size_t size, struct log_record *record)
{
    size_t at = parse_time(line, size, &record->time_ns);
    const char *tags, *blank;

    /* The shortest: " stdout F". */
    if (at == 0 || size - at < 9 || line[at] != ' ' || line[at + 7] != ' ')
        return false;
    if (memcmp(line + at + 1, "stdout", 6) == 0)
        record->stream = LOG_STDOUT;
    else if (memcmp(line + at + 1, "stderr", 6) == 0)
        record->stream = LOG_STDERR;
    else
        return false;
    record->time = line;
    record->time_length = at;
    record->escaped = false;
    tags = line + at + 8;
    blank = memchr(tags, ' ', (size_t)(line + size - tags));
    if (blank == NULL)
        blank = line + size;
    if (blank == tags)
        return false;
    record->partial = tags[0] == 'P' && (blank == tags + 1 || tags[1] == ':');
    record->content = blank < line + size ? blank + 1 : blank;
    record->size = (size_t)(line + size - record->content);
    return true;
}

bool record_parse(const char *line, size_t size, struct log_record *record)
{
    return size > 0 && line[0] == '{' ? json_parse(line, size, record) : cri_parse(line, size, record);
}
