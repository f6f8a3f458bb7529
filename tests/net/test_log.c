/* tests/net/test_log.c -- log lines cannot be forged, broken or lost without a word. */
#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/log.h"

static const char *format(enum cfg_log_format f, const char *ts, struct log_line line)
{
    static char text[LOG_LINE_BYTES_MAX + 1];
    uint32_t n = log_format(f, ts, &line, text);

    assert_true(n <= LOG_LINE_BYTES_MAX);
    text[n] = 0;
    return text;
}

TEST(log_text_has_fixed_keys_in_order)
{
    const char *s = format(LOG_TEXT, "2024-03-20T11:08:39.568Z",
                           (struct log_line){.level = 5,
                                             .event = "client connected",
                                             .client = BYTES_LIT("c1"),
                                             .user = BYTES_LIT("anna"),
                                             .peer = "127.0.0.1:4000",
                                             .listener = "mqtt",
                                             .reason = "none",
                                             .detail = "x=1"});

    assert_string_equal(s, "ts=2024-03-20T11:08:39.568Z level=notice event=\"client connected\" "
                           "client=c1 user=anna peer=127.0.0.1:4000 listener=mqtt reason=none "
                           "detail=\"x=1\"");
}

TEST(log_leaves_out_what_has_no_value)
{
    assert_string_equal(format(LOG_TEXT, NULL, (struct log_line){.level = 3, .event = "e"}),
                        "level=error event=e");
    assert_string_equal(
        format(LOG_JSON, NULL, (struct log_line){.level = 7, .event = "e", .peer = ""}),
        "{\"level\":\"debug\",\"event\":\"e\"}");
}

TEST(log_text_escapes_what_could_forge_a_line)
{
    const char *s = format(
        LOG_TEXT, NULL,
        (struct log_line){.level = 6,
                          .event = "e",
                          .client = BYTES_LIT("a\" level=error\n\x1b[2J\\\x7f\xff\xc2\x85\t\r")});

    assert_string_equal(s, "level=info event=e "
                           "client=\"a\\\" level=error\\n\\x1b[2J\\\\\\x7f\\xff\\xc2\\x85\\t\\r\"");
}

TEST(log_json_escapes_what_could_forge_a_line)
{
    const char *s =
        format(LOG_JSON, NULL,
               (struct log_line){
                   .level = 6,
                   .event = "e",
                   .client = BYTES_LIT("a\",\n\x01\\\xff\xe2\x80\xae\xed\xa0\x80 \xc3\xa9")});

    assert_string_equal(s, "{\"level\":\"info\",\"event\":\"e\",\"client\":\"a\\\",\\n\\u0001\\\\"
                           "\\ufffd\\u202e\\ufffd\\ufffd\\ufffd \xc3\xa9\"}");
}

TEST(log_keeps_the_address_behind_a_long_client_id)
{
    static char id[65535];
    const enum cfg_log_format forms[] = {LOG_TEXT, LOG_JSON};

    for (int fill = 0; fill < 2; fill++) {
        memset(id, fill ? '\n' : 'x', sizeof(id));
        for (size_t i = 0; i < 2; i++) {
            struct log_line line = {.level = 4,
                                    .event = "e",
                                    .client = bytes_of(id, sizeof(id)),
                                    .user = bytes_of(id, sizeof(id)),
                                    .peer = "10.0.0.1:1",
                                    .reason = "r",
                                    .detail = "d"};
            const char *s = format(forms[i], "2024-03-20T11:08:39.568Z", line);

            assert_non_null(strstr(s, "10.0.0.1:1"));
            assert_non_null(strstr(s, "..."));
            assert_true(forms[i] == LOG_TEXT || s[strlen(s) - 1] == '}');
        }
    }
}

/* A log into a file, and the file's content. */
struct file_log {
    char path[64];
    struct cfg_log config;
    struct log *log;
    char content[1 << 19];
};

static struct file_log *file_log_open(void)
{
    struct file_log *f = calloc(1, sizeof(*f));
    char why[256];
    int fd;

    assert_non_null(f);
    strcpy(f->path, "/tmp/causeway-test-log-XXXXXX");
    fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    f->config = (struct cfg_log){.dest_count = 1,
                                 .dests = {{.kind = LOG_TO_FILE, .path = f->path}},
                                 .level = LOG_LEVEL_INFO};
    f->log = log_create(&f->config, 2, why, sizeof(why));
    assert_non_null(f->log);
    return f;
}

static const char *file_log_read(struct file_log *f)
{
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_true(fd >= 0);
    n = read(fd, f->content, sizeof(f->content) - 1);
    assert_true(n >= 0);
    f->content[n] = 0;
    close(fd);
    return f->content;
}

static void file_log_close(struct file_log *f)
{
    log_destroy(f->log);
    unlink(f->path);
    free(f);
}

TEST(log_writes_what_workers_say_in_order)
{
    struct file_log *f = file_log_open();

    log_event(f->log, LOG_SOURCE_WORKER(0), &(struct log_line){.level = 5, .event = "one"});
    log_event(f->log, LOG_SOURCE_WORKER(0), &(struct log_line){.level = 7, .event = "hidden"});
    log_event(f->log, LOG_SOURCE_WORKER(0), &(struct log_line){.level = 6, .event = "two"});
    log_flush(f->log, LOG_SOURCE_WORKER(0));
    log_drain(f->log);
    assert_string_equal(file_log_read(f), "level=notice event=one\nlevel=info event=two\n");
    file_log_close(f);
}

TEST(log_says_how_many_lines_were_dropped)
{
    struct file_log *f = file_log_open();

    for (int i = 0; i < 20000; i++)
        log_event(f->log, LOG_SOURCE_WORKER(1),
                  &(struct log_line){.level = 5, .event = "flood", .reason = "much to say"});
    log_drain(f->log);
    assert_non_null(strstr(file_log_read(f), "lines dropped"));
    file_log_close(f);
}

TEST(log_does_not_wait_for_a_reader_that_is_stuck)
{
    static char rest[1 << 20];
    struct cfg_log config = {
        .dest_count = 1, .dests = {{.kind = LOG_TO_STDOUT}}, .level = LOG_LEVEL_INFO};
    struct log_line line = {.level = 5, .event = "much", .detail = "to say"};
    char why[256];
    int saved = dup(STDOUT_FILENO);
    int pipe_fds[2];
    struct log *log;
    ssize_t n;

    fflush(stdout);
    assert_int_equal(pipe(pipe_fds), 0);
    dup2(pipe_fds[1], STDOUT_FILENO);
    close(pipe_fds[1]);
    log = log_create(&config, 0, why, sizeof(why));
    for (int i = 0; i < 5000 && log; i++)
        log_event(log, LOG_SOURCE_MAIN, &line); /* one pause of a second, not thousands */
    assert_true(read(pipe_fds[0], rest, sizeof(rest)) > 0);
    log_event(log, LOG_SOURCE_MAIN, &line);
    n = read(pipe_fds[0], rest, sizeof(rest) - 1);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    log_destroy(log);
    close(pipe_fds[0]);
    assert_true(n > 0);
    rest[n] = 0;
    assert_non_null(strstr(rest, "lines could not be written here"));
}

TEST(log_reopen_follows_a_moved_file)
{
    struct file_log *f = file_log_open();
    char moved[80];

    snprintf(moved, sizeof(moved), "%s.1", f->path);
    log_event(f->log, LOG_SOURCE_MAIN, &(struct log_line){.level = 5, .event = "before"});
    assert_int_equal(rename(f->path, moved), 0);
    log_reopen(f->log);
    log_event(f->log, LOG_SOURCE_MAIN, &(struct log_line){.level = 5, .event = "after"});
    assert_string_equal(file_log_read(f), "level=notice event=after\n");
    unlink(moved);
    file_log_close(f);
}

TEST(log_is_silent_about_connections_when_asked)
{
    struct file_log *f = file_log_open();
    struct log_line came = {.level = 5, .event = "client connected"};

    log_event(f->log, LOG_SOURCE_MAIN, &came);
    assert_string_equal(file_log_read(f), "");
    f->config.connection_messages = true;
    log_event(f->log, LOG_SOURCE_MAIN, &came);
    assert_string_equal(file_log_read(f), "level=notice event=\"client connected\"\n");
    file_log_close(f);
}
