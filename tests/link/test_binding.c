/* tests/link/test_binding.c -- who speaks for whom, and who is forgotten first. */
#include "tests/support/test.h"

#include "link/binding.h"

static const struct emqx_control init = {.actor = {(const uint8_t *)"n1", 2}, .incarnation = 7};

static struct client_name number(uint32_t slot)
{
    return (struct client_name){.worker = 1, .slot = slot, .generation = 1};
}

static struct binding *add(struct bindings *all, struct binding_list *list, uint32_t slot)
{
    struct client_name name = number(slot);
    struct binding *b = bindings_add(all, &name, NULL, list, &init);

    assert_non_null(b);
    return b;
}

static struct binding *find(struct bindings *all, uint32_t slot)
{
    struct client_name name = number(slot);

    return bindings_find(all, &name);
}

TEST(binding_is_of_one_connection)
{
    struct bindings all;
    struct binding_list list = {0};
    struct client_name later = number(1);
    const struct binding *b;

    bindings_init(&all, &(struct hash_key){{1, 2, 3, 4}});
    assert_null(find(&all, 1));
    b = add(&all, &list, 1);
    assert_ptr_equal(find(&all, 1), b);
    assert_int_equal(find(&all, 1)->incarnation, 7);
    later.generation++;
    assert_null(bindings_find(&all, &later));
    bindings_remove(&all, &later);
    assert_int_equal(list.count, 1);
    later = number(1);
    bindings_remove(&all, &later);
    assert_int_equal(list.count, 0);
    assert_null(list.first);
    bindings_fini(&all);
}

TEST(bindings_of_one_link_leave_those_of_others_alone)
{
    struct bindings all;
    struct binding_list quiet = {0}, busy = {0};

    bindings_init(&all, &(struct hash_key){{1, 2, 3, 4}});
    add(&all, &quiet, 1);
    add(&all, &quiet, 2);
    for (uint32_t i = 0; i < 3 * BINDINGS_MAX; i++)
        add(&all, &busy, 100 + i);
    assert_int_equal(busy.count, BINDINGS_MAX);
    assert_int_equal(quiet.count, 2);
    assert_non_null(find(&all, 1));
    assert_non_null(find(&all, 2));
    bindings_fini(&all);
    assert_int_equal(busy.count + quiet.count, 0);
}

TEST(binding_that_was_silent_longest_is_forgotten_first)
{
    struct bindings all;
    struct binding_list list = {0};

    bindings_init(&all, &(struct hash_key){{1, 2, 3, 4}});
    for (uint32_t i = 0; i < BINDINGS_MAX; i++)
        add(&all, &list, i);
    assert_non_null(find(&all, 0)); /* it has spoken */
    add(&all, &list, BINDINGS_MAX);
    assert_non_null(find(&all, 0));
    assert_null(find(&all, 1));
    assert_non_null(find(&all, 2));
    bindings_fini(&all);
}
