/* tools/load.c -- causeway-load: loads an MQTT broker, counts what arrives, measures what it costs.
 *
 * load_options   the command line                load_scenario  who publishes what to whom
 * load_run       phases of a run, measuring      load_report    the result as text or JSON
 * load_traffic   publishers, windows, counting   load_flow      what one subscriber has seen
 * load_client    MQTT                            load_wire      TCP, on net/uring
 * load_hist      latencies                       load_proc      the broker's processor and memory
 */
#include "tools/load_options.h"
#include "tools/load_report.h"
#include "tools/load_run.h"

int main(int argc, char **argv)
{
    static struct load_traffic traffic;
    struct load_options options;
    struct load_result result;

    switch (load_options_read(&options, argc, argv)) {
    case LOAD_ASKED_DONE:
        return 0;
    case LOAD_ASKED_WRONG:
        return 2;
    case LOAD_ASKED_RUN:
        break;
    }
    if (!load_options_resolve(&options) || !load_run(&traffic, &options, &result))
        return 1;
    load_report(&options, &traffic, &result);
    return load_run_is_clean(&result) ? 0 : 1;
}
