-- SPDX-License-Identifier: MIT

local json = require "trueconf.base.json"
local Error = require "trueconf.base.error"

local function refused(name, value, err)
  assert.is_nil(value)
  assert.is_true(Error.is(err))
  assert.equal(name, err.name)
  return err.message
end

-- The message of a call that must raise, with the position it blames.
local function misuse(fn, ...)
  local arguments = table.pack(...)
  local ok, message = pcall(function()
    fn(table.unpack(arguments, 1, arguments.n))
    return nil
  end)
  assert.is_false(ok)
  return message
end

describe("json.decode", function()
  it("gives integers for whole numbers, however they are spelled", function()
    for text, expected in pairs {
      ["1"] = 1, ["0"] = 0, ["-0"] = 0, ["-17"] = -17, ["1.0"] = 1, ["1e3"] = 1000,
      ["1732428000123"] = 1732428000123, ["9007199254740992"] = 2 ^ 53 | 0, ["-9007199254740992"] = -2 ^ 53 | 0,
      ["9007199254740993"] = (1 << 53) + 1, ["1234567890123456789"] = 1234567890123456789, ["-0.0"] = 0, ["0e9"] = 0,
      ["999999999999999999"] = 999999999999999999, ["1000000000000000000"] = 1000000000000000000,
      ["9223372036854775807"] = math.maxinteger, ["-9223372036854775808"] = math.mininteger, ["12E+2"] = 1200,
    } do
      local value = json.decode(text)
      assert.equal("integer", math.type(value), text)
      assert.equal(expected, value, text)
      local inside = json.decode(('{"a":[{"b":%s}]}'):format(text))
      assert.equal("integer", math.type(inside.a[1].b), text)
    end
  end)

  it("gives floats for everything else", function()
    for text, expected in pairs {
      ["0.5"] = 0.5, ["-1.25e-3"] = -1.25e-3, ["1e300"] = 1e300, ["0.1"] = 0.1,
      ["9007199254740994.0"] = 9007199254740994.0, ["1e16"] = 1e16, ["9223372036854775808"] = 2.0 ^ 63,
      ["-9223372036854775809"] = -2.0 ^ 63, ["1" .. ("0"):rep(300)] = 1e300,
      ["0.12345678901234567890"] = 0.12345678901234567890,
    } do
      local value = json.decode(text)
      assert.equal("float", math.type(value), text)
      assert.equal(expected, value, text)
    end
  end)

  it("does not cut off whole numbers past the range of integers", function()
    local values = json.decode(
      '{"99999999999999999999":[99999999999999999999,-99999999999999999999,9223372036854775808,-9223372036854775809],'
      .. '"s":"\\"123456789012345678901234,","f":0.1234567890123456789012}')
    assert.same({ 1e20, -1e20, 2 ^ 63, -2 ^ 63 }, values["99999999999999999999"])
    for _, value in ipairs(values["99999999999999999999"]) do assert.equal("float", math.type(value)) end
    assert.equal('"123456789012345678901234,', values.s)
    assert.equal(0.1234567890123456789012, values.f)
    assert.equal(1e20, json.decode("100000000000000000000"))
  end)

  it("leaves a null out of an object", function()
    local value = json.decode '{"a":null,"b":{"c":null,"d":false}}'
    assert.same({ b = { d = false } }, value)
    assert.is_nil(value.a)
  end)

  it("removes a null from an array, which stays without holes", function()
    assert.same({ 1, 2, 3 }, json.decode "[null,1,null,null,2,3,null]")
    assert.same({ a = { { "x" } } }, json.decode '{"a":[null,["x",null]]}')
    assert.equal("[]", json.encode(json.decode "[null,null]"))
  end)

  it("gives nil and no error for null alone", function()
    local value, err = json.decode "null"
    assert.is_nil(value)
    assert.is_nil(err)
  end)

  it("reads false, strings and escapes", function()
    assert.is_false(json.decode "false")
    assert.equal("", json.decode '""')
    assert.equal("\0é😀/", json.decode [["\u0000\u00e9\ud83d\ude00\/"]])
  end)

  it("keeps an empty array apart from an empty object", function()
    local tricky = [==[["[]",[],"\"[ ]\\",[]]]==]
    for _, text in ipairs { "[]", "{}", '{"a":[]}', '{"a":{}}', "[[],{},[[]]]", tricky } do
      assert.equal(text, json.encode(json.decode(text)))
    end
    assert.equal("[[]]", json.encode(json.decode " [ [ \t\r\n] ] "))
    assert.is_true(json.is_array(json.decode "[]"))
    assert.is_true(json.is_array(json.decode "[0]"))
    assert.is_false(json.is_array(json.decode "{}"))
    assert.is_false(json.is_array(json.decode '{"a":1}'))
    assert.is_false(json.is_array("[]"))
  end)

  it("takes what RFC 8259 allows", function()
    for text, expected in pairs {
      [' \t\r\n7 \t\r\n'] = 7, ["[1 ,\n2]"] = { 1, 2 }, ['{ "a" :\t1 , "" : 2 }'] = { a = 1, [""] = 2 },
      ['"\\"\\\\\\/\\b\\f\\n\\r\\t"'] = '"\\/\b\f\n\r\t',
      ['"\127\u{80}\u{2028}\u{10ffff}"'] = "\127\u{80}\u{2028}\u{10ffff}",
      ['"\\u0000"'] = "\0", ['{"\\u0000":1}'] = { ["\0"] = 1 }, ['"\\uD83D\\uDE00"'] = "😀",
      ['"\\uffff\\uFFFE"'] = "\u{ffff}\u{fffe}",
      ["1.7976931348623157e308"] = 1.7976931348623157e308, ["5e-324"] = 5e-324, ["1e-400"] = 0, ["0.1e1"] = 1,
      ["[" .. ("0"):rep(5, ",") .. "]"] = { 0, 0, 0, 0, 0 }, ['"//" '] = "//", ["0." .. ("3"):rep(150)] = 1 / 3,
    } do
      assert.same({ expected }, { json.decode(text) }, text)
    end
  end)

  it("takes the last value of a key that comes twice, a null too", function()
    assert.same({ a = 2 }, json.decode '{"a":1,"b":0,"\\u0061":2,"b":null}')
  end)

  it("refuses what is not JSON", function()
    for _, text in ipairs {
      "", " ", "{", "[1,]", '{"a":1,}', "{'a':1}", "{a:1}", "nul", "[1] x", "1 2", '"open', '"\\x"', '"\\u12"',
      '"\\uD83D\\u12"',
      "NaN", "nan", "-NaN", "Infinity", "-Infinity", "inf", "-inf", "0x10", "-0x1", "01", "-01", "00", "+1", "-",
      "- 1", "1.", ".5",
      "-.5", "1.e2", "1e", "1e+", "1E-", "1e1.5", "1_000", "1f", "0b1", "[\v]", "[", '["\\', "\0", "1\0", '{"a":[}',
      "[1 2]", "[,1]",
      "[1,,2]", "]", "}", "{,}", '{"a"}', '{"a" 1}', '{"a":}', '{1:2}', '{"a":1 "b":2}', '{"a":1}}', "[]]", "[1}",
      '{"a":1]',
      '"a\nb"', '"a\tb"', '"\0"', '"\31"', '{"a\n":1}', "/* */1", "1 // one", "# 1", "\u{feff}1", "\u{a0}1", "True",
      "TRUE", "nulll",
      "truefalse", "'a'", '"\\', '"\\"', '"\\u', '"\\u00', '"a', '"a""b"', "[true", "tru", "undefined", "\xff",
      "1\xff", "[1\f,2]",
    } do
      assert.matches("^not JSON: ", refused("PROTOCOL", json.decode(text)))
    end
  end)

  it("refuses a number out of the range of floats", function()
    for _, text in ipairs { "1e400", "-1e400", "[1e309]", ("9"):rep(400), "1e99999999999999999999" } do
      assert.matches("number that is too large at byte %d", refused("PROTOCOL", json.decode(text)))
    end
  end)

  it("says what is wrong, and at which byte", function()
    for text, expected in pairs {
      ["[1 2]"] = "',' or ']' is missing at byte 4", ['{"a" 1}'] = "':' is missing at byte 6",
      ["[01]"] = "a number that begins with 0 at byte 2",
      ['"a\tb"'] = "a control character in a string at byte 3", ['["\\x"]'] = "no such escape at byte 3",
      ['"abc'] = "a string without an end at byte 5", ["1 2"] = "more than one value at byte 3",
      [""] = "a value is missing at byte 1",
      [("["):rep(101)] = "nested too deep at byte 101", ["-x"] = "a value is missing at byte 1",
      ["1.x"] = "digits are missing at byte 3",
    } do
      assert.equal("not JSON: " .. expected, refused("PROTOCOL", json.decode(text)))
    end
  end)

  it("reads half a surrogate pair as U+FFFD", function()
    for text, expected in pairs {
      ["tea \\ud83d"] = "tea \u{fffd}", ["\\ude00 tea"] = "\u{fffd} tea", ["\\uD83Dx"] = "\u{fffd}x",
      ["\\ud83d\\u0041"] = "\u{fffd}A",
      ["\\ud83d\\ud83d\\ude00"] = "\u{fffd}😀", ["\\ude00\\ud83d"] = "\u{fffd}\u{fffd}", ["\\ud83d\\n"] = "\u{fffd}\n",
      ["\\uDBFF\\uDFFF"] = "\u{10ffff}",
    } do
      assert.equal(expected, json.decode('"' .. text .. '"'), text)
      assert.same({ [expected] = { expected } }, json.decode(('{"%s":["%s"]}'):format(text, text)), text)
    end
  end)

  it("does not repeat the text in the error", function()
    assert.not_matches("secret", refused("PROTOCOL", json.decode '{"token":"secret" "secret"}'))
  end)

  it("refuses text that is not UTF-8 and says where", function()
    for _, bytes in ipairs { "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80" } do
      assert.matches("not UTF%-8 at byte 2$", refused("PROTOCOL", json.decode('"' .. bytes .. '"')))
    end
  end)

  it("receives such text with U+FFFD for each run that a browser shows as one", function()
    local R = "\u{fffd}"
    for bytes, expected in pairs {
      ["\xff"] = R, ["\x80\x80"] = R .. R, ["\xc3"] = R, ["\xc0\x80"] = R .. R, ["\xe2\x82"] = R,
      ["\xe2\x28\xa1"] = R .. "(" .. R,
      ["\xed\xa0\x80"] = R .. R .. R, ["\xf0\x9f\x98"] = R, ["\xf0\x9f\x98\xf0\x9f\x98\x80"] = R .. "😀",
      ["\xf4\x90\x80\x80"] = R .. R .. R .. R,
      ["\xf0\x80\x80"] = R .. R .. R, ["\xe2\x82\\n"] = R .. "\n", ["é\xc3"] = "é" .. R,
      ["\xd0\xcf\xf0\xe8"] = R .. R .. R .. R, ["\xf5\x80"] = R .. R,
    } do
      for _, around in ipairs { "", "a", "12345678", "ж", "\\u0041" } do
        local plain = json.decode('"' .. around .. '"')
        local text = ('"%s"'):format(around .. bytes .. around)
        assert.equal(plain .. expected .. plain, json.receive(text), text)
        assert.same({ [plain .. expected .. plain] = 1 }, json.receive("{" .. text .. ":1}"))
      end
    end
    assert.equal(("\u{fffd}"):rep(20000), json.receive('"' .. ("\xff"):rep(20000) .. '"'))
  end)

  it("receives nothing else that is not JSON", function()
    for _, text in ipairs { '\xff"a"', '"a\nb\xff"', '["\xff]', "\xff", '{"a":\xff}', "", '"\xff\\x"', '"\xff' } do
      refused("PROTOCOL", json.receive(text))
    end
    refused("LIMIT", json.receive('"\xff\xff"', 3))
    assert.matches("^[^:]*base/json_spec.lua:%d+: JSON text must be a string, got nil$", misuse(json.receive, nil))
  end)

  it("bounds depth and size", function()
    local function nested(depth) return ("["):rep(depth) .. "1" .. ("]"):rep(depth) end
    assert.is_table(json.decode(nested(json.MAX_DEPTH)))
    refused("PROTOCOL", json.decode(nested(json.MAX_DEPTH + 1)))
    refused("PROTOCOL", json.decode(("["):rep(1000000)))
    assert.equal("abc", json.decode('"abc"', 5))
    assert.matches("6 bytes, at most 5", refused("LIMIT", json.decode('"abcd"', 5)))
    refused("LIMIT", json.decode(" " .. (" "):rep(json.MAX_SIZE)))
  end)

  it("blames the caller for something other than a string", function()
    assert.matches("^[^:]*base/json_spec.lua:%d+: JSON text must be a string, got nil$", misuse(json.decode, nil))
    assert.matches("got a number$", misuse(json.decode, 42))
  end)
end)

describe("json.encode", function()
  it("writes whole numbers in full", function()
    for expected, value in pairs {
      ["0"] = 0, ["1"] = 1.0, ["-5"] = -5, ["1732428000123"] = 1732428000123, ["1732428000124"] = 1732428000124.0,
      ["99999999999999"] = 99999999999999, ["100000000000000"] = 1e14, ["-100000000000000"] = -10 ^ 14 | 0,
      ["9007199254740992"] = 2 ^ 53 | 0, ["9007199254740991"] = 2.0 ^ 53 - 1, ["-9007199254740991"] = -2 ^ 53 + 1 | 0,
      ["9223372036854775807"] = math.maxinteger, ["-9223372036854775808"] = math.mininteger,
    } do
      assert.equal(expected, json.encode(value))
      assert.equal('{"a":[' .. expected .. "]}", json.encode { a = { value } })
    end
  end)

  it("writes floats so that they come back the same, and no longer than needed", function()
    assert.equal("0.1", json.encode(0.1))
    assert.equal("0.30000000000000004", json.encode(0.1 + 0.2))
    math.randomseed(1)
    for _ = 1, 2000 do
      local value = (math.random() - 0.5) * 10.0 ^ math.random(-300, 300)
      assert.equal(value, json.decode(json.encode(value)))
    end
    for _, value in ipairs { 5e-324, 1.7976931348623157e308, 2.2250738585072014e-308, 1e16, 2 ^ 53 + 2, -2 ^ 53 - 2,
    2 ^ 63 } do
      local again = json.decode(json.encode { value })[1]
      assert.equal(value, again)
      assert.equal("float", math.type(again))
    end
    assert.equal("9007199254740994.0", json.encode(2 ^ 53 + 2))
  end)

  it("writes an empty table as an object unless it is marked", function()
    assert.equal("{}", json.encode {})
    assert.equal("[]", json.encode(json.array()))
    assert.equal("[]", json.encode(json.array {}))
    assert.equal("{}", json.encode(json.object()))
    assert.equal("{}", json.encode(json.object(json.array())))
    assert.equal('[[],{},[{}]]', json.encode { json.array(), {}, { {} } })
    assert.equal("[1,[]]", json.encode(json.array { 1, json.array() }))
  end)

  it("keeps using the table it was given to mark", function()
    local list = json.array { "a" }
    list[2] = "b"
    assert.equal('["a","b"]', json.encode(list))
    assert.same({ x = 1 }, json.object { x = 1 })
    assert.matches("base/json_spec.lua:%d+: an array must have the keys 1..n", misuse(json.array, { x = 1 }))
  end)

  it("writes null for the sentinel", function()
    assert.equal('{"a":null}', json.encode { a = json.null })
    assert.equal("[null,1]", json.encode { json.null, 1 })
    assert.equal("null", json.encode(json.null))
  end)

  it("escapes strings, keys too", function()
    local text = '"\\\b\f\n\r\t\0\1\127é😀/'
    assert.equal(text, json.decode(json.encode(text)))
    assert.same({ [text] = { 1.5, text } }, json.decode(json.encode { [text] = { 1.5, text } }))
    assert.not_matches("[%c]", json.encode(text))
  end)

  it("names the place of what it cannot write", function()
    local circle = {}
    circle.a = circle
    local cases = {
      { { content = { text = print } }, "'content.text': a function has no form in JSON" },
      { { rows = { { 1 }, { 2, coroutine.create(print) } } }, "'rows[2][2]': a thread has no form" },
      { print, "the value: a function" },
      { nil, "the value: a nil" },
      { { a = 0 / 0 }, "'a': %-?nan is not a JSON number" },
      { { 1, -math.huge }, "'[2]': %-inf is not" },
      { { a = { 1, nil, 3 } }, "'a" },
      { { a = { [2] = 1 } }, "'a[2]': a key must be a string" },
      { { a = { 1, x = 1 } }, "'a': an array with the key x" },
      { { [1.5] = 1 }, "'1.5': a key must be a string, got a number" },
      { { [true] = 1 }, "a key must be a string, got a boolean" },
      { { 1, 2, nil, 4, [0] = 3 }, "an array with" },
      { { a = "\xff" }, "'a': not UTF%-8 at byte 1" },
      { { ["k\xff"] = 1 }, "not UTF%-8 at byte 2" },
      { circle, "nested deeper than 100, or a circle" },
    }
    for _, case in ipairs(cases) do
      local message = refused("PROTOCOL", json.encode(case[1]))
      assert.matches("^cannot encode .*" .. case[2]:gsub("[%[%]]", "%%%0"), message)
    end
    assert.equal("not_sent", select(2, json.encode(print)).outcome)
  end)

  it("bounds depth and size", function()
    local function nested(depth)
      local value = {}
      for _ = 2, depth do value = { a = value } end
      return value
    end
    assert.is_string(json.encode(nested(json.MAX_DEPTH)))
    refused("PROTOCOL", json.encode(nested(json.MAX_DEPTH + 1)))
    refused("LIMIT", json.encode(("x"):rep(json.MAX_SIZE)))
  end)

  it("writes the same on the quick way and by hand", function()
    local values = {
      0, 1, -3, 17.0, -0.0, 99999999999999, "", "é\n", true, false, json.null, {}, { 1, 2 }, { a = { b = "c" } },
    }
    for _, value in ipairs(values) do
      local quick = json.encode { value }
      assert.equal(quick:sub(1, -2) .. ",0.5]", json.encode { value, 0.5 })
    end
  end)
end)

describe("json and its surroundings", function()
  local function comma_locale()
    for _, name in ipairs { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "ru_RU.UTF-8" } do
      if os.setlocale(name, "numeric") then return name end
    end
  end

  after_each(function() os.setlocale("C", "numeric") end)

  it("reads more digits than a locale with a comma can, and says when it cannot", function()
    assert.equal(1 / 3, json.decode("0." .. ("3"):rep(500)))
    if not comma_locale() then return pending "no locale with a decimal comma is installed" end
    assert.equal(1 / 3, json.decode("0." .. ("3"):rep(150)))
    assert.matches("too many digits at byte 1", refused("PROTOCOL", json.decode("0." .. ("3"):rep(500))))
  end)

  it("does not depend on the locale, set before or after", function()
    if not comma_locale() then return pending "no locale with a decimal comma is installed" end
    assert.equal("0,5", ("%.1f"):format(0.5))
    for _ = 1, 2 do
      assert.equal('{"a":1.5}', json.encode { a = 1.5 })
      assert.same({ 1.5, 2 }, json.decode "[1.5,2]")
      os.setlocale("C", "numeric")
    end
  end)

  it("is not touched by the settings of the shared lua-cjson", function()
    local cjson = require "cjson"
    cjson.encode_invalid_numbers(true)
    cjson.decode_invalid_numbers(true)
    cjson.decode_max_depth(2)
    local nan, infinity, deep = json.encode { 0 / 0 }, json.decode "[Infinity]", json.decode "[[[1]]]"
    cjson.encode_invalid_numbers(false)
    cjson.decode_max_depth(1000)
    assert.is_nil(nan)
    assert.is_nil(infinity)
    assert.same({ { { 1 } } }, deep)
  end)

  it("leaves the settings of the shared lua-cjson alone", function()
    local cjson = require "cjson"
    assert.equal(1000, cjson.decode_max_depth())
    assert.equal(1000, cjson.encode_max_depth())
  end)
end)
