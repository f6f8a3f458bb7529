/* tests/fuzz/fuzz_cidr.c -- a list of networks answers as its entries do one by one.
 *
 * Input: entries with line feeds between. What can be read goes into one list and into lists of
 * one each; both are asked for the first and last addresses of all networks and their neighbours.
 */
#include "core/base/check.h"
#include "cfg/cidr.h"

#define ENTRIES_MAX 32u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cidr_list each[ENTRIES_MAX];
static uint32_t each_count;

static void ask(const struct cidr_list *list, const uint8_t *ip, uint32_t n)
{
    bool want = false;

    for (uint32_t i = 0; i < each_count; i++)
        want |= cidr_has(&each[i], ip, n);
    CHECK(cidr_has(list, ip, n) == want);
}

/* Asks for hi:lo + by, as the address of that family, and for IPv4 in both forms. */
static void ask_near(const struct cidr_list *list, const struct cidr *net, uint64_t hi, uint64_t lo,
                     int by)
{
    uint8_t ip[16] = {0};

    if (net->family == 4) {
        ip[10] = ip[11] = 0xFF;
        put_be32(ip + 12, (uint32_t)(hi >> 32) + (uint32_t)by);
        ask(list, ip, 16);
        ask(list, ip + 12, 4);
        CHECK(cidr_has(list, ip, 16) == cidr_has(list, ip + 12, 4));
        return;
    }
    lo += (uint64_t)(int64_t)by;
    put_be32(put_be32(ip, (uint32_t)(hi >> 32)), (uint32_t)hi);
    put_be32(put_be32(ip + 8, (uint32_t)(lo >> 32)), (uint32_t)lo);
    ask(list, ip, 16);
}

static void ask_around(const struct cidr_list *list, const struct cidr *net)
{
    uint64_t hi_rest = net->bits == 0 ? UINT64_MAX : net->bits >= 64 ? 0 : UINT64_MAX >> net->bits;
    uint64_t lo_rest = net->bits <= 64    ? UINT64_MAX
                       : net->bits == 128 ? 0
                                          : UINT64_MAX >> (net->bits - 64);

    for (int by = -1; by <= 1; by++) {
        ask_near(list, net, net->hi, net->lo, by);
        ask_near(list, net, net->hi | hi_rest, net->lo | lo_rest, by);
    }
}

static void add_line(struct cidr_list *list, struct bytes line)
{
    const char *why = NULL;

    if (cidr_add(list, line, &why) != OK) {
        CHECK(why != NULL && why[0]);
        return;
    }
    cidr_init(&each[each_count]);
    CHECK(cidr_add(&each[each_count], line, &why) == OK);
    cidr_seal(&each[each_count++]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cidr_list list;
    size_t at = 0;

    cidr_init(&list);
    each_count = 0;
    while (at < size && each_count < ENTRIES_MAX) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t n = end ? (size_t)(end - data) - at : size - at;

        add_line(&list, bytes_of(data + at, n));
        at += n + 1;
    }
    cidr_seal(&list);
    for (uint32_t i = 0; i < each_count; i++) {
        for (uint32_t k = 0; k < each[i].count; k++)
            ask_around(&list, &each[i].nets[k]);
    }
    for (uint32_t i = 0; i < each_count; i++)
        cidr_fini(&each[i]);
    cidr_fini(&list);
    return 0;
}
