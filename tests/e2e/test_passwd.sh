#!/bin/bash
# tests/e2e/test_passwd.sh -- causeway-passwd: what it writes, what it keeps, what it refuses.
#
# Hashes are computed again with Python's hashlib. Where make bench has unpacked mosquitto,
# its mosquitto_passwd takes part.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/broker.sh"
passwd=$BUILD/causeway-passwd
file=$work/passwd

run() { # its output in $said, its status in $rc; stdin is that of the caller
    rc=0
    said=$(timeout 60 "$passwd" "$@" 2>&1) || rc=$?
}

# verifies USER PASSWORD: by Python, for the two kinds it knows.
verifies() {
    /usr/bin/python3 - "$file" "$1" "$2" <<'END'
import base64, hashlib, sys
path, user, password = sys.argv[1:]
password = password.encode()
text = open(path, encoding="utf-8").read().splitlines()
lines = [line.split(":") for line in text if ":" in line and line[0] != "#"]
found = [h for u, h in lines if u == user]
assert len(found) == 1, lines
part = found[0].split("$")[1:]
salt, made = (base64.b64decode(p, validate=True) for p in part[-2:])
assert len(salt) == 12 and len(made) == 64
if part[0] == "6":
    again = hashlib.sha512(password + salt).digest()
else:
    again = hashlib.pbkdf2_hmac("sha512", password, salt, int(part[1]), 64)
assert again == made, found
END
}

fresh() { # a file with two users and a comment
    rm -f "$file"
    "$passwd" -H sha512 -c -b "$file" alice secret
    printf '# people\n' >>"$file"
    "$passwd" -I 101 -b "$file" bob builder
}

# ---- what it writes ----

help() {
    run --help </dev/null
    equal "$rc" 0
    local word
    for word in '-c' '-D' '-b' '-U' '-H HASH' '-I ITERATIONS' 'FILE USER'; do
        has "$said" "$word"
    done
    run --version </dev/null
    equal "$rc" 0
    has "$said" '^causeway-passwd [0-9]+\.[0-9]+'
}
check help_is_printed help

creates() { # mosquitto 2.0.3 took the user name for the password of -b
    rm -f "$file"
    run -c -b "$file" alice 'wonder land'
    equal "$rc" 0
    equal "$said" ""
    equal "$(stat -c %a "$file")" 600
    has "$(cat "$file")" '^alice:\$7\$210000\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$'
    verifies alice 'wonder land'
    equal "$(echo "$file"*)" "$file" # nothing left beside it
}
check creates_a_file_for_its_owner_with_pbkdf2 creates

kinds() {
    fresh
    has "$(cat "$file")" '^alice:\$6\$'
    has "$(cat "$file")" '^bob:\$7\$101\$'
    verifies alice secret
    verifies bob builder
    run -H argon2id -b "$file" carl x
    equal "$rc" 0
    local b64='[A-Za-z0-9+/]{86}'
    has "$(cat "$file")" "^carl:\\\$argon2id\\\$v=19\\\$m=47104,t=1,p=1\\\$$b64\\\$$b64\$"
    run -H sha512-pbkdf2 -I 1 -b "$file" 'zoë' 'pässwörd'
    equal "$rc" 0
    verifies 'zoë' 'pässwörd'
}
check writes_each_kind_of_hash kinds

salts() {
    fresh
    local before
    before=$(grep ^bob: "$file")
    "$passwd" -I 101 -b "$file" bob builder
    fails grep -qF "$before" "$file"
}
check takes_a_new_salt_each_time salts

# ---- what it keeps ----

replaces() {
    fresh
    printf 'no colon\nbob:twice\n  dora : x\nlast:y' >>"$file"
    run -I 5 -b "$file" bob other
    equal "$rc" 0
    verifies_line=$(sed -n 3p "$file")
    has "$verifies_line" '^bob:\$7\$5\$'
    equal "$(grep -c ^bob: "$file")" 1
    equal "$(sed -n '2p;4,$p' "$file")" $'# people\nno colon\n  dora : x\nlast:y'
    has "$said" "Warning: $file:4: no colon"
    has "$said" "Warning: $file:5: user 'dora': the hash begins"
    run -b -I 5 "$file" new x
    equal "$(tail -n 2 "$file" | head -n 1)" 'last:y'
}
check replaces_one_line_and_leaves_the_others replaces

deletes() {
    fresh
    run -D "$file" alice </dev/null
    equal "$rc" 0
    equal "$said" ""
    fails grep -q ^alice: "$file"
    verifies bob builder
    local before
    before=$(cat "$file")
    run -D "$file" alice </dev/null
    equal "$rc" 1
    has "$said" 'User alice not found in password file'
    equal "$(cat "$file")" "$before"
}
check deletes_a_user deletes

rights() {
    fresh
    chmod 640 "$file"
    ln -sf passwd "$work/link"
    run -b -I 5 "$work/link" new x
    equal "$rc" 0
    equal "$said" ""
    [ -L "$work/link" ]
    rm "$work/link"
    equal "$(stat -c %a "$file")" 640
    grep -q ^new: "$file"
    if [ "$(id -u)" = 0 ]; then
        chown 12345:54321 "$file"
        run -b -I 5 "$file" newer x
        equal "$(stat -c %u:%g:%a "$file")" 12345:54321:640
    fi
    chmod 644 "$file"
    run -b -I 5 "$file" newest x
    equal "$rc" 0
    has "$said" 'Warning: File .* has world readable permissions'
    equal "$(stat -c %a "$file")" 644
}
check keeps_mode_owner_and_links rights

together() {
    rm -f "$file"
    "$passwd" -c -b -I 1 "$file" first x
    local i jobs=()
    for i in 1 2 3 4 5 6 7 8; do
        "$passwd" -b -I 1 "$file" "user$i" x &
        jobs+=($!)
    done
    for i in "${jobs[@]}"; do wait "$i"; done
    equal "$(wc -l <"$file")" 9
}
check several_at_a_time_lose_nothing together

unwritable() {
    mkdir -p "$work/full"
    cp "$file" "$work/full/passwd"
    local before
    before=$(cat "$file")
    (
        ulimit -f 0
        trap '' XFSZ
        run -b -I 1 "$work/full/passwd" more x
        equal "$rc" 1
    )
    equal "$(cat "$work/full/passwd")" "$before"
    equal "$(ls -A "$work/full")" passwd
}
check a_full_disk_leaves_the_old_file unwritable

# ---- plain text ----

plain() {
    fresh
    printf 'carl: top:secret \n#x:y\n\nno colon\n' >>"$file"
    local alice
    alice=$(grep ^alice: "$file")
    run -I 7 -U "$file" </dev/null
    equal "$rc" 0
    verifies bob builder
    equal "$(grep ^alice: "$file")" "$alice" # hashed already
    has "$(cat "$file")" '^carl:\$7\$7\$'
    equal "$(tail -n 3 "$file")" $'#x:y\n\nno colon'
    verifies carl top:secret
}
check hashes_what_is_plain_text plain

plain_wrong() {
    printf 'alice:x\nbob:\n' >"$file"
    run -U "$file" </dev/null
    equal "$rc" 1
    has "$said" 'Line 2 has no password'
    equal "$(cat "$file")" $'alice:x\nbob:'
    printf 'alice:$7$1$AAEC$AAEC\n' >"$file"
    run -U "$file" </dev/null
    equal "$rc" 0
    has "$said" "passwd:1: user 'alice': the salt is not of 12 or 64 bytes"
    equal "$(cat "$file")" 'alice:$7$1$AAEC$AAEC'
}
check plain_text_without_a_password_is_refused plain_wrong

# ---- asking ----

piped() {
    fresh
    printf 'one line\n' | { run -I 5 "$file" carl; equal "$rc$said" 0; }
    verifies carl 'one line'
    printf 'twice\ntwice\n' | { run -I 5 "$file" carl; equal "$rc$said" 0; }
    verifies carl twice
    printf 'no end' | { run -I 5 "$file" carl; equal "$rc$said" 0; }
    verifies carl 'no end'
    printf 'one\ntwo\n' | { run "$file" carl; equal "$rc" 1; has "$said" 'do not match'; }
    printf '' | { run "$file" carl; equal "$rc" 1; has "$said" 'Empty password'; }
    printf '\nx\n' | { run "$file" carl; equal "$rc" 1; has "$said" 'Empty password'; }
    printf 'a\0b\n' | { run "$file" carl; equal "$rc" 1; has "$said" 'Unable to read password'; }
    head -c 70000 /dev/zero | tr '\0' x | { run "$file" carl; equal "$rc" 1; }
    verifies carl 'no end'
}
check reads_a_password_from_a_pipe piped

# terminal ANSWER...: types the answers at a terminal; prints what was on it, then the status.
terminal() {
    /usr/bin/python3 - "$passwd" "$file" "$@" <<'END'
import os, pty, sys, termios
program, path, *answers = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(program, [program, "-I", "5", path, "typed"])
said = b""
def read():
    global said
    try:
        more = os.read(fd, 1000)
    except OSError:
        return False
    said += more
    return bool(more)
for prompt, answer in zip((b"Password: ", b"Reenter password: "), answers):
    while prompt not in said and read():
        pass
    if termios.tcgetattr(fd)[3] & termios.ECHO:
        said += b"it shows what is typed"
    os.write(fd, b"\x03" if answer == "^C" else answer.encode() + b"\n")
while read():
    pass
status = os.waitpid(pid, 0)[1]
print(said.decode(), "signal" if os.WIFSIGNALED(status) else "status", status >> 8 or status & 127)
END
}

typed() {
    fresh
    local seen
    seen=$(terminal hush-hush hush-hush)
    has "$seen" 'status 0'
    has "$seen" 'Reenter password: '
    has_not "$seen" 'hush|it shows'
    verifies typed hush-hush
    has "$(terminal one two)" 'Passwords do not match'
    has "$(terminal '')" 'Empty password'
    has "$(terminal ^C)" 'signal 2'
    verifies typed hush-hush
}
check asks_twice_without_showing_at_a_terminal typed

# ---- what it refuses ----

names() {
    fresh
    local before bad
    before=$(cat "$file")
    for bad in 'a:b' $'a\tb' $'a\nb' $'a\x7fb' '' ' a' 'a ' '#a' $'zo\xeb'; do
        run -b "$file" "$bad" x
        equal "$rc" 1
        has "$said" '^Error: Username must'
    done
    run -b "$file" "$(head -c 65536 /dev/zero | tr '\0' x)" x
    equal "$rc" 1
    has "$said" 'Username must be less than 65536 characters long'
    equal "$(cat "$file")" "$before"
    run -b -I 1 "$file" "$(head -c 65535 /dev/zero | tr '\0' x)" x
    equal "$rc" 0
}
check refuses_names_that_cannot_be names

options() {
    fresh
    local before words
    before=$(cat "$file")
    for words in '-c -D F u' '-D -U F' '-D -b F u p' '-b -U F' '-U F u' '-b F u' '-b F u p x' \
        'F' '' 'F u x' '-H md5 F u' '-I 0 F u' '-I x F u' '-I 10000001 F u' '-I -1 F u' \
        '-I 1x F u' '-x F u' '--scram md5 F u' '--scram sha256 -H sha512 F u' \
        '--scram'; do
        # shellcheck disable=SC2086 # a list of words
        run ${words/F/$file} <<<typed
        equal "$words: $rc" "$words: 1"
        [ -n "$said" ]
    done
    run -b "$file" carl ''
    equal "$rc" 1
    has "$said" 'Empty password'
    equal "$(cat "$file")" "$before"
    run -b -I 5 "$file" carl -D # behind the words nothing is an option
    equal "$rc" 0
    verifies carl -D
}
check refuses_options_that_make_no_sense options

# verifies_scram USER PASSWORD METHODS: by Python.
verifies_scram() {
    /usr/bin/python3 - "$file" "$@" <<'END'
import base64, hashlib, hmac, sys
path, user, password, *methods = sys.argv[1:]
lines = [line.split(":", 1) for line in open(path, encoding="utf-8").read().splitlines()]
found = [v for u, v in lines if u == user]
assert [v.split("$")[0] for v in found] == methods, found
for v in found:
    name, work, keys = v.split("$")
    kind = name[6:].lower().replace("-", "")
    iterations, salt = work.split(":")
    salted = hashlib.pbkdf2_hmac(kind, password.encode(), base64.b64decode(salt), int(iterations))
    client = hmac.new(salted, b"Client Key", kind).digest()
    made = [hashlib.new(kind, client).digest(), hmac.new(salted, b"Server Key", kind).digest()]
    assert [base64.b64decode(k, validate=True) for k in keys.split(":")] == made, v
    assert len(base64.b64decode(salt)) == 16
END
}

scram() {
    rm -f "$file"
    run --scram both -c -b "$file" alice secret
    equal "$rc$said" 0
    verifies_scram alice secret SCRAM-SHA-256 SCRAM-SHA-512
    run --scram sha512 -I 5000 "$file" bob <<<builder
    equal "$rc$said" 0
    verifies_scram bob builder SCRAM-SHA-512
    has "$(cat "$file")" '^bob:SCRAM-SHA-512\$5000:'
    run --scram sha256 -b "$file" alice new # the old one does not stay beside it
    equal "$rc$said" 0
    verifies_scram alice new SCRAM-SHA-256
    run -I 4095 --scram sha256 -b "$file" carl x
    has "$said" "Warning: .*user 'carl': fewer than 4096 iterations"
    run -D "$file" carl
    equal "$rc$said" 0
    run -H sha512 -b "$file" dora x # this is no password_file
    has "$said" 'Warning: '
    printf 'eve:typed\n' >"$file"
    run --scram both -U "$file"
    equal "$rc$said" 0
    verifies_scram eve typed SCRAM-SHA-256 SCRAM-SHA-512
    run --scram both -U "$file"
    verifies_scram eve typed SCRAM-SHA-256 SCRAM-SHA-512
}
check writes_scram_files scram

files() {
    run "$work/nowhere" alice <<<x
    equal "$rc" 1
    has "$said" "Error: Unable to open password file $work/nowhere. No such file"
    [ ! -e "$work/nowhere" ]
    run -b "$work" alice x
    equal "$rc" 1
    has "$said" 'is not a file'
    mkfifo "$work/fifo"
    run -b "$work/fifo" alice x
    equal "$rc" 1
    run -c -b "$work/nowhere/passwd" alice x
    equal "$rc" 1
    fresh
    run -c -b -I 5 "$file" only x
    equal "$rc" 0
    equal "$(wc -l <"$file")" 1
}
check refuses_files_that_are_none files

# ---- mosquitto's own ----

theirs=$BUILD/../peers/mosquitto
mosquitto() {
    export LD_LIBRARY_PATH=$theirs/usr/lib/$(uname -m)-linux-gnu
    rm -f "$file"
    (umask 077; "$theirs/usr/bin/mosquitto_passwd" -c -b "$file" alice secret)
    run -b -I 5 "$file" bob builder
    equal "$rc$said" 0
    verifies alice secret
    "$theirs/usr/bin/mosquitto_passwd" -b -H sha512 "$file" carl x
    verifies bob builder
    verifies carl x
    run -D "$file" carl
    equal "$rc$said" 0
}
[ -x "$theirs/usr/bin/mosquitto_passwd" ] && check shares_files_with_mosquitto_passwd mosquitto

finish
