/* net/ban.h -- who has failed to prove who he is too often, and is not listened to for a while.
 *
 * Failures are counted per source address (IPv6: per /64, which is what one customer has) and per
 * client id of an address. Each has a bucket of `failures_max` failures that are forgiven one by
 * one over `window_ms`; who has emptied it is banned for `ban_ms`. A success forgives nothing, or a
 * guesser with one good account would never be banned.
 *
 * The bucket of a client id holds half as much: one device with an old password behind a shared
 * address is banned by itself before its neighbours are banned with it. It belongs to the address,
 * so that nobody can lock out the client of somebody else by failing in its name; and against
 * guessers a count over all addresses would be of no use, for they choose their ids freely.
 *
 * The table has a fixed size. Where it is full, whoever is least guilty goes: who is forgiven, then
 * who has failed least, then whose ban ends first. Places are found by a keyed hash, so nobody can
 * aim at one.
 *
 * Threads  bans_failed: any, under a lock; who fails often is soon not asked any more. The
 *          questions: any, without a lock: while nobody is banned they read one word that nobody
 *          writes. create, destroy: main.
 * Memory   BAN_PLACES places of 32 bytes, touched as they are used.
 */
#ifndef NET_BAN_H
#define NET_BAN_H

#include "cfg/cidr.h"
#include "core/base/bytes.h"
#include "core/base/hash.h"

/* Addresses and client ids that are watched at once. */
#define BAN_PLACES 16384u

struct bans; /* opaque */

struct ban_rules {
    uint32_t failures_max;          /* of an address; at least 1 */
    uint32_t window_ms;             /* in which so many are forgiven */
    uint32_t ban_ms;                /* how long a ban lasts */
    const struct cidr_list *exempt; /* addresses that are never banned; outlives the table */
};

/* What bans_failed has begun. */
#define BAN_ADDRESS 1u
#define BAN_CLIENT 2u

/* Makes an empty table of `places` (a power of two, at least 8).  NULL: no memory. */
struct bans *bans_create(const struct ban_rules *rules, const struct hash_key *key,
                         uint32_t places);
/* Frees it.  NULL is fine. */
void bans_destroy(struct bans *b);

/* Counts a failure of `client_id` (empty: none) at an address of n = 4 or 16 bytes; n = 0: a socket
 * of this machine. Returns which of BAN_ADDRESS and BAN_CLIENT begins now. */
uint32_t bans_failed(struct bans *b, const uint8_t *ip, uint32_t n, struct bytes client_id,
                     uint64_t now_ms);
/* Whether the address is banned.  `b` may be NULL: nobody is. */
bool bans_address(const struct bans *b, const uint8_t *ip, uint32_t n, uint64_t now_ms);
/* Whether this client id is, at this address.  `b` may be NULL: nobody is. */
bool bans_client(const struct bans *b, const uint8_t *ip, uint32_t n, struct bytes client_id,
                 uint64_t now_ms);

#endif
