-- SPDX-License-Identifier: MIT
-- tools/comments.lua: the sentences in comments that it refuses, and the ones that it allows.

local system = require "spec.support.system"

-- The findings in a file with this text, "line: sentence". WORD in the text stands for a word that begins a clause, so
-- that this file passes the check itself.
local function findings(name, text, word)
  local directory <close> = system.directory()
  local path = system.write(directory:file(name), (text:gsub("WORD", word or "What")))
  local lines = {}
  for line, clause in system.output("lua5.4 tools/comments.lua '%s' || true", path):gmatch ':(%d+): [^"]*"([^"]*)"' do
    lines[#lines + 1] = line .. ": " .. clause
  end
  return lines
end

describe("the check of comments", function()
  it("refuses a sentence that begins with a clause, in every kind of file", function()
    for name, text in pairs {
      ["a.lua"] = "local x = 1\n-- WORD waits goes on.\n", ["b.lua"] = "\n---WORD waits goes on.\n",
      ["c.lua"] = "\nlocal x = 1 -- WORD waits goes on.\n", ["a.c"] = "int x;\n/* WORD waits goes on. */\n",
      ["a.h"] = "/*\n * WORD waits goes on.\n */\n", ["a.py"] = "\n# WORD waits goes on.\n",
      Makefile = "\n# WORD waits goes on.\n", script = "#!/bin/sh\n# WORD waits goes on.\n",
    } do
      assert.same({ "2: What waits goes on." }, findings(name, text), name)
    end
  end)

  it("refuses each of the words, and also a later sentence of a line", function()
    for word in ("Whatever Who Whoever Whom Whose Which Whether Those"):gmatch "%a+" do
      assert.same({ "1: " .. word .. " is it goes on." }, findings("a.lua", "-- A queue. WORD is it goes on.\n", word))
    end
    assert.same({ "1: That which is it goes on." }, findings("a.lua", "-- WORD is it goes on.\n", "That which"))
  end)

  it("allows questions, other sentences, code, and files without comments", function()
    assert.same({}, findings("a.lua", '-- WORD is it? The queue that waits.\nprint "WORD waits goes on."\n'))
    assert.same({}, findings("a.txt", "# WORD waits goes on.\n"))
    assert.same({}, findings("data", "# WORD waits goes on.\n"))
  end)
end)
