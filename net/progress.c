/* net/progress.c -- TCP_INFO and TCP_NOTSENT_LOWAT.
 *
 * The C library's struct tcp_info ends before what is asked for here, and the kernel's header does
 * not go together with <netinet/tcp.h>. So this is a file of its own.
 */
#include "net/progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

bool progress_of(int fd, struct progress *to)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0 ||
        n < offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof(info.tcpi_notsent_bytes))
        return false;
    to->acked = info.tcpi_bytes_acked;
    to->in_flight = (uint64_t)info.tcpi_unacked * info.tcpi_snd_mss;
    to->outstanding = to->in_flight + info.tcpi_notsent_bytes;
    return true;
}

void progress_bound_unsent(int fd, uint32_t bytes)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}
