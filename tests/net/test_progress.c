/* tests/net/test_progress.c -- what the kernel says of what was written to a connection. */
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/progress.h"

/* A connection over loopback: end 0 writes. */
static void connect_pair(int fd[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
    fd[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd[0], (struct sockaddr *)&a, n), 0);
    fd[1] = accept(listener, NULL, NULL);
    assert_true(fd[1] >= 0);
    close(listener);
}

static void close_pair(const int fd[2])
{
    close(fd[0]);
    close(fd[1]);
}

TEST(progress_counts_what_the_other_side_has)
{
    struct progress before, after;
    int fd[2];

    connect_pair(fd);
    assert_true(progress_of(fd[0], &before));
    assert_int_equal(before.outstanding, 0);
    assert_int_equal(write(fd[0], "12345", 5), 5);
    assert_true(progress_of(fd[0], &after)); /* loopback acknowledges within the write */
    assert_int_equal(after.acked - before.acked, 5);
    assert_int_equal(after.outstanding, 0);
    close_pair(fd);
}

TEST(progress_stands_still_where_nobody_reads)
{
    struct progress full, later;
    char *b = calloc(1, 1 << 20);
    int fd[2];

    assert_non_null(b);
    connect_pair(fd);
    while (send(fd[0], b, 1 << 20, MSG_DONTWAIT) > 0)
        ;
    assert_true(progress_of(fd[0], &full));
    assert_true(full.acked > 0);
    assert_true(full.outstanding > 0);
    assert_true(progress_of(fd[0], &later));
    assert_int_equal(later.acked, full.acked);
    close_pair(fd);
    free(b);
}

TEST(progress_keeps_little_unsent_where_that_is_bounded)
{
    uint64_t most[2];
    char *b = calloc(1, 16 << 10);

    assert_non_null(b);
    for (int bounded = 0; bounded < 2; bounded++) {
        int fd[2], small = 8192, large = 8 << 20;
        struct progress p;

        connect_pair(fd);
        setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &large, sizeof(large));
        if (bounded)
            progress_bound_unsent(fd[0], 128 << 10);
        while (send(fd[0], b, 16 << 10, MSG_DONTWAIT) > 0)
            ;
        assert_true(progress_of(fd[0], &p));
        most[bounded] = p.outstanding;
        close_pair(fd);
    }
    assert_in_range(most[1], 64 << 10, 256 << 10);
    assert_true(most[0] > 2 * most[1]);
    free(b);
}

TEST(progress_is_not_known_of_what_is_no_tcp_connection)
{
    struct progress p;
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    assert_false(progress_of(fd[0], &p));
    progress_bound_unsent(fd[0], 1);
    close_pair(fd);
    assert_false(progress_of(-1, &p));
}
