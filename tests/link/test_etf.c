/* tests/link/test_etf.c -- terms: every tag, every bound, and what we write. */
#include "link/etf.h"

#include "tests/link/vectors.h"

static struct etf_reader reader(const char *hex, struct bytes *keep)
{
    *keep = unhex(hex);
    return etf_reader_of(*keep);
}

static void check_integer(const char *hex, bool is_negative, bool is_wide, uint64_t number)
{
    struct bytes b;
    struct etf_reader r = reader(hex, &b);
    struct etf_term t;

    assert_int_equal(etf_read(&r, &t), OK);
    assert_int_equal(t.kind, ETF_INTEGER);
    assert_int_equal(t.is_negative, is_negative);
    assert_int_equal(t.is_wide, is_wide);
    assert_true(t.number == number);
    assert_ptr_equal(r.p, r.end);
    free_bytes(b);
}

TEST(etf_reads_integers_of_every_width)
{
    check_integer("61ff", false, false, 255);
    check_integer("6200000001", false, false, 1);
    check_integer("62ffffffff", true, false, 1);
    check_integer("6280000000", true, false, 1u << 31);
    check_integer("6e0600fb5954839801", false, false, 1754550000123u);
    check_integer("6e0800fb59548398010000", false, false, 1754550000123u);
    check_integer("6f0000000600fb5954839801", false, false, 1754550000123u);
    check_integer("6e0101ff", true, false, 255);
    check_integer("6e0000", false, false, 0);
    check_integer("6e010000", false, false, 0);
    check_integer("6e0900ffffffffffffffff00", false, false, UINT64_MAX);
    check_integer("6e0900000000000000000001", false, true, 0);
}

TEST(etf_reads_atoms_of_every_tag)
{
    static const char *const forms[] = {"77026f6b", "73026f6b", "7600026f6b", "6400026f6b"};

    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        struct bytes b;
        struct etf_reader r = reader(forms[i], &b);
        struct etf_term t;

        assert_int_equal(etf_read(&r, &t), OK);
        assert_true(etf_is_atom(&t, "ok"));
        assert_false(etf_is_atom(&t, "o"));
        free_bytes(b);
    }
}

TEST(etf_reads_containers_of_every_tag)
{
    static const struct {
        const char *hex;
        enum etf_kind kind;
        uint32_t count;
    } forms[] = {
        {"68016101", ETF_TUPLE, 1},
        {"69000000016101", ETF_TUPLE, 1},
        {"6a", ETF_NIL, 0},
        {"6c0000000161016a", ETF_LIST, 1},
        {"6c000000006a", ETF_LIST, 0},
        {"740000000161016102", ETF_MAP, 1},
        {"6b00020102", ETF_STRING, 0},
        {"6d000000026869", ETF_BINARY, 0},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        struct bytes b;
        struct etf_reader r = reader(forms[i].hex, &b);
        struct etf_reader all = r;
        struct etf_term t;

        assert_int_equal(etf_read(&r, &t), OK);
        assert_int_equal(t.kind, forms[i].kind);
        assert_int_equal(t.count, forms[i].count);
        assert_int_equal(etf_skip(&all), OK);
        assert_ptr_equal(all.p, all.end);
        free_bytes(b);
    }
}

TEST(etf_passes_over_what_plugins_may_add)
{
    static const char *const forms[] = {
        "463ff0000000000000",                   /* 1.0 */
        "4d0000000103e0",                       /* three bits */
        "5877016e000000010000000200000003",     /* pid */
        "5a000277016e000000010000000200000003", /* reference */
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        struct bytes b;
        struct etf_reader r = reader(forms[i], &b);

        assert_int_equal(etf_skip(&r), OK);
        assert_ptr_equal(r.p, r.end);
        free_bytes(b);
    }
}

/* Every beginning of every golden term is refused, without reading behind it. */
TEST(etf_refuses_what_is_cut_short)
{
    struct vectors v = vectors_open();

    while (vectors_next(&v, "control")) {
        struct bytes b = unhex(v.column[3]);

        for (uint32_t n = 0; n + 1 < b.n && n < 600; n++) {
            uint8_t *part = malloc(n + 1u);
            struct etf_reader r;

            assert_non_null(part);
            memcpy(part, b.p, n);
            if (etf_open(&r, bytes_of(part, n)) == OK)
                assert_int_equal(etf_skip(&r), ERR_PEER);
            free(part);
        }
        free_bytes(b);
    }
}

TEST(etf_refuses_counts_that_cannot_be_true)
{
    static const char *const forms[] = {
        "6c000000016a",
        "6cffffffff6a6a",
        "74000000016101",
        "74ffffffff61016101",
        "74800000006101",
        "69ffffffff6101",
        "68026101",
        "6dffffffff00",
        "6fffffffff00",
        "6b000501",
        "77056f6b",
        "50000000",
        "76040061",
        "00",
        "",
        "5a00066a",
        "586101000000000000",
        "4d00000003036100",
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        struct bytes b;
        struct etf_reader r = reader(forms[i], &b);

        assert_int_equal(etf_skip(&r), ERR_PEER);
        free_bytes(b);
    }
}

TEST(etf_reads_pairs_whatever_the_key_is)
{
    /* #{a => 7, {1, 2} => <<"x">>, b} cut off behind its last key */
    struct bytes b, value, text;
    struct etf_reader r = reader("740000000377016161076802610161026d0000000178770162", &b);
    struct etf_term key;
    uint32_t pairs;
    uint64_t v;

    assert_int_equal(etf_read_map(&r, &pairs), OK);
    assert_int_equal(pairs, 3);
    assert_int_equal(etf_read_pair(&r, &key, &value), OK);
    assert_true(etf_is_atom(&key, "a"));
    assert_int_equal(etf_uint_of(value, &v), OK);
    assert_int_equal(v, 7);
    assert_int_equal(etf_binary_of(value, &text), ERR_PEER);
    assert_int_equal(etf_read_pair(&r, &key, &value), OK); /* the key's children are passed over */
    assert_int_equal(key.kind, ETF_TUPLE);
    assert_int_equal(etf_binary_of(value, &text), OK);
    assert_true(bytes_eq(text, BYTES_LIT("x")));
    assert_int_equal(etf_uint_of(value, &v), ERR_PEER);
    assert_int_equal(etf_read_pair(&r, &key, &value), ERR_PEER);
    free_bytes(b);
}

TEST(etf_bounds_depth)
{
    for (uint32_t depth = ETF_DEPTH_MAX - 1; depth <= ETF_DEPTH_MAX + 1; depth++) {
        uint8_t b[2 * (ETF_DEPTH_MAX + 1) + 1];
        struct etf_reader r;

        for (uint32_t i = 0; i < depth; i++) {
            b[2 * i] = 104; /* a tuple of one */
            b[2 * i + 1] = 1;
        }
        b[2 * depth] = 106;
        r = etf_reader_of(bytes_of(b, 2 * depth + 1));
        assert_int_equal(etf_skip(&r), depth <= ETF_DEPTH_MAX ? OK : ERR_PEER);
    }
}

TEST(etf_opens_only_plain_payloads)
{
    struct etf_reader r;

    assert_int_equal(etf_open(&r, BYTES_LIT("\x83\x6a")), OK);
    assert_int_equal(etf_open(&r, BYTES_LIT("\x83\x6atrailing")), OK);
    assert_int_equal(etf_open(&r, BYTES_LIT("\x83")), ERR_PEER);
    assert_int_equal(etf_open(&r, BYTES_LIT("\x82\x6a")), ERR_PEER);
    assert_int_equal(etf_open(&r, BYTES_LIT("\x83\x50\0\0\0\1x")), ERR_PEER);
    assert_int_equal(etf_open(&r, (struct bytes){0}), ERR_PEER);
}

static void check_uint(uint64_t v, const char *hex)
{
    uint8_t b[16];
    struct etf_writer w = etf_writer_of(b, sizeof(b));
    struct bytes want = unhex(hex);

    etf_put_uint(&w, v);
    assert_true(etf_fits(&w));
    assert_true(bytes_eq(bytes_of(b, w.size), want));
    free_bytes(want);
}

TEST(etf_writes_integers_the_shortest_way)
{
    check_uint(0, "6100");
    check_uint(255, "61ff");
    check_uint(256, "6200000100");
    check_uint(INT32_MAX, "627fffffff");
    check_uint(1u << 31, "6e040000000080");
    check_uint(1754550000123u, "6e0600fb5954839801");
    check_uint(UINT64_MAX, "6e0800ffffffffffffffff");
}

TEST(etf_writer_counts_without_a_buffer_and_stops_at_its_end)
{
    uint8_t b[8] = {0};
    struct etf_writer count = etf_writer_of(NULL, 0);
    struct etf_writer small = etf_writer_of(b, 6);

    etf_put_binary(&count, BYTES_LIT("abc"));
    assert_int_equal(count.size, 8);
    assert_false(etf_fits(&count));
    etf_put_binary(&small, BYTES_LIT("abc"));
    assert_int_equal(small.size, 8);
    assert_false(etf_fits(&small));
    assert_int_equal(b[6], 0);
    assert_int_equal(b[7], 0);
}

/* Our atoms are those that EMQX surely has: each occurs in the golden payloads or the protocol. */
TEST(etf_atoms_are_named)
{
    for (int i = 0; i < ETF_ATOM_COUNT; i++)
        assert_true(strlen(etf_atom_name((enum etf_atom)i)) > 0);
}
