/* core/broker/access.c -- what the ACL, and rules of its own, let a session read and write.
 *
 * Rules that a client has brought (core/policy/acl_claim.h) are asked first; they stay with the
 * session until the next CONNECT. What they do not judge is the net's and the ACL's.
 *
 * Where there is an ACL or are such rules, a session has a `struct access`: it to that file, its
 * rules, and the last verdicts. It is made when first something is asked and lives beside the
 * session (by its slot), so that a broker without them pays nothing. Most deliveries do not ask: a
 * subscription whose filter is covered by what its session may read is marked SUB_COVERED.
 *
 * All of that is true as long as the session's acl_version is the worker's. A new ACL changes the
 * worker's, another user or listener the session's; whoever meets a session with an old one judges
 * it anew before anything else, and access_run meets them all.
 *
 * Two kinds of topic are not the ACL's alone. `$SYS/` is open to clients of a loopback listener,
 * and to others only by a rule. `$LINK/` is closed by publish.c and subscribe.c, and what they let
 * through is not asked about here.
 */
#include <stdlib.h>

#include "core/base/check.h"
#include "core/broker/state.h"
#include "core/policy/acl.h"
#include "core/policy/acl_claim.h"

/* Verdicts that one session keeps, a power of two. */
#define VERDICTS 8u
/* Told apart from what a session reads. */
#define WRITE_MARK 0x5851F42D4C957F2Dull
/* The same for what the rules of a session say. */
#define CLAIM_MARK 0x9E3779B97F4A7C15ull
/* Of a verdict: what it says, 1 for yes. */
#define SAID 3ull
/* Subscriptions looked at in one turn. */
#define RENEW_BUDGET 1024u

struct access {
    struct acl_subject subject; /* zeroed where there is no ACL */
    struct acl_claim *claim;    /* or NULL */
    uint64_t claim_end_ms; /* from then on it lets nothing be published or subscribed; 0: never */
    /* The hash of topic and access, with the verdict in its lowest bits; 0: none. The hash is
     * keyed, so nobody can look for two topics with the same. */
    uint64_t verdicts[VERDICTS];
};

/* ---- life ---- */

void access_init(struct shard *s)
{
    s->access_cursor = UINT32_MAX;
    s->acl_version = 1;
    s->acl = acl_ref(s->cluster->config.acl);
}

void access_fini(struct shard *s)
{
    acl_release(s->acl);
    s->acl = NULL;
    free(s->access);
    s->access = NULL;
    s->access_capacity = 0;
}

static struct access *access_of(const struct shard *s, const struct session *x)
{
    uint32_t slot;

    if (!s->access)
        return NULL;
    slot = slab_handle(&s->sessions, x).slot;
    return slot < s->access_capacity ? s->access[slot] : NULL;
}

void access_drop(struct shard *s, struct session *x)
{
    struct access *a = access_of(s, x);

    if (!a)
        return;
    s->access[slab_handle(&s->sessions, x).slot] = NULL;
    if (a->claim) {
        STAT_ADD(&s->stats, filter_bytes_held, -(int64_t)acl_claim_bytes(a->claim));
        acl_claim_destroy(a->claim);
        s->claim_count--;
    }
    x->has_claim = false;
    acl_subject_fini(&a->subject);
    free(a);
}

/* A place by the slot of the session.  NULL: no memory. */
static struct access **place_of(struct shard *s, const struct session *x)
{
    uint32_t slot = slab_handle(&s->sessions, x).slot;
    uint32_t capacity = s->access_capacity ? s->access_capacity : 64;
    struct access **v;

    if (slot < s->access_capacity)
        return &s->access[slot];
    while (capacity <= slot)
        capacity *= 2;
    v = realloc(s->access, capacity * sizeof(struct access *));
    if (!v)
        return NULL;
    memset(v + s->access_capacity, 0, (capacity - s->access_capacity) * sizeof(struct access *));
    s->access = v;
    s->access_capacity = capacity;
    return &v[slot];
}

/* The one of the session, as the ACL and its names are now.  NULL: no memory. */
static struct access *make(struct shard *s, struct session *x)
{
    struct access **place = place_of(s, x), *a = place ? *place : NULL;
    struct bytes user = session_user(x);

    if (!place)
        return NULL;
    if (a)
        acl_subject_fini(&a->subject);
    else
        a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    memset(a->verdicts, 0, sizeof a->verdicts);
    if (s->acl)
        acl_subject_init(&a->subject, s->acl, x->has_user ? &user : NULL, session_id(x));
    *place = a;
    return a;
}

/* ---- judging a session anew ---- */

static bool is_sys(struct bytes topic)
{
    return bytes_begin(topic, BYTES_LIT("$SYS")) && (topic.n == 4 || topic.p[4] == '/');
}

static bool is_link(struct bytes topic)
{
    return bytes_begin(topic, BYTES_LIT("$LINK/"));
}

/* With an access that is up to date, if there is an ACL. */
static uint8_t covers(const struct shard *s, const struct session *x, struct bytes filter)
{
    const struct access *a = access_of(s, x);
    enum acl_claim_verdict claim = ACL_CLAIM_PASS;
    bool is_covered;

    if (x->has_claim && !is_link(filter))
        claim = acl_claim_covers(a->claim, filter);
    if (is_link(filter))
        is_covered = true;
    else if (claim != ACL_CLAIM_PASS)
        is_covered = claim == ACL_CLAIM_ALLOW;
    else if (is_sys(filter) && (x->is_local || !s->acl))
        is_covered = x->is_local;
    else
        is_covered = !s->acl || acl_covers(&a->subject, ACL_READ, filter);
    return is_covered ? SUB_COVERED : 0;
}

static void mark_subscriptions(const struct shard *s, const struct session *x)
{
    for (uint32_t i = 0; i < x->sub_count; i++) {
        const struct subscription *sub = &x->subs[i];
        struct share *h = sub->share;
        struct bytes filter =
            h ? bytes_of(h->text + h->group_count, h->filter_count) : filter_text(sub->filter);
        uint8_t *options = h ? &h->options : &sub->filter->v[sub->at].options;

        *options = (uint8_t)((*options & ~SUB_COVERED) | covers(s, x, filter));
    }
}

/* false: no memory; nothing is allowed then. */
static bool renew(struct shard *s, struct session *x)
{
    if (!s->acl && !x->has_claim) {
        access_drop(s, x);
    } else if (!make(s, x)) {
        STAT_INC(&s->stats, dropped_memory);
        return false;
    }
    mark_subscriptions(s, x);
    x->acl_version = s->acl_version;
    x->is_queue_stale = x->queue_count > 0;
    return true;
}

static bool is_known(struct shard *s, struct session *x)
{
    return x->acl_version == s->acl_version || renew(s, x);
}

void access_forget(struct shard *s, struct session *x)
{
    access_drop(s, x);
    x->acl_version = (uint16_t)(s->acl_version - 1);
}

void shard_set_acl(struct shard *s, struct acl *acl)
{
    struct acl *old = s->acl;

    s->acl = acl_ref(acl);
    acl_release(old); /* subjects made of it have references of their own */
    s->acl_version++;
    s->access_cursor = 0;
}

bool access_run(struct shard *s)
{
    uint32_t looked = 0;
    struct session *x;

    if (s->access_cursor == UINT32_MAX)
        return false;
    while ((x = slab_next(&s->sessions, &s->access_cursor))) {
        if (x->acl_version == s->acl_version)
            continue;
        looked += 1 + x->sub_count;
        (void)renew(s, x); /* without memory: when it is needed */
        if (looked >= RENEW_BUDGET)
            return true;
    }
    s->access_cursor = UINT32_MAX;
    if (!s->acl && s->claim_count == 0) { /* all have been dropped */
        free(s->access);
        s->access = NULL;
        s->access_capacity = 0;
    }
    return false;
}

/* ---- rules of a session ---- */

enum reason access_bind_claim(struct client *c, struct bytes id, const struct bytes *user,
                              struct acl_claim **claim)
{
    struct admission *a = c->admission;

    *claim = NULL;
    if (!a || a->rules_count == 0)
        return REASON_SUCCESS;
    switch (acl_claim_bind(admission_rules(a), user, id, claim, &a->why)) {
    case OK:
        return REASON_SUCCESS;
    case ERR_MEMORY:
        return REASON_SERVER_UNAVAILABLE;
    default:
        return REASON_NOT_AUTHORIZED;
    }
}

bool access_set_claim(struct shard *s, struct session *x, struct acl_claim *claim, uint64_t end_ms)
{
    struct access *a;

    if (!claim && !x->has_claim)
        return true;
    access_forget(s, x);
    if (!claim)
        return true;
    a = memory_is_full(s) ? NULL : make(s, x);
    if (!a) {
        acl_claim_destroy(claim);
        return false;
    }
    a->claim = claim;
    a->claim_end_ms = end_ms;
    x->has_claim = true;
    s->claim_count++;
    STAT_ADD(&s->stats, filter_bytes_held, acl_claim_bytes(claim));
    return true;
}

static bool claim_has_ended(const struct shard *s, const struct access *a)
{
    return a->claim_end_ms && s->now_ms >= a->claim_end_ms;
}

static enum access_answer answer_of(enum acl_claim_verdict v)
{
    if (v == ACL_CLAIM_PASS)
        return ACCESS_FILE;
    return v == ACL_CLAIM_ALLOW ? ACCESS_YES : ACCESS_NO;
}

/* The place where the verdict on a topic is kept, under a hash that becomes *hash. */
static uint64_t *claim_place(const struct shard *s, struct access *a, struct bytes topic,
                             uint32_t kind, uint64_t *hash)
{
    if (!*hash)
        *hash = hash_of(s, topic);
    *hash = (*hash ^ CLAIM_MARK * (kind + 1)) & ~SAID;
    return &a->verdicts[(*hash >> 2) % VERDICTS];
}

enum access_answer access_ask_claim(struct shard *s, struct session *x, const struct publish *p,
                                    uint8_t qos)
{
    struct access *a = access_of(s, x);
    uint64_t hash = p->topic_hash;
    uint64_t *place = claim_place(s, a, p->topic, 1u + qos + (p->retain ? 4u : 0), &hash);

    if (claim_has_ended(s, a))
        return ACCESS_NO;
    if (!*place || (*place & ~SAID) != hash)
        *place = hash | (uint64_t)acl_claim_publish(a->claim, p->topic, qos, p->retain);
    return answer_of((enum acl_claim_verdict)(*place & SAID));
}

static enum acl_claim_verdict claim_lets_read(const struct shard *s, const struct session *x,
                                              const struct publish *p)
{
    struct access *a = access_of(s, x);
    uint64_t hash = p->topic_hash;
    uint64_t *place = claim_place(s, a, p->topic, 0, &hash);

    if (!*place || (*place & ~SAID) != hash)
        *place = hash | (uint64_t)acl_claim_read(a->claim, p->topic);
    return (enum acl_claim_verdict)(*place & SAID);
}

static enum access_answer claim_lets_subscribe(const struct shard *s, const struct session *x,
                                               struct bytes filter, uint8_t qos)
{
    const struct access *a = access_of(s, x);

    if (claim_has_ended(s, a))
        return ACCESS_NO;
    return answer_of(acl_claim_subscribe(a->claim, filter, qos));
}

/* ---- questions ---- */

uint8_t access_covers(struct shard *s, struct session *x, struct bytes filter)
{
    return is_known(s, x) ? covers(s, x, filter) : 0;
}

enum access_answer access_ask_net(const struct client *c, struct access_question *q)
{
    const struct shard *s = c->stream.shard;
    enum access_answer answer;

    if (!s->hooks.may)
        return ACCESS_FILE;
    q->conn = c->stream.conn;
    answer = s->hooks.may(s->hooks.net, q);
    return answer == ACCESS_FILE && !s->acl ? ACCESS_NO : answer;
}

enum access_answer access_ask_filter(const struct client *c, struct bytes filter, uint8_t qos)
{
    const struct session *x = c->session;
    struct access_question q = {.client_id = session_id(x),
                                .user = x->has_user ? session_user(x) : (struct bytes){0},
                                .topic = filter,
                                .is_subscribe = true,
                                .qos = qos};
    enum access_answer answer = ACCESS_FILE;

    if (x->has_claim && !is_link(filter))
        answer = claim_lets_subscribe(c->stream.shard, x, filter, qos);
    if (answer != ACCESS_FILE)
        return answer;
    if (is_link(filter) || (is_sys(filter) && (x->is_local || !c->stream.shard->acl)))
        return ACCESS_FILE;
    return access_ask_net(c, &q);
}

bool access_may_subscribe(struct shard *s, struct session *x, struct bytes filter)
{
    if (is_link(filter) || (is_sys(filter) && x->is_local))
        return true;
    if (!s->acl)
        return !is_sys(filter);
    if (!s->cluster->config.acl_check_subscribe)
        return true;
    return is_known(s, x) && acl_check_subscribe(&access_of(s, x)->subject, filter);
}

/* With an ACL, and a session that is known. */
static bool ask(const struct shard *s, const struct session *x, enum acl_access access,
                struct bytes topic, uint64_t hash)
{
    struct access *a = access_of(s, x);
    uint64_t *verdict;
    bool is_allowed;

    CHECK(a);
    if (!hash)
        hash = hash_of(s, topic);
    hash = (access == ACL_WRITE ? hash ^ WRITE_MARK : hash) & ~SAID;
    verdict = &a->verdicts[(hash >> 2) % VERDICTS];
    if (*verdict && (*verdict & ~SAID) == hash)
        return *verdict & 1;
    is_allowed = acl_check(&a->subject, access, topic);
    *verdict = hash | is_allowed;
    return is_allowed;
}

bool access_may_read(struct shard *s, struct session *x, const struct publish *p)
{
    if (!is_known(s, x))
        return false;
    if (is_link(p->topic))
        return true;
    if (x->has_claim) {
        enum acl_claim_verdict claim = claim_lets_read(s, x, p);

        if (claim != ACL_CLAIM_PASS)
            return claim == ACL_CLAIM_ALLOW;
    }
    if (is_sys(p->topic) && (x->is_local || !s->acl))
        return x->is_local;
    return !s->acl || ask(s, x, ACL_READ, p->topic, p->topic_hash);
}

bool access_ask_write(struct shard *s, struct session *x, struct bytes topic, uint64_t hash)
{
    return is_known(s, x) && ask(s, x, ACL_WRITE, topic, hash);
}

bool access_by_name(const struct shard *s, const struct bytes *user, struct bytes client_id,
                    struct bytes topic)
{
    struct acl_subject who;
    bool is_allowed;

    if (!s->acl)
        return true;
    acl_subject_init(&who, s->acl, user, client_id);
    is_allowed = acl_check(&who, ACL_WRITE, topic);
    acl_subject_fini(&who);
    return is_allowed;
}

bool access_source_stands(const struct shard *s, const struct message *m)
{
    struct bytes user;

    if (!s->acl || m->source == SOURCE_UNKNOWN)
        return true;
    user = message_from_user(m);
    return access_by_name(s, m->source == SOURCE_USER ? &user : NULL, message_from_id(m),
                          message_topic(m));
}
