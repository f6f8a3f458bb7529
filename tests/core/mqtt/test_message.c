/* tests/core/mqtt/test_message.c -- messages and shared bodies: who counts, who frees. */
#include "core/mqtt/message.h"

#include <stdlib.h>

#include "tests/support/test.h"

static struct publish a_publish(void)
{
    return (struct publish){.topic = BYTES_LIT("a/b"),
                            .props = BYTES_LIT("\x01\x01"),
                            .payload = BYTES_LIT("hello"),
                            .expires_ms = 77,
                            .stamp_ms = 88,
                            .qos = 2,
                            .retain = true,
                            .from_link = true,
                            .protocol = 5};
}

static void expect_message(const struct message *m)
{
    assert_true(bytes_eq(message_topic(m), BYTES_LIT("a/b")));
    assert_true(bytes_eq(message_props(m), BYTES_LIT("\x01\x01")));
    assert_true(bytes_eq(message_payload(m), BYTES_LIT("hello")));
    assert_int_equal(m->expires_ms, 77);
    assert_int_equal(m->stamp_ms, 88);
    assert_int_equal(m->qos, 2);
    assert_int_equal(m->protocol, 5);
    assert_true(m->retain && m->from_link);
}

TEST(message_copies_a_small_body)
{
    char topic[] = "a/b", payload[] = "hello";
    struct publish p = a_publish();
    uint64_t waiting = 0;
    struct message *m;

    p.topic = bytes_str(topic);
    p.payload = bytes_str(payload);
    m = publish_message(&p, &waiting);
    assert_non_null(m);
    memset(topic, 'x', 3);
    memset(payload, 'x', 5);
    expect_message(m);
    assert_null(m->blob);
    publish_fini(&p);
    assert_int_equal(waiting, 0);
}

TEST(message_is_made_once_for_a_publish)
{
    struct publish p = a_publish();
    uint64_t waiting = 0;
    struct message *m = publish_message(&p, &waiting);
    uint64_t one = waiting;

    assert_int_equal(one, message_cost(m));
    assert_ptr_equal(publish_message(&p, &waiting), m);
    assert_int_equal(waiting, one);
    assert_int_equal(m->refs, 1);
    publish_fini(&p);
    publish_fini(&p); /* nothing is left to let go of */
    assert_null(p.message);
}

TEST(message_lives_as_long_as_somebody_holds_it)
{
    struct publish p = a_publish();
    uint64_t waiting = 0;
    struct message *m = publish_message(&p, &waiting);

    assert_ptr_equal(message_ref(m), m);
    message_ref(m);
    publish_fini(&p);
    message_release(m);
    expect_message(m);
    assert_int_equal(waiting, message_cost(m));
    message_release(m);
    assert_int_equal(waiting, 0);
    message_release(NULL);
}

TEST(waiting_bytes_count_each_message_and_go_back_to_none)
{
    struct message *v[50];
    uint64_t waiting = 0, expected = 0;
    char text[50];

    memset(text, 'x', sizeof text);
    for (uint32_t i = 0; i < 50; i++) {
        struct publish p = {.topic = BYTES_LIT("t"), .payload = bytes_of(text, i)};

        v[i] = message_ref(publish_message(&p, &waiting));
        publish_fini(&p);
        expected += sizeof(struct message) + 1 + i;
        assert_int_equal(waiting, expected);
    }
    for (uint32_t i = 0; i < 50; i += 2)
        message_release(v[i]);
    for (uint32_t i = 1; i < 50; i += 2)
        message_release(v[i]);
    assert_int_equal(waiting, 0);
}

TEST(message_may_be_empty_but_for_its_topic)
{
    struct publish p = {.topic = BYTES_LIT("t")};
    uint64_t waiting = 0;
    struct message *m = publish_message(&p, &waiting);

    assert_int_equal(message_props(m).n, 0);
    assert_int_equal(message_payload(m).n, 0);
    publish_fini(&p);
}

TEST(publish_of_message_speaks_for_it_without_a_count)
{
    struct publish p = a_publish(), again;
    uint64_t waiting = 0;
    struct message *m = publish_message(&p, &waiting);

    publish_of_message(&again, m);
    assert_true(bytes_eq(again.topic, p.topic) && bytes_eq(again.props, p.props) &&
                bytes_eq(again.payload, p.payload));
    assert_int_equal(again.expires_ms, 77);
    assert_int_equal(again.stamp_ms, 88);
    assert_int_equal(again.qos, 2);
    assert_int_equal(again.protocol, 5);
    assert_true(again.retain && again.from_link);
    assert_ptr_equal(publish_message(&again, &waiting), m);
    assert_int_equal(m->refs, 1);
    publish_fini(&p);
}

/* ---- shared bodies ---- */

/* A blob that holds topic, props and payload, and a publish that points into it. */
static struct blob *blob_of(struct blob_home *home, struct publish *p)
{
    struct blob *b;
    uint8_t *to;

    *p = a_publish();
    b = blob_create(home, p->topic.n + p->props.n + p->payload.n);
    assert_non_null(b);
    to = bytes_put(b->bytes, p->topic);
    to = bytes_put(to, p->props);
    bytes_put(to, p->payload);
    p->topic.p = b->bytes;
    p->props.p = b->bytes + 3;
    p->payload.p = b->bytes + 5;
    p->blob = b;
    return b;
}

TEST(message_of_a_blob_refers_to_it)
{
    struct blob_home home = {.held_bytes = 0};
    uint64_t waiting = 0;
    struct publish p;
    struct blob *b = blob_of(&home, &p);
    struct message *m = publish_message(&p, &waiting);

    assert_ptr_equal(m->blob, b);
    assert_ptr_equal(m->body, b->bytes);
    assert_int_equal(load_relaxed(&b->refs), 2);
    assert_int_equal(waiting, sizeof(struct message) + 10);
    blob_release(b); /* the publisher's */
    blob_home_collect(&home);
    expect_message(m);
    publish_fini(&p);
    assert_int_equal(waiting, 0);
    assert_int_equal(home.held_bytes, 10);
    blob_home_collect(&home);
    assert_int_equal(home.held_bytes, 0);
}

TEST(blob_goes_home_with_its_last_holder)
{
    struct blob_home home = {.held_bytes = 0};
    struct blob *b = blob_create(&home, 1000);

    assert_int_equal(home.held_bytes, 1000);
    blob_share(b, 6);
    for (int i = 0; i < 6; i++) {
        blob_release(b);
        assert_null(load_relaxed(&home.returned));
        blob_home_collect(&home);
        assert_int_equal(home.held_bytes, 1000);
    }
    blob_release(b);
    assert_ptr_equal(load_relaxed(&home.returned), b);
    blob_home_collect(&home);
    assert_null(load_relaxed(&home.returned));
    assert_int_equal(home.held_bytes, 0);
}

TEST(blobs_come_home_in_any_order_and_each_to_its_own)
{
    struct blob_home homes[2] = {{.held_bytes = 0}};
    struct blob *v[20];

    for (uint32_t i = 0; i < 20; i++)
        v[i] = blob_create(&homes[i % 2], 100 + i);
    for (uint32_t i = 0; i < 10; i++)
        blob_release(v[i * 7 % 20]);
    blob_home_collect(&homes[1]);
    blob_home_collect(&homes[0]);
    assert_true(homes[0].held_bytes > 0 && homes[1].held_bytes > 0);
    for (uint32_t i = 10; i < 20; i++)
        blob_release(v[i * 7 % 20]);
    blob_home_collect(&homes[0]);
    assert_int_equal(homes[0].held_bytes, 0);
    assert_true(homes[1].held_bytes > 0);
    blob_home_collect(&homes[1]);
    blob_home_collect(&homes[1]); /* nothing more comes */
    assert_int_equal(homes[1].held_bytes, 0);
}

TEST(workers_make_a_message_each_of_one_blob)
{
    struct blob_home home = {.held_bytes = 0};
    uint64_t waiting[3] = {0};
    struct message *m[3];
    struct publish p;
    struct blob *b = blob_of(&home, &p);

    for (int i = 0; i < 3; i++) {
        struct publish mine = p; /* as body_get makes it of a record */

        blob_share(b, 1);
        m[i] = message_ref(publish_message(&mine, &waiting[i]));
        publish_fini(&mine);
        blob_release(b); /* the record's */
    }
    blob_release(b);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(load_relaxed(&b->refs), 3 - i);
        expect_message(m[i]);
        assert_int_equal(waiting[i], message_cost(m[i]));
        message_release(m[i]);
        assert_int_equal(waiting[i], 0);
    }
    blob_home_collect(&home);
    assert_int_equal(home.held_bytes, 0);
}

TEST(message_remembers_its_source_if_it_is_asked_to)
{
    for (int shared = 0; shared < 2; shared++) {
        struct blob_home home = {.held_bytes = 0};
        struct publish p = a_publish(), q;
        uint64_t waiting = 0, without;
        struct message *m;

        p.from_id = BYTES_LIT("id");
        p.from_user = BYTES_LIT("user");
        if (shared) {
            p.blob = blob_create(&home, 10);
            assert_non_null(p.blob);
            memcpy(p.blob->bytes, "a/b\x01\x01hello", 10);
            p.topic.p = p.blob->bytes;
        }
        m = publish_message(&p, &waiting);
        without = waiting;
        assert_int_equal(m->source, SOURCE_UNKNOWN);
        assert_int_equal(message_from_id(m).n + message_from_user(m).n, 0);
        publish_fini(&p);
        p.source = SOURCE_USER;
        m = publish_message(&p, &waiting);
        expect_message(m);
        assert_int_equal(waiting, without + 6);
        publish_of_message(&q, m);
        assert_int_equal(q.source, SOURCE_USER);
        assert_true(bytes_eq(q.from_id, BYTES_LIT("id")));
        assert_true(bytes_eq(q.from_user, BYTES_LIT("user")));
        publish_fini(&p);
        if (shared)
            blob_release(p.blob);
        blob_home_collect(&home);
        assert_int_equal(waiting, 0);
    }
}

TEST(message_remembers_for_which_group_it_is)
{
    for (int kind = 0; kind < 4; kind++) { /* with a blob, with a tag, with both */
        struct blob_home home = {.held_bytes = 0};
        struct publish p = a_publish(), q;
        uint64_t waiting = 0;
        struct message *m;

        p.group = BYTES_LIT("g/a/+");
        p.group_hops = 40;
        p.tag = kind & 2 ? 0x0102030405060708u : 0;
        if (kind & 1) {
            p.blob = blob_create(&home, 10);
            assert_non_null(p.blob);
            memcpy(p.blob->bytes, "a/b\x01\x01hello", 10);
            p.topic.p = p.blob->bytes;
        }
        m = publish_message(&p, &waiting);
        expect_message(m);
        assert_true(bytes_eq(message_group(m), BYTES_LIT("g/a/+")));
        assert_true(message_tag(m) == p.tag);
        publish_of_message(&q, m);
        assert_true(bytes_eq(q.group, BYTES_LIT("g/a/+")));
        assert_int_equal(q.group_hops, 40);
        publish_fini(&p);
        if (kind & 1)
            blob_release(p.blob);
        blob_home_collect(&home);
        assert_int_equal(waiting, 0);
    }
}
