/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is logged when the log can't keep up.
 *
 * The kernel offers no write to a file that fails rather than waits: RWF_NOWAIT with O_APPEND is refused by ext4 and
 * tmpfs (EOPNOTSUPP), and says EAGAIN to nearly every write on xfs and to each one on btrfs, for new blocks have to be
 * found (tried on Linux 6.18). So a slow disk is told by the time that a write took, and then left alone for as long:
 * the log takes at most about half of the monitor's time.
 */
#include <string.h>

#include "log/target.h"

#define SLOW_NS INT64_C(20000000)
#define CLOSED_NS_MAX INT64_C(5000000000)
#define SECOND_NS INT64_C(1000000000)

bool target_is_open(const struct log_target *target, int64_t now)
{
    return now >= target->closed_until;
}

void target_took(struct log_target *target, int64_t begin, int64_t end)
{
    int64_t took = end - begin;

    if (took >= SLOW_NS)
        target->closed_until = end + (took < CLOSED_NS_MAX ? took : CLOSED_NS_MAX);
}

static void refill(struct log_bucket *bucket, int64_t rate, int64_t now)
{
    __int128 gained = (__int128)(now - bucket->at) * rate / SECOND_NS;

    if (bucket->at == 0 || bucket->tokens + gained >= rate) {
        bucket->tokens = rate;
        bucket->at = now;
    } else if (gained > 0) {
        /* The time of whole tokens only: nothing is lost to rounding. */
        bucket->tokens += (int64_t)gained;
        bucket->at += (int64_t)(gained * SECOND_NS / rate);
    }
}

/*
 * One second's worth may come at once. Whole lines are dropped where there are lines; one that is longer than a
 * second's worth passes when nothing else did, and is paid for later.
 */
void bucket_take(struct log_bucket *bucket, int64_t rate, int64_t now, const char *bytes, size_t size, size_t *begin,
                 size_t *end)
{
    const char *newline;

    *begin = *end = 0;
    refill(bucket, rate, now);
    if (bucket->skipping) {
        newline = memchr(bytes, '\n', size);
        if (newline != NULL)
            *begin = (size_t)(newline + 1 - bytes);
        bucket->skipping = false;
    }
    *end = *begin;
    if (bucket->tokens >= (int64_t)(size - *begin)) {
        *end = size;
    } else if (bucket->tokens > 0) {
        newline = memrchr(bytes + *begin, '\n', (size_t)bucket->tokens);
        if (newline == NULL && bucket->tokens == rate) {
            newline = memchr(bytes + *begin, '\n', size - *begin);
            *end = newline != NULL ? (size_t)(newline + 1 - bytes) : size;
        } else if (newline != NULL) {
            *end = (size_t)(newline + 1 - bytes);
        }
    }
    bucket->tokens -= (int64_t)(*end - *begin);
    bucket->skipping = *end < size && bytes[size - 1] != '\n';
}
