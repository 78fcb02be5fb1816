/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer: driver ROUNDS SEED-FILE…. Each seed goes in as it is, and then ROUNDS inputs
 * made from the seeds by cutting, joining, flipping and repeating. The same random numbers each time, so that a failure
 * comes again; REMORA_FUZZ_SEED gives others. With clang -fsanitize=fuzzer this file is left out.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    SEEDS_MAX = 64,
    INPUT_MAX = 16384,
};

struct input {
    uint8_t *bytes;
    size_t size;
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
    static const uint8_t telling[] = {0, 1, '\n', '\r', ' ', 0x1b, 0x7f, 0x80, 0xc0, 0xd9, 0xdb, 0xdf, 0xff, 'P', 'F'};
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

static int read_seed(const char *path, struct input *seed)
{
    FILE *file = fopen(path, "rbe");

    seed->bytes = malloc(INPUT_MAX);
    if (file == NULL || seed->bytes == NULL) {
        fprintf(stderr, "driver: cannot read %s\n", path);
        return -1;
    }
    seed->size = fread(seed->bytes, 1, INPUT_MAX, file);
    fclose(file);
    return 0;
}

/* A copy of exactly the input's size: a sanitizer sees a read past its end. */
static void feed(const struct input *input)
{
    uint8_t *copy = malloc(input->size + (input->size == 0));

    if (copy == NULL)
        abort();
    memcpy(copy, input->bytes, input->size);
    LLVMFuzzerTestOneInput(copy, input->size);
    free(copy);
}

int main(int argc, char **argv)
{
    struct input seeds[SEEDS_MAX], made = {.bytes = malloc(INPUT_MAX)};
    const char *given = getenv("REMORA_FUZZ_SEED");
    uint64_t random = given != NULL ? strtoull(given, NULL, 10) | 1 : UINT64_C(88172645463325252);
    size_t n_seeds = 0;

    if (argc < 3 || argc - 2 > SEEDS_MAX || made.bytes == NULL) {
        fprintf(stderr, "usage: %s ROUNDS SEED-FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (read_seed(argv[i], &seeds[n_seeds]) < 0)
            return 2;
        feed(&seeds[n_seeds++]);
    }
    for (unsigned long rounds = strtoul(argv[1], NULL, 10); rounds > 0; rounds--) {
        mutate(&made, seeds, n_seeds, &random);
        feed(&made);
    }
    while (n_seeds > 0)
        free(seeds[--n_seeds].bytes);
    free(made.bytes);
    return 0;
}
