-- SPDX-License-Identifier: MIT

local cjson = require "cjson"
local json = require "trueconf.base.json"
local json_texts = require "spec.support.json_texts"

local TEXTS = tonumber(os.getenv "TEXTS") or 10000

local reference = cjson.new()
reference.decode_invalid_numbers(false)

-- A value of lua-cjson as we promise it: without nulls, whole numbers as integers.
local function as_ours(value)
  if value == cjson.null then return nil end
  if math.type(value) == "float" and math.abs(value) <= 2 ^ 53 then return math.tointeger(value) or value end
  if type(value) ~= "table" then return value end
  local result, length = {}, 0
  for place = 1, #value do
    local item = as_ours(value[place])
    if item ~= nil then length = length + 1; result[length] = item end
  end
  for key, item in pairs(value) do
    if type(key) == "string" then result[key] = as_ours(item) end
  end
  return result
end

-- lua-cjson keeps whole numbers past 2^53 as the nearest float.
local function same(ours, theirs)
  if type(ours) == "number" and type(theirs) == "number" then
    return ours == theirs or ours + 0.0 == theirs + 0.0 and math.abs(ours) > 2 ^ 53
  end
  if type(ours) ~= "table" or type(theirs) ~= "table" then return ours == theirs end
  for key, item in pairs(ours) do
    if not same(item, theirs[key]) then return false end
  end
  for key in pairs(theirs) do
    if ours[key] == nil then return false end
  end
  return true
end

-- Complaints about texts that lua-cjson reads.
local STRICTER = {
  "not UTF%-8", "control character in a string", "digits are missing", "number that begins with 0",
  "number that is too large",
}

-- It also takes a minus before a point for a number, and a zero byte for the end of a text.
local function is_stricter(text, why)
  if text:find "%-%." or text:find "\0" then return true end
  for _, reason in ipairs(STRICTER) do
    if why:find(reason) then return true end
  end
  return false
end

describe("JSON texts, many of them broken", function()
  local seed = os.time()
  local read, refused

  local function each(check)
    local texts = json_texts.new(seed)
    read, refused = 0, 0
    for _ = 1, TEXTS do
      local text = texts:next()
      local ok, why = check(text)
      assert(ok, ("seed %d: %q: %s"):format(seed, text, tostring(why)))
    end
    assert.is_true(read > TEXTS / 4 and refused > TEXTS / 10)
  end

  it("are read as lua-cjson reads them, or refused for a reason that is named", function()
    each(function(text)
      local ours, err = json.decode(text)
      local fine, theirs = pcall(reference.decode, text)
      if err then
        refused = refused + 1
        return not fine or is_stricter(text, err.message), err
      end
      read = read + 1
      if not fine then return text:find "\\u[dD][89a-fA-F]", theirs end -- half a surrogate pair
      return same(ours, as_ours(theirs)), "another value"
    end)
  end)
end)
