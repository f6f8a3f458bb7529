/* cfg/cidr.c -- networks by their prefixes.
 *
 * Two networks are disjoint or one lies within the other. Sorted by family, address and prefix, a
 * network comes right before those within it; without those, the last entry that does not lie
 * behind an address is the only one that can hold it.
 */
#include "cfg/cidr.h"

#include "core/base/check.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <strings.h>

/* First room of a list; doubles. */
#define ROOM_FIRST 8u
/* Longest entry: an IPv6 address, '/' and three digits. */
#define TEXT_BYTES_MAX (INET6_ADDRSTRLEN + 4)
/* Entries that one word can stand for. */
#define NETS_PER_WORD 2

void cidr_init(struct cidr_list *list)
{
    *list = (struct cidr_list){0};
}

void cidr_fini(struct cidr_list *list)
{
    free(list->nets);
    cidr_init(list);
}

static uint64_t get_be64(const uint8_t *p)
{
    return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

/* The address as a network of its own: IPv4 in 4 bytes, or in 16 as ::ffff:a.b.c.d. */
static struct cidr net_of(const uint8_t *ip, uint32_t n)
{
    CHECK(n == 4 || n == 16);
    if (n == 4)
        return (struct cidr){.hi = (uint64_t)get_be32(ip) << 32, .family = 4, .bits = 32};
    if (get_be64(ip) == 0 && get_be32(ip + 8) == 0xFFFF)
        return net_of(ip + 12, 4);
    return (struct cidr){.hi = get_be64(ip), .lo = get_be64(ip + 8), .family = 6, .bits = 128};
}

/* The same network with all but the first `bits` cleared. */
static struct cidr shortened(struct cidr net, uint32_t bits)
{
    uint64_t hi_mask = bits == 0 ? 0 : bits >= 64 ? UINT64_MAX : UINT64_MAX << (64 - bits);
    uint64_t lo_mask = bits <= 64 ? 0 : UINT64_MAX << (128 - bits);

    net.hi &= hi_mask;
    net.lo &= lo_mask;
    net.bits = (uint8_t)bits;
    return net;
}

/* Whether `inner` lies within `outer`. */
static bool is_within(struct cidr inner, const struct cidr *outer)
{
    struct cidr net;

    if (inner.family != outer->family || inner.bits < outer->bits)
        return false;
    net = shortened(inner, outer->bits);
    return net.hi == outer->hi && net.lo == outer->lo;
}

/* ---- reading ---- */

/* Reads digits without a leading zero, up to `most`. */
static bool read_bits(const char *text, uint32_t most, uint32_t *bits)
{
    uint32_t v = 0;

    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0') || strlen(text) > 3)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        v = v * 10 + (uint32_t)(*text - '0');
    }
    *bits = v;
    return v <= most;
}

/* Reads an address or a network. NULL: *net is set; else what is wrong. */
static const char *read_net(char *text, struct cidr *net)
{
    char *slash = strchr(text, '/');
    uint32_t bits, most;
    uint8_t ip[16];
    struct cidr whole;

    if (slash)
        *slash = '\0';
    if (inet_pton(AF_INET, text, ip) == 1)
        most = 32;
    else if (inet_pton(AF_INET6, text, ip) == 1)
        most = 128;
    else
        return "not an IPv4 or IPv6 address";
    bits = most;
    if (slash && !read_bits(slash + 1, most, &bits))
        return most == 32 ? "the prefix is not a number from 0 to 32"
                          : "the prefix is not a number from 0 to 128";
    whole = net_of(ip, most / 8);
    if (whole.family == 4 && most == 128) {
        if (bits < 96) /* ::ffff:0:0/90 would hold IPv4 and other things */
            return "the prefix of an IPv4 address written as IPv6 is less than 96";
        bits -= 96;
    }
    *net = shortened(whole, bits);
    if (net->hi != whole.hi || net->lo != whole.lo)
        return "bits are set behind the prefix";
    return NULL;
}

/* Reads a word. 0: it is none. */
static uint32_t read_word(const char *text, struct cidr nets[NETS_PER_WORD])
{
    if (strcasecmp(text, "localhost") == 0) {
        nets[0] = (struct cidr){.hi = 127ull << 56, .family = 4, .bits = 8};
        nets[1] = (struct cidr){.lo = 1, .family = 6, .bits = 128};
        return 2;
    }
    if (strcasecmp(text, "all") == 0) {
        nets[0] = (struct cidr){.family = 4};
        nets[1] = (struct cidr){.family = 6};
        return 2;
    }
    return 0;
}

static enum err reserve(struct cidr_list *list, uint32_t extra)
{
    uint32_t room = list->room ? list->room : ROOM_FIRST;
    struct cidr *nets;

    if (list->count + extra > CIDR_LIST_MAX)
        return ERR_FULL;
    while (room < list->count + extra)
        room *= 2;
    if (room == list->room)
        return OK;
    nets = reallocarray(list->nets, room, sizeof(*nets));
    if (!nets)
        return ERR_MEMORY;
    list->nets = nets;
    list->room = room;
    return OK;
}

enum err cidr_add(struct cidr_list *list, struct bytes text, const char **why)
{
    struct cidr nets[NETS_PER_WORD];
    char copy[TEXT_BYTES_MAX + 1];
    uint32_t count;
    enum err err;

    *why = "not an IPv4 or IPv6 address";
    if (text.n == 0 || text.n > TEXT_BYTES_MAX || memchr(text.p, 0, text.n))
        return ERR_PEER;
    *bytes_put((uint8_t *)copy, text) = 0;
    count = read_word(copy, nets);
    if (count == 0) {
        *why = read_net(copy, &nets[0]);
        if (*why)
            return ERR_PEER;
        count = 1;
    }
    *why = "";
    err = reserve(list, count);
    if (err != OK)
        return err;
    memcpy(list->nets + list->count, nets, count * sizeof(*nets));
    list->count += count;
    list->is_unsorted = true;
    return OK;
}

/* ---- asking ---- */

/* By family, address, prefix; of two equal addresses the larger network comes first. */
static int compare(const void *left, const void *right)
{
    const struct cidr *a = left, *b = right;

    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    if (a->hi != b->hi)
        return a->hi < b->hi ? -1 : 1;
    if (a->lo != b->lo)
        return a->lo < b->lo ? -1 : 1;
    return (a->bits > b->bits) - (a->bits < b->bits);
}

void cidr_seal(struct cidr_list *list)
{
    uint32_t kept = 0;

    if (list->count > 1)
        qsort(list->nets, list->count, sizeof(*list->nets), compare);
    for (uint32_t i = 0; i < list->count; i++) {
        if (kept == 0 || !is_within(list->nets[i], &list->nets[kept - 1]))
            list->nets[kept++] = list->nets[i];
    }
    list->count = kept;
    list->is_unsorted = false;
}

bool cidr_has(const struct cidr_list *list, const uint8_t *ip, uint32_t n)
{
    struct cidr one = net_of(ip, n);
    uint32_t low = 0, high = list->count;

    CHECK(!list->is_unsorted);
    while (low < high) { /* those before low do not lie behind `one`, those from high on do */
        uint32_t mid = low + (high - low) / 2;

        if (compare(&list->nets[mid], &one) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && is_within(one, &list->nets[low - 1]);
}

bool cidr_admits(const struct cidr_rules *rules, const uint8_t *ip, uint32_t n)
{
    if (cidr_has(&rules->deny, ip, n))
        return false;
    return rules->allow.count == 0 || cidr_has(&rules->allow, ip, n);
}
