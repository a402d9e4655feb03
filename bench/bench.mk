# SPDX-License-Identifier: MIT
# Included by the Makefile: builds the load server and the baseline client, runs everything.

# Options of bench/run.lua, for instance BENCH="--seconds 1 --rounds 1".
BENCH ?=

BENCH_BIN = $(BUILD)/bench/server $(BUILD)/bench/echo
BENCH_COMPILE = $(CC) -std=gnu11 $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)

$(BUILD)/bench/server: BENCH_LIBRARIES = openssl
$(BUILD)/bench/echo: BENCH_LIBRARIES = libwebsockets libuv openssl
$(BUILD)/bench/server: bench/server.c bench/judge.c bench/conn.c bench/verdict.c bench/server.h bench/span.h
$(BUILD)/bench/echo: bench/echo.c bench/span.h
$(BENCH_BIN):
	@mkdir -p $(@D)
	$(BENCH_COMPILE) -o $@ $(filter %.c,$^) $$($(PKG_CONFIG) --cflags --libs $(BENCH_LIBRARIES))

.PHONY: bench-run bench-kit
bench-run: $(BENCH_BIN)
	$(LUA) bench/run.lua --bin $(BUILD)/bench --lua '$(LUA)' --out $(BUILD)/bench.md $(BENCH)
	$(LUA) bench/store.lua

# The test kit: a year of virtual time, and 100 runs that must be the same.
bench-kit: all
	@$(ON_TREE) $(LUA) bench/kit.lua $(RUNS)
