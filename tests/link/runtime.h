/* tests/link/runtime.h -- two linked worlds whose links are changed at run time. */
#ifndef TESTS_LINK_RUNTIME_H
#define TESTS_LINK_RUNTIME_H

#include "tests/link/worlds.h"

/* Makes the links what stands in the world's configuration; one whose name is empty is none. */
static inline enum err apply_once(struct world *w)
{
    const struct cfg_link *links[LINKS_MAX] = {0};
    enum err answer = OK;

    for (uint32_t i = 0; i < w->cfg.link_count; i++) {
        bool is_there = w->cfg.links[i].name[0] != 0;

        links[i] = is_there ? &w->cfg.links[i] : NULL;
        w->links[i] = (struct link_rules){.name = is_there ? links[i]->name : NULL,
                                          .acks_remotely = is_there && links[i]->ack == ACK_REMOTE};
    }
    for (uint32_t worker = 0; worker < world_workers(w); worker++)
        assert_int_equal(shard_set_links(shard_of(w, worker), w->links, w->cfg.link_count), OK);
    for (uint32_t i = 0; i < w->link_workers; i++) {
        enum err err;

        shard_begin_turn(shard_of(w, WORLD_LINKS + i), all.now_ms, all.wall_ms);
        err = hub_apply(w->hub[i], links);
        answer = answer == OK ? err : answer;
    }
    return answer;
}

/* The same, and all that follows from it. */
static inline void apply(struct world *w)
{
    assert_int_equal(apply_once(w), OK);
    worlds_settle();
}

/* Other topics, separated by commas. */
static inline void wish(struct world *w, uint32_t number, const char *topics)
{
    struct cfg_link *l = &w->cfg.links[number];
    const char *end;

    l->topic_count = 0;
    for (; *topics; topics = *end ? end + 1 : end) {
        end = strchrnul(topics, ',');
        w->topics[number][l->topic_count++] = bytes_of(topics, (size_t)(end - topics));
    }
}

/* Filters that a remote cluster has asked for. */
static inline uint32_t announced_filters(struct world *w, const char *name)
{
    return announced_filter_count(world_peer(w, name)->announced);
}

/* Operations we have told of and still have to. */
static inline uint64_t told(struct world *w, const char *name)
{
    const struct peer *p = world_peer(w, name);

    return p->tells_native ? wants_state(p->routes.wants).next
                           : WORLD_COUNT(w, link_messages_sent) + p->announcer.last_id;
}

static struct world *alpha, *beta;

/* Two clusters that are linked; each wants t/#. */
static inline void two(void)
{
    alpha = world_make("alpha", 3000);
    beta = world_make("beta", 3001);
    world_link(alpha, "beta", 3001, "t/#");
    world_link(beta, "alpha", 3000, "t/#");
    world_start(alpha);
    world_start(beta);
    worlds_pass(1000);
    assert_true(world_peer(alpha, "beta")->is_up);
    assert_true(world_peer(beta, "alpha")->is_up);
}

#endif
