/* core/broker/mounted.c -- clients below the mount point of their listener.
 *
 * Inside, there are full topics only: in messages, wills, subscriptions, the index, retained
 * messages, towards links, and for the ACL. The mount is put in front where a packet of the client
 * is read (here), and taken off where one for it is written (deliver.c). It belongs to the
 * connection: a session that is taken up over another listener keeps its subscriptions, but what
 * does not begin with the mount it has now is not for that client, and dropped and counted.
 *
 * `$share/GROUP/` stays in front. Below the mount a `$` at the beginning means nothing, as in
 * mosquitto: `$SYS/...` is a topic like any other there, which `#` finds. `$LINK/...` has no mount,
 * so that it is closed, and said to be, as on other listeners.
 */
#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/mqtt/topic.h"

#include <stdlib.h>

enum reason mounted_begin(struct client *c, struct bytes id, const struct bytes *user)
{
    const struct listener_rules *rules = &c->stream.shard->cluster->config.listeners[c->listener];
    enum mount_verdict verdict;

    free(c->mount); /* of the first time the CONNECT was offered */
    c->mount = NULL;
    if (!rules->mount_point || c->is_link_only)
        return REASON_SUCCESS;
    CHECK(rules->links == LISTENER_LINKS_NO);
    verdict = mount_create(bytes_str(rules->mount_point), id, user, &c->mount);
    switch (verdict) {
    case MOUNT_OK:
        return REASON_SUCCESS;
    case MOUNT_BAD_CLIENT_ID:
        return REASON_CLIENT_ID_NOT_VALID;
    case MOUNT_BAD_USER:
        return REASON_BAD_USER_NAME_OR_PASSWORD;
    case MOUNT_NO_USER:
        return REASON_NOT_AUTHORIZED;
    case MOUNT_NO_MEMORY:
        break;
    }
    return REASON_SERVER_UNAVAILABLE;
}

enum reason mounted_will(struct client *c, const struct packet_connect **p,
                         struct packet_connect *copy)
{
    enum err err;

    if (!c->mount || !(*p)->has_will)
        return REASON_SUCCESS;
    *copy = **p;
    *p = copy;
    err = mounted_put(c, &copy->will_topic);
    if (err == ERR_MEMORY)
        return REASON_SERVER_UNAVAILABLE;
    if (err != OK || !topic_name_valid(copy->will_topic, c->stream.shard->limits->topic_levels))
        return REASON_TOPIC_NAME_INVALID;
    return REASON_SUCCESS;
}

bool mounted_asks_in_vain(const struct client *c, const struct packet_connect *p)
{
    const struct listener_rules *rules = &c->stream.shard->cluster->config.listeners[c->listener];

    return c->mount && p->client_id.n == 0 && mount_names_client(bytes_str(rules->mount_point));
}

enum err mounted_put(struct client *c, struct bytes *topic)
{
    const struct mount *m = c->mount;
    uint8_t *to;

    if (bytes_begin(*topic, BYTES_LIT("$LINK/")))
        return OK;
    if (topic->n > TOPIC_BYTES_MAX - m->n)
        return ERR_PEER;
    to = arena_alloc(&c->stream.shard->arena, m->n + topic->n);
    if (!to)
        return ERR_MEMORY;
    bytes_put(bytes_put(to, bytes_of(m->text, m->n)), *topic);
    *topic = bytes_of(to, m->n + topic->n);
    return OK;
}

uint8_t mounted_filter(struct client *c, struct bytes text, bool *is_shared, struct bytes *group,
                       struct bytes *filter)
{
    enum err err;

    if (topic_split_share(text, is_shared, group, filter) != OK)
        return REASON_TOPIC_FILTER_INVALID;
    if (!c->mount)
        return REASON_SUCCESS;
    err = mounted_put(c, filter);
    if (err == OK)
        return REASON_SUCCESS;
    return err == ERR_PEER ? REASON_TOPIC_FILTER_INVALID : REASON_IMPLEMENTATION_SPECIFIC;
}

bool mounted_reaches(const struct session *x, struct bytes filter)
{
    return x->client && (!x->client->mount || mount_take_off(x->client->mount, &filter));
}
