/* cfg/text.c -- the memory behind the pointers of a struct cfg, and its end. */
#include "cfg/text.h"

#include <stdlib.h>

struct cfg_text {
    struct cfg_text *next;
    size_t n;
    _Alignas(max_align_t) unsigned char data[];
};

void *cfg_alloc(struct cfg *cfg, size_t n)
{
    struct cfg_text *piece;

    if (n > SIZE_MAX - sizeof(*piece))
        return NULL;
    piece = calloc(1, sizeof(*piece) + n);
    if (!piece)
        return NULL;
    piece->n = n;
    piece->next = cfg->texts;
    cfg->texts = piece;
    return piece->data;
}

char *cfg_copy(struct cfg *cfg, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = cfg_alloc(cfg, n);

    if (copy)
        memcpy(copy, text, n);
    return copy;
}

void cfg_listener_fini(struct cfg_listener *listener)
{
    cidr_fini(&listener->proxy_trusted);
    cidr_fini(&listener->networks.allow);
    cidr_fini(&listener->networks.deny);
}

void cfg_free(struct cfg *cfg)
{
    if (!cfg)
        return;
    for (uint32_t i = 0; i < LISTENERS_MAX; i++) {
        cfg_listener_fini(&cfg->listeners[i]);
    }
    cidr_fini(&cfg->auth.ban_exempt);
    while (cfg->texts) {
        struct cfg_text *piece = cfg->texts;

        cfg->texts = piece->next;
        explicit_bzero(piece->data, piece->n); /* passwords are among them */
        free(piece);
    }
    free(cfg);
}
