/* tests/net/test_http_pool.c -- how much may stand in line for an HTTP server. */
#include "net/http_pool.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test.h"

static _Atomic uint32_t answered_count, dropped_count;

static void on_answered(struct http_job *job)
{
    http_job_fini(job);
    add_relaxed(&answered_count, 1);
}

static void on_drop(struct http_job *job)
{
    http_job_fini(job);
    add_relaxed(&dropped_count, 1);
}

static const struct http_job_ops ops = {.answered = on_answered, .drop = on_drop};

static struct http_job job_of(const char *url, uint32_t bytes)
{
    struct http_job job = {.ops = &ops, .url = url, .body = calloc(1, bytes), .body_count = bytes};

    assert_non_null(job.body);
    return job;
}

/* A listener that never answers, and its address. */
static int silence(char url[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    snprintf(url, 64, "http://127.0.0.1:%u/", ntohs(a.sin_port));
    return fd;
}

TEST(http_pool_takes_no_more_bytes_in_line_than_it_may)
{
    const struct http_pool_settings settings = {
        .threads = 1, .connect_ms = 60000, .timeout_ms = 60000, .line_bytes = 1000};
    char url[64], why[128];
    int fd = silence(url);
    struct http_pool *p = http_pool_create(&settings, why, sizeof(why));
    struct http_job under_way = job_of(url, 900), waiting[2] = {job_of(url, 600), job_of(url, 401)};
    struct http_job large = job_of(url, 1001), last = job_of(url, 400);
    int taken;

    if (!p)
        fail_msg("%s", why);
    assert_int_equal(http_pool_ask(p, &under_way), OK);
    taken = accept(fd, NULL, NULL); /* it has left the line, and waits for its answer */
    assert_true(taken >= 0);
    assert_int_equal(http_pool_ask(p, &large), ERR_FULL);
    assert_int_equal(http_pool_ask(p, &waiting[0]), OK);
    assert_int_equal(http_pool_ask(p, &waiting[1]), ERR_FULL);
    assert_int_equal(http_pool_ask(p, &last), OK);
    http_job_fini(&large);
    http_job_fini(&waiting[1]);
    http_pool_destroy(p);
    assert_int_equal(load_relaxed(&answered_count), 1);
    assert_int_equal(load_relaxed(&dropped_count), 2);
    close(taken);
    close(fd);
}
