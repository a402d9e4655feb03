# SPDX-License-Identifier: MIT
# trueconf: the C core, its checks and its installation. `make help` lists the targets.

# Variables for the caller, besides CC and CPPFLAGS.
CFLAGS ?= -O2 -g
LDFLAGS ?=
LUA ?= lua5.4
PREFIX ?= /usr/local
DESTDIR ?=
PKG_CONFIG ?= pkg-config
BUILD ?= build
# Spec files to run, and a Lua pattern that the names of their cases must match.
SPEC ?= $(sort $(wildcard spec/*/*_spec.lua))
FILTER ?=
# ASSERTS=1 lets the C core check its own invariants; the builds for sanitizers, valgrind and torture do.
ASSERTS ?=
# WERROR=1 makes warnings errors; DEPS=no leaves the system's packages alone.
WERROR ?=
DEPS ?=
# Specs that go deepest into the C core; valgrind is too slow for all of them.
VALGRIND_SPECS ?= $(patsubst %,spec/core/%_spec.lua, \
  buffer busy calls crypto errors http input listener probe runtime session socket url wire)
# Specs in which C holds Lua values; the rules of the Bridge are Lua alone and only take their time.
TORTURE_SPECS ?= $(patsubst %,spec/%_spec.lua, \
  bot/bot client/log base/error base/json files/cancel_token files/preview system/embedding $(addprefix core/, \
  calls crypto directory errors http input listener listener_files password private_file probe runtime session \
  socket tidy token url wire))

LUA_VERSION = 5.4
# A folder below csrc/ is a room; headers are named from csrc/ on.
SOURCES := $(sort $(wildcard csrc/*.c csrc/*/*.c))
OBJECTS := $(SOURCES:csrc/%.c=$(BUILD)/obj/%.o)
CORE := $(BUILD)/trueconf/core.so

# Evaluated on first use: `make deps` has to work before pkg-config is there.
once = $(eval $1 := $$(shell $2))$($1)
LUA_PKG = $(call once,LUA_PKG,for p in lua5.4 lua-5.4 lua54; do \
  $(PKG_CONFIG) --exists $$$$p && echo $$$$p && exit; done; echo lua5.4)
LIBRARIES = libuv libwebsockets libcurl openssl libcrypt libutf8proc
PKG_CFLAGS = $(call once,PKG_CFLAGS,$(PKG_CONFIG) --cflags $(LUA_PKG) $(LIBRARIES))
PKG_LIBS = $(call once,PKG_LIBS,$(PKG_CONFIG) --libs $(LIBRARIES)) -ldl

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes $(if $(filter 1,$(WERROR)),-Werror)
CORE_CFLAGS = -std=gnu11 -fPIC -fvisibility=hidden -MMD -MP $(WARNINGS) $(if $(filter 1,$(ASSERTS)),,-DNDEBUG) -Icsrc \
  $(PKG_CFLAGS)
# nodelete: closing a Lua state does not unmap the module, so that reports of leaks at exit can name its functions.
CORE_LDFLAGS = -shared -Wl,-z,nodelete -Wl,--as-needed

COMPILE = $(CC) $(CORE_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) $(CORE_LDFLAGS) $(CFLAGS) $(LDFLAGS)
RUN_SPECS = LUA='$(LUA)' FILTER='$(FILTER)' tools/run-specs
ON_TREE = LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='$(BUILD)/?.so;;'
SUBMAKE = $(MAKE) --no-print-directory
NEED = $(if $(filter no,$(DEPS)),:,tools/deps)

.PHONY: all deps test lint format install uninstall clean sanitize tsan coverage coverage-run valgrind gctorture conformance mutants fuzz soak oom bench doc demo help FORCE

all: $(CORE) ## build the C core (CC, CFLAGS, LDFLAGS, WERROR=1, BUILD=directory)

$(CORE): $(OBJECTS)
	@mkdir -p $(@D)
	$(LINK) -o $@ $(OBJECTS) $(PKG_LIBS)

$(BUILD)/obj/%.o: csrc/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

# Changes only when the compiler or its flags do, and then everything is built again.
$(BUILD)/flags: FORCE
	@$(PKG_CONFIG) --print-errors --exists $(LUA_PKG) $(LIBRARIES) || \
	  { echo "Build requirements are missing: run make deps" >&2; exit 1; }
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LINK) $(SOURCES)' | cmp -s - $@ || echo '$(COMPILE) $(LINK) $(SOURCES)' >$@

-include $(OBJECTS:.o=.d)

deps: ## install from Debian what building and running need; test and lint bring their own
	@$(NEED) build

test: ## run the specs (SPEC=file, FILTER=pattern, VERBOSE=1)
	@$(NEED) build test
	@$(SUBMAKE) all
	@BUILD='$(BUILD)' $(RUN_SPECS) $(SPEC)

gctorture: ## run the specs of the C core with a collector that never rests (TORTURE_SPECS=files)
	@$(NEED) build test
	@$(SUBMAKE) all BUILD=build/checked ASSERTS=1
	@BUILD=build/checked TORTURE=1 LIMIT=300 $(RUN_SPECS) $(TORTURE_SPECS)

SANITIZE = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
COVERAGE ?=
SANITIZED = build/asan$(if $(COVERAGE),-coverage)
sanitize: ## run the specs under AddressSanitizer and UndefinedBehaviorSanitizer (COVERAGE=1: note what they reach)
	@$(NEED) build test
	@$(SUBMAKE) all BUILD=$(SANITIZED) ASSERTS=1 CC=gcc CFLAGS='$(SANITIZE)$(if $(COVERAGE), --coverage)' LDFLAGS=
	@$(if $(COVERAGE),$(call NOTED,$(SANITIZED)))
	@ASAN_OPTIONS=exitcode=99:detect_leaks=1:detect_stack_use_after_return=1 \
	 UBSAN_OPTIONS=print_stacktrace=1:exitcode=99 \
	 LSAN_OPTIONS=suppressions=$(CURDIR)/tools/lsan.supp:print_suppressions=0 \
	 COVERAGE=$(if $(COVERAGE),$(CURDIR)/$(SANITIZED)/lua) BUILD=$(SANITIZED) LIMIT=300 \
	 PRELOAD=$$(gcc -print-file-name=libasan.so) $(RUN_SPECS) $(SPEC)

# Specs of code on several threads: the watcher of busy coroutines, libuv's pool, several Lua states.
TSAN_SPECS ?= $(patsubst %,spec/%_spec.lua,files/preview $(addprefix core/, \
  busy directory input password private_file probe threads))
TSAN_BUILD = build/tsan
TSAN = -O1 -g -fsanitize=thread -fno-omit-frame-pointer
tsan: ## run the specs of what threads share under ThreadSanitizer (TSAN_SPECS=files)
	@$(NEED) build test
	@$(SUBMAKE) all BUILD=$(TSAN_BUILD) ASSERTS=1 CC=gcc CFLAGS='$(TSAN)' LDFLAGS=
	@gcc -shared -fPIC -o $(TSAN_BUILD)/preloaded.so spec/support/c/preloaded.c
	@TSAN_OPTIONS=exitcode=99:suppressions=$(CURDIR)/tools/tsan.supp \
	 TSAN_LIBRARIES=$$(gcc -print-file-name=libtsan.so):$(CURDIR)/$(TSAN_BUILD)/preloaded.so \
	 BUILD=$(TSAN_BUILD) LIMIT=300 FILTER='$(FILTER)' LUA=$(CURDIR)/spec/support/tsan-lua tools/run-specs \
	  $(or $(TSAN_SPECS),$(error TSAN_SPECS names no file))

# A run that notes the lines it reaches: gcov in C, coverage.so in Lua. `make coverage` prints them, of any build.
NOTED = rm -rf $1/lua && mkdir -p $1/lua && find $1/obj -name '*.gcda' -delete && \
  gcc -O2 -shared -fPIC $(PKG_CFLAGS) -o $1/coverage.so spec/support/c/coverage.c
COVERED = build/coverage
coverage: ## show what no spec reaches (FILE=file of the last run, SPEC=files, TABLE=short, COVERED=build)
	@$(NEED) build test
	@$(if $(FILE)$(filter-out build/coverage,$(COVERED)),:,$(SUBMAKE) coverage-run); status=$$?; \
	  $(LUA) tools/coverage.lua $(COVERED) $(or $(FILE),$(TABLE),all) && exit $$status

coverage-run:
	@$(SUBMAKE) all BUILD=build/coverage ASSERTS=1 CC=gcc CFLAGS='-O1 -g --coverage' LDFLAGS=
	@$(call NOTED,build/coverage)
	@BUILD=build/coverage COVERAGE=$(CURDIR)/build/coverage/lua LIMIT=300 $(RUN_SPECS) $(SPEC)

conformance: ## show which rules of the RFCs are kept (TABLE=names; MARKS=1: bring the list of open ones to it)
	@$(NEED) build test
	@$(SUBMAKE) all
	@$(ON_TREE) $(LUA) tools/conformance.lua $(if $(MARKS),--marks) $(TABLE)

mutants: ## show what the specs of a file would not notice (FILE=file, SPEC=files, MUTANTS=number, SEED=number)
	@$(NEED) build test
	@$(SUBMAKE) all
	@$(if $(filter command line environment,$(origin SPEC)),SPEC='$(SPEC)') MUTANTS='$(MUTANTS)' \
	  tools/mutants $(or $(FILE),$(error name a file: make mutants FILE=lua/trueconf/bot/queue.lua))

VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
  --errors-for-leak-kinds=definite --num-callers=20 --child-silent-after-fork=yes \
  --suppressions=tools/valgrind.supp
valgrind: ## run the specs of the C core under valgrind (VALGRIND_SPECS=files)
	@$(NEED) build test
	@$(SUBMAKE) all BUILD=build/checked ASSERTS=1
	@BUILD=build/checked LIMIT=600 WRAP='$(VALGRIND)' \
	  $(RUN_SPECS) $(or $(VALGRIND_SPECS),$(error VALGRIND_SPECS names no file))

LUA_DIRS = $(wildcard lua spec fuzz examples bench bin tools rockspec)
# The shell scripts among the files without a suffix are known by their first line.
SHELL_SCRIPTS = $(shell grep -lE '^\#!.*[ /](ba)?sh$$' .ci/* tools/* bin/* bench/* examples/* 2>/dev/null)
C_FILES = $(sort $(wildcard csrc/*.[ch] csrc/*/*.[ch] bench/*.[ch] spec/support/c/*.[ch] fuzz/*.[ch]))
lint: ## check style and find suspicious code
	@$(NEED) build lint
	luacheck -q --no-color --no-cache $(LUA_DIRS) $(wildcard bin/trueconf)
	@for script in $(SHELL_SCRIPTS); do bash -n $$script || exit; done
	@find Makefile .ci csrc $(LUA_DIRS) -type f -print0 | sort -z | xargs -0 $(LUA) tools/comments.lua
	clang-format --dry-run -Werror $(C_FILES)
	@printf '%s\n' $(SOURCES) | xargs -P 2 -n 1 sh -c \
	  'echo "clang-tidy $$*"; clang-tidy --quiet "$$@" -- -std=gnu11 -Icsrc $(PKG_CFLAGS) 2>/dev/null' lint
	$(LUA) tools/rockspec.lua
	@luarocks --lua-version $(LUA_VERSION) lint rockspec/trueconf-scm-1.rockspec

format: ## lay out the C files, bring the rockspec's lists up to date
	@$(NEED) build lint
	clang-format -i $(C_FILES)
	$(LUA) tools/rockspec.lua --write

LUA_FILES = $(sort $(patsubst lua/%,%,$(shell find lua -name '*.lua')))
INSTALL_LIB = $(DESTDIR)$(PREFIX)/lib/lua/$(LUA_VERSION)/trueconf
INSTALL_LUA = $(DESTDIR)$(PREFIX)/share/lua/$(LUA_VERSION)
INSTALL_MAN = $(DESTDIR)$(PREFIX)/share/man/man1
install: all ## install module, command and man page (PREFIX=/usr/local, DESTDIR=)
	@install -D -m 644 $(CORE) $(INSTALL_LIB)/core.so
	@for file in $(LUA_FILES); do install -D -m 644 lua/$$file $(INSTALL_LUA)/$$file || exit; done
	@install -D -m 755 bin/trueconf $(DESTDIR)$(PREFIX)/bin/trueconf
	@install -D -m 644 docs/trueconf.1 $(INSTALL_MAN)/trueconf.1
	@echo 'Installed in $(DESTDIR)$(PREFIX): bin/trueconf, its man page, and the module for Lua $(LUA_VERSION)'

uninstall: ## remove what install put there
	rm -rf $(INSTALL_LIB) $(INSTALL_LUA)/trueconf
	rm -f $(DESTDIR)$(PREFIX)/bin/trueconf $(INSTALL_MAN)/trueconf.1

demo: ## two people talk to a bot, over real connections
	@$(NEED) build
	@$(SUBMAKE) all >/dev/null
	@$(ON_TREE) $(LUA) examples/demo.lua

# fuzz/fuzz.mk brings the target fuzz-build.
-include fuzz/fuzz.mk
FUZZ_CFLAGS = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
fuzz: ## feed the parsers with odd input (SECONDS=for each harness, HARNESS=names, SEED=number)
	@$(NEED) build test fuzz
	@$(SUBMAKE) all fuzz-build BUILD=build/fuzz ASSERTS=1 CC=clang CFLAGS='$(FUZZ_CFLAGS)' LDFLAGS= >/dev/null
	@SEED='$(SEED)' tools/fuzz $(or $(SECONDS),20) $(HARNESS)

oom: ## let memory run out in the C core (SCRIPT=name of spec/oom, N=allocation; SECONDS=for all, SEED=number)
	@$(NEED) build test
	@TIME='$(SECONDS)' SEED='$(SEED)' tools/oom $(SCRIPT) $(N)

soak: ## kill a bot and a Bridge at random on a bad network, and count (SECONDS=60, SEED=number)
	@$(NEED) build test
	@$(SUBMAKE) all
	@LUA_PATH='lua/?.lua;lua/?/init.lua;./?.lua;;' LUA_CPATH='$(BUILD)/?.so;;' \
	  LUA='$(LUA)' $(LUA) tools/soak/run.lua $(or $(SECONDS),60) $(SEED)

# bench/bench.mk brings the target bench-run.
-include bench/bench.mk
bench: ## measure the bot against a client in plain C
	@$(NEED) build
	@$(SUBMAKE) all
	@$(ON_TREE) $(SUBMAKE) bench-run

doc: all ## write what comes from the code (states, reference, protocol, conversations, man page; annotations)
	@$(ON_TREE) $(LUA) tools/doc.lua
	@$(ON_TREE) $(LUA) tools/reference.lua
	@$(ON_TREE) $(LUA) tools/protocol.lua
	@$(ON_TREE) $(LUA) tools/annotations.lua
	@$(ON_TREE) $(LUA) tools/conversations.lua
	@$(ON_TREE) $(LUA) tools/man.lua
	@$(ON_TREE) $(LUA) tools/conformance.lua --page

# luarocks make builds in the tree itself: trueconf/ and the objects beside the sources are its traces.
clean: ## remove everything that was built
	rm -rf build trueconf csrc/*.o csrc/*/*.o

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='	' read -r target text; do printf '  make %-10s %s\n' "$$target" "$$text"; done
