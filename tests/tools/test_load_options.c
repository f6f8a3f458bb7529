/* tests/tools/test_load_options.c -- the command line: what is taken, filled in, and refused. */
#include "tests/support/test.h"

#include "tools/load_options.h"
#include "tools/load_values.h"

static struct load_options o;
static char text[1024];

/* Reads a command line that is written as one text; the words live until the next one. */
static enum load_asked read(const char *line)
{
    char *words[64];
    uint32_t count;

    assert_true(strlen(line) < sizeof(text));
    strcpy(text, line);
    words[0] = text;
    count = load_split_words(text, words, 60);
    return load_options_read(&o, (int)count, words);
}

static void refuses(const char *line)
{
    if (read(line) != LOAD_ASKED_WRONG)
        fail_msg("taken: %s", line);
}

TEST(load_options_fill_in_what_the_scenario_wants)
{
    assert_int_equal(read("load p2p"), LOAD_ASKED_RUN);
    assert_string_equal(o.scenario->name, "point-to-point");
    assert_int_equal(o.clients, 10);
    assert_int_equal(o.protocol, MQTT_311);
    assert_int_equal(o.sizes.max, 64);
    assert_string_equal(o.port, "1883");
    assert_int_equal(o.warm_up_us, 500000);
    assert_int_equal(read("load request-response"), LOAD_ASKED_RUN);
    assert_int_equal(o.protocol, MQTT_5);
    assert_int_equal(read("load hold"), LOAD_ASKED_RUN);
    assert_int_equal(o.window, 1);
    assert_int_equal(o.warm_up_us, 0);
    assert_int_equal(read("load -C 10 p2p"), LOAD_ASKED_RUN);
    assert_int_equal(o.warm_up_us, 0);
    assert_int_equal(read("load retained"), LOAD_ASKED_RUN);
    assert_int_equal(o.topics, 1000);
}

TEST(load_options_choose_the_port_by_the_transport)
{
    assert_int_equal(read("load --tls p2p"), LOAD_ASKED_RUN);
    assert_string_equal(o.port, "8883");
    assert_int_equal(read("load --ws p2p"), LOAD_ASKED_RUN);
    assert_string_equal(o.port, "80");
    assert_string_equal(o.ws_path, "/mqtt");
    assert_int_equal(read("load --ws-path /x --insecure p2p"), LOAD_ASKED_RUN);
    assert_string_equal(o.port, "443");
    assert_string_equal(o.ws_path, "/x");
    assert_true(o.has_tls);
}

TEST(load_options_know_scenarios_by_the_names_of_others)
{
    static const char *const pairs[][2] = {{"p2p", "point-to-point"}, {"fanout", "fan-out"},
                                           {"fanin", "fan-in"},       {"pub", "publish"},
                                           {"sub", "subscribe"},      {"conn", "hold"},
                                           {"share", "shared"},       {"rpc", "request-response"}};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        assert_string_equal(load_scenario_find(pairs[i][0])->name, pairs[i][1]);
    assert_null(load_scenario_find("reques"));
    assert_null(load_scenario_find(""));
    assert_null(load_scenario_find(" "));
}

TEST(load_options_refuse_what_does_not_fit_together)
{
    refuses("load");
    refuses("load nothing");
    refuses("load p2p fan-in");
    refuses("load link");
    refuses("load --topics 3 p2p");
    refuses("load -V 311 request-response");
    refuses("load --subscribe-at a:1 hold");
    refuses("load -C 5 subscribe");
    refuses("load --rate 5 hold");
    refuses("load --cert x p2p");
    refuses("load --addresses 2 p2p");
    refuses("load --run p2p p2p");
    refuses("load --bare --ws p2p");
    refuses("load --bare --tls p2p");
    refuses("load --bare retained");
}

TEST(load_options_refuse_values_that_are_none)
{
    refuses("load -q 3 p2p");
    refuses("load -p 0 p2p");
    refuses("load -p 67419 p2p"); /* getaddrinfo takes it for 1883 */
    refuses("load -p mqtt p2p");
    refuses("load -n 0 p2p");
    refuses("load -n -1 p2p");
    refuses("load --size 19 p2p");
    refuses("load --seconds 0 p2p");
    refuses("load --seconds 9999 p2p");
    refuses("load --pid 1,x p2p");
    refuses("load --pid 1,2,3,4,5,6,7,8,9 p2p");
    refuses("load -t a/# p2p");
    refuses("load -V 6 p2p");
    refuses("load --subscribe-at host p2p");
    refuses("load --ws-path mqtt p2p");
    refuses("load --pin 0-3 p2p");
    refuses("load --no-such-option p2p");
}

TEST(load_options_with_brokers_ask_for_a_comparison)
{
    assert_int_equal(read("load --broker \"a=b -c d@1883\" --run \"-q 1 p2p\" --rounds 7"),
                     LOAD_ASKED_COMPARE);
    assert_int_equal(o.compare.broker_count, 1);
    assert_string_equal(o.compare.brokers[0], "a=b -c d@1883");
    assert_string_equal(o.compare.runs[0], "-q 1 p2p");
    assert_int_equal(o.compare.rounds, 7);
    assert_int_equal(read("load --compare file"), LOAD_ASKED_COMPARE);
}

/* As a comparison does it, for each of its runs. */
TEST(load_options_can_be_added_to)
{
    char line[] = "x -q 1 fan-out";
    char *more[8];
    struct load_options run;

    load_options_init(&o);
    o.window = 7;
    run = o;
    assert_int_equal(load_split_words(line, more, 7), 4);
    assert_int_equal(load_options_add(&run, 4, more), LOAD_ASKED_RUN);
    assert_true(load_options_finish(&run));
    assert_int_equal(run.window, 7);
    assert_int_equal(run.qos, 1);
    assert_int_equal(run.clients, 100);
    assert_null(o.scenario);
}

TEST(load_values_read_places)
{
    assert_true(load_read_place("host:1", &o));
    assert_string_equal(o.far_host, "host");
    assert_string_equal(o.far_port, "1");
    assert_true(load_read_place("[::1]:2", &o));
    assert_string_equal(o.far_host, "::1");
    assert_false(load_read_place(":1", &o));
    assert_false(load_read_place("host:", &o));
    assert_false(load_read_place("host:70000", &o));
}

TEST(load_values_read_processors)
{
    struct load_pin pin;
    uint64_t cpus;

    assert_true(load_read_cpus("0,2-4,63", &cpus));
    assert_true(cpus == ((1ull << 63) | 29));
    assert_false(load_read_cpus("64", &cpus));
    assert_false(load_read_cpus("4-2", &cpus));
    assert_false(load_read_cpus("", &cpus));
    assert_false(load_read_cpus("1,", &cpus));
    assert_true(load_read_pin("0-1:2", &pin));
    assert_true(pin.is_wanted && pin.broker == 3 && pin.load == 4);
    assert_true(load_read_pin("auto", &pin));
    assert_true(pin.is_wanted && pin.broker == 0);
    assert_true(load_read_pin("no", &pin));
    assert_false(pin.is_wanted);
    assert_false(load_read_pin("x", &pin));
}

TEST(load_values_split_words_and_keep_what_is_quoted)
{
    char line[] = "  run \"two words\"  a\"b c\"d \"\" end";
    char *words[8];

    assert_int_equal(load_split_words(line, words, 7), 5);
    assert_string_equal(words[0], "run");
    assert_string_equal(words[1], "two words");
    assert_string_equal(words[2], "ab cd");
    assert_string_equal(words[3], "");
    assert_string_equal(words[4], "end");
    assert_null(words[5]);
}

TEST(load_values_split_no_more_words_than_there_is_room_for)
{
    char line[] = "a b c";
    char *words[3];

    assert_int_equal(load_split_words(line, words, 2), 2);
    assert_string_equal(words[1], "b");
    assert_null(words[2]);
}
