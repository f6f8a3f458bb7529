/* tools/load.c -- causeway-load: loads an MQTT broker, counts what arrives, measures what it costs.
 *
 * load_options   the command line                load_scenario  who publishes what to whom
 * load_values    what stands behind an option    load_size      how long payloads are
 * load_run       phases of a run, measuring      load_progress  how it goes, on the terminal
 * load_act       what clients do between connecting and leaving:
 *     load_traffic, load_parties   publishers, windows, counting
 *     load_connect                 connecting and disconnecting, storms of it
 *     load_subscribe, load_retained, load_routes
 * load_flow      what one subscriber has seen    load_hist      latencies
 * load_client    MQTT                            load_wire      TCP and TLS, on net/uring
 * load_ws        WebSocket                       load_proc      the broker's processor and memory
 * load_figures   what a run found                load_report    the same as text, JSON and CSV
 * load_html      the same as a page              load_svg       its plots
 * load_compare   several brokers in turn: load_plan reads which, load_peer starts and ends them,
 *                load_table tells how they compare
 */
#include "tools/load_compare.h"
#include "tools/load_html.h"
#include "tools/load_options.h"
#include "tools/load_report.h"
#include "tools/load_run.h"

static bool write_page(const struct load_options *o, const struct load_figures *f)
{
    FILE *page;

    if (!o->html_file)
        return true;
    page = load_html_open(o->html_file, "causeway-load");
    if (!page)
        return false;
    load_html_run(page, f);
    return load_html_close(page, o->html_file);
}

static int run_one(struct load_options *o)
{
    static struct load_traffic traffic;
    static struct load_result result;
    static struct load_figures figures;
    bool is_written;

    if (!load_options_resolve(o) || !load_run(&traffic, o, &result))
        return 1;
    load_figures_derive(&figures, o, &traffic, &result);
    load_report(stdout, &figures, o->form);
    is_written = write_page(o, &figures);
    return is_written && load_run_is_clean(&result) ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct load_options options;

    switch (load_options_read(&options, argc, argv)) {
    case LOAD_ASKED_DONE:
        return 0;
    case LOAD_ASKED_WRONG:
        return 2;
    case LOAD_ASKED_COMPARE:
        return load_compare(&options);
    case LOAD_ASKED_RUN:
        break;
    }
    return run_one(&options);
}
