/* core/mqtt/topic.h -- topic names and topic filters: validity, levels, matching, coverage.
 *
 * Pure functions over views; nothing is copied or kept.  Any thread.
 */
#ifndef CORE_MQTT_TOPIC_H
#define CORE_MQTT_TOPIC_H

#include "core/base/bytes.h"
#include "core/base/err.h"

/* Whether the bytes are well-formed UTF-8 as MQTT wants it: no surrogates, no U+0000
 * [MQTT-1.5.4-1] [MQTT-1.5.4-2]. Control characters and non-characters are let through. */
bool utf8_valid(struct bytes s);

/* Whether `t` may be published to: 1..65535 bytes of UTF-8 without wildcard [MQTT-3.3.2-2],
 * [MQTT-4.7.3-1..3], at most `levels_max` levels. */
bool topic_name_valid(struct bytes t, uint32_t levels_max);

/* Whether `t` has at most `levels_max` levels. */
bool topic_depth_allowed(struct bytes t, uint32_t levels_max);

/* Whether `f` is a filter without a share prefix: wildcards stand alone in a level, `#` only last
 * [MQTT-4.7.1-1] [MQTT-4.7.1-2], 1..65535 bytes of UTF-8, at most `levels_max` levels. */
bool topic_filter_valid(struct bytes f, uint32_t levels_max);

/* Whether `f` holds a wildcard. */
bool topic_has_wildcard(struct bytes f);

/* Splits `$share/GROUP/FILTER` (and `$queue/FILTER`: group "$queue"). *is_shared says whether
 * it is a shared subscription; then *group and *filter are views into `f`, else *filter = f.
 * ERR_PEER: a share prefix whose group is empty, holds a wildcard or lacks its filter
 * [MQTT-4.8.2-1] [MQTT-4.8.2-2]. The filter itself is not checked here. */
MUST_USE enum err topic_split_share(struct bytes f, bool *is_shared, struct bytes *group,
                                    struct bytes *filter);

/* Whether the topic name matches the filter; both valid. A first level that begins with `$` is not
 * matched by a leading wildcard [MQTT-4.7.2-1]. */
bool topic_matches(struct bytes filter, struct bytes topic);

/* Whether every topic that `narrow` matches is matched by `wide`; both valid filters.
 * `#` and `+` in the first level do not cover a filter whose first level begins with `$`. */
bool topic_filter_covers(struct bytes wide, struct bytes narrow);

/* Takes the next level off `*rest`: *level becomes a view of it. Returns false when none is left.
 * Start with rest = whole text and *first = true (an empty text has one empty level). */
bool topic_next_level(struct bytes *rest, bool *first, struct bytes *level);

#endif
