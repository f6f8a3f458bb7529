# Makefile -- builds, tests and installs Causeway. `make help` lists the targets.
#
# One invocation builds one kind of program, KIND = release | debug | asan | tsan | fuzz, into
# $(OUT)/<kind>/, or with CC=clang into $(OUT)/<kind>-clang/. Targets that need several kinds call
# make again. Sources are found by their place, so a new file needs no line here. A layer is an
# archive, and a test is linked with the archives of its own layer and those below, nothing else.
#
# Variables worth knowing: V=1 shows commands, WERROR=1 makes warnings errors, OUT=DIR builds
# elsewhere, T=WORD picks tests, LTO=0|1, CFLAGS and LDFLAGS are added at the end.

.DEFAULT_GOAL := all
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

VERSION ?= 0.1.0
KIND    ?= release
OUT     ?= build
WERROR  ?= 0
LTO     ?= $(if $(filter release,$(KIND)),1,0)
V       ?= 0

ifneq ($(filter default undefined,$(origin CC)),)
CC := gcc
endif
is_clang := $(findstring clang,$(notdir $(CC)))
ifneq ($(filter default undefined,$(origin CXX)),)
CXX := $(if $(is_clang),clang++,g++)
endif
ifneq ($(filter default undefined,$(origin AR)),)
AR := $(if $(is_clang),ar,gcc-ar)
endif
PYTHON := /usr/bin/python3# Debian's: another one in PATH would not see Debian's modules

B ?= $(OUT)/$(KIND)$(if $(is_clang),-clang)

# quiet: `$(call say,WORD,what)` in front of a command
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

# ------------------------------------------------------------------------------------- flags ---

warnings := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
    -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-align -Wvla -Wformat=2 \
    -Wundef -Wwrite-strings -Wredundant-decls -Wdouble-promotion -Wimplicit-fallthrough
warnings += $(if $(is_clang),-Wthread-safety,-Wduplicated-cond -Wlogical-op)
warnings += $(if $(filter 1,$(WERROR)),-Werror)

sanitize := -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all \
    -DCAUSEWAY_SANITIZE=1 -DCAUSEWAY_DEBUG=1
lto      := $(if $(filter 1,$(LTO)),$(if $(is_clang),,-flto=auto))
no_lto   := $(if $(lto),-fno-lto)# tests are linked often and need not be fast

compile_release := -O2 -g -fno-omit-frame-pointer -fPIE -fstack-protector-strong \
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
link_release    := -pie -Wl,-z,relro,-z,now,-z,noexecstack
compile_debug   := -Og -g3 -fno-omit-frame-pointer -DCAUSEWAY_DEBUG=1
link_debug      :=
compile_asan    := $(sanitize) -fsanitize=address,undefined
link_asan       := -fsanitize=address,undefined
compile_tsan    := $(sanitize) -fsanitize=thread
link_tsan       := -fsanitize=thread
compile_fuzz    := $(sanitize) -fsanitize=fuzzer-no-link,address,undefined
link_fuzz       := -fsanitize=fuzzer,address,undefined

ifeq ($(filter release debug asan tsan fuzz,$(KIND)),)
$(error KIND=$(KIND): use release, debug, asan, tsan or fuzz)
endif
ifeq ($(KIND),release)
compile_release += $(if $(lto),$(lto) -ffat-lto-objects)
endif

c_flags    := -std=c11 -D_GNU_SOURCE -I. -pthread $(warnings) $(compile_$(KIND)) $(CPPFLAGS) $(CFLAGS)
cxx_flags  := -std=c++17 -I. -pthread -Wall -Wextra -Wshadow $(filter -Werror,$(warnings)) \
    $(compile_$(KIND)) $(CPPFLAGS) $(CXXFLAGS)
link_flags := -pthread $(link_$(KIND)) $(LDFLAGS)

# What a program outside the sanitizers allocates with.
jemalloc := $(if $(filter release debug,$(KIND)),-l:libjemalloc.a -ldl -lm)

# TLS. wolfSSL is built once from Debian's sources, static and small; WOLFSSL=system takes the
# installed one (libwolfssl-dev), which is slower and needs more memory for each connection.
WOLFSSL ?= build
wolfssl_dir := $(OUT)/wolfssl
ifeq ($(WOLFSSL),system)
wolfssl_done  :=
wolfssl_flags  = $(shell pkg-config --cflags wolfssl)
wolfssl_libs   = $(shell pkg-config --libs wolfssl)
else
wolfssl_done  := $(wolfssl_dir)/.stamp
wolfssl_flags := -isystem $(wolfssl_dir)/include -DWOLFSSL_ALWAYS_VERIFY_CB
wolfssl_libs  := $(wolfssl_dir)/lib/libwolfssl.a -lm
endif

# ----------------------------------------------------------------------------------- sources ---

src_core := $(sort $(wildcard core/*/*.c))
src_cfg  := $(sort $(wildcard cfg/*.c))
src_net  := $(sort $(wildcard net/*.c))
src_link := $(sort $(wildcard link/*.c))
src_support := $(sort $(wildcard tests/support/*.c))

upto_core := $B/libcore.a
upto_cfg  := $B/libcfg.a $(upto_core)
upto_net  := $B/libnet.a $(upto_cfg)
upto_link := $B/liblink.a $(upto_net)

libs_core :=
libs_cfg  := -linih
libs_net  := -l:liburing.a $(wolfssl_libs) -largon2 -ljansson \
    -Wl,--as-needed -lcurl-gnutls -Wl,--no-as-needed $(jemalloc) $(libs_cfg)
libs_link := -lz $(libs_net)
# A test of a program needs what programs need, and the program's files (files_of).
upto_tools := $(upto_link)
libs_tools  = $(libs_link)

# tools/x.c is a program; tools/x_*.c belong to it. causeway.c keeps its name, ctl.c is
# causewayctl, the others are causeway-x.
tool_names   := $(foreach s,$(sort $(wildcard tools/*.c)),$(if $(findstring _,$s),,$(basename $(notdir $s))))
program_name  = $(if $(filter causeway,$1),causeway,$(if $(filter ctl,$1),causewayctl,causeway-$1))
programs     := $(foreach t,$(tool_names),$B/$(call program_name,$t))

# The layer a test outside the mirrored folders needs: the topmost one it includes.
layer_of = $(or $(shell for l in tools link net cfg; do \
    if grep -q "^\#include \"$$l/" $1; then echo $$l; break; fi; done),core)

unit_src_core := $(sort $(wildcard tests/core/test_*.c tests/core/*/test_*.c))
unit_src_cfg  := $(sort $(wildcard tests/cfg/test_*.c))
unit_src_net  := $(sort $(wildcard tests/net/test_*.c))
unit_src_link := $(sort $(wildcard tests/link/test_*.c))
unit_src_tools := $(sort $(wildcard tests/tools/test_*.c))
unit_src := $(unit_src_core) $(unit_src_cfg) $(unit_src_net) $(unit_src_link) $(unit_src_tools)
units    := $(unit_src:%.c=$B/%)
race_src := $(sort $(wildcard tests/race/race_*.c))
races    := $(race_src:%.c=$B/%)
fuzz_src := $(sort $(wildcard tests/fuzz/fuzz_*.c))
fuzzers  := $(fuzz_src:%.c=$B/%)
sim_src  := $(sort $(wildcard tests/sim/*.c))
sim      := $(if $(sim_src),$B/sim)
# A path between two hosts that tests and benches can cut, narrow and lengthen.
path     := $B/path
# A bare forwarder, the floor for brokers under load.
floor    := $B/floor
# Paths through the broker, for who counts instructions.
paths    := $B/paths
bench_src := $(sort $(wildcard bench/*.c bench/*.cc))
bench    := $(if $(filter bench/bench_%.c,$(bench_src)),$B/bench)

# All our C files, for the checks that read rather than build.
c_files = $(shell find core cfg net link tools tests bench -name node_modules -prune -o \
    -name '*.[ch]' -print -o -name '*.cc' -print 2>/dev/null | sort)

# T=WORD: only tests whose path contains the word.
pick = $(if $(T),$(foreach p,$1,$(if $(findstring $(T),$p),$p)),$1)

# ------------------------------------------------------------------------------------- rules ---

.PHONY: FORCE
FORCE:

# A file that changes only when what it says changes, so that other flags rebuild everything and a
# removed source leaves its archive.
define remember
@mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$1)' >$@.new; \
if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef

$B/flags: FORCE
	$(call remember,$(CC) $(c_flags) $(cxx_flags) $(link_flags) $(wolfssl_flags) $(jemalloc) $(WOLFSSL) $(VERSION))

$B/sources: FORCE
	$(call remember,$(src_core) $(src_cfg) $(src_net) $(src_link) $(src_support) $(sim_src) $(bench_src))

$B/obj/%.o: %.c $B/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(c_flags) $(extra_flags) -MMD -MP -c -o $@ $<

$B/obj/%.o: %.cc $B/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) $(cxx_flags) -MMD -MP -c -o $@ $<

tls_objects := $(patsubst net/%.c,$B/obj/net/%.o,$(wildcard net/tls*.c net/crypt*.c))
$(tls_objects): extra_flags = $(wolfssl_flags)
$(tls_objects): $(wolfssl_done)

$B/obj/tools/%.o: extra_flags = -DCAUSEWAY_VERSION='"$(VERSION)"'

define archive_rule
$B/lib$1.a: $$(src_$1:%.c=$B/obj/%.o) $B/sources
	$$(call say,AR,$$@)rm -f $$@ && $$(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach l,core cfg net link support,$(eval $(call archive_rule,$l)))

# $(call link_rule,program,its sources,layer or archives above core,libraries,command)
define link_rule
$1: $(patsubst %,$B/obj/%.o,$(basename $2)) $3 $B/sources
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)$(or $5,$(CC)) $(link_flags) -o $$@ $$(filter-out %/sources,$$^) $4
endef

$(foreach t,$(tool_names),$(eval $(call link_rule,$B/$(call program_name,$t),\
    tools/$t.c $(wildcard tools/$t_*.c),$(upto_link),$(lto) $(libs_link))))
$(foreach l,core cfg net link,$(foreach s,$(unit_src_$l),$(eval $(call link_rule,$(s:%.c=$B/%),\
    $s,$B/libsupport.a $(upto_$l),$(no_lto) -lcmocka $(libs_$l)))))
# Programs are no archive: a test of theirs is linked with the files of its program but main's.
files_of = $(wildcard tools/$(word 2,$(subst _, ,$(notdir $1)))_*.c)
$(foreach s,$(unit_src_tools),$(eval $(call link_rule,$(s:%.c=$B/%),\
    $s $(call files_of,$s),$B/libsupport.a $(upto_link),\
    $(no_lto) -lcmocka $(libs_link))))
$(foreach s,$(race_src),$(eval $(call link_rule,$(s:%.c=$B/%),\
    $s,$B/libsupport.a $(upto_$(call layer_of,$s)),$(no_lto) -lcmocka $(libs_$(call layer_of,$s)))))
$(foreach s,$(fuzz_src),$(eval $(call link_rule,$(s:%.c=$B/%),\
    $s $(call files_of,$s),$(upto_$(call layer_of,$s)),$(libs_$(call layer_of,$s)))))
$(if $(sim),$(eval $(call link_rule,$(sim),$(sim_src),\
    $B/liblink.a $B/libcfg.a $B/libcore.a,-lz -linih)))
$(eval $(call link_rule,$(path),tests/path/path.c,,))
$(eval $(call link_rule,$(floor),bench/floor/floor.c tools/load_bare.c tools/load_wire.c \
    tools/load_ws.c,$(upto_net),$(libs_net)))
$(eval $(call link_rule,$(paths),bench/paths/paths.c,$(upto_core),$(lto) -u malloc $(jemalloc)))
$(if $(bench),$(eval $(call link_rule,$(bench),$(bench_src),\
    $(upto_link),$(lto) -lbenchmark $(libs_link),$(CXX))))

-include $(shell find $B -name '*.d' 2>/dev/null)

# ---------------------------------------------------------------------------------- building ---

.PHONY: all debug everything clean help

all: $(programs) ## release build of the programs, into build/release/ (the default)
	@$(if $(programs),,echo "no programs yet")

debug: ## the programs with -Og and all walks, into build/debug/
	+@$(MAKE) KIND=debug all

# All that can be built with this compiler, to see all warnings.
everything: $(programs) $(units) $(races) $(sim) $(path) $(floor) $(paths) $(bench) $(upto_link)

clean: ## removes build/
	rm -rf $(OUT) tests/e2e/node_modules

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' Makefile

# ------------------------------------------------------------------------------------ running ---

# What a program needs to be built, what the documentation's first steps need, what tests need.
# gcc and clang only recommend libc6-dev and libclang-rt, so they are named.
DEPS_TLS   := $(if $(filter system,$(WOLFSSL)),libwolfssl-dev,dpkg-dev autoconf automake libtool \
    patch xz-utils) ca-certificates
DEPS_BUILD := gcc libc6-dev make pkg-config liburing-dev libjemalloc-dev libinih-dev zlib1g-dev \
    libargon2-dev libjansson-dev libcurl4-gnutls-dev $(DEPS_TLS)
DEPS_DEMO  := mosquitto-clients procps
DEPS_TEST  := g++ clang clang-tidy clang-format libclang-rt-14-dev libcmocka-dev libbenchmark-dev openssl \
    gnutls-bin python3 python3-paho-mqtt iproute2 npm
DEPS_BENCH := valgrind

.PHONY: deps deps-build deps-demo deps-bench run demo

deps: ## installs the Debian packages that are missing, for building and testing
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_TLS) $(DEPS_DEMO) $(DEPS_TEST)
deps-build:
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_TLS)
deps-demo:
	@tools/deps.sh $(DEPS_BUILD) $(DEPS_TLS) $(DEPS_DEMO)
deps-bench: deps
	@tools/deps.sh $(DEPS_BENCH)

run: deps-build ## builds and starts the broker (ARGS='-p 1884')
	+@$(MAKE) all
	@exec $B/causeway $(ARGS)

demo: deps-demo ## builds, starts the broker and shows messages crossing it
	+@$(MAKE) all
	@CAUSEWAY=$B/causeway BUILD=$B tools/demo.sh

# ------------------------------------------------------------------------------------ testing ---
# Every runner ends with a line `N passed, N failed`; tests/stages.sh runs make targets one after
# the other, goes on after a failure, and adds those lines up.

SEEDS   ?= 20
SECONDS_EACH := $(if $(filter command%,$(origin SECONDS)),$(SECONDS),10)
check_stages := test werror-gcc werror-clang asan tsan check-sim fuzz check-bench housecheck \
    fmt-check tidy wolfssl

export ASAN_OPTIONS  ?= detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS ?= print_stacktrace=1
export TSAN_OPTIONS  ?= halt_on_error=1:second_deadlock_stack=1

.PHONY: test check unit asan tsan race race-run sim fuzz fuzz-run e2e bench soak sim-soak e2e-soak werror-gcc \
    werror-clang check-sim check-bench check-stages unit-net

test: deps ## unit tests, 20 simulated seeds and the end-to-end tests, release build
	+@OUT=$(OUT) tests/stages.sh unit sim e2e

check: deps ## all that CI runs: test, both compilers, sanitizers, sim, fuzz, lint (about 15 minutes)
	+@OUT=$(OUT) tests/stages.sh $(check_stages)

# For .ci/run, which wants the sum to be the last line.
check-stages:
	@echo $(check_stages)

unit: $(call pick,$(units)) ## unit tests of one kind (T=frame: those with that word in their path)
	@tests/units.sh $(call pick,$(units))

asan: ## unit tests and end-to-end tests under ASan and UBSan
	+@OUT=$(OUT) STAGE_ARGS='KIND=asan' tests/stages.sh unit e2e

tsan: ## race tests and the unit tests of net/ under TSan
	+@OUT=$(OUT) STAGE_ARGS='KIND=tsan' tests/stages.sh race-run unit-net

race: ## race tests under TSan (T=spsc)
	+@$(MAKE) KIND=tsan race-run

race-run: $(call pick,$(races))
	@tests/units.sh $(call pick,$(races))

unit-net: $(unit_src_net:%.c=$B/%)
	@tests/units.sh $^

sim: $(sim) ## the simulated world (SEED=n for one seed, SEEDS=n for many, KIND=asan)
	@$(if $(sim),$(sim) $(if $(SEED),--seeds 1 --seed $(SEED),--seeds $(SEEDS)),echo "0 passed, 0 failed")

fuzz: ## libFuzzer, 10 s for each parser (T=frame, SECONDS=60)
	+@$(MAKE) KIND=fuzz CC=clang B=$(OUT)/fuzz SECONDS=$(SECONDS_EACH) fuzz-run

fuzz-run: $(call pick,$(fuzzers))
	@BUILD=$B tests/fuzz/run.sh $(SECONDS_EACH) $(call pick,$(fuzzers))

e2e: $(programs) $(path) $(floor) node-modules ## end-to-end tests against the broker of one kind (T=retain)
	@OUT=$(OUT) BUILD=$B CAUSEWAY=$B/causeway tests/e2e/run $(T)

bench: deps-bench $(bench) $(programs) $(path) $(floor) $(paths) ## benchmarks, and a comparison with mosquitto (T=index: only those of that name)
	@$(bench) $(if $(T),--benchmark_filter=$(T))
	@$(if $(T),true,bench/compare.sh)
	@$(if $(T),true,BUILD=$(abspath $B) bench/reconnect.py)
	@$(if $(filter-out link,$(T)),true,BUILD=$(abspath $B) bench/link.py)
	@$(if $(T),true,BUILD=$B bench/instructions.sh)

sim-soak: $(sim)
	@tests/sim/soak.sh $(sim) $(SEEDS)

# What takes long in tests/e2e, in full: see SOAK in tests/e2e/wan.py.
e2e-soak:
	+@SOAK=1 E2E_SECONDS=900 E2E_JOBS=1 $(MAKE) T=link_cuts e2e

soak: deps ## 10,000 simulated seeds of each kind, 60 s for each parser, links under load for minutes
	+@OUT=$(OUT) tests/stages.sh 'KIND=asan SEEDS=10000 sim-soak' 'SECONDS=60 fuzz' e2e-soak

werror-gcc:
	+@$(MAKE) KIND=release WERROR=1 LTO=0 B=$(OUT)/release-werror everything

werror-clang:
	+@$(MAKE) KIND=release CC=clang WERROR=1 everything
	+@$(MAKE) KIND=release CC=clang WERROR=1 unit

check-sim:
	+@$(MAKE) KIND=asan SEEDS=200 sim

# Every benchmark once, in small: they must not rot.
check-bench: $(bench) $(programs) $(path) $(floor) $(paths)
	@$(if $(bench),BENCH_TINY=1 $(bench) --benchmark_min_time=0.001 2>&1 | tail -n 40,echo "no benchmarks yet")
	@BUILD=$(abspath $B) bench/link.py --tiny
	@$(paths) | while read -r path _; do $(paths) $$path 640 || exit 1; done

# MQTT.js lives in $(OUT); node looks beside the test, hence the link.
.PHONY: node-modules
node-modules: $(if $(wildcard tests/e2e/*.mjs),$(OUT)/e2e/node_modules/.stamp)
	@$(if $(wildcard tests/e2e/*.mjs),ln -sfn $(abspath $(OUT)/e2e/node_modules) tests/e2e/node_modules)

$(OUT)/e2e/node_modules/.stamp: tests/e2e/package.json tests/e2e/package-lock.json tests/e2e/.npmrc
	@mkdir -p $(OUT)/e2e && cp $^ $(OUT)/e2e/
	$(call say,NPM,$(@D))cd $(OUT)/e2e && npm ci --no-audit --no-fund --silent && touch node_modules/.stamp

# ------------------------------------------------------------------------------------ reading ---

.PHONY: fmt fmt-check tidy housecheck

fmt: ## formats all C files (F=core/mqtt/frame.c for some)
	@clang-format -i $(or $(F),$(c_files))

fmt-check:
	@$(if $(c_files),clang-format --dry-run -Werror $(c_files))

tidy: ## clang-tidy over all C files; what did not change is not read again
	@OUT=$(OUT) tools/tidy.sh $(filter %.c,$(or $(F),$(c_files)))

housecheck: ## the rules of the house: layers, headers, comments, words
	@$(PYTHON) tools/housecheck.py --self-test
	@$(PYTHON) tools/housecheck.py

# ------------------------------------------------------------------------------------ wolfSSL ---
# Built once from Debian's sources, static and small; see the variables on top.

.PHONY: wolfssl wolfssl-run
wolfssl: deps-build ## builds wolfSSL into build/wolfssl and tries it (WOLFSSL=system: the installed one)
	+@$(MAKE) wolfssl-run

wolfssl-run: $(B)/wolfssl_smoke
	@$<

$(wolfssl_dir)/.stamp: tools/build-wolfssl.sh
	$(call say,WOLFSSL,$(wolfssl_dir) (once: half a minute))tools/build-wolfssl.sh $(wolfssl_dir)

$(B)/wolfssl_smoke: tests/net/wolfssl_smoke.c $(wolfssl_done) $B/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(c_flags) $(wolfssl_flags) $(link_flags) -o $@ $< $(wolfssl_libs)

# --------------------------------------------------------------------------------- installing ---

PREFIX     ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
MANDIR     ?= $(PREFIX)/share/man
UNITDIR    ?= $(PREFIX)/lib/systemd/system

.PHONY: install
# The page of the configuration file is made from the table of keys.
$B/causeway.ini.5: $B/causeway
	@if ! $< --help-config --man >$@ 2>/dev/null; then rm -f $@; echo "no $(@F): this broker cannot write it"; fi

install: $(programs) $(if $(programs),$B/causeway.ini.5) ## installs below PREFIX=/usr/local (DESTDIR=...)
	@for p in $(notdir $(programs)); do \
	    case $$p in causeway) d=sbin;; *) d=bin;; esac; \
	    install -D -m 755 $B/$$p "$(DESTDIR)$(PREFIX)/$$d/$$p"; \
	done
	@for m in $(wildcard tools/doc/*.[158]) $B/causeway.ini.5; do \
	    if [ -f $$m ]; then install -D -m 644 $$m "$(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}"; fi; \
	done
	@for d in $(wildcard tools/doc/*.md); do \
	    install -D -m 644 $$d "$(DESTDIR)$(PREFIX)/share/doc/causeway/$${d##*/}"; done
	@c="$(DESTDIR)$(SYSCONFDIR)/causeway/causeway.ini"; if [ -f cfg/causeway.ini ]; then \
	    if [ -e "$$c" ]; then echo "kept $$c; the new sample is $$c.sample"; c="$$c.sample"; fi; \
	    install -D -m 644 cfg/causeway.ini "$$c"; fi
	@mkdir -p "$(DESTDIR)$(UNITDIR)"
	@sed -e 's|@sbindir@|$(PREFIX)/sbin|g' -e 's|@sysconfdir@|$(SYSCONFDIR)|g' \
	    tools/doc/causeway.service >"$(DESTDIR)$(UNITDIR)/causeway.service"

# -------------------------------------------------------------------------------------- proofs ---

.PHONY: kernel61 fresh
kernel61: $(programs) ## the broker under Debian 12's own kernel 6.1, in qemu
	@OUT=$(OUT) tools/kernel61.sh $B/causeway

TARGET ?= demo
fresh: ## a fresh Debian 12 in a chroot: does `make demo` work there? (as root; TARGET=test)
	@tools/fresh.sh $(TARGET)
