/* tools/passwd_ask.c -- a new password, typed at a terminal or read from a pipe. */
#include "tools/passwd_ask.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

/* Signals that end or stop a program at the keyboard; the terminal is given back before. */
static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define WATCHED (sizeof(watched) / sizeof(watched[0]))

static volatile sig_atomic_t caught;

static void note_signal(int signal_number)
{
    caught = signal_number;
}

/* One byte of stdin. Signals that are blocked come through while it waits, if `open` says so, and
 * end the wait: there is no moment in which one is missed. */
static ssize_t read_byte(const sigset_t *open, char *c)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    if (open && ppoll(&input, 1, NULL, open) < 0)
        return -1;
    return read(STDIN_FILENO, c, 1);
}

/* Reads a line without its end. false: there is none, or it is too long or holds a NUL. A read of
 * a byte at a time leaves the next line to the next call, and no copy in a buffer of stdio. */
static bool read_line(const sigset_t *open, struct passwd_typed *typed, bool *ended)
{
    size_t n = 0;
    char c = 0;

    *ended = false;
    for (;;) {
        ssize_t got = read_byte(open, &c);

        if (got <= 0) {
            *ended = n == 0;
            if (got < 0 || n == 0)
                return false;
            break;
        }
        if (c == '\n')
            break;
        if (c == '\0' || n > PASSWD_PASSWORD_BYTES_MAX)
            return false;
        typed->text[n++] = c;
    }
    if (n > 0 && typed->text[n - 1] == '\r')
        n--;
    typed->text[n] = '\0';
    return true;
}

/* One prompt at the terminal, with echo off and signals put off meanwhile. */
static bool read_hidden(const char *prompt, struct passwd_typed *typed)
{
    struct sigaction note = {.sa_handler = note_signal};
    struct sigaction before[WATCHED];
    struct termios shown, hidden;
    sigset_t blocked, open;
    bool done, ended;

    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return false;
    caught = 0;
    sigemptyset(&blocked);
    for (size_t i = 0; i < WATCHED; i++) {
        sigaction(watched[i], &note, &before[i]);
        sigaddset(&blocked, watched[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, &open);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    fputs(prompt, stderr);
    done = read_line(&open, typed, &ended);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    fputs("\n", stderr);
    for (size_t i = 0; i < WATCHED; i++)
        sigaction(watched[i], &before[i], NULL);
    sigprocmask(SIG_SETMASK, &open, NULL);
    if (caught)
        raise(caught);
    return done;
}

static bool fail(const char *why)
{
    fprintf(stderr, "Error: %s\n", why);
    return false;
}

static bool ask_both(struct passwd_typed *typed, struct passwd_typed *again)
{
    bool ended;

    if (isatty(STDIN_FILENO)) {
        if (!read_hidden("Password: ", typed))
            return fail("Unable to read password.");
        if (typed->text[0] == '\0')
            return fail("Empty password.");
        if (!read_hidden("Reenter password: ", again))
            return fail("Unable to read password.");
    } else {
        if (!read_line(NULL, typed, &ended))
            return fail(ended ? "Empty password." : "Unable to read password.");
        if (typed->text[0] == '\0')
            return fail("Empty password.");
        if (!read_line(NULL, again, &ended))
            return ended || fail("Unable to read password.");
    }
    return strcmp(typed->text, again->text) == 0 || fail("Passwords do not match.");
}

bool passwd_ask(struct passwd_typed *typed)
{
    struct passwd_typed again;
    bool done = ask_both(typed, &again);

    explicit_bzero(&again, sizeof(again));
    return done;
}
