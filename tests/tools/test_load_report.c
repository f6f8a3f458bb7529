/* tests/tools/test_load_report.c -- what is derived from a run, and the forms it is told in. */
#include "tests/support/test.h"

#include <string.h>

#include "tools/load_html.h"
#include "tools/load_report.h"
#include "tools/load_svg.h"

static struct load_options options;
static struct load_traffic traffic;
static struct load_result result;
static struct load_figures figures;

/* A run of two seconds with 1000 messages, and latencies of 1 to 1000 us. */
static void make_figures(const char *scenario)
{
    options = (struct load_options){
        .scenario = load_scenario_find(scenario), .size = "64,\"x\"", .protocol = MQTT_311};
    options.procs.count = 1;
    memset(&traffic, 0, sizeof(traffic));
    traffic.party_count = 20;
    for (uint64_t i = 1; i <= 1000; i++)
        load_hist_add(&traffic.latency, i);
    result = (struct load_result){.window = 100};
    result.start = (struct load_sample){.us = 1000000, .memory = 1000000};
    result.connected = (struct load_sample){.us = 1500000, .cpu_ns = 20000000};
    result.from = (struct load_sample){.us = 2000000, .memory = 1020000, .cpu_ns = 30000000};
    result.to = (struct load_sample){.us = 4000000, .cpu_ns = 40000000, .own_ns = 1000000000};
    result.to.counts.delivered = result.to.counts.finished = 1000;
    result.counts = result.to.counts;
    result.counts.begun = 1000;
    result.point_count = 2;
    result.points[1].at = 1;
    load_figures_derive(&figures, &options, &traffic, &result);
}

/* What a function writes, until the next call. */
static const char *text_of(void (*write)(FILE *to))
{
    static char text[1u << 18];
    FILE *to = fmemopen(text, sizeof(text), "w");

    assert_non_null(to);
    write(to);
    assert_int_equal(fclose(to), 0);
    return text;
}

TEST(load_figures_are_what_they_are_called)
{
    make_figures("p2p");
    assert_true(figures.done_per_second == 500);
    assert_true(figures.broker_us == 10);
    assert_true(figures.broker_share == 0.005);
    assert_true(figures.load_share == 0.5);
    assert_true(figures.connection_bytes == 1000);
    assert_true(figures.connects_per_second == 40);
    assert_true(figures.connect_broker_us == 1000);
    assert_true(figures.p50 >= 500 && figures.p50 <= 511);
    assert_int_equal(figures.max, 1000);
    assert_int_equal(figures.curve[0], 1);
    assert_true(load_curve_share(10) > 0.8999 && load_curve_share(10) < 0.9001);
}

TEST(load_figures_count_what_the_scenario_counts)
{
    struct load_counts c = {.delivered = 1, .finished = 2, .complete = 3};

    assert_int_equal(load_run_done(load_scenario_find("p2p"), &c), 1);
    assert_int_equal(load_run_done(load_scenario_find("retained"), &c), 1);
    assert_int_equal(load_run_done(load_scenario_find("ramp"), &c), 2);
    assert_int_equal(load_run_done(load_scenario_find("subscribe"), &c), 2);
    assert_int_equal(load_run_done(load_scenario_find("publish"), &c), 3);
}

TEST(load_run_is_clean_only_without_any_fault)
{
    uint64_t *const faults[] = {
        &result.counts.lost,    &result.counts.doubled, &result.counts.late, &result.counts.strange,
        &result.counts.refused, &result.counts.chores,  &result.counts.sent, &result.counts.begun};

    make_figures("p2p");
    result.counts.begun = result.counts.finished;
    assert_true(load_run_is_clean(&result));
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        ++*faults[i];
        assert_false(load_run_is_clean(&result));
        --*faults[i];
    }
    result.counts.gone = 1;
    assert_false(load_run_is_clean(&result));
    result.counts.gone = 0;
    result.failure = "x";
    assert_false(load_run_is_clean(&result));
}

static void write_csv(FILE *to)
{
    load_report(to, &figures, LOAD_FORM_CSV);
}

static void write_json(FILE *to)
{
    load_report(to, &figures, LOAD_FORM_JSON);
}

/* Commas that are not within quotes. */
static uint32_t fields_of(const char *line)
{
    uint32_t count = 1;
    bool is_quoted = false;

    for (; *line && *line != '\n'; line++) {
        if (*line == '"')
            is_quoted = !is_quoted;
        count += *line == ',' && !is_quoted;
    }
    return count;
}

TEST(load_csv_has_a_name_for_each_field)
{
    for (uint32_t count = 0; count < 2; count++) {
        const char *text;

        make_figures("p2p");
        figures.has_broker = count == 1;
        text = text_of(write_csv);
        assert_int_equal(fields_of(text), fields_of(strchr(text, '\n') + 1));
        assert_non_null(strstr(text, ",\"64,\"\"x\"\"\","));
    }
}

TEST(load_json_has_its_quotes_escaped)
{
    const char *text;

    make_figures("p2p");
    figures.failure = "a \"b\" \\ c\n";
    text = text_of(write_json);
    assert_non_null(strstr(text, "\"payload_bytes\":\"64,\\\"x\\\"\""));
    assert_non_null(strstr(text, "\"failure\":\"a \\\"b\\\" \\\\ c\\u000a\""));
    assert_non_null(strstr(text, "\"cpu_us_per_delivered\":10.0000"));
}

static void write_text(FILE *to)
{
    load_report(to, &figures, LOAD_FORM_TEXT);
}

static void write_run(FILE *to)
{
    load_html_run(to, &figures);
}

/* What a broker takes in advance would be most of it. */
TEST(load_report_of_few_connections_does_not_say_what_one_needs)
{
    make_figures("p2p");
    figures.memory_connected = 2000000;
    assert_null(strstr(text_of(write_text), "bytes a connection"));
    assert_null(strstr(text_of(write_run), "memory for a connection"));
    figures.connections = 1000;
    assert_non_null(strstr(text_of(write_text), "bytes a connection"));
    assert_non_null(strstr(text_of(write_run), "memory for a connection"));
}

TEST(load_html_loads_nothing_and_escapes_texts)
{
    const char *text;

    make_figures("p2p");
    figures.failure = "<b>&";
    figures.failure_detail = "it's <refused>";
    text = text_of(write_run);
    assert_non_null(strstr(text, "FAILED: &lt;b&gt;&amp;: it's &lt;refused&gt;"));
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "http:"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_non_null(strstr(text, "99.9 %</text>"));
}

/* Nothing was measured: the page must stand all the same. */
TEST(load_html_of_a_run_that_failed_has_no_odd_numbers)
{
    const char *text;

    make_figures("p2p");
    memset(&traffic.latency, 0, sizeof(traffic.latency));
    memset(&result, 0, sizeof(result));
    load_figures_derive(&figures, &options, &traffic, &result);
    text = text_of(write_run);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    assert_null(strstr(text, "latency"));
}

static void write_lines(FILE *to)
{
    static const double x[] = {0.05, 4.99}, y[] = {1, 10};
    static const struct load_line lines[] = {{"slow", x, y, 2}, {"fast", x, y, 2}};
    struct load_plot plot = {.title = "t", .y_unit = "us", .lines = lines, .line_count = 2};

    load_svg_lines(to, &plot);
}

TEST(load_svg_marks_round_times_from_zero_on)
{
    const char *text = text_of(write_lines);

    assert_non_null(strstr(text, ">0 s<"));
    assert_non_null(strstr(text, ">4 s<"));
    assert_null(strstr(text, "1.04"));
}

/* The page has a rule for the colour of texts, which an attribute would not overrule. */
TEST(load_svg_names_lines_in_their_colours)
{
    const char *text = text_of(write_lines);

    for (const char *p = text; (p = strstr(p, "stroke=\"")); p++)
        assert_memory_equal(strstr(p, "fill:") + 5, p + 8, 7);
    assert_non_null(strstr(text, "fill:"));
}

static void write_bars(FILE *to)
{
    static const struct load_bar bars[] = {{"a<", 2, 1, 3}, {"b", 0, 0, 0}};

    load_svg_bars(to, bars, 2);
}

TEST(load_svg_draws_a_bar_for_each)
{
    const char *text = text_of(write_bars);

    assert_non_null(strstr(text, "a&lt;"));
    assert_non_null(strstr(strstr(text, "<rect") + 1, "<rect"));
}

static void write_long_names(FILE *to)
{
    static const struct load_bar bars[] = {
        {"a br\u00f6ker whose name is that of its settings", 2, 1, 3}};

    load_svg_bars(to, bars, 1);
}

TEST(load_svg_cuts_names_that_have_no_room)
{
    assert_non_null(strstr(text_of(write_long_names), ">a br\u00f6ker whose name is t\u2026<"));
}

TEST(load_svg_rounds_up_to_what_reads_well)
{
    assert_true(load_svg_round_up(1) == 1);
    assert_true(load_svg_round_up(1.1) == 2);
    assert_true(load_svg_round_up(3) == 5);
    assert_true(load_svg_round_up(700) == 1000);
    assert_true(load_svg_round_up(0.03) > 0.0499 && load_svg_round_up(0.03) < 0.0501);
}
