/* tests/link/test_capture.c -- a recorded conversation of two EMQX 5.8.9 clusters is understood.
 *
 * `>` is what a link's client says, `<` what the listener answers. Every packet must decode, every
 * payload mean what the recording's own decoder printed, and the answers our server side would give
 * must be those that were given.
 */
#include "tests/link/vectors.h"

#include "core/base/limits.h"
#include "core/mqtt/packet.h"
#include "link/announced.h"

static const char *const type_names[] = {"",          "CONNECT",  "CONNACK",     "PUBLISH",
                                         "PUBACK",    "PUBREC",   "PUBREL",      "PUBCOMP",
                                         "SUBSCRIBE", "SUBACK",   "UNSUBSCRIBE", "UNSUBACK",
                                         "PINGREQ",   "PINGRESP", "DISCONNECT",  "AUTH"};

/* Wording of a packet, as make_vectors.py words it. free() it. */
static char *packet_meaning(const struct packet *p)
{
    char *text = NULL, *payload;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    struct bytes cluster, actor;
    enum emqx_topic kind;

    assert_non_null(f);
    fputs(type_names[p->type], f);
    if (p->type == PACKET_PUBLISH) {
        kind = emqx_topic_parse(p->publish.topic, &cluster, &actor);
        assert_int_not_equal(kind, EMQX_TOPIC_NONE);
        payload = meaning_of(p->publish.payload, kind == EMQX_TOPIC_MSG);
        fprintf(f, " qos=%d topic=", p->publish.qos);
        print_text(f, p->publish.topic);
        fprintf(f, " %s", payload);
        free(payload);
    }
    fclose(f);
    return text;
}

/* Decodes one recorded packet. */
static struct packet decode_packet(struct bytes b)
{
    struct frame f;
    struct packet p;
    enum reason why;
    uint32_t need;

    assert_int_equal(frame_next(b, PACKET_BYTES_DEFAULT, &f, &need), OK);
    assert_int_equal(f.header_size + f.body.n, b.n);
    assert_int_equal(packet_decode(&f, MQTT_5, &p, &why), OK);
    return p;
}

TEST(capture_packets_mean_what_was_printed)
{
    struct vectors v = vectors_open();
    uint32_t count = 0, publishes = 0;

    for (; vectors_next(&v, "capture"); count++) {
        struct bytes b = unhex(v.column[3]);
        struct packet p = decode_packet(b);
        char *got = packet_meaning(&p);

        assert_string_equal(got, v.column[4]);
        publishes += p.type == PACKET_PUBLISH;
        free(got);
        free_bytes(b);
    }
    assert_int_equal(count, 88);
    assert_int_equal(publishes, 8 + 6 + 8 + 8); /* handshakes, route ops, messages, heartbeats */
}

/* What the head of the recording says happened. */
struct tally {
    uint32_t inits, heartbeats, adds, deletes, accepted, refused, bootstraps, messages, retained;
};

static void count_packet(struct tally *t, const struct packet *p)
{
    struct bytes cluster, actor, plain;
    struct emqx_control c;
    struct emqx_message m;

    if (p->type != PACKET_PUBLISH)
        return;
    assert_int_equal(plain_of(p->publish.payload, &plain), OK);
    if (emqx_topic_parse(p->publish.topic, &cluster, &actor) == EMQX_TOPIC_MSG) {
        assert_int_equal(emqx_message_decode(plain, &m), OK);
        t->messages++;
        t->retained += m.retain;
        free_bytes(plain);
        return;
    }
    assert_int_equal(emqx_control_decode(plain, &c), OK);
    t->inits += c.op == EMQX_ACTOR_INIT;
    t->heartbeats += c.op == EMQX_HEARTBEAT;
    t->adds += c.add_count;
    t->deletes += c.delete_count;
    if (c.op == EMQX_ACTOR_INIT_ACK) {
        t->accepted += c.is_accepted;
        t->refused += !c.is_accepted;
        t->bootstraps += c.need_bootstrap == EMQX_NEED_TRUE;
        assert_true(c.is_accepted || bytes_eq(c.reason, BYTES_LIT("unknown_cluster")));
    }
    free_bytes(plain);
}

TEST(capture_tells_the_story_of_its_head)
{
    struct vectors v = vectors_open();
    struct tally t = {0};

    while (vectors_next(&v, "capture")) {
        struct bytes b = unhex(v.column[3]);
        struct packet p = decode_packet(b);

        count_packet(&t, &p);
        free_bytes(b);
    }
    assert_int_equal(t.inits, 4); /* both links, and both again after the cut */
    assert_int_equal(t.accepted, 4);
    assert_int_equal(t.refused, 0);
    assert_int_equal(t.bootstraps, 2); /* the reconnects needed none */
    assert_int_equal(t.adds, 3 + 1 + 4);
    assert_int_equal(t.deletes, 4 + 1 + 3);
    assert_int_equal(t.messages, 8);
    assert_int_equal(t.retained, 1);
    assert_int_equal(t.heartbeats, 8);
}

/* ---- replayed against our server side ---- */

struct world {
    char filters[16][64];
    uint32_t count;
};

static void on_filter(void *arg, struct bytes filter, bool is_wanted)
{
    struct world *w = arg;

    for (uint32_t i = 0; i < w->count; i++) {
        if (!bytes_eq(bytes_str(w->filters[i]), filter))
            continue;
        assert_false(is_wanted);
        w->count--;
        memmove(w->filters[i], w->filters[i + 1], (w->count - i) * sizeof(*w->filters));
        return;
    }
    assert_true(is_wanted);
    snprintf(w->filters[w->count++], sizeof(*w->filters), "%.*s", (int)filter.n,
             (const char *)filter.p);
}

/* Answers a control payload as our server will; compares with the recorded answer later. */
static void serve(struct announced *a, bool is_known, const struct emqx_control *c,
                  struct emqx_control *answer)
{
    struct announced_actor *actor;
    bool need_bootstrap;
    enum handshake h;

    if (c->op == EMQX_ACTOR_INIT) {
        h = handshake_decide(is_known, true, c->target, c->target);
        *answer = (struct emqx_control){.op = EMQX_ACTOR_INIT_ACK,
                                        .actor = c->actor,
                                        .version = c->version,
                                        .is_accepted = h == HANDSHAKE_OK,
                                        .reason = handshake_reason(h)};
        if (h != HANDSHAKE_OK)
            return;
        assert_int_equal(
            announced_hello(a, c->actor, c->incarnation, 1, ANNOUNCED_OLD_GO, &need_bootstrap), OK);
        answer->need_bootstrap = need_bootstrap ? EMQX_NEED_TRUE : EMQX_NEED_FALSE;
        return;
    }
    actor = announced_find(a, c->actor, c->incarnation);
    assert_non_null(actor);
    announced_heard(actor, 0, c->op == EMQX_HEARTBEAT);
    if (c->op == EMQX_ROUTE) {
        struct emqx_ops ops = emqx_ops_begin(c);
        struct emqx_route_op op;

        while (emqx_ops_next(&ops, &op)) {
            if (op.is_add)
                assert_int_equal(announced_add(a, actor, op.filter, op.id), OK);
            else
                announced_delete(a, actor, op.filter, op.id);
        }
    }
}

static void serve_publish(struct announced *a, const struct packet_publish *p, uint8_t *expected,
                          uint32_t room, uint32_t *expected_n)
{
    struct bytes cluster, actor, plain;
    struct emqx_control c, answer;
    enum emqx_topic kind = emqx_topic_parse(p->topic, &cluster, &actor);

    if (kind != EMQX_TOPIC_ROUTE && kind != EMQX_TOPIC_RESP)
        return;
    if (kind == EMQX_TOPIC_RESP) { /* the recorded answer */
        assert_int_equal(p->payload.n, *expected_n);
        assert_memory_equal(p->payload.p, expected, *expected_n);
        return;
    }
    assert_int_equal(plain_of(p->payload, &plain), OK);
    assert_int_equal(emqx_control_decode(plain, &c), OK);
    serve(a, !bytes_eq(cluster, BYTES_LIT("cluster-unknown")), &c, &answer);
    if (c.op == EMQX_ACTOR_INIT)
        assert_int_equal(emqx_control_encode(&answer, expected, room, expected_n), OK);
    free_bytes(plain);
}

static const struct announced_ops ops = {.report = on_filter};

TEST(capture_gets_the_same_answers_from_us)
{
    static const char *const files[] = {"b_to_a", "a_to_b"};
    struct hash_key key = {{1, 2, 3, 4}};

    for (int i = 0; i < 2; i++) {
        struct vectors v = vectors_open();
        struct world w = {0};
        struct announced *a = announced_create(8, 100, TOPIC_LEVELS_DEFAULT, &key, &ops, &w);
        uint32_t most = 0, expected_n = 0;
        uint8_t expected[256];

        assert_non_null(a);
        while (vectors_next(&v, "capture")) {
            struct bytes b = unhex(v.column[3]);
            struct packet p = decode_packet(b);

            if (strncmp(v.column[1], files[i], 6) == 0 && p.type == PACKET_PUBLISH)
                serve_publish(a, &p.publish, expected, sizeof(expected), &expected_n);
            most = w.count > most ? w.count : most;
            free_bytes(b);
        }
        assert_int_equal(most, i == 0 ? 8 : 0); /* only B wants something of A */
        assert_int_equal(w.count, 0);
        assert_int_equal(announced_route_count(a), 0);
        announced_destroy(a);
    }
}
