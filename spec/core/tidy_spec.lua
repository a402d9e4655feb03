-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local cjson = require "cjson"

local null = cjson.null
local mark = {}

local function marked(table) return setmetatable(table, mark) end

local function nested(depth)
  local value = {}
  for _ = 2, depth do value = { a = value } end
  return value
end

local function circle()
  local value = {}
  value.a = value
  return value
end

describe("core.is_utf8", function()
  local function disagrees(text)
    if core.is_utf8(text) ~= (utf8.len(text) ~= nil) then return ("%q"):format(text) end
  end

  it("accepts text, in pieces of any length and at any place", function()
    for length = 0, 20 do
      local ascii = ("x"):rep(length)
      for _, character in ipairs { "", "\0", "\127", "й", "€", "😀", "йй€😀й" } do
        assert.is_true(core.is_utf8(ascii .. character))
        assert.is_true(core.is_utf8(character .. ascii .. character))
      end
    end
  end)

  it("agrees with utf8.len on every lead byte and every kind of second byte", function()
    local seconds = { "", "\0", "\x7f", "\x80", "\x8f", "\x90", "\x9f", "\xa0", "\xbf", "\xc0", "\xff" }
    for lead = 0, 255 do
      for _, second in ipairs(seconds) do
        for _, rest in ipairs { "", "\x80", "\xbf\x80", "\x80\xbf\xbf", "\x80x", "xx" } do
          local text = string.char(lead) .. second .. rest
          local difference = disagrees(text) or disagrees("12345678" .. text) or disagrees("й" .. text .. "12345678")
          if difference then error(difference) end
        end
      end
    end
  end)

  it("does not look past the end for the rest of a character", function()
    for _, cut in ipairs { "\xd0", "\xe2\x82", "\xf0\x9f\x98", "12345678\xd0", "1234567\xe2\x82" } do
      assert.is_false(core.is_utf8(cut))
    end
  end)
end)

describe("core.json_is_plain", function()
  local function plain(value) return core.json_is_plain(value, mark) end

  it("accepts what lua-cjson writes exactly", function()
    local values = {
      "", "текст", true, false, null, 0, -1, 1.0, -0.0, 99999999999999, -99999999999999.0, {}, { 1, 2 }, marked { {} },
      { a = { b = { "c", false } }, ["ключ"] = null }, { [1] = "a", [2] = "b" }, nested(core.JSON_MAX_DEPTH),
    }
    for i, value in ipairs(values) do
      assert.is_true(plain(value), i)
      if i < #values then assert.is_true(plain { value, { a = value } }, i) end
    end
  end)

  it("refuses what it writes otherwise or not at all", function()
    local values = {
      "\xff", 0.5, 1e14, 10 ^ 14 | 0, -1e14, -10 ^ 14 | 0, math.maxinteger, math.mininteger, 0 / 0, math.huge,
      -math.huge, print, coroutine.create(print), io.stdout, marked {}, setmetatable({}, {}),
      setmetatable({ 1 }, { __index = { 2 } }), { 1, nil, 3 }, { 1, x = 1 }, { 1, [0] = 0 }, { 1, 2, [1.5] = 1 },
      { 1, [true] = 1 }, { [2] = 1 }, { [true] = 1 }, { ["\xff"] = 1 }, circle(), nested(core.JSON_MAX_DEPTH + 1),
    }
    for i, value in ipairs(values) do
      assert.is_false(plain(value), i)
      assert.is_false(plain { 1, value }, i)
      assert.is_false(plain { a = { value } }, i)
    end
    assert.is_false(plain(nil))
  end)

  it("changes nothing, and leaves keys that are numbers what they are", function()
    local value = { [10] = "x", a = { 1.0, "1" } }
    plain(value)
    assert.same({ [10] = "x", a = { 1.0, "1" } }, value)
    assert.equal("float", math.type(value.a[1]))
  end)
end)
