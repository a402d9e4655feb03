-- SPDX-License-Identifier: MIT
-- tools/mutants.lua: what it changes in a file, and what it leaves alone.

local function with_file(suffix, text, body)
  local path = os.tmpname()
  local named = path .. suffix
  local file <close> = assert(io.open(named, "w"))
  file:write(text)
  file:flush()
  local ok, err = pcall(body, named)
  os.remove(path)
  os.remove(named)
  if not ok then error(err, 0) end
end

local function run(arguments)
  local pipe <close> = assert(io.popen("lua5.4 tools/mutants.lua " .. arguments .. " 2>&1"))
  return pipe:read "a"
end

-- The changes that `list` prints for a file of this text, as "line change".
local function changes(suffix, text)
  local found = {}
  with_file(suffix, text, function(path)
    for line, change in run("list " .. path):gmatch "%d+\t(%d+)\t([^\t]*)\t[^\n]*\n" do
      found[#found + 1] = line .. " " .. change
    end
  end)
  return found
end

describe("mutants", function()
  it("change each comparison, connective, constant and not of Lua", function()
    assert.same({
      "1 0x1F -> 32", "1 and -> or", "1 < -> <=", "1 0.5 -> 1.5", "2 without not", "2 ~= -> ==", "3 true -> false",
      "3 1e3 -> 1001",
    }, changes(".lua", "local a = 0x1F and b < 0.5\nif not (a ~= b) then\nreturn true, 1e3 end"))
  end)

  it("leave comments, strings and attributes of Lua alone", function()
    assert.same({ "7 2 -> 3" }, changes(".lua", [==[
-- not 1 < 2
--[[ true and
false ]]
local text <close>, more <const> = "1 \" == 1", '\'2'
local long = [=[ 1 ]] or ]=]
local a = b << c .. d // e
return a.x1 -2
]==]))
  end)

  it("change each comparison, connective, constant and ! of C", function()
    assert.same({
      "1 65536u -> 65537u", "2 without !", "2 && -> ||", "2 != -> ==", "2 0600 -> 0601", "3 >= -> >", "3 || -> &&",
      "3 false -> true",
    }, changes(".c", "#define LIMIT 65536u\nif (!a && b != 0600)\n  return a->x >= b || false;"))
  end)

  it("leave comments, texts, directives, lengths and idle zeros of C alone", function()
    assert.same({ "8 1 -> 2" }, changes(".c", [[
#include <uv.h>
#if VERSION >= 50406 && \
    OTHER != 1
/* a && 1 */ // b || 2
char text[64], *names[8];
struct x x = {0};
lua_createtable(L, 0, 5);
a[1] = '\'', b = "1 \" && 1", c <<= d >> e;
]]))
  end)

  it("are written one at a time", function()
    with_file(".lua", "return a == b, not c, '=='", function(path)
      assert.equal("return a ~= b, not c, '=='", run("write " .. path .. " 1"))
      assert.equal("return a == b,  c, '=='", run("write " .. path .. " 2"))
    end)
  end)

  it("are sampled in the same way by the same seed", function()
    with_file(".lua", ("return 1\n"):rep(50), function(path)
      local first = run("list " .. path .. " 5 7")
      assert.equal(5, select(2, first:gsub("\n", "")))
      assert.equal(first, run("list " .. path .. " 5 7"))
      assert.not_equal(first, run("list " .. path .. " 5 8"))
    end)
  end)
end)
