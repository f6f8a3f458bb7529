/* bench/shim.cc -- benchmarks in C, over Google Benchmark; also the program's main().
 *
 * The only file that knows the library. It keeps its own clock beside the library's, because that
 * one does not tell the time to the benchmark itself.
 */
#include "bench/shim.h"

#include <benchmark/benchmark.h>

#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

using steady = std::chrono::steady_clock;

struct bench {
    benchmark::State &state;
    uint64_t batch = 64;
    uint64_t items = 0; /* 0: the iterations */
    double goal = 0;    /* 0: none */
    bool has_begun = false;
    steady::time_point begin{};
    steady::duration elapsed{};
};

namespace
{

/* The clock runs from the first question for an iteration to the one that is answered "no". */
bool note_next(bench *b, bool goes_on)
{
    if (goes_on && !b->has_begun) {
        b->has_begun = true;
        b->begin = steady::now();
    } else if (!goes_on) {
        b->elapsed += steady::now() - b->begin;
    }
    return goes_on;
}

void report(bench *b)
{
    uint64_t items = b->items ? b->items : static_cast<uint64_t>(b->state.iterations());
    double ns = std::chrono::duration<double, std::nano>(b->elapsed).count();

    b->state.SetItemsProcessed(static_cast<int64_t>(items));
    if (items == 0)
        return;
    b->state.counters["ns_item"] = ns / static_cast<double>(items);
    if (b->goal > 0) {
        b->state.counters["misses"] = ns / static_cast<double>(items) / bench_cache_miss_ns();
        b->state.counters["goal"] = b->goal;
    }
}

benchmark::internal::Benchmark *add(const char *name, bench_fn *fn, int64_t arg)
{
    return benchmark::RegisterBenchmark(name, [fn, arg](benchmark::State &state) {
        bench b{state};

        fn(&b, arg);
        report(&b);
    });
}

/* One cache line; `next` leads to each of them once before it comes back. */
struct alignas(64) link {
    link *next;
};

/* A cycle through `count` lines in random order (Sattolo), the same each time. In huge pages where
 * the kernel has them, so that it is the caches that miss and not the TLB. */
link *make_cycle(size_t count)
{
    link *lines = static_cast<link *>(std::aligned_alloc(2u << 20, count * sizeof(link)));
    std::vector<uint32_t> order(count);
    uint64_t seed = 1;

    if (!lines)
        std::abort();
    madvise(lines, count * sizeof(link), MADV_HUGEPAGE); /* refused: the figure is larger */
    std::iota(order.begin(), order.end(), 0u);
    for (size_t i = count - 1; i > 0; i--) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        std::swap(order[i], order[(seed >> 33) % i]);
    }
    for (size_t i = 0; i < count; i++)
        lines[order[i]].next = &lines[order[(i + 1) % count]];
    return lines;
}

link *cycle()
{
    static link *lines = make_cycle((bench_is_tiny() ? 16u : 256u) << 20 >> 6);

    return lines;
}

double measure_miss()
{
    const uint64_t steps = bench_is_tiny() ? 20000 : 1000000;
    double best = 0;
    link *at = cycle();

    for (int round = 0; round < 3; round++) {
        steady::time_point begin = steady::now();

        for (uint64_t i = 0; i < steps; i++)
            at = at->next;
        bench_keep(at);
        double ns = std::chrono::duration<double, std::nano>(steady::now() - begin).count() /
                    static_cast<double>(steps);
        if (round == 0 || ns < best)
            best = ns;
    }
    return best;
}

void bench_miss(struct bench *b, int64_t)
{
    link *at = cycle();
    uint64_t n;

    while (bench_next_batch(b, &n)) {
        for (; n > 0; n--)
            at = at->next;
        bench_keep(at);
    }
}

__attribute__((constructor)) void register_miss()
{
    bench_register("BM_cache_miss", bench_miss, 0);
}

} // namespace

void bench_register(const char *name, bench_fn *fn, int64_t arg)
{
    add(name, fn, arg);
}

void bench_register_wall(const char *name, bench_fn *fn, int64_t arg)
{
    add(name, fn, arg)->UseRealTime();
}

bool bench_next(struct bench *b)
{
    return note_next(b, b->state.KeepRunning());
}

bool bench_next_batch(struct bench *b, uint64_t *n)
{
    *n = b->batch;
    if (b->batch < 1024)
        b->batch *= 2;
    return note_next(b, b->state.KeepRunningBatch(static_cast<int64_t>(*n)));
}

void bench_pause(struct bench *b)
{
    b->state.PauseTiming();
    b->elapsed += steady::now() - b->begin;
}

void bench_resume(struct bench *b)
{
    b->begin = steady::now();
    b->state.ResumeTiming();
}

void bench_items(struct bench *b, uint64_t count)
{
    b->items = count;
}

void bench_counter(struct bench *b, const char *name, double value)
{
    b->state.counters[name] = value;
}

void bench_label(struct bench *b, const char *text)
{
    b->state.SetLabel(text);
}

void bench_goal(struct bench *b, double misses)
{
    b->goal = misses;
}

double bench_cache_miss_ns(void)
{
    static double ns = measure_miss();

    return ns;
}

bool bench_is_tiny(void)
{
    return std::getenv("BENCH_TINY") != nullptr;
}

int main(int argc, char **argv)
{
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
