-- SPDX-License-Identifier: MIT
-- Public. A small logger with levels. By default it writes one line per message to stderr. It does not mask secrets:
-- the caller keeps them out. Control characters and marks of direction, which can come from the wire, are escaped;
-- further lines of a text are indented, so that no text can pass for a line of the log (log injection).

require "trueconf.base.needs"

local core = require "trueconf.core"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local printable = require "trueconf.base.printable"

local RANKS = { debug = 1, info = 2, warn = 3, error = 4, off = 5 }
local NAMES = { "debug", "info", "warn", "error", "off" }
local DEFAULT_LEVEL = "info"

local SCHEMA = {
  level = { type = "string", enum = NAMES },
  sink = { type = "function" },
}

---@alias trueconf.LogLevel "debug"|"info"|"warn"|"error"

---@class trueconf.Log
---@field private rank integer
---@field private sink fun(level: trueconf.LogLevel, text: string)
local Log = {}
Log.__index = Log

local function clean(text)
  return (printable.lines(text):gsub("\n", "\n    "))
end

local function write_line(level, text)
  local time = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(core.now() / 1000))
  io.stderr:write(("%s %-5s %s\n"):format(time, level:upper(), text))
end

-- The level that TRUECONF_LOG names, and what is wrong with it.
local function level_of_environment()
  local name = os.getenv "TRUECONF_LOG"
  if not name or name == "" then return DEFAULT_LEVEL end
  if RANKS[name:lower()] then return name:lower() end
  return DEFAULT_LEVEL, ("TRUECONF_LOG must be one of %s"):format(table.concat(NAMES, ", "))
end

-- A failing sink must not stop the code that logs.
local function put(self, level, text, ...)
  if RANKS[level] < self.rank then return end
  if select("#", ...) > 0 then text = text:format(...) end
  text = clean(tostring(text))
  if not pcall(self.sink, level, text) then write_line(level, text) end
end

---Write a line; so do info, warn and error.
---@param text any printed as it is, or a format if values follow
---@param ... any
function Log:debug(text, ...) put(self, "debug", text, ...) end

---@param text any
---@param ... any
function Log:info(text, ...) put(self, "info", text, ...) end

---@param text any
---@param ... any
function Log:warn(text, ...) put(self, "warn", text, ...) end

---@param text any
---@param ... any
function Log:error(text, ...) put(self, "error", text, ...) end

---True if messages of this level are written. Ask before making a costly text.
---@param level trueconf.LogLevel
---@return boolean
function Log:enabled(level)
  return RANKS[level] >= self.rank
end

---@class (exact) trueconf.LogOptions
---@field level? trueconf.LogLevel|"off" default: the environment's TRUECONF_LOG, else "info"
---@field sink? fun(level: trueconf.LogLevel, text: string) takes the messages in place of stderr; must not wait

---Make a logger.
---@param given? trueconf.LogOptions
---@return trueconf.Log
local function new(given)
  local checked = options.check(SCHEMA, given, 2, "log")
  local level, wrong = checked.level, nil
  if not level then level, wrong = level_of_environment() end
  local log = setmetatable({ rank = RANKS[level], sink = checked.sink or write_line }, Log)
  if wrong then log:warn(wrong) end
  return log
end

-- The methods that a logger must have.
local METHODS = { "debug", "info", "warn", "error" }

local function is_logger(value)
  for _, name in ipairs(METHODS) do
    if type(value[name]) ~= "function" then return false end
  end
  return true
end

local function is_options(value)
  for name, given in pairs(value) do
    local option = SCHEMA[name]
    if not option or type(given) ~= option.type or name == "level" and not RANKS[given] then return false end
  end
  return getmetatable(value) == nil
end

---Fit to be the `check` of an option: a logger, the options of one, or a level.
---@param value any
---@return boolean
---@return string expected
local function is_log(value)
  local expected = ("must be one of %s; or { level =, sink = }; or a logger with the methods %s"):format(
    table.concat(NAMES, ", "), table.concat(METHODS, ", "))
  if type(value) ~= "table" then return RANKS[value] ~= nil, expected end
  return is_logger(value) or is_options(value), expected
end

---The logger that an option stands for, which is_log() takes.
---@param value trueconf.Log|trueconf.LogOptions|string|nil
---@return trueconf.Log
local function of(value)
  if type(value) == "table" and is_logger(value) then return value end
  return new(type(value) == "string" and { level = value } or value)
end

misuse.guard(Log, "log")

return { new = new, of = of, is_log = is_log }
