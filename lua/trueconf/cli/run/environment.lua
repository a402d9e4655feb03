-- SPDX-License-Identifier: MIT
-- Files of environment variables, in the format of systemd's EnvironmentFile= (systemd.exec(5)). Variables that the
-- process has already take precedence. A line that systemd ignores, with a note in its journal, is an error here.

local core = require "trueconf.core"

-- luacheck: globals os.getenv

local BYTE_ORDER_MARK = "\xEF\xBB\xBF"

-- Values ------------------------------------------------------------------------------------------

-- Reads up to the end of the line. A backslash escapes the next character, and joins the line with the next one; blanks
-- at the end do not count.
local function read_plain(text, index)
  local value = ""
  while true do
    local piece, stop = text:match("^([^\\\r\n]*)()", index)
    if text:sub(stop, stop) ~= "\\" then return value .. piece:gsub("[ \t]+$", ""), stop end
    value, index = value .. piece .. text:match("^[^\r\n]?", stop + 1), math.min(stop + 2, #text + 1)
  end
end

local function read_single(text, index)
  local stop = text:find("'", index, true)
  if stop then return text:sub(index, stop - 1), stop + 1 end
end

-- A backslash is literal, unless a character with a meaning in a shell follows it, or the end of the line.
local function read_double(text, index)
  local value = ""
  while true do
    local piece, sign, stop = text:match('^([^"\\]*)(["\\])()', index)
    if not piece then return nil end
    value, index = value .. piece, stop
    if sign == '"' then return value, index end
    local escaped = text:sub(index, index)
    value = value .. (escaped:find '["\\`$]' and escaped or escaped == "\n" and "" or "\\" .. escaped)
    index = index + 1
  end
end

local QUOTED = { ["'"] = read_single, ['"'] = read_double }

-- Reads quoted parts one after the other, and a plain one at the end; nil: a quote is not closed.
local function read_value(text, index)
  local value = ""
  while true do
    index = text:match("^[ \t]*()", index)
    local sign = text:sub(index, index)
    if sign == "" or sign:find "[\r\n]" then return value, index end
    local part, behind
    if QUOTED[sign] then part, behind = QUOTED[sign](text, index + 1) else part, behind = read_plain(text, index) end
    if not part then return nil end
    value, index = value .. part, behind
  end
end

-- Lines -------------------------------------------------------------------------------------------

local function mistake_of(name, has_value)
  if name:find "^export%s" then return "'export' is for shells; begin with the name" end
  if not has_value or not name:find "^[%a_][%w_]*$" then return "expected NAME=value" end
end

-- Reads one assignment; nil and a complaint if it is wrong.
local function read_assignment(text, index)
  local name, sign, behind = text:match("^([^=\r\n]*)(=?)()", index)
  name = name:gsub("[ \t]+$", "")
  local mistake = mistake_of(name, sign == "=")
  if mistake then return nil, mistake end
  local value, stop = read_value(text, behind)
  if not value then return nil, ("the quote of %s is not closed"):format(name) end
  if not utf8.len(value) then return nil, ("the value of %s is not UTF-8"):format(name) end
  if value:find("\0", 1, true) then return nil, ("the value of %s holds a NUL"):format(name) end
  return name, value, stop
end

-- The variables of a text, or nil and a complaint, which holds no value.
local function parse(text, path)
  if text:sub(1, 3) == BYTE_ORDER_MARK then
    return nil, ("%s:1: it begins with a byte order mark; save it as UTF-8 without one"):format(path)
  end
  local found, index = {}, 1
  while true do
    index = text:match("^%s*()", index)
    if index > #text then return found end
    if text:find("^[#;]", index) then
      index = text:match("^[^\r\n]*()", index)
    else
      local name, value, stop = read_assignment(text, index)
      if not name then
        local _, number = text:sub(1, index):gsub("\n", "")
        return nil, ("%s:%d: %s"):format(path, number + 1, value)
      end
      found[name], index = value, stop
    end
  end
end

---Add the variables of a file to the environment of this process.
---@param path string a file that only its owner can read
---@return true? ok
---@return string? complaint
local function add(path)
  local text, err = core.read_private(path)
  if not text then return nil, err and err.message or "there is no file " .. path end
  local found, complaint = parse(text, path)
  if not found then return nil, complaint end
  -- Set them for the process itself: the core reads proxies from there, OpenSSL the paths of certificates.
  for name, value in pairs(found) do core.add_variable(name, value) end
  return true
end

---Set a variable for this program.
---@param name string
---@param value string
local function set(name, value)
  local getenv = os.getenv
  function os.getenv(asked)
    if asked == name then return value end
    return getenv(asked)
  end
end

return { add = add, set = set, parse = parse }
