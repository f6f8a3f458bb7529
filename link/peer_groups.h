/* link/peer_groups.h -- shared groups that are served once over us and a broker of ours.
 *
 * Agreed upon for each direction by itself, when one side introduces itself to the other
 * (link/native.h): ours, that we name our groups to them (`gives_groups`), and theirs, that they
 * name theirs to us (`takes_groups`). In the end both are as both links say; in between, each
 * record says for whom it is.
 *
 * Threads  the link worker that has the peer.
 */
#ifndef LINK_PEER_GROUPS_H
#define LINK_PEER_GROUPS_H

#include "link/peer.h"

/* Whether a route is a shared group's name; and its parts, if it has them. */
bool peer_is_group(struct bytes route);
MUST_USE enum err peer_split_group(struct bytes route, struct bytes *group, struct bytes *filter);

/* They have introduced themselves, as a broker of ours or not, with an offer to name their groups
 * or none. Whether that is granted. */
bool peer_grant_groups(struct peer *p, bool is_offered);
/* All that they want has been announced. */
void peer_groups_announced(struct peer *p);
/* Once per turn, after the mail: from when on what is published says for whom it is. True: there is
 * more to do now. */
bool peer_groups_run(struct peer *p);
/* Tells our wishes with our groups by name, or without. Whether that is not as before, and all must
 * be announced anew. */
bool peer_give_groups(struct peer *p, bool by_name);

/* Applies a route that is a group's name. ERR_PEER: it is none, or not granted. ERR_NONE: not all
 * of its filter is exported. */
MUST_USE enum err peer_apply_group(struct peer *p, struct announced_actor *actor,
                                   const struct native_op *op);
/* A group is not served over clusters: some of its filter is not imported here or exported. */
void peer_group_refused(struct peer *p, struct bytes filter);

#endif
