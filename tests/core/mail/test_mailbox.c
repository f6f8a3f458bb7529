/* tests/core/mail/test_mailbox.c -- mail between workers, one thread playing all of them.
 *
 * What threads can do to each other is in tests/race/race_mailbox.c.
 */
#include "core/mail/mailbox.h"

#include "core/base/limits.h"
#include "tests/support/test.h"

static const uint32_t tiny[MAIL_KIND_COUNT] = {256, 256, 256, 256};

/* What came, in the order in which it came. */
struct letter {
    uint32_t from;
    enum mail_kind kind;
    uint32_t number;
};
struct desk {
    struct letter got[1000];
    uint32_t count;
    uint64_t refuse[MAIL_KIND_COUNT]; /* senders whose mail of that kind is refused */
};

static bool file_letter(void *owner, uint32_t from, enum mail_kind kind, void *record,
                        uint32_t bytes)
{
    struct desk *d = owner;

    assert_int_equal(bytes, sizeof(uint32_t));
    if (d->refuse[kind] & (1ull << from))
        return false;
    d->got[d->count++] = (struct letter){from, kind, *(uint32_t *)record};
    return true;
}

/* Posts without showing. */
static bool post(struct mail *m, uint32_t from, uint32_t to, enum mail_kind kind, uint32_t number)
{
    uint32_t *record = mail_post(m, from, to, kind, sizeof number);

    if (record)
        *record = number;
    return record != NULL;
}

static void expect(const struct desk *d, uint32_t idx, uint32_t from, enum mail_kind kind,
                   uint32_t number)
{
    assert_true(idx < d->count);
    assert_int_equal(d->got[idx].from, from);
    assert_int_equal(d->got[idx].kind, kind);
    assert_int_equal(d->got[idx].number, number);
}

#define PLENTY 1000000u

TEST(mailbox_shows_mail_at_flush_and_not_before)
{
    struct mail *m = mail_create(2, tiny);
    struct desk d = {0};

    assert_true(post(m, 0, 1, MAIL_REQUEST, 7));
    assert_false(mail_drain(m, 1, file_letter, &d, PLENTY));
    assert_int_equal(d.count, 0);
    assert_int_equal(mail_flush(m, 0), 0); /* nobody sleeps */
    assert_false(mail_drain(m, 0, file_letter, &d, PLENTY));
    assert_int_equal(d.count, 0); /* not to the wrong one */
    assert_false(mail_drain(m, 1, file_letter, &d, PLENTY));
    assert_int_equal(d.count, 1);
    expect(&d, 0, 0, MAIL_REQUEST, 7);
    mail_destroy(m);
    mail_destroy(NULL);
}

TEST(mailbox_handles_kinds_in_order_over_all_senders)
{
    struct mail *m = mail_create(3, tiny);
    struct desk d = {0};

    for (int k = MAIL_KIND_COUNT - 1; k >= 0; k--) {
        for (uint32_t from = 0; from < 3; from++) {
            post(m, from, 1, (enum mail_kind)k, 1);
            post(m, from, 1, (enum mail_kind)k, 2);
        }
    }
    for (uint32_t from = 0; from < 3; from++)
        mail_flush(m, from);
    assert_false(mail_drain(m, 1, file_letter, &d, PLENTY));
    assert_int_equal(d.count, 24);
    for (uint32_t i = 0; i < 24; i++)
        expect(&d, i, i % 6 / 2, (enum mail_kind)(i / 6), 1 + i % 2);
    mail_destroy(m);
}

TEST(mailbox_takes_mail_to_oneself)
{
    struct mail *m = mail_create(1, tiny);
    struct desk d = {0};

    post(m, 0, 0, MAIL_PUBLISH, 1);
    assert_int_equal(mail_flush(m, 0), 0);
    assert_false(mail_sleep(m, 0));
    assert_false(mail_drain(m, 0, file_letter, &d, PLENTY));
    expect(&d, 0, 0, MAIL_PUBLISH, 1);
    assert_true(mail_sleep(m, 0));
    mail_destroy(m);
}

TEST(mailbox_budget_is_for_each_sender_and_kind)
{
    struct mail *m = mail_create(2, tiny);
    struct desk d = {0};

    for (uint32_t i = 0; i < 5; i++) {
        post(m, 0, 1, MAIL_GROUP, i);
        post(m, 1, 1, MAIL_GROUP, i);
        post(m, 0, 1, MAIL_ANSWER, i);
    }
    mail_flush(m, 0);
    mail_flush(m, 1);
    assert_true(mail_drain(m, 1, file_letter, &d, 0));
    assert_int_equal(d.count, 0);
    assert_true(mail_drain(m, 1, file_letter, &d, 2));
    assert_int_equal(d.count, 6);
    assert_false(mail_sleep(m, 1)); /* what is left needs no new bit */
    assert_true(mail_drain(m, 1, file_letter, &d, 2));
    assert_int_equal(d.count, 12);
    assert_false(mail_drain(m, 1, file_letter, &d, 1));
    assert_int_equal(d.count, 15);
    assert_true(mail_sleep(m, 1));
    mail_destroy(m);
}

TEST(mailbox_begins_with_another_sender_each_time)
{
    struct mail *m = mail_create(4, tiny);
    uint32_t first[4] = {0};

    for (int turn = 0; turn < 8; turn++) {
        struct desk d = {0};

        for (uint32_t from = 0; from < 4; from++) {
            post(m, from, 2, MAIL_PUBLISH, 0);
            mail_flush(m, from);
        }
        assert_false(mail_drain(m, 2, file_letter, &d, PLENTY));
        assert_int_equal(d.count, 4);
        first[d.got[0].from]++;
    }
    for (uint32_t from = 0; from < 4; from++)
        assert_int_equal(first[from], 2);
    mail_destroy(m);
}

TEST(mailbox_refused_record_holds_up_its_own_ring_only)
{
    struct mail *m = mail_create(3, tiny);
    struct desk d = {0};

    for (uint32_t i = 0; i < 2; i++) {
        post(m, 0, 2, MAIL_PUBLISH, i);
        post(m, 1, 2, MAIL_PUBLISH, i);
        post(m, 0, 2, MAIL_ANSWER, i);
    }
    mail_flush(m, 0);
    mail_flush(m, 1);
    d.refuse[MAIL_PUBLISH] = 1; /* sender 0 */
    assert_true(mail_drain(m, 2, file_letter, &d, PLENTY));
    assert_int_equal(d.count, 4);
    expect(&d, 0, 1, MAIL_PUBLISH, 0);
    expect(&d, 1, 1, MAIL_PUBLISH, 1);
    expect(&d, 2, 0, MAIL_ANSWER, 0);
    expect(&d, 3, 0, MAIL_ANSWER, 1);
    assert_false(mail_sleep(m, 2)); /* refused is not handled */
    assert_true(mail_drain(m, 2, file_letter, &d, PLENTY));
    d.refuse[MAIL_PUBLISH] = 0;
    assert_false(mail_drain(m, 2, file_letter, &d, PLENTY));
    expect(&d, 4, 0, MAIL_PUBLISH, 0);
    expect(&d, 5, 0, MAIL_PUBLISH, 1);
    mail_destroy(m);
}

TEST(mailbox_flush_names_the_sleepers_it_wrote_to)
{
    struct mail *m = mail_create(4, tiny);
    struct desk d = {0};

    assert_true(mail_sleep(m, 1));
    assert_true(mail_sleep(m, 2));
    post(m, 0, 1, MAIL_PUBLISH, 0);
    post(m, 0, 1, MAIL_ANSWER, 0);
    post(m, 0, 3, MAIL_PUBLISH, 0);
    assert_int_equal(mail_flush(m, 0), 1u << 1);
    assert_int_equal(mail_flush(m, 0), 0);
    mail_awake(m, 1);
    post(m, 3, 1, MAIL_PUBLISH, 0);
    post(m, 3, 2, MAIL_PUBLISH, 0);
    assert_int_equal(mail_flush(m, 3), 1u << 2);
    assert_false(mail_sleep(m, 1)); /* mail has come meanwhile: it is not asleep */
    post(m, 0, 1, MAIL_PUBLISH, 0);
    assert_int_equal(mail_flush(m, 0), 0);
    assert_false(mail_drain(m, 1, file_letter, &d, PLENTY));
    assert_int_equal(d.count, 4);
    assert_true(mail_sleep(m, 1));
    mail_destroy(m);
}

TEST(mailbox_full_ring_takes_nothing_and_others_go_on)
{
    struct mail *m = mail_create(2, tiny);
    struct desk d = {0};
    uint32_t count = 0;

    while (mail_room(m, 0, 1, MAIL_GROUP, sizeof count))
        assert_true(post(m, 0, 1, MAIL_GROUP, count++));
    assert_int_equal(count, 16);
    assert_false(post(m, 0, 1, MAIL_GROUP, count));
    assert_false(mail_room_for(m, 0, 1, MAIL_GROUP, 2, 8));
    assert_true(post(m, 0, 1, MAIL_REQUEST, 0));
    assert_true(post(m, 0, 0, MAIL_GROUP, 0));
    assert_true(mail_room_for(m, 1, 0, MAIL_GROUP, 2, 8));
    mail_flush(m, 0);
    assert_false(mail_drain(m, 1, file_letter, &d, PLENTY));
    assert_int_equal(d.count, 17);
    for (uint32_t i = 0; i < 16; i++)
        expect(&d, i, 0, MAIL_GROUP, i);
    mail_destroy(m);
}

TEST(mailbox_mark_covers_what_was_posted_before_a_later_kind)
{
    struct mail *m = mail_create(2, tiny);
    struct desk d = {0};
    uint64_t mark[WORKERS_MAX];

    post(m, 0, 1, MAIL_PUBLISH, 1);
    post(m, 0, 1, MAIL_REQUEST, 2);
    mail_flush(m, 0);
    d.refuse[MAIL_PUBLISH] = 1;
    mail_drain(m, 1, file_letter, &d, PLENTY);
    expect(&d, 0, 0, MAIL_REQUEST, 2);
    mail_mark(m, 1, MAIL_PUBLISH, mark);
    assert_false(mail_passed(m, 1, MAIL_PUBLISH, mark));
    post(m, 0, 1, MAIL_PUBLISH, 3); /* later: not waited for */
    mail_flush(m, 0);
    d.refuse[MAIL_PUBLISH] = 0;
    mail_drain(m, 1, file_letter, &d, 1);
    expect(&d, 1, 0, MAIL_PUBLISH, 1);
    assert_true(mail_passed(m, 1, MAIL_PUBLISH, mark));
    mail_destroy(m);
}

TEST(mailbox_default_sizes_fit_the_workers)
{
    for (uint32_t workers = 1; workers <= WORKERS_MAX; workers++) {
        uint32_t bytes[MAIL_KIND_COUNT];
        uint64_t total = 0;

        mail_default_sizes(workers, bytes);
        for (int k = 0; k < MAIL_KIND_COUNT; k++) {
            assert_int_equal(bytes[k] & (bytes[k] - 1), 0);
            assert_true(bytes[k] / 4 >= (k == MAIL_REQUEST ? 1024 : 2048));
            total += (uint64_t)bytes[k] * workers * workers;
        }
        assert_true(total <= (workers <= 48 ? 64ull << 20 : 112ull << 20));
        if (workers <= 4)
            assert_int_equal(bytes[MAIL_PUBLISH], 256 << 10);
    }
}

TEST(mailbox_works_for_the_largest_number_of_workers)
{
    uint32_t bytes[MAIL_KIND_COUNT];
    struct mail *m;
    struct desk d = {0};
    uint32_t last = WORKERS_MAX - 1;

    mail_default_sizes(WORKERS_MAX, bytes);
    m = mail_create(WORKERS_MAX, bytes);
    assert_int_equal(mail_record_max(m, MAIL_PUBLISH), 2048);
    assert_int_equal(mail_record_max(m, MAIL_REQUEST), 1024);
    assert_true(mail_sleep(m, last));
    for (uint32_t from = 0; from < WORKERS_MAX; from++) {
        post(m, from, last, MAIL_ANSWER, from);
        assert_int_equal(mail_flush(m, from), 1ull << last);
    }
    assert_false(mail_drain(m, last, file_letter, &d, PLENTY));
    assert_int_equal(d.count, WORKERS_MAX);
    mail_destroy(m);
}

/* A little office: whoever handles a letter writes one of the next kind, or refuses it while there
 * is no room for that. Numbers count up for each sender, target and kind. */
enum { OFFICE = 3 };
struct office {
    struct mail *m;
    uint32_t me;
    uint32_t posted[OFFICE][MAIL_KIND_COUNT];
    uint32_t handled[OFFICE][MAIL_KIND_COUNT];
};

static bool pass_on(void *owner, uint32_t from, enum mail_kind kind, void *record, uint32_t bytes)
{
    struct office *o = owner;
    uint32_t to = (from + 1) % OFFICE;

    assert_int_equal(bytes, sizeof(uint32_t));
    assert_int_equal(*(uint32_t *)record, o->handled[from][kind]);
    if (kind != MAIL_ANSWER) {
        if (!post(o->m, o->me, to, kind + 1, o->posted[to][kind + 1]))
            return false;
        o->posted[to][kind + 1]++;
    }
    o->handled[from][kind]++;
    return true;
}

/* Fills every ring of `me` in every direction; returns how many went in. */
static uint32_t fill(struct office *o)
{
    uint32_t count = 0;

    for (uint32_t to = 0; to < OFFICE; to++) {
        for (int k = 0; k < MAIL_KIND_COUNT; k++) {
            while (post(o->m, o->me, to, (enum mail_kind)k, o->posted[to][k])) {
                o->posted[to][k]++;
                count++;
            }
        }
    }
    return count;
}

TEST(mailbox_drains_when_every_ring_is_full_in_every_direction)
{
    struct mail *m = mail_create(OFFICE, tiny);
    struct office o[OFFICE] = {0};
    uint32_t turns = 0;
    bool is_left = true;

    mail_start_at(m, (uint64_t)0 - 64); /* positions wrap on the way */
    for (uint32_t i = 0; i < OFFICE; i++) {
        o[i].m = m;
        o[i].me = i;
        assert_int_equal(fill(&o[i]), OFFICE * MAIL_KIND_COUNT * 16);
        mail_flush(m, i);
    }
    while (is_left) {
        is_left = false;
        for (uint32_t i = 0; i < OFFICE; i++) {
            mail_drain(m, i, pass_on, &o[i], 5);
            mail_flush(m, i);
        }
        for (uint32_t i = 0; i < OFFICE; i++) {
            is_left |= !mail_sleep(m, i);
            mail_awake(m, i);
        }
        assert_true(++turns < 1000);
    }
    for (uint32_t i = 0; i < OFFICE; i++) {
        for (uint32_t k = 0; k < OFFICE; k++)
            assert_memory_equal(o[i].posted[k], o[k].handled[i], sizeof o[i].posted[k]);
    }
    mail_destroy(m);
}
