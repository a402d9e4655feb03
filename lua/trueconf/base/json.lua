-- SPDX-License-Identifier: MIT
-- JSON text to Lua values and back.
--
-- Decoding is done by the C core: RFC 8259 and nothing else. Whole numbers that are written without a point or an
-- exponent are Lua integers, exact as far as 64 bits go; other whole numbers up to 2^53 are integers too (`1.0`), all
-- others floats, and one past the range of floats is an error. A null in an object leaves its key out. A null in an
-- array is removed and the rest moves up, so that a decoded array never has holes. An empty array is marked and goes
-- out as `[]` again. Of a key that comes twice the last value counts. Half a surrogate pair, which RFC 8259 allows and
-- UTF-8 cannot hold, is U+FFFD.
--
-- Encoding: a table with the keys 1..n is an array, one whose keys are strings an
-- object, anything else an error. An empty table is `{}` unless json.array() marked it.
-- lua-cjson writes the values that it writes exactly (see core.json_is_plain), which is almost every request; this
-- module writes the others, slower.

local cjson = require "cjson"
local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local options = require "trueconf.base.options"

local find, format, gsub = string.find, string.format, string.gsub
local concat = table.concat
local next, type, getmetatable, setmetatable = next, type, getmetatable, setmetatable
local error, pcall, tonumber, rawlen = error, pcall, tonumber, rawlen
local math_type, utf8_len = math.type, utf8.len
local decode_text, is_plain = core.json_decode, core.json_is_plain

local MAX_DEPTH = core.JSON_MAX_DEPTH
local MAX_SIZE = 16 * 1024 * 1024       -- bytes of JSON text, as many as a frame may have
local EXACT = 2 ^ 53                    -- whole numbers up to here have one spelling

local null = cjson.null
local array_mark = core.json_array_mark

-- An instance of our own: the settings of the shared one belong to everybody.
local function open_encoder()
  local instance = cjson.new()
  instance.encode_max_depth(MAX_DEPTH)
  instance.encode_invalid_numbers(false)
  if instance.encode_empty_table_as_object then instance.encode_empty_table_as_object(true) end
  return instance.encode
end

local raw_encode = open_encoder()

-- Decoding --------------------------------------------------------------------------------

-- Tail calls lead here: level 2 is the caller of decode or receive.
local function read(text, max_size, mend, exact)
  if type(text) ~= "string" then error("JSON text must be a string, got " .. options.type_of(text), 2) end
  if #text > (max_size or MAX_SIZE) then
    return nil, Error.new("LIMIT", format("JSON text of %d bytes, at most %d are read", #text, max_size or MAX_SIZE))
  end
  local value, wrong, index = decode_text(text, mend, exact)
  if not wrong then return value end
  return nil, Error.new("PROTOCOL", format("not JSON: %s at byte %d", wrong, index))
end

---Read one JSON value. The text `null` gives nil, and no error.
---@param text string
---@param max_size? integer bytes; default 16 MiB
---@return any value
---@return trueconf.Error? err PROTOCOL: not JSON, not UTF-8, nested too deep, a number out of range; LIMIT: too large
local function decode(text, max_size)
  return read(text, max_size, false)
end

---Read JSON that encode_exact() has written.
---@param text string
---@return any value
---@return trueconf.Error? err as decode
local function decode_exact(text)
  return read(text, nil, false, true)
end

---Read one JSON value that came from elsewhere: in its strings, bytes that are not UTF-8 become U+FFFD, one for each
---run that a browser shows as one.
---@param text string
---@param max_size? integer bytes; default 16 MiB
---@return any value
---@return trueconf.Error? err as decode
local function receive(text, max_size)
  return read(text, max_size, true)
end

-- Encoding --------------------------------------------------------------------------------

-- Raised by `write` for a value it cannot write, caught in `encode`.
---@param path (string|integer)[] keys from the root to the value
local function refuse(path, reason)
  for i, key in ipairs(path) do
    path[i] = math_type(key) == "integer" and format("[%d]", key) or (i > 1 and "." or "") .. tostring(key)
  end
  error({ field = #path > 0 and "'" .. concat(path) .. "'" or "the value", reason = reason }, 0)
end

local function write_number(number, path)
  if number ~= number or number == math.huge or number == -math.huge then
    refuse(path, format("%s is not a JSON number", number))
  end
  if math_type(number) == "integer" then return format("%d", number) end
  local text
  for digits = 14, 17 do
    text = format("%." .. digits .. "g", number)
    if tonumber(text) == number then break end
  end
  local is_short = number % 1 == 0 and number < EXACT and number > -EXACT
  if is_short then text = format("%.0f", number) end
  -- Past 2^53 a number without a point is read as an integer.
  if (path.exact or not is_short) and not find(text, "[^-+%d]") then return text .. ".0" end
  return (gsub(text, "[^-+%de]+", "."))   -- whatever the locale's decimal point is
end

local function write_string(text, path)
  local valid, bad = utf8_len(text)
  if not valid then refuse(path, format("not UTF-8 at byte %d", bad)) end
  return raw_encode(text)
end

local write

local function write_array(out, array, length, path)
  for key in next, array do
    if math_type(key) ~= "integer" or key < 1 or key > length then
      refuse(path, format("an array with the key %s", tostring(key)))
    end
  end
  out[#out + 1] = "["
  for i = 1, length do
    if i > 1 then out[#out + 1] = "," end
    path[#path + 1] = i
    if array[i] == nil then refuse(path, "an array with a hole") end
    write(out, array[i], path)
    path[#path] = nil
  end
  out[#out + 1] = "]"
end

local function write_object(out, object, path)
  local separator = "{"
  for key, value in next, object do
    path[#path + 1] = key
    if type(key) ~= "string" then refuse(path, format("a key must be a string, got %s", options.type_of(key))) end
    out[#out + 1] = separator
    out[#out + 1] = write_string(key, path)
    out[#out + 1] = ":"
    write(out, value, path)
    path[#path] = nil
    separator = ","
  end
  out[#out + 1] = separator == "{" and "{}" or "}"
end

local function write_table(out, value, path)
  if #path >= MAX_DEPTH then refuse({}, format("nested deeper than %d, or a circle", MAX_DEPTH)) end
  local length = rawlen(value)
  if length > 0 or getmetatable(value) == array_mark then return write_array(out, value, length, path) end
  write_object(out, value, path)
end

function write(out, value, path)
  local kind = type(value)
  if kind == "table" then return write_table(out, value, path) end
  if kind == "string" then out[#out + 1] = write_string(value, path)
  elseif kind == "number" then out[#out + 1] = write_number(value, path)
  elseif kind == "boolean" then out[#out + 1] = tostring(value)
  elseif value == null and not path.exact then out[#out + 1] = "null"
  else refuse(path, value == null and "a null would be lost" or format("a %s has no form in JSON", kind)) end
end

local function write_text(value, exact)
  local out = {}
  local ok, failure = pcall(write, out, value, { exact = exact })
  if ok then return concat(out) end
  if type(failure) ~= "table" then error(failure, 0) end
  local message = format("cannot encode %s: %s", failure.field, failure.reason)
  return nil, Error.new("PROTOCOL", message, { outcome = "not_sent" })
end

local function write_any(value, exact)
  local text, err
  if is_plain(value, array_mark, exact) then
    text = raw_encode(value)
  else
    text, err = write_text(value, exact)
    if not text then return nil, err end
  end
  if #text > MAX_SIZE then
    return nil, Error.new("LIMIT", format("JSON text of %d bytes, at most %d are sent", #text, MAX_SIZE))
  end
  return text
end

---Write a value as JSON text.
---@param value any
---@return string? text
---@return trueconf.Error? err PROTOCOL: a value without a form in JSON, named by its path; LIMIT: too large
local function encode(value)
  return write_any(value, false)
end

---Write a value for a store: decode_exact() gives the same value back, floats as floats too. A null is an error,
---because it would be missing then.
---@param value any
---@return string? text
---@return trueconf.Error? err as encode
local function encode_exact(value)
  return write_any(value, true)
end

-- Marks -----------------------------------------------------------------------------------

---Mark a table as an array, so that it goes out as `[]` while it is empty.
---@generic T: table
---@param table? T
---@return T
local function array(table)
  table = table or {}
  if next(table) ~= nil and table[1] == nil then error("an array must have the keys 1..n", 2) end
  return setmetatable(table, array_mark)
end

---Take the mark of json.array() off, so that the table goes out as `{}` while it is empty.
---@generic T: table
---@param table? T
---@return T
local function object(table)
  if table and getmetatable(table) == array_mark then return setmetatable(table, nil) end
  return table or {}
end

---True if a table is written as an array.
---@param value any
---@return boolean
local function is_array(value)
  return type(value) == "table" and (value[1] ~= nil or getmetatable(value) == array_mark)
end

---@class trueconf.json
return {
  decode = decode,
  receive = receive,
  encode = encode,
  decode_exact = decode_exact,
  encode_exact = encode_exact,
  array = array,
  object = object,
  is_array = is_array,
  null = null,                          -- goes out as `null`; never comes in
  MAX_DEPTH = MAX_DEPTH,
  MAX_SIZE = MAX_SIZE,
}
