/* tests/tools/test_load_plan.c -- which brokers and runs a comparison consists of. */
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/load_plan.h"

static struct load_plan plan;
static struct load_options base;

static void begin(void)
{
    load_plan_fini(&plan);
    plan = (struct load_plan){0};
    load_options_init(&base);
}

static bool takes(const char *line)
{
    return load_plan_line(&plan, &base, "file:1", line);
}

TEST(load_plan_reads_brokers_floors_and_runs)
{
    begin();
    assert_true(takes("# a comment"));
    assert_true(takes("   "));
    assert_true(takes("broker mosquitto 1883 mosquitto -c 'a b' -v"));
    assert_true(takes("  broker \"causeway 1w\" 1884   causeway -c x"));
    assert_true(takes("floor floor 1885 floor 1885"));
    assert_true(takes("run \"QoS 1, twice\" -q 1 -n 2 p2p"));
    assert_int_equal(plan.peer_count, 3);
    assert_string_equal(plan.peers[0].command, "mosquitto -c 'a b' -v");
    assert_string_equal(plan.peers[1].name, "causeway 1w");
    assert_string_equal(plan.peers[1].port, "1884");
    assert_string_equal(plan.peers[1].command, "causeway -c x");
    assert_true(plan.peers[2].is_floor && !plan.peers[1].is_floor);
    assert_int_equal(plan.run_count, 1);
    assert_string_equal(plan.runs[0].label, "QoS 1, twice");
    assert_int_equal(plan.runs[0].options.qos, 1);
    assert_int_equal(plan.runs[0].options.measure_us, 1000000);
    load_plan_fini(&plan);
}

TEST(load_plan_refuses_lines_that_say_nothing)
{
    static const char *const wrong[] = {"peer a 1 b",         "broker",
                                        "broker a",           "broker a 1883",
                                        "broker a x b",       "broker a 0 b",
                                        "broker a 65536 b",   "run \"x\"",
                                        "run \"x\" -q 3 p2p", "run \"x\" p2p fan-in",
                                        "run \"x\" nothing",  "run \"x\" --help"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        begin();
        if (takes(wrong[i]))
            fail_msg("taken: %s", wrong[i]);
    }
    begin();
    assert_true(takes("broker a 1 b"));
    assert_false(takes("broker a 2 c"));
    load_plan_fini(&plan);
}

TEST(load_plan_has_bounds)
{
    char line[64];

    begin();
    for (uint32_t i = 0; i < LOAD_BROKERS_MAX; i++) {
        snprintf(line, sizeof(line), "broker b%u 1 x", (unsigned)i);
        assert_true(takes(line));
    }
    assert_false(takes("broker more 1 x"));
    for (uint32_t i = 0; i < LOAD_RUNS_MAX; i++)
        assert_true(takes("run \"x\" p2p"));
    assert_false(takes("run \"x\" p2p"));
    load_plan_fini(&plan);
}

TEST(load_plan_takes_brokers_from_the_command_line)
{
    begin();
    base.compare.brokers[0] = "a=run -x=1@2 -p 5@1883";
    base.compare.broker_count = 1;
    base.compare.runs[0] = "-q 2 fan-out";
    base.compare.run_count = 1;
    base.compare.floor = "floor=floor@5";
    base.qos = 1;
    base.window = 7;
    assert_true(load_plan_read(&plan, &base));
    assert_int_equal(plan.peer_count, 2);
    assert_string_equal(plan.peers[0].name, "a");
    assert_string_equal(plan.peers[0].command, "run -x=1@2 -p 5");
    assert_string_equal(plan.peers[0].port, "1883");
    assert_int_equal(plan.run_count, 1);
    assert_string_equal(plan.runs[0].label, "-q 2 fan-out");
    assert_int_equal(plan.runs[0].options.qos, 2);
    assert_int_equal(plan.runs[0].options.window, 7);
    load_plan_fini(&plan);
}

TEST(load_plan_without_runs_has_the_scenario_or_a_set_of_its_own)
{
    begin();
    base.compare.brokers[0] = "a=b@1";
    base.compare.broker_count = 1;
    assert_true(load_plan_read(&plan, &base));
    assert_true(plan.run_count >= 10);
    load_plan_fini(&plan);
    base.scenario = load_scenario_find("fan-in");
    assert_true(load_plan_read(&plan, &base));
    assert_int_equal(plan.run_count, 1);
    assert_string_equal(plan.runs[0].label, "fan-in");
    assert_int_equal(plan.runs[0].options.clients, 100);
    load_plan_fini(&plan);
}

TEST(load_plan_wants_a_broker)
{
    static const char *const wrong[] = {"a", "=b@1", "a=@1", "a=b", "a@1=b", "a=b@x"};

    begin();
    assert_false(load_plan_read(&plan, &base));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        begin();
        base.compare.brokers[0] = wrong[i];
        base.compare.broker_count = 1;
        if (load_plan_read(&plan, &base))
            fail_msg("taken: %s", wrong[i]);
    }
    load_plan_fini(&plan);
}

TEST(load_plan_reads_a_file_and_names_the_line)
{
    char path[] = "/tmp/load-plan-XXXXXX";
    FILE *f;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    f = fdopen(fd, "w");
    assert_non_null(f);
    fputs("broker a 1 b\r\nrun \"x\" p2p\nrun \"y\" fan-in", f);
    fclose(f);
    begin();
    base.compare.file = path;
    assert_true(load_plan_read(&plan, &base));
    assert_string_equal(plan.peers[0].command, "b");
    assert_int_equal(plan.run_count, 2);
    unlink(path);
    begin();
    base.compare.file = path;
    assert_false(load_plan_read(&plan, &base));
    load_plan_fini(&plan);
}

/* A floor keeps no message, gives no subscription up, and knows neither TLS nor WebSocket. */
TEST(load_plan_leaves_out_what_a_floor_cannot_do)
{
    static const struct {
        const char *line;
        bool can;
    } runs[] = {{"run \"x\" -q 2 p2p", true},
                {"run \"x\" -q 1 fan-out", true},
                {"run \"x\" shared", true},
                {"run \"x\" ramp", true},
                {"run \"x\" hold", true},
                {"run \"x\" subscribe", true},
                {"run \"x\" --ws p2p", false},
                {"run \"x\" --tls p2p", false},
                {"run \"x\" retained", false},
                {"run \"x\" routes", false},
                {"run \"x\" request-response", false}};

    begin();
    assert_true(takes("floor f 1 x"));
    assert_true(takes("broker b 1 x"));
    for (uint32_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        assert_true(takes(runs[i].line));
        assert_int_equal(load_plan_can(&plan.peers[0], &plan.runs[i]), runs[i].can);
        assert_true(load_plan_can(&plan.peers[1], &plan.runs[i]));
    }
    load_plan_fini(&plan);
}
