/* tests/link/test_locals.c -- walks along what is subscribed to, while it changes. */
#include "tests/support/test.h"

#include <stdio.h>

#include "link/locals.h"

static struct locals all;
static struct locals_walk walk;
static char told[256]; /* of what the walk has told */

static void begin(void)
{
    locals_init(&all, &(struct hash_key){{1, 2, 3, 4}});
    walk = (struct locals_walk){0};
    told[0] = '\0';
}

static void end(void)
{
    locals_walk_end(&walk);
    locals_fini(&all);
}

static struct local *find(const char *filter)
{
    return locals_find(&all, (struct bytes){0}, bytes_str(filter));
}

static void add(const char *filter)
{
    assert_null(find(filter));
    assert_non_null(locals_add(&all, (struct bytes){0}, bytes_str(filter)));
}

static void remove_one(const char *filter)
{
    assert_non_null(find(filter));
    locals_remove(&all, find(filter));
    assert_null(find(filter));
}

static void tell(void *arg, struct bytes group, struct bytes filter)
{
    assert_ptr_equal(arg, told);
    snprintf(told + strlen(told), sizeof(told) - strlen(told), "%.*s%s%.*s ", (int)group.n,
             (const char *)group.p, group.n ? ":" : "", (int)filter.n, (const char *)filter.p);
}

static bool walk_on(uint32_t budget)
{
    return locals_walk_on(&all, &walk, &budget, tell, told);
}

static bool knows(const char *filter)
{
    return locals_walk_knows(&walk, find(filter));
}

TEST(locals_are_told_in_the_order_of_their_coming)
{
    begin();
    add("c");
    add("a");
    assert_non_null(locals_add(&all, BYTES_LIT("g"), BYTES_LIT("a")));
    locals_walk_begin(&all, &walk);
    assert_false(walk_on(1));
    assert_true(knows("c"));
    assert_false(knows("a"));
    assert_true(walk_on(2));
    assert_string_equal(told, "c a g:a ");
    assert_true(walk_on(0)); /* it has ended */
    assert_true(knows("a"));
    end();
}

TEST(locals_that_come_during_a_walk_are_told_by_it)
{
    begin();
    locals_walk_begin(&all, &walk);
    add("a"); /* where there was none */
    assert_false(knows("a"));
    add("b");
    assert_false(walk_on(1));
    add("c");
    assert_false(knows("c"));
    assert_true(walk_on(9));
    add("d"); /* too late: whoever adds it says so */
    assert_true(knows("d"));
    assert_string_equal(told, "a b c ");
    end();
}

TEST(locals_that_go_during_a_walk_are_not_told)
{
    begin();
    add("a");
    add("b");
    add("c");
    add("d");
    locals_walk_begin(&all, &walk);
    assert_false(walk_on(1));
    remove_one("a");
    remove_one("b"); /* the next one */
    remove_one("d"); /* the last one */
    assert_false(knows("c"));
    remove_one("c");
    add("e");
    assert_false(knows("e"));
    assert_true(walk_on(9));
    assert_string_equal(told, "a e ");
    end();
}

TEST(locals_walks_begin_anew_and_do_not_disturb_each_other)
{
    struct locals_walk other = {0};
    uint32_t budget = 1;

    begin();
    add("a");
    add("b");
    locals_walk_begin(&all, &other);
    assert_false(locals_walk_on(&all, &other, &budget, tell, told));
    locals_walk_begin(&all, &walk);
    assert_true(locals_walk_knows(&other, find("a")));
    assert_false(knows("a"));
    assert_false(walk_on(1));
    locals_walk_begin(&all, &walk);
    assert_false(knows("a"));
    remove_one("b");
    assert_true(walk_on(9));
    budget = 1;
    assert_true(locals_walk_on(&all, &other, &budget, tell, told));
    assert_string_equal(told, "a a a ");
    end();
}
