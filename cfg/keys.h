/* cfg/keys.h -- the one table of everything that may stand in a configuration file.
 *
 * The parser (cfg/assign.c), the help, the man page and the sample configuration (cfg/help.c) are
 * all made from it, so none of them can say something else than the others. A key that is not in
 * the table does not exist; a name that other brokers or later versions know is answered with words
 * from a second table.
 */
#ifndef CFG_KEYS_H
#define CFG_KEYS_H

#include "cfg/cfg.h"

enum section_kind {
    SECTION_BROKER,
    SECTION_CLUSTER,
    SECTION_LISTENER,
    SECTION_LINK,
    SECTION_LIMITS,
    SECTION_LOG,
    SECTION_AUTH,
    SECTION_COUNT
};

struct section_info {
    const char *name;
    const char *example; /* of its NAME; NULL: the section has no name and stands once */
    const char *help;
};

enum key_type {
    KEY_BOOL,    /* bool */
    KEY_NUMBER,  /* unsigned integer of 1, 4 or 8 bytes */
    KEY_SIZE,    /* bytes, unsigned integer of 4 or 8 bytes */
    KEY_TIME,    /* unsigned integer of 4 bytes, counted in `unit_us` */
    KEY_CHOICE,  /* an enum or int out of `choices` */
    KEY_STRING,  /* const char *, not empty */
    KEY_NAME,    /* const char *, the name of a cluster */
    KEY_BIND,    /* where a listener listens, in one */
    KEY_ADDRESS, /* ... or in two */
    KEY_PORT,
    KEY_SERVERS,   /* list of remote addresses */
    KEY_TOPICS,    /* list of filters */
    KEY_LOG_DESTS, /* list of places to log to */
    KEY_TEXTS,     /* struct cfg_texts */
    KEY_MODE,      /* permissions of a file, 4 bytes */
    KEY_RATE,      /* struct cfg_rate */
    KEY_VERSIONS,  /* list of versions of MQTT, CFG_MQTT_... in 1 byte */
    KEY_NETWORKS,  /* struct cidr_list */
    KEY_PASSWORD,  /* const char *, never shown */
    KEY_PASSWORD_FILE,
    KEY_TYPE_COUNT
};

struct key_choice {
    const char *word;
    int value;
    bool is_alias; /* accepted, but not shown */
};

/* Flags of a key. */
#define KEY_ZERO_PRESETS 1u /* 0 means the built-in bound */
#define KEY_LIST 2u         /* several values, by comma or by repeating the key */
#define KEY_MONTHS 4u       /* a bare `m` is refused: elsewhere it means months in this key */
#define KEY_REQUIRED 8u     /* the section is wrong without it */

#define KEY_ALIASES_MAX 3

struct key {
    enum section_kind section;
    const char *name;
    const char *aliases[KEY_ALIASES_MAX]; /* names other brokers have for the same; NULL ends */
    enum key_type type;
    uint8_t size;    /* bytes of the field; 0: the value is kept elsewhere, or only checked */
    uint16_t offset; /* of the field in the object of its section (struct draft_section) */
    uint32_t flags;
    uint32_t unit_us;    /* KEY_TIME: microseconds of one step of the field */
    uint64_t min, max;   /* in the field's unit; a preset of 0 or a word may stand outside */
    const char *word;    /* a word that may stand instead of a number; NULL: none */
    uint64_t word_value; /* ... and what the field then holds */
    const struct key_choice *choices; /* KEY_CHOICE: ends with a NULL word */
    const char *preset;               /* the default as it would be written; NULL: none */
    const char *example; /* for the sample, where there is no preset; NULL: it has one */
    const char *unset;   /* what holds without it, where there is no preset; NULL: it has one */
    const char *help;    /* whole sentences */
};

extern const struct section_info section_infos[SECTION_COUNT];
extern const struct key keys[];
extern const uint32_t key_count;

/* More than key_count; checked by a test. */
#define KEYS_MAX 176

/* The section of that name in brackets, without a NAME; NULL: there is none. */
const struct section_info *section_find(const char *name);

/* The kind of one of section_infos. */
enum section_kind section_kind_of(const struct section_info *info);

/* The section whose name looks most like it; NULL: none is near. */
const struct section_info *section_nearest(const char *name);

/* The key of that name or alias in a section; NULL: there is none. */
const struct key *key_find(enum section_kind section, const char *name);

/* The key of that name or alias in any section; NULL: there is none. */
const struct key *key_find_anywhere(const char *name);

/* The name or alias in a section that looks most like `name`; NULL: none is near. */
const char *key_nearest(enum section_kind section, const char *name);

/* Its place in the table. */
uint32_t key_idx(const struct key *key);

/* What to answer for a key that this version or this broker does not have, but that people know
 * from elsewhere: half a sentence to stand behind the key. NULL: nothing is known of it. */
const char *key_unavailable(enum section_kind section, const char *name);

/* The same for the name of a section. */
const char *section_unavailable(const char *name);

/* Bytes of the longest text of key_print_range(), with its NUL. */
#define KEY_RANGE_BYTES 256

/* Writes the values a key takes, "1 to 64, or auto". `to` must have KEY_RANGE_BYTES. */
void key_print_range(char *to, const struct key *key);

#endif
