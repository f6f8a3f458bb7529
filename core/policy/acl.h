/* core/policy/acl.h -- who may read and write what: mosquitto's ACL file, compiled.
 *
 *     user NAME                 the rules below are NAME's, until the next `user`
 *     topic [ACCESS] FILTER     for that user; above the first `user`: for clients without a user
 *                               name, and only for them
 *     pattern [ACCESS] FILTER   for every client; %c is its id, %u its user name
 *
 * ACCESS is read, write, readwrite (also if it is left out) or deny.
 *
 * A client's own rules are asked first, then the patterns; in each, a `deny` that matches refuses,
 * then a rule with the wanted access allows; who is granted nothing is refused. A topic that begins
 * with `$` is matched only by rules that are written with a `$` in front. Patterns with %u say
 * nothing to a client without a user name.
 *
 * Names cannot widen a pattern (CVE-2017-7650): where it comes to the patterns, a client whose name
 * or id holds `+` or `#` is refused. With a `/` in it, a pattern that uses it grants nothing, as
 * the name would reach into another's branch; a `deny` still counts.
 *
 * There are two kinds of object. A `struct acl` is a whole file, never changed and counted, so that
 * workers go on with the old one while a new one is read. A `struct acl_subject` is one client to
 * one such file, made when something is first asked about it and again after a reload. It allocates
 * nothing.
 *
 * No ACL (NULL) allows everything; an empty file allows nothing (CVE-2018-12550).
 *
 * Threads  any may hold a reference and ask; a subject belongs to one thread.
 * Cost     one look-up of the whole topic, and a walk by levels through the client's rules with
 *          wildcards and through the patterns. It grows with the levels and with the `+` and
 *          placeholders that stand beside them, not with the number of rules. A question about a
 *          filter with `+` or `#` may go through all rules of the client. None visits a rule twice.
 */
#ifndef CORE_POLICY_ACL_H
#define CORE_POLICY_ACL_H

#include "core/base/bytes.h"
#include "core/base/err.h"
#include "core/base/hash.h"

struct acl; /* opaque: the fields live in acl.c */

enum acl_access {
    ACL_READ = 1, /* a message is delivered to the client */
    ACL_WRITE = 2 /* the client publishes it, or leaves it as a will */
};

/* Told of everything a person should know about a file: mistakes, for which it is not taken, and
 * warnings. `what` is a line of text without the name of the file, printable in a terminal; `line`
 * 0: the file as a whole. */
typedef void acl_tell(void *context, bool is_mistake, uint32_t line, const char *what);

/* Compiles the text of an ACL file; nothing of it is kept. All mistakes are told in one go, in the
 * order of their lines (the first ACL_MISTAKES_MAX of them, and how many were not told); `tell` may
 * be NULL. OK: *acl has one reference, the caller's. ERR_PEER: there were mistakes. ERR_FULL: it is
 * larger than limits.h allows, which was told. ERR_MEMORY: not told. */
MUST_USE enum err acl_create(struct bytes text, const struct hash_key *key, acl_tell *tell,
                             void *context, struct acl **acl);
/* One reference more, and one less; the last one frees it. NULL is fine for both. */
struct acl *acl_ref(struct acl *acl);
void acl_release(struct acl *acl);

/* Rules and bytes of memory, for logs.  NULL: 0. */
uint32_t acl_rule_count(const struct acl *acl);
uint64_t acl_bytes(const struct acl *acl);

/* One client. A zeroed one is allowed nothing. The fields are acl.c's; others may compare `acl`
 * with the current one to see that the subject must be made anew. */
struct acl_subject {
    struct acl *acl; /* one reference, or NULL */
    uint32_t own;    /* the rules of its user name; 0: it has none */
    struct bytes user, client_id;
    bool is_open; /* made without an ACL: everything is allowed */
    bool has_user;
    bool is_guarded;         /* a name holds `+` or `#` */
    bool user_is_split;      /* it holds `/` */
    bool client_id_is_split; /* it holds `/` */
};

/* Makes the subject of a client. `user` NULL: it gave no user name (an empty one is a name). The
 * two names are borrowed as long as the subject lives. Takes a reference of `acl`, which may be
 * NULL; end it with acl_subject_fini, also before it is made anew. */
void acl_subject_init(struct acl_subject *s, struct acl *acl, const struct bytes *user,
                      struct bytes client_id);
/* Gives the reference back and zeroes the subject. */
void acl_subject_fini(struct acl_subject *s);

/* Whether the client may read or write messages of `topic`, a valid topic name. */
bool acl_check(const struct acl_subject *s, enum acl_access access, struct bytes topic);

/* Whether every topic that matches `filter` passes acl_check, so that none needs to be asked about.
 * Never wrongly true. It may be false for a filter that is only allowed by several rules together,
 * or where a `deny` and the filter meet in what the rules after it allow anyway. `filter` is a
 * valid one without a share prefix. */
bool acl_covers(const struct acl_subject *s, enum acl_access access, struct bytes filter);

/* Whether to accept a subscription to `filter`, for those who set acl_check_subscribe: false if
 * nothing that it matches could ever be delivered to this client. Without wildcards that is just
 * acl_check. With wildcards it is refused if no rule that grants reading has a topic in common with
 * it, or one `deny` covers all of it. So a dashboard that subscribes to `#` and may read a part
 * goes on working as without the setting (deliveries are checked one by one), and a refusal always
 * says the truth. Where several rules together leave nothing, it is accepted and stays silent.
 * `filter` is a valid one without a share prefix. */
bool acl_check_subscribe(const struct acl_subject *s, struct bytes filter);

#endif
