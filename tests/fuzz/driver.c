/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer, for a compiler that has none: each file of the corpus goes in as it is, and
 * then inputs made from them by cutting, joining, flipping and repeating. Takes the part of libFuzzer's command line
 * that tools and tests use, so that the same words run either:
 *
 *   target [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-artifact_prefix=PREFIX] FOLDER-OR-FILE...
 *
 * The same random numbers each time unless a seed is given, so that a failure comes again. The input under test
 * is kept in PREFIXcrash, a mapped file: what is in it when the target dies is what it died of.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

enum {
    SEEDS_MAX = 512,
    INPUT_MAX = 16384,
    CLOCK_EVERY = 64, /* inputs between two looks at the clock */
};

struct input {
    uint8_t *bytes;
    size_t size;
};

struct driver {
    struct input seeds[SEEDS_MAX];
    size_t n_seeds;
    uint64_t random;
    uint64_t runs; /* 0: no bound */
    time_t seconds; /* 0: no bound */
    char crash[4096];
    int crash_fd; /* owned */
    uint8_t *under_test; /* the mapping of it */
};

/* xorshift64*: small, and the same on every machine. */
static uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static size_t below(uint64_t *state, size_t bound)
{
    return bound == 0 ? 0 : (size_t)(next(state) % bound);
}

static void append(struct input *to, const struct input *from, size_t start, size_t count)
{
    if (count > from->size - start)
        count = from->size - start;
    if (count > INPUT_MAX - to->size)
        count = INPUT_MAX - to->size;
    memcpy(to->bytes + to->size, from->bytes + start, count);
    to->size += count;
}

static void mutate(struct input *out, const struct input *seeds, size_t n_seeds, uint64_t *random)
{
    static const uint8_t telling[] = {0, 1, '\n', '\r', ' ', '"', 0x1b, 0x7f, 0x80, 0xc0, 0xd9, 0xdb, 0xdf, 0xff};
    size_t edits = 1 + below(random, 6);

    out->size = 0;
    for (size_t pieces = 1 + below(random, 3); pieces > 0; pieces--) {
        const struct input *seed = &seeds[below(random, n_seeds)];
        size_t start = pieces == 1 ? 0 : below(random, seed->size);

        append(out, seed, start, below(random, 4) == 0 ? below(random, seed->size) : seed->size);
    }
    while (out->size > 0 && edits-- > 0) {
        size_t at = below(random, out->size);

        switch (below(random, 4)) {
        case 0:
            out->bytes[at] ^= (uint8_t)(1U << below(random, 8));
            break;
        case 1:
            out->bytes[at] = telling[below(random, sizeof(telling))];
            break;
        case 2: /* a gap closed up */
            memmove(out->bytes + at, out->bytes + at + 1, out->size - at - 1);
            out->size--;
            break;
        default: /* a stretch written over another */
            memmove(out->bytes + at, out->bytes, below(random, out->size - at));
        }
    }
}

static int read_seed(struct driver *driver, const char *path)
{
    struct input *seed = &driver->seeds[driver->n_seeds];
    FILE *file = fopen(path, "rbe");

    if (file == NULL || driver->n_seeds == SEEDS_MAX || (seed->bytes = malloc(INPUT_MAX)) == NULL) {
        fprintf(stderr, "driver: cannot read %s\n", path);
        if (file != NULL)
            fclose(file);
        return -1;
    }
    seed->size = fread(seed->bytes, 1, INPUT_MAX, file);
    fclose(file);
    driver->n_seeds++;
    return 0;
}

static int compare(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

/* In the order of names: the same inputs are made from the same corpus. */
static int read_corpus(struct driver *driver, const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, compare);
    int r = 0;

    if (n < 0)
        return read_seed(driver, path);
    for (int i = 0; i < n; i++) {
        char name[4096];

        snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && r == 0)
            r = read_seed(driver, name);
        free(entries[i]);
    }
    free(entries);
    return r;
}

/* A copy of exactly the input's size: a sanitizer sees a read past its end. */
static void feed(struct driver *driver, const struct input *input)
{
    uint8_t *copy = malloc(input->size + (input->size == 0));

    if (copy == NULL || ftruncate(driver->crash_fd, (off_t)input->size) < 0)
        abort();
    memcpy(copy, input->bytes, input->size);
    memcpy(driver->under_test, input->bytes, input->size);
    LLVMFuzzerTestOneInput(copy, input->size);
    free(copy);
}

static uint64_t run(struct driver *driver)
{
    uint8_t bytes[INPUT_MAX];
    struct input made = {.bytes = bytes};
    time_t end = time(NULL) + driver->seconds;
    uint64_t n = 0;

    for (size_t i = 0; i < driver->n_seeds; i++)
        feed(driver, &driver->seeds[i]);
    while (driver->n_seeds > 0 && (driver->runs == 0 || n < driver->runs)) {
        if (driver->seconds > 0 && n % CLOCK_EVERY == 0 && time(NULL) >= end)
            break;
        mutate(&made, driver->seeds, driver->n_seeds, &driver->random);
        feed(driver, &made);
        n++;
    }
    return driver->n_seeds + n;
}

static int prepare(struct driver *driver, int argc, char **argv)
{
    const char *prefix = "";

    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');

        if (argv[i][0] != '-') {
            if (read_corpus(driver, argv[i]) < 0)
                return -1;
            continue;
        }
        value = value != NULL ? value + 1 : "";
        if (strncmp(argv[i], "-runs=", 6) == 0)
            driver->runs = strtoull(value, NULL, 10);
        else if (strncmp(argv[i], "-max_total_time=", 16) == 0)
            driver->seconds = (time_t)strtoull(value, NULL, 10);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            driver->random = strtoull(value, NULL, 10) | 1;
        else if (strncmp(argv[i], "-artifact_prefix=", 17) == 0)
            prefix = value;
    }
    snprintf(driver->crash, sizeof(driver->crash), "%scrash", prefix);
    driver->crash_fd = open(driver->crash, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    driver->under_test = mmap(NULL, INPUT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, driver->crash_fd, 0);
    if (driver->crash_fd < 0 || driver->under_test == MAP_FAILED) {
        perror(driver->crash);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct driver driver = {.random = UINT64_C(88172645463325252)};
    uint64_t n;

    if (prepare(&driver, argc, argv) < 0)
        return 2;
    n = run(&driver);
    munmap(driver.under_test, INPUT_MAX);
    close(driver.crash_fd);
    unlink(driver.crash);
    while (driver.n_seeds > 0)
        free(driver.seeds[--driver.n_seeds].bytes);
    fprintf(stderr, "stat::number_of_executed_units: %llu\n", (unsigned long long)n);
    return 0;
}
