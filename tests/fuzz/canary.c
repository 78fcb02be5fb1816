/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target with a fault, by which a test sees that the driver and the sanitizers would tell one. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* One byte beyond the input. */
    if (size > 0 && data[0] == '!' && data[size] == '!')
        return 1;
    return 0;
}
