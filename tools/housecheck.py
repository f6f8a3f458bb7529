#!/usr/bin/python3
# tools/housecheck.py -- the rules of the house as a program.
#
# Usage: tools/housecheck.py [--self-test]. Reads every tracked or new file of the tree and prints
# `path:line: what is wrong`; ends with `N passed, N failed`, in rules. The lists below are the
# architecture: who may include whom, and which one file knows which outside library.
# --self-test breaks every rule once in a scratch tree and checks that it is found.

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

# A file includes only files of its own folder and of folders that stand before it.
FOLDERS = [
    "core/base", "core/mqtt", "core/mail", "core/store", "core/policy", "core/index",
    "core/session", "core/broker", "cfg", "net", "link", "tools",
]
# Who may include from these folders, apart from themselves: nobody below.
OUTER = ["tests", "bench"]

TOP = {"Makefile", "README.md", "LICENSE", "core", "net", "link", "cfg", "bench", "tests", "tools"}

# The one place of each outside library (a pattern for the header, the files that may have it).
ONLY_IN = [
    (r"liburing", {"net/uring.c", "net/uring.h"}),
    (r"jemalloc/", {"net/heap.c"}),
    (r"ini\.h$", {"cfg/parse.c"}),
    (r"wolfssl/", {"net/tls.c", "net/tls_context.c", "net/tls_error.c", "net/tls_known.c",
                   "net/tls_ticket.c", "net/crypt.c", "net/crypt_key.c",
                   "tests/net/wolfssl_smoke.c"}),
    (r"argon2\.h$", {"net/crypt.c"}),
    (r"curl/", {"net/http.c"}),
    (r"jansson\.h$", {"net/jwt.c", "net/jwt_keys.c", "net/jwt_acl.h"}),
    (r"zlib\.h$", {"link/deflate.c"}),
    (r"stdatomic\.h$", {"core/base/atomic.h"}),
    (r"benchmark/", {"bench/shim.cc"}),
    (r"cmocka\.h$", {"tests/support/test.h"}),
]

# What core may have from the C library: meaning only, no kernel, no clock, no thread.
CORE_MAY = {
    "assert.h", "ctype.h", "errno.h", "float.h", "inttypes.h", "limits.h", "math.h", "stdalign.h",
    "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h",
    "stdnoreturn.h", "string.h",
}

# Split so that this file does not break its own rule.
WORDS = [
    (r"/(?:work|root|home)/", "a path of one machine"),
    (r"(?:deb|security|snapshot)\.debian" r"\.org|registry\.npm" r"js|pypi\." r"org", "a registry host"),
    (r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b", "unfinished work"),
]
# These are data in somebody else's words.
WORDS_NOT_IN = re.compile(r"^tests/(fuzz/corpus|.*/vectors|.*capture)|package-lock\.json$")

LINE_MAX = 100
FUNCTION_WARN = 60
FUNCTION_MAX = 100

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
TEXT = (".c", ".h", ".cc", ".py", ".sh", ".md", ".mjs", ".ini", ".service", ".txt", ".json")


class House:
    """One look at a tree; found[rule] is a list of complaints."""

    def __init__(self, root):
        self.root = root
        self.found = {}
        self.warnings = []
        self.files = self.list_files()
        self.text = {}
        for path in self.files:
            try:
                with open(os.path.join(root, path), encoding="utf-8") as f:
                    self.text[path] = f.read()
            except (UnicodeDecodeError, IsADirectoryError, FileNotFoundError):
                pass  # binary, a link to a folder, or gone meanwhile

    def list_files(self):
        try:
            out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"],
                                 cwd=self.root, check=True, capture_output=True).stdout.decode()
            return sorted(p for p in set(out.split("\0")) if p)
        except (OSError, subprocess.CalledProcessError):
            found = []
            for folder, dirs, names in os.walk(self.root):
                dirs[:] = [d for d in dirs if d not in ("build", ".git", "node_modules")]
                found += [os.path.relpath(os.path.join(folder, n), self.root) for n in names]
            return sorted(found)

    def complain(self, rule, path, line, what):
        self.found.setdefault(rule, []).append(f"{path}:{line}: {what}")

    def sources(self, *suffixes):
        return [p for p in self.text if p.endswith(suffixes)]

    def includes(self, path):
        for number, line in enumerate(self.text[path].split("\n"), 1):
            m = INCLUDE.match(line)
            if m:
                yield number, m.group(1), m.group(2)

    # ----------------------------------------------------------------------------- the rules

    def rule_top_level(self):
        for path in self.files:
            top = path.split("/")[0]
            if top not in TOP and not top.startswith("."):
                self.complain("top level", path, 1, f"'{top}' does not belong at the top")

    def rule_layers(self):
        for path in self.sources(".c", ".h", ".cc"):
            mine = folder_of(path)
            if mine is None:
                if path.split("/")[0] not in OUTER:
                    self.complain("layers", path, 1, "in a folder that the order does not know")
                continue
            for number, kind, name in self.includes(path):
                if kind != '"':
                    continue
                if "/" not in name:
                    continue  # said by another rule
                theirs = folder_of(name)
                if theirs is None or FOLDERS.index(theirs) > FOLDERS.index(mine):
                    self.complain("layers", path, number, f"{mine} includes upwards: {name}")

    def rule_test_layers(self):
        """tests/core/x sees core, tests/net sees net and below."""
        for path in self.sources(".c", ".h"):
            parts = path.split("/")
            if parts[0] != "tests" or parts[1] not in ("core", "cfg", "net", "link", "tools"):
                continue
            last = [f for f in FOLDERS if f.split("/")[0] == parts[1]][-1]
            for number, kind, name in self.includes(path):
                theirs = folder_of(name)
                if kind == '"' and theirs and FOLDERS.index(theirs) > FOLDERS.index(last):
                    self.complain("test layers", path, number, f"a test of {parts[1]} includes {name}")

    def rule_cycles(self):
        graph = {p: [n for _, k, n in self.includes(p) if k == '"' and n in self.text]
                 for p in self.sources(".h")}
        done = set()

        def visit(path, way):
            if path in way:
                self.complain("cycles", path, 1, " -> ".join(way[way.index(path):] + [path]))
                return
            if path in done:
                return
            for other in graph.get(path, []):
                visit(other, way + [path])
            done.add(path)

        for path in graph:
            visit(path, [])

    def rule_include_from_root(self):
        for path in self.sources(".c", ".h", ".cc"):
            for number, kind, name in self.includes(path):
                if kind == '"' and name not in self.text:
                    self.complain("include from the root", path, number, f'"{name}" is no file')

    def rule_own_header_first(self):
        for path in self.sources(".c"):
            own = path[:-2] + ".h"
            first = next(self.includes(path), None)
            if own in self.text and first and first[2] != own:
                self.complain("own header first", path, first[0], f"{own} should come first")

    def rule_outside_libraries(self):
        for path in self.sources(".c", ".h", ".cc"):
            for number, _, name in self.includes(path):
                for pattern, allowed in ONLY_IN:
                    if re.match(pattern, name) and path not in allowed:
                        self.complain("outside libraries", path, number,
                                      f"{name} belongs to {' and '.join(sorted(allowed))}")

    def rule_pure_core(self):
        for path in self.sources(".c", ".h"):
            if not path.startswith("core/"):
                continue
            for number, kind, name in self.includes(path):
                if kind == "<" and name not in CORE_MAY:
                    self.complain("pure core", path, number, f"core does not know <{name}>")

    def rule_header_comment(self):
        for path in self.sources(".c", ".h", ".cc"):
            first = self.text[path].split("\n", 1)[0]
            if not re.match(re.escape(f"/* {path} -- ") + r"\S", first):
                self.complain("header comment", path, 1, f"begin with /* {path} -- what it is for")
        for path in self.text:
            if path.endswith((".sh", ".py")) and not path.startswith("tests/e2e/node_modules"):
                head = self.text[path].split("\n")[:3]
                if not any(line.startswith(f"# {path} -- ") for line in head):
                    self.complain("header comment", path, 1, f"begin with # {path} -- what it is for")

    def rule_header_guard(self):
        for path in self.sources(".h"):
            guard = re.sub(r"[^A-Za-z0-9]", "_", path).upper()
            if f"#ifndef {guard}\n#define {guard}\n" not in self.text[path]:
                self.complain("header guard", path, 1, f"guard with {guard}")

    def rule_white_space(self):
        for path, text in self.text.items():
            if not path.endswith(TEXT) and "/" in path and not path.startswith(".ci"):
                continue
            tabs = os.path.basename(path) == "Makefile"
            for number, line in enumerate(text.split("\n"), 1):
                if "\t" in line and not tabs:
                    self.complain("white space", path, number, "a tab")
                if line != line.rstrip():
                    self.complain("white space", path, number, "white space at the end")
            if text and not text.endswith("\n"):
                self.complain("white space", path, text.count("\n") + 1, "no newline at the end")

    def rule_line_length(self):
        for path in self.sources(".c", ".h", ".cc", ".sh", ".mjs"):
            for number, line in enumerate(self.text[path].split("\n"), 1):
                if len(line) > LINE_MAX:
                    self.complain("line length", path, number, f"{len(line)} columns")

    def rule_function_length(self):
        for path in self.sources(".c", ".h"):
            start = name = None
            lines = self.text[path].split("\n")
            for number, line in enumerate(lines, 1):
                if line == "{":
                    start = number
                    name = lines[number - 2].strip() if number > 1 else ""
                elif line.startswith("}") and start:
                    length = number - start + 1
                    if line == "}" and length > FUNCTION_MAX:
                        self.complain("function length", path, start, f"{length} lines: {name}")
                    elif line == "}" and length > FUNCTION_WARN:
                        self.warnings.append(f"{path}:{start}: {length} lines: {name}")
                    start = None

    def rule_words(self):
        for path, text in self.text.items():
            if WORDS_NOT_IN.search(path) and not re.search(WORDS[1][0], text):
                continue
            for number, line in enumerate(text.split("\n"), 1):
                for pattern, what in WORDS:
                    m = re.search(pattern, line)
                    if m:
                        self.complain("words", path, number, f"{what}: {m.group(0)}")

    def rule_functions_explained(self):
        """A declaration in a header stands under a comment, or directly under one that does."""
        for path in self.sources(".h"):
            for number, name in undocumented(self.text[path]):
                self.complain("functions explained", path, number, f"{name}() has no comment")

    def rule_headers_alone(self):
        headers = [p for p in self.sources(".h") if p.split("/")[0] != "bench"]

        def compile_alone(path):
            run = subprocess.run(
                ["gcc", "-std=c11", "-D_GNU_SOURCE", "-I.", "-fsyntax-only", "-Wall", "-Werror",
                 "-x", "c", "-"], input=f'#include "{path}"\n'.encode(), cwd=self.root,
                capture_output=True)
            return path, run.returncode, run.stderr.decode()

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, status, said in pool.map(compile_alone, headers):
                if status != 0:
                    wrong = [s for s in said.split("\n") if "error" in s][:1] or ["does not compile"]
                    self.complain("headers alone", path, 1, wrong[0].strip())


def folder_of(path):
    """The folder of FOLDERS a path is in, or None."""
    for folder in FOLDERS:
        rest = path[len(folder) + 1:]
        if path.startswith(folder + "/") and ("/" not in rest or folder == "tools"):
            return folder
    return None


def undocumented(text):
    """Functions declared at the outer level of a header without a comment above them.

    A comment explains all declarations that follow it without an empty line between.
    """
    # A comment becomes one mark a line, so that what it says cannot look like code.
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]+", "\x01", m.group(0)), text, flags=re.S)
    text = re.sub(r"//[^\n]*", "\x01", text)
    text = re.sub(r"^\s*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m.group(0).count("\n"),
                  text, flags=re.M)
    found = []
    explained = False
    depth = 0
    statement = ""
    start = 0
    for number, line in enumerate(text.split("\n"), 1):
        code = line.replace("\x01", "").strip()
        if depth == 0 and not statement:
            if not line.strip():
                explained = False
            if "\x01" in line:
                explained = True
            start = number
        if depth == 0:
            statement += " " + code if code else ""
        depth += line.count("{") - line.count("}")
        if statement and depth == 0 and code.endswith((";", "}")):
            name = declared_function(statement)
            if name and not explained:
                found.append((start, name))
            statement = ""
    return found


def declared_function(statement):
    """The name if the statement declares or defines a function, else None."""
    head = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", statement).split("{")[0].strip()
    if head.startswith(("typedef", "_Static_assert", "static_assert")) or "=" in head:
        return None
    m = re.search(r"\b([a-z_][a-z0-9_]*)\(", head)
    return m.group(1) if m else None


def look(root):
    house = House(root)
    rules = [getattr(house, n) for n in dir(house) if n.startswith("rule_")]
    for rule in rules:
        rule()
    return house, len(rules)


def self_test():
    """Each tree is clean but for one thing, and the rule for that thing must say so."""
    clean = {
        "core/base/a.h": "/* core/base/a.h -- a */\n#ifndef CORE_BASE_A_H\n#define CORE_BASE_A_H\n\n"
                         "/* Adds. */\nint a_add(int x, int y);\n#endif\n",
        "core/base/a.c": '/* core/base/a.c -- a */\n#include "core/base/a.h"\n\n'
                         "int a_add(int x, int y)\n{\n    return x + y;\n}\n",
    }

    def header(path, body):
        guard = re.sub(r"[^A-Za-z0-9]", "_", path).upper()
        return f"/* {path} -- x */\n#ifndef {guard}\n#define {guard}\n{body}#endif\n"

    def source(path, body):
        return f"/* {path} -- x */\n{body}"

    long_body = "int f(void);\nint f(void)\n{\n" + "    f();\n" * 100 + "    return 0;\n}\n"
    cases = [
        ("top level", {"stuff/x.txt": "x\n"}),
        ("layers", {"core/base/b.c": source("core/base/b.c", '#include "cfg/k.h"\n'),
                    "cfg/k.h": header("cfg/k.h", "")}),
        ("layers", {"core/odd/b.c": source("core/odd/b.c", "")}),
        ("test layers", {"tests/core/base/test_b.c": source("tests/core/base/test_b.c",
                                                            '#include "cfg/k.h"\n'),
                         "cfg/k.h": header("cfg/k.h", "")}),
        ("cycles", {"cfg/k.h": header("cfg/k.h", '#include "cfg/l.h"\n'),
                    "cfg/l.h": header("cfg/l.h", '#include "cfg/k.h"\n')}),
        ("include from the root", {"core/base/b.c": source("core/base/b.c", '#include "a.h"\n')}),
        ("own header first", {"cfg/k.h": header("cfg/k.h", ""),
                              "cfg/k.c": source("cfg/k.c", '#include <stdio.h>\n#include "cfg/k.h"\n')}),
        ("outside libraries", {"net/b.c": source("net/b.c", "#include <liburing.h>\n")}),
        ("outside libraries", {"core/base/b.c": source("core/base/b.c", "#include <stdatomic.h>\n")}),
        ("pure core", {"core/base/b.c": source("core/base/b.c", "#include <time.h>\n")}),
        ("header comment", {"core/base/b.c": "int b;\n"}),
        ("header guard", {"cfg/k.h": "/* cfg/k.h -- k */\n#ifndef K\n#define K\n#endif\n"}),
        ("white space", {"core/base/b.c": source("core/base/b.c", "int b;\t\n")}),
        ("white space", {"core/base/b.c": source("core/base/b.c", "int b; \n")}),
        ("white space", {"core/base/b.c": source("core/base/b.c", "int b;")}),
        ("line length", {"core/base/b.c": source("core/base/b.c", "/* " + "x" * 100 + " */\n")}),
        ("function length", {"core/base/b.c": source("core/base/b.c", long_body)}),
        ("words", {"core/base/b.c": source("core/base/b.c", "/* TO" "DO */\n")}),
        ("words", {"tools/x.sh": "#!/bin/sh\n# tools/x.sh -- x\ncat /ro" "ot/x\n"}),
        ("words", {"tests/e2e/package-lock.json": '"https://registry.npm' 'js.example"\n'}),
        ("functions explained", {"cfg/k.h": header("cfg/k.h", "\nint k_get(void);\n")}),
        ("functions explained", {"cfg/k.h": header(
            "cfg/k.h", "\n/* One. */\nint k_one(int a,\n          int b);\n\nvoid k_two(void);\n")}),
        ("functions explained", {"cfg/k.h": header(
            "cfg/k.h", "\nstatic inline int k_get(void)\n{\n    return 1;\n}\n")}),
        ("headers alone", {"cfg/k.h": header("cfg/k.h", "\n/* K. */\nvoid k_get(size_t n);\n")}),
    ]
    # What must not be complained about.
    fine = {
        "cfg/k.h": header("cfg/k.h", "#include <stdint.h>\n\ntypedef void (*k_call)(int x);\n"
                          "struct k {\n    int (*get)(int x);\n};\n#define K(x) \\\n    k_get(x)\n\n"
                          "/* Gets,\n * sets. */\nint k_get(int x) __attribute__((pure));\n"
                          "int k_set(int x);\n\n_Static_assert(sizeof(int) == 4, \"int\");\n"
                          "/* One. */\nstatic inline int k_one(void)\n{\n    return k_get(1);\n}\n"
                          "extern const int k_table[4];\nenum k_kind { K_A, K_B };\n"),
        "tools/causeway.c": source("tools/causeway.c", '#include "cfg/k.h"\n#include <unistd.h>\n'),
        "tests/core/base/test_a.c": source("tests/core/base/test_a.c", '#include "core/base/a.h"\n'),
        "core/store/s.c": source("core/store/s.c", '#include "core/base/a.h"\n'),
    }
    passed = failed = 0
    for expected, extra in [(None, fine)] + cases:
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**clean, **extra}.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            house, _ = look(root)
            good = set(house.found) == ({expected} if expected else set())
            passed, failed = passed + good, failed + (not good)
            if not good:
                print(f"self-test: expected {expected}, found {house.found} in {list(extra)}")
    print(f"self-test: {passed} passed, {failed} failed")
    return failed == 0


def main():
    if "--self-test" in sys.argv[1:]:
        return 0 if self_test() else 1
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    house, rules = look(root)
    for warning in sorted(house.warnings):
        print(f"warning: {warning}")
    for rule in sorted(house.found):
        for complaint in sorted(house.found[rule]):
            print(f"{complaint} [{rule}]")
    print(f"{rules - len(house.found)} passed, {len(house.found)} failed")
    return 1 if house.found else 0


if __name__ == "__main__":
    sys.exit(main())
