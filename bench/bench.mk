# SPDX-License-Identifier: MIT
# Included by the Makefile: builds the load server and the baseline client, runs everything.

# Options of bench/run.lua, for instance BENCH="--seconds 1 --rounds 1".
BENCH ?=

BENCH_BIN = $(BUILD)/bench/server $(BUILD)/bench/echo
BENCH_COMPILE = $(CC) -std=gnu11 $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)

$(BUILD)/bench/server: BENCH_LIBRARIES = openssl
$(BUILD)/bench/echo: BENCH_LIBRARIES = libwebsockets libuv openssl
$(BENCH_BIN): $(BUILD)/bench/%: bench/%.c bench/scan.h
	@mkdir -p $(@D)
	$(BENCH_COMPILE) -o $@ $< $$($(PKG_CONFIG) --cflags --libs $(BENCH_LIBRARIES))

.PHONY: bench-run
bench-run: $(BENCH_BIN)
	$(LUA) bench/run.lua --bin $(BUILD)/bench --lua '$(LUA)' --out $(BUILD)/bench.md $(BENCH)
