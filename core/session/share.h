/* core/session/share.h -- one session's membership in a shared group.
 *
 * The group itself lives at its home, the owner of its filter's partition (core/broker/group.c).
 * What the home knows and what it should know are both kept here, and told one step at a time when
 * the ring has room.
 *
 * Threads  the worker of the session.
 */
#ifndef CORE_SESSION_SHARE_H
#define CORE_SESSION_SHARE_H

#include "core/base/slab.h"
#include "core/session/filters.h"

struct share {
    struct table_node node;  /* by session, group and filter; in the table while `session` */
    struct session *session; /* NULL: it has left; the home has yet to hear it */
    struct handle session_handle;
    uint32_t at; /* place in session->subs */
    uint16_t home;
    struct handle group; /* at the home; generation 0: not joined yet */
    struct filter_wait *waiting;
    struct share *todo_next;
    bool is_todo;
    bool is_joining; /* a JOIN is out */
    bool join_again; /* options changed meanwhile */
    bool told_connected;
    uint8_t options;
    uint32_t subscription_id;
    uint64_t hash; /* of group and filter */
    uint32_t group_count, filter_count;
    uint8_t *text; /* group, then filter */
};

#endif
