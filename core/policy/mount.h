/* core/policy/mount.h -- mount points: what stands in front of every topic of a listener's clients.
 *
 * A client below a mount point publishes to MOUNT TOPIC and subscribes to MOUNT FILTER, and what it
 * gets has the mount taken off again: it lives in a branch of the tree and does not see it. The
 * configuration has a pattern, in which %c and ${clientid} stand for the client id, %u and
 * ${username} for the user name; each client has a `struct mount` of its own.
 *
 * Names cannot leave the place they stand in. One that holds `+`, `#` or `/`, is empty, or is not
 * UTF-8, makes no mount; nor does one with a `$` in front where the mount begins with it. A mount
 * ends with `/`: otherwise a client could go on in the name of another branch, and could not
 * subscribe to `#`.
 *
 * Threads  any.
 */
#ifndef CORE_POLICY_MOUNT_H
#define CORE_POLICY_MOUNT_H

#include "core/base/bytes.h"

/* The mount point of one client. Never changed. */
struct mount {
    uint32_t n; /* 1..MOUNT_BYTES_MAX */
    uint8_t text[];
};

enum mount_verdict {
    MOUNT_OK,
    MOUNT_BAD_CLIENT_ID, /* it cannot stand in the mount point */
    MOUNT_BAD_USER,      /* the same of the user name */
    MOUNT_NO_USER,       /* the mount point needs one */
    MOUNT_NO_MEMORY,
};

/* Why a text cannot be a mount point, as half a sentence ("it holds a wildcard"); NULL: it can.
 * Whether it has too many levels is not looked at. */
const char *mount_fault(struct bytes pattern);

/* Whether a pattern without a fault holds the client id, or the user name. */
bool mount_names_client(struct bytes pattern);
bool mount_names_user(struct bytes pattern);

/* Makes the mount of a client from a pattern without a fault; `user` NULL: it has no name. With
 * MOUNT_OK *out is the caller's, to be freed with free(). */
enum mount_verdict mount_create(struct bytes pattern, struct bytes client_id,
                                const struct bytes *user, struct mount **out);

/* Takes the mount off a topic or filter. false: it does not begin with it, or is nothing else; it
 * stays as it was. */
static inline bool mount_take_off(const struct mount *m, struct bytes *topic)
{
    if (topic->n <= m->n || memcmp(topic->p, m->text, m->n) != 0)
        return false;
    topic->p += m->n;
    topic->n -= m->n;
    return true;
}

#endif
