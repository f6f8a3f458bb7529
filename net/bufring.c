/* net/bufring.c -- the receive buffers that all connections of one worker share. */
#include "net/bufring.h"

#include <sys/mman.h>

#include "core/base/check.h"

enum err bufring_create(struct bufring *b, struct uring *u)
{
    void *p = mmap(NULL, (size_t)BUFRING_COUNT * BUFRING_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *b = (struct bufring){.uring = u};
    if (p == MAP_FAILED)
        return ERR_MEMORY;
    b->memory = p;
    if (uring_buffers_register(u, BUFRING_COUNT) != OK) {
        bufring_destroy(b);
        return ERR_SYSTEM;
    }
    for (uint32_t i = 0; i < BUFRING_COUNT; i++)
        uring_buffers_give(u, b->memory + (size_t)i * BUFRING_BYTES, BUFRING_BYTES, (uint16_t)i);
    return OK;
}

void bufring_destroy(struct bufring *b)
{
    if (b->memory)
        munmap(b->memory, (size_t)BUFRING_COUNT * BUFRING_BYTES);
    b->memory = NULL;
}

uint8_t *bufring_at(struct bufring *b, uint16_t id)
{
    CHECK(id < BUFRING_COUNT);
    return b->memory + (size_t)id * BUFRING_BYTES;
}

void bufring_return(struct bufring *b, uint16_t id)
{
    CHECK(id < BUFRING_COUNT);
    uring_buffers_give(b->uring, b->memory + (size_t)id * BUFRING_BYTES, BUFRING_BYTES, id);
}
