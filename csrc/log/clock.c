/* SPDX-License-Identifier: Apache-2.0 */
#include "log/clock.h"

#include <string.h>

void log_digits(char *to, unsigned value, int count)
{
    while (count-- > 0) {
        to[count] = (char)('0' + value % 10);
        value /= 10;
    }
}

void log_clock_set(struct log_clock *clock, time_t second, bool utc)
{
    struct tm tm;
    unsigned offset;
    char *text = clock->text;

    if (text[0] != '\0' && clock->second == second)
        return;
    if ((utc ? gmtime_r(&second, &tm) : localtime_r(&second, &tm)) == NULL)
        memset(&tm, 0, sizeof(tm));
    memcpy(text, "0000-00-00T00:00:00+00:00", sizeof(clock->text));
    log_digits(text, (unsigned)(tm.tm_year + 1900), 4);
    log_digits(text + 5, (unsigned)tm.tm_mon + 1, 2);
    log_digits(text + 8, (unsigned)tm.tm_mday, 2);
    log_digits(text + 11, (unsigned)tm.tm_hour, 2);
    log_digits(text + 14, (unsigned)tm.tm_min, 2);
    log_digits(text + 17, (unsigned)tm.tm_sec, 2);
    text[19] = tm.tm_gmtoff < 0 ? '-' : '+';
    offset = (unsigned)(tm.tm_gmtoff < 0 ? -tm.tm_gmtoff : tm.tm_gmtoff) / 60;
    log_digits(text + 20, offset / 60, 2);
    log_digits(text + 23, offset % 60, 2);
    clock->second = second;
}
