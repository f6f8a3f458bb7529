/* tests/tools/test_load_table.c -- medians, spread and ratios of a comparison, and how they are
 * told; and which processors are taken. */
#include "tests/support/test.h"

#include <string.h>

#include "tools/load_peer.h"
#include "tools/load_table.h"

static struct load_plan plan;
static struct load_results results;
static struct load_figures figures[2 * 3 * 3];

/* Two runs, two brokers and a floor, three rounds; the floor can do only the first run. */
static void make_results(void)
{
    struct load_options base;

    load_plan_fini(&plan);
    plan = (struct load_plan){0};
    load_options_init(&base);
    assert_true(load_plan_line(&plan, &base, "", "broker slow 1 x"));
    assert_true(load_plan_line(&plan, &base, "", "broker fast 2 x"));
    assert_true(load_plan_line(&plan, &base, "", "floor ground 3 x"));
    assert_true(load_plan_line(&plan, &base, "", "run \"p2p\" p2p"));
    assert_true(load_plan_line(&plan, &base, "", "run \"kept\" retained"));
    memset(figures, 0, sizeof(figures));
    results = (struct load_results){.plan = &plan, .rounds = 3, .figures = figures};
    for (uint32_t i = 0; i < 2 * 3 * 3; i++) {
        uint32_t run = i / 9, peer = i / 3 % 3, round = i % 3;
        static const double cpu[] = {8, 2, 1};
        struct load_figures *f = load_results_at(&results, run, peer, round);

        if (run == 1 && peer == 2)
            continue;
        f->scenario = plan.runs[run].options.scenario;
        f->size = "64";
        f->is_clean = f->has_broker = true;
        f->broker_us = cpu[peer] + round;
        f->connect_broker_us = 50;
        f->done_per_second = 1000;
    }
}

/* What a table is as text, until the next call. */
static const char *text_of(enum load_form form)
{
    static char text[1u << 18];
    FILE *to = fmemopen(text, sizeof(text), "w");

    assert_non_null(to);
    load_table(to, &results, form);
    assert_int_equal(fclose(to), 0);
    return text;
}

TEST(load_spread_of_values_is_their_median_least_and_most)
{
    double odd[] = {3, 1, 2}, even[] = {4, 1, 2, 8}, one[] = {7};
    struct load_spread s = load_spread_of(odd, 3);

    assert_true(s.median == 2 && s.least == 1 && s.most == 3);
    s = load_spread_of(even, 4);
    assert_true(s.median == 3 && s.least == 1 && s.most == 8);
    s = load_spread_of(one, 1);
    assert_true(s.median == 7 && s.least == 7 && s.most == 7);
    s = load_spread_of(one, 0);
    assert_true(s.median == 0 && s.least == 0 && s.most == 0);
}

TEST(load_table_compares_with_the_first_and_the_floor)
{
    const char *text;

    make_results();
    text = text_of(LOAD_FORM_JSON);
    assert_non_null(strstr(text,
                           "\"broker\":\"slow\",\"is_clean\":true,\"ratio\":1.00000,"
                           "\"floor_ratio\":4.50000,"
                           "\"cpu_us\":{\"median\":9.0000,\"least\":8.0000,\"most\":10.0000}"));
    assert_non_null(strstr(text, "\"broker\":\"fast\",\"is_clean\":true,\"ratio\":0.33333,"
                                 "\"floor_ratio\":1.50000"));
    assert_non_null(strstr(text, "\"run\":\"kept\",\"broker\":\"fast\",\"is_clean\":true,"
                                 "\"ratio\":0.33333,\"floor_ratio\":0.00000"));
    assert_null(strstr(text, "\"run\":\"kept\",\"broker\":\"ground\""));
    assert_non_null(strstr(text_of(LOAD_FORM_TEXT), "x0.333"));
}

TEST(load_table_tells_which_processors_were_used)
{
    make_results();
    assert_non_null(strstr(text_of(LOAD_FORM_TEXT), "Brokers and load share the processors."));
    results.pin = (struct load_pin){.is_wanted = true, .broker = 0xb, .load = 1ull << 63};
    assert_non_null(strstr(text_of(LOAD_FORM_TEXT), "Brokers on processors 0 1 3, load on 63.\n"));
}

TEST(load_table_of_csv_has_a_line_for_each_that_was_run)
{
    const char *text;
    uint32_t lines = 0;

    make_results();
    text = text_of(LOAD_FORM_CSV);
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 1 + 9 + 6);
}

TEST(load_table_of_html_has_bars_for_each_broker)
{
    static char text[1u << 16];
    FILE *to = fmemopen(text, sizeof(text), "w");

    assert_non_null(to);
    make_results();
    for (uint32_t i = 0; i < results.rounds; i++)
        *load_results_at(&results, 1, 1, i) = (struct load_figures){0};
    load_table_html(to, &results);
    assert_int_equal(fclose(to), 0);
    assert_non_null(strstr(text, "class=\"bad\">failed</td></tr>"));
    assert_non_null(strstr(text, "<svg"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "<script"));
}

TEST(load_results_are_clean_when_each_run_was)
{
    make_results();
    assert_true(load_results_are_clean(&results));
    load_results_at(&results, 1, 1, 2)->is_clean = false;
    assert_false(load_results_are_clean(&results));
    make_results();
    *load_results_at(&results, 0, 2, 0) = (struct load_figures){0};
    assert_false(load_results_are_clean(&results));
    assert_non_null(text_of(LOAD_FORM_TEXT));
    load_plan_fini(&plan);
}

TEST(load_pin_keeps_brokers_and_load_apart_where_there_is_room)
{
    struct load_pin pin = {.is_wanted = true};

    assert_false(load_pin_choose(&pin, 0x3));
    assert_true(load_pin_choose(&pin, 0x8000000000000007ull));
    assert_true(pin.load == 1ull << 63 && pin.broker == 7);
    pin = (struct load_pin){.is_wanted = true, .broker = 1, .load = 2};
    assert_true(load_pin_choose(&pin, 0x3));
    assert_true(pin.load == 2);
    pin = (struct load_pin){0};
    assert_false(load_pin_choose(&pin, 0xff));
    assert_true(load_pin_available() != 0);
}
