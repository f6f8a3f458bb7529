/* cfg/cidr.h -- networks by their prefixes: who may connect, which balancers are believed.
 *
 * A list is filled at start, sealed, and then only asked. Sealing sorts it and drops what lies
 * within another entry, so that the entries are disjoint and one binary search answers: 17 steps
 * for the largest list, no more for a hostile address than for any other.
 *
 * IPv4 and IPv6 are two worlds: ::/0 holds no IPv4 address. An address or network within
 * ::ffff:0:0/96 (IPv4 written as IPv6) is the IPv4 one.
 *
 * Threads  adding and sealing: one, at start.  Asking: any, after that.
 * Memory   the list owns its entries, 24 bytes each.
 */
#ifndef CFG_CIDR_H
#define CFG_CIDR_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* Entries of one list. Beyond: cidr_add answers ERR_FULL. */
#define CIDR_LIST_MAX 100000u

/* One network. An IPv4 address is the upper 32 bits of hi. Bits behind the first `bits` are 0. */
struct cidr {
    uint64_t hi, lo;
    uint8_t family; /* 4 or 6 */
    uint8_t bits;
};

struct cidr_list {
    struct cidr *nets;
    uint32_t count, room;
    bool is_unsorted; /* entries were added since it was sealed */
};

/* Who may come: a network in `deny` may not; of the others all if `allow` is empty, else those in
 * it. So the order of lines means nothing. */
struct cidr_rules {
    struct cidr_list allow, deny;
};

/* An empty list, which can be asked; all zeros are one, too. */
void cidr_init(struct cidr_list *list);
/* Frees the entries. */
void cidr_fini(struct cidr_list *list);

/* Reads one entry: an address ("192.0.2.1", "2001:db8::1"), a network ("192.0.2.0/24"), or one of
 * the words `localhost` (127.0.0.0/8 and ::1) and `all` (every address of both worlds). Blanks
 * around it are the caller's to remove. Adds it to the list, which then waits to be sealed.
 * ERR_PEER: no such thing; *why says so in words ("bits are set behind the prefix").
 * ERR_FULL: CIDR_LIST_MAX.  ERR_MEMORY.  Nothing was added then. */
MUST_USE enum err cidr_add(struct cidr_list *list, struct bytes text, const char **why);

/* Makes the list ready to be asked. */
void cidr_seal(struct cidr_list *list);

/* Whether the address lies in one of the networks; n is 4 or 16. An empty list has none. */
bool cidr_has(const struct cidr_list *list, const uint8_t *ip, uint32_t n);

/* Whether the rules let the address in. */
bool cidr_admits(const struct cidr_rules *rules, const uint8_t *ip, uint32_t n);

#endif
