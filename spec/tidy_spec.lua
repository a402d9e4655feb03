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

describe("core.json_has_empty_array", function()
  it("finds one, with whatever space is in it", function()
    for _, text in ipairs { "[]", "[ \t\r\n]", "[[[]]]", '{"a":[1],"b":[ ]}', '"[]"' } do
      assert.is_true(core.json_has_empty_array(text), text)
    end
    for _, text in ipairs { "", "{}", "]", "[", "[ ", "[1]", "[[1],[2]]", "[\v]", "[\0]", "] [" } do
      assert.is_false(core.json_has_empty_array(text), text)
    end
  end)
end)

describe("core.json_tidy", function()
  it("gives every number its kind, at every depth", function()
    local decoded = { a = 1.0, b = { -0.0, 2.5, { c = 2.0 ^ 53 } }, d = 2.0 ^ 53 + 2, e = (1 << 53) + 1, f = 7 }
    assert.is_false(core.json_tidy(decoded, mark))
    assert.same({ a = 1, b = { 0, 2.5, { c = 2 ^ 53 | 0 } }, d = 2.0 ^ 53 + 2, e = 2.0 ^ 53, f = 7 }, decoded)
    for _, whole in ipairs { decoded.a, decoded.b[1], decoded.b[3].c, decoded.f } do
      assert.equal("integer", math.type(whole))
    end
    for _, other in ipairs { decoded.b[2], decoded.d, decoded.e } do assert.equal("float", math.type(other)) end
  end)

  it("leaves infinities and what is not a number alone", function()
    local decoded = { math.huge, -math.huge, 0 / 0 }
    assert.is_false(core.json_tidy(decoded, mark))
    assert.equal(math.huge, decoded[1])
    assert.equal(-math.huge, decoded[2])
    assert.not_equal(decoded[3], decoded[3])
  end)

  it("tells of a number that was cut off, at every depth", function()
    for _, cut in ipairs { math.maxinteger, math.mininteger } do
      assert.is_true(core.json_tidy({ cut }, mark))
      assert.is_true(core.json_tidy({ a = { { b = cut }, "x" }, c = 1 }, mark))
      assert.is_false(core.json_tidy({ cut + 0.0 }, mark))
    end
    assert.is_false(core.json_tidy({ math.maxinteger - 1, math.mininteger + 1 }, mark))
  end)

  it("takes nulls out, and marks an array of nothing else", function()
    local decoded = { a = null, b = { null, 1, null, null, { null }, null }, c = { x = null }, d = true }
    core.json_tidy(decoded, mark)
    assert.same({ b = { 1, {} }, c = {}, d = true }, decoded)
    assert.equal(mark, getmetatable(decoded.b[2]))
    assert.is_nil(getmetatable(decoded.b))
    assert.is_nil(getmetatable(decoded.c))
  end)

  it("stops at its depth", function()
    assert.is_false(core.json_tidy(nested(core.JSON_MAX_DEPTH), mark))
    for _, deep in ipairs { nested(core.JSON_MAX_DEPTH + 1), circle() } do
      assert.has_error(function() core.json_tidy(deep, mark) end, "nested deeper than 100")
    end
  end)

  it("walks on the stack of a coroutine", function()
    local walk = coroutine.wrap(function() return core.json_tidy(nested(core.JSON_MAX_DEPTH), mark) end)
    assert.is_false(walk())
  end)

  it("takes two tables", function()
    assert.has_error(function() core.json_tidy("{}", mark) end)
    assert.has_error(function() core.json_tidy {} end)
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
