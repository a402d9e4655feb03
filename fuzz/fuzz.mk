# SPDX-License-Identifier: MIT
# Builds the harnesses; included by the Makefile, used by tools/fuzz with BUILD=build/fuzz.
FUZZ_C := $(filter-out lua,$(basename $(notdir $(wildcard fuzz/*.c))))
FUZZ_LUA := $(filter-out peer,$(basename $(notdir $(wildcard fuzz/*.lua))))
FUZZ_LINK = $(COMPILE) -fsanitize=fuzzer -o $@ $< $(OBJECTS) $(PKG_LIBS) $(shell $(PKG_CONFIG) --libs $(LUA_PKG)) $(FUZZ_LIBS)

$(BUILD)/bin/frames: FUZZ_LIBS = -lwslay

.PHONY: fuzz-build
fuzz-build: $(FUZZ_C:%=$(BUILD)/bin/%) $(FUZZ_LUA:%=$(BUILD)/bin/%)

$(FUZZ_C:%=$(BUILD)/bin/%): $(BUILD)/bin/%: fuzz/%.c fuzz/fuzz.h $(OBJECTS)
	@mkdir -p $(@D)
	$(FUZZ_LINK)

$(FUZZ_LUA:%=$(BUILD)/bin/%): $(BUILD)/bin/%: fuzz/lua.c fuzz/fuzz.h $(OBJECTS)
	@mkdir -p $(@D)
	$(FUZZ_LINK) -DSCRIPT='"fuzz/$*.lua"'
