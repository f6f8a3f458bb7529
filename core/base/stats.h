/* core/base/stats.h -- counters of one worker, every loss by its cause.
 *
 * Written by their worker only, read by worker 0 for $SYS and by all for the bounds that workers
 * have together; so relaxed atomics without a lock.
 */
#ifndef CORE_BASE_STATS_H
#define CORE_BASE_STATS_H

#include "core/base/atomic.h"

/* clang-format off */
#define STATS_LIST(X)                                                                              \
    /* traffic */                                                                                  \
    X(bytes_received) X(bytes_sent) X(packets_received) X(packets_sent)                            \
    X(publish_received) X(publish_sent) X(publish_bytes_received) X(publish_bytes_sent)            \
    /* connections */                                                                              \
    X(sockets_accepted) X(clients_accepted) X(clients_refused) X(handoffs) X(takeovers)            \
    X(auth_failures) X(connect_timeouts) X(keepalive_timeouts) X(protocol_errors)                  \
    X(sessions_expired) X(connections_over_limit) X(handshakes_failed)                             \
    X(connections_denied) X(denied_banned) X(accept_pauses) X(auth_over_limit)                     \
    /* losses by cause */                                                                          \
    X(dropped_qos0_slow) X(dropped_queue_full) X(dropped_queue_bytes) X(dropped_expired)           \
    X(dropped_too_large) X(dropped_offline_qos0) X(dropped_group_full) X(dropped_memory)           \
    X(dropped_retained_full) X(dropped_session_end) X(dropped_topic_levels) X(dropped_mount_point) \
    X(dropped_tombstones) X(dropped_retained_ahead)                                                \
    /* what authorization refused */                                                               \
    X(denied_publish) X(denied_delivery) X(denied_subscribe)                                       \
    /* answers that an HTTP server owed: each denies */                                            \
    X(denied_http)                                                                                 \
    /* limits hit */                                                                               \
    X(subscriptions_refused) X(packets_too_large) X(receive_maximum_exceeded) X(sessions_refused)  \
    X(parked)                                                                                      \
    /* links */                                                                                    \
    X(link_messages_sent) X(link_messages_received) X(link_messages_dropped)                       \
    X(link_packets_refused) X(link_impostors) X(link_clients_over_limit)                           \
    X(link_routes_over_limit) X(link_routes_memory) X(link_routes_invalid)                         \
    X(link_routes_not_exported) X(link_blocks) X(link_holds) X(link_subacks_late)                  \
    X(link_acks_failed) X(link_unpack_faults)                                                      \
    /* gauges: a difference of ups and downs */                                                    \
    X(clients_connected) X(sessions) X(sessions_offline) X(subscriptions) X(shared_subscriptions)  \
    X(input_bytes_held) X(filter_bytes_held) X(message_bytes_held) X(queued_messages)              \
    X(inflight_messages) X(retained) X(retained_bytes) X(output_bytes_queued) X(tombstones)        \
    /* retained messages but those of $SYS: what the bounds count */                               \
    X(retained_counted) X(retained_counted_bytes)                                                  \
    /* of publishes, that wait for remote clusters or for one before them */                       \
    X(link_acks_waiting)
/* clang-format on */

struct stats {
#define X(name) _Atomic uint64_t name;
    STATS_LIST(X)
#undef X
};

/* Adds to a counter of the calling worker; subtract with a negative number (gauges). */
#define STAT_ADD(stats, name, v)                                                                   \
    store_relaxed(&(stats)->name, load_relaxed(&(stats)->name) + (uint64_t)(v))
#define STAT_INC(stats, name) STAT_ADD(stats, name, 1)

#endif
