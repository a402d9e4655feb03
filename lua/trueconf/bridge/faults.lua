-- SPDX-License-Identifier: MIT
-- The faults of a Bridge: checks and reads their settings. fault_injector.lua carries them out.

local protocol = require "trueconf.protocol"

---The faults; nil: the fault is off. A rate up to 1 is a probability; a whole number N above 1 means every Nth time.
---Rates of methods are one rate for all methods but `auth`, or a table of rates by method. Token requests include those
---of the OAuth2 exchange.
---@class trueconf.bridge.Faults
---@field seed? integer seed of the random sources; the same seed repeats a run. Setting it starts them anew
---@field refuse_upgrades? integer|true HTTP status that answers every upgrade; true: 503
---@field token_status? integer HTTP status of the token endpoint, with a body of HTML
---@field token_error? number rate of token requests that are answered 503
---@field token_silent? boolean the token endpoint never answers
---@field silent? boolean frames are read but nothing is sent, neither answers nor notifications
---@field silence? number|table<string, number> rates of methods whose requests get no answer and do nothing
---@field auth_error? integer code that answers every `auth`
---@field expire? number rate of `auth` requests before which all tokens expire, so that they are answered 203
---@field request_error? number|table<string, number> rates of methods whose requests are refused
---@field request_error_code? integer with this code; default 300
---@field delay? number seconds before a request is carried out
---@field delay_up_to? number seconds; like `delay`, but a random time up to this, so that answers change their order
---@field notification_delay? number seconds before a notification is sent
---@field drop? number rate of frames sent at which the TCP connection is dropped
---@field drop_place? "before"|"middle"|"after" where in the frame; default any of them
---@field duplicate? number rate of frames that are sent twice
---@field reorder? number rate of notifications that are sent behind the next one, or 0.1 s later if none comes
---@field idle_drop? number seconds without a frame after which the TCP connection is dropped
---@field files_status? integer HTTP status that answers every upload and download
---@field files_error? number rate of uploads and downloads that are answered 503
---@field upload_cut? number rate of uploads whose connection is dropped at their begin
---@field upload_cut_after? integer bytes of an upload, its form included, after which its connection is dropped
---@field upload_rate? integer bytes per second of an upload, at most; the client has to wait
---@field file_delay? number seconds until a sent file can be downloaded, like a file from another server
---@field download_rate? integer bytes per second of a download, at most
---@field download_cut? integer bytes after which the connection of a download is dropped
---@field drop_at? "token"|"open"|"auth"|"ready"|"answer" drop the TCP connection: on a token request, when a socket
---opens, on `auth`, after the answer to `auth`, in place of the answer to a request that was carried out

-- Checking ---------------------------------------------------------------------------------

local function is_rate(value)
  return type(value) == "number" and value > 0 and (value <= 1 or math.tointeger(value) ~= nil)
end

local function is_rates(value)
  if type(value) ~= "table" then return is_rate(value) end
  for name, rate in pairs(value) do
    if not protocol.methods[name] or not is_rate(rate) then return false end
  end
  return true
end

local function one_of(...)
  local names = { ... }
  local allowed = {}
  for _, name in ipairs(names) do allowed[name] = true end
  return {
    expected = "one of " .. table.concat(names, ", "),
    fits = function(value) return allowed[value] == true end,
  }
end

local BOOLEAN = { expected = "a boolean", fits = function(value) return type(value) == "boolean" end }
local INTEGER = { expected = "a whole number", fits = function(value) return math.type(value) == "integer" end }
local SECONDS = {
  expected = "a number of seconds", fits = function(value) return type(value) == "number" and value >= 0 end,
}
local BYTES = {
  expected = "a number of bytes", fits = function(value) return math.type(value) == "integer" and value >= 0 end,
}
local SPEED = {
  expected = "a number of bytes above 0", fits = function(value) return math.type(value) == "integer" and value > 0 end,
}
local STATUS = {
  expected = "an HTTP status from 400 to 599",
  fits = function(value) return math.type(value) == "integer" and value >= 400 and value <= 599 end,
}
local REFUSAL = { expected = STATUS.expected .. ", or true", fits = function(value)
  return value == true or STATUS.fits(value)
end }
local RATE = { expected = "a probability up to 1 or a whole number", fits = is_rate }
local RATES = { expected = RATE.expected .. ", or a table of such by method", fits = is_rates }

local RULES = {
  seed = INTEGER, refuse_upgrades = REFUSAL, token_status = STATUS, token_error = RATE, token_silent = BOOLEAN,
  silent = BOOLEAN, silence = RATES, auth_error = INTEGER, expire = RATE, request_error = RATES,
  request_error_code = INTEGER, delay = SECONDS, delay_up_to = SECONDS, notification_delay = SECONDS, drop = RATE,
  drop_place = one_of("before", "middle", "after"), duplicate = RATE, reorder = RATE, idle_drop = SECONDS,
  files_status = STATUS, files_error = RATE, upload_cut = RATE, upload_cut_after = BYTES, upload_rate = SPEED,
  file_delay = SECONDS, download_rate = SPEED, download_cut = BYTES,
  drop_at = one_of("token", "open", "auth", "ready", "answer"),
}

-- A value for a message: a short one as it is, of others the type.
local function shown(value)
  if type(value) == "string" and #value <= 40 then return ("'%s'"):format(value) end
  return type(value) == "number" and "number " .. value or type(value)
end

---@class trueconf.bridge.FaultComplaint
---@field field string
---@field expected string
---@field got string

---The complaint about faults, or nil; false ends a fault and is always correct.
---@param faults table
---@return trueconf.bridge.FaultComplaint?
local function complaint(faults)
  for name, value in pairs(faults) do
    local rule = RULES[name]
    if not rule then return { field = tostring(name), expected = "the name of a fault", got = "an unknown one" } end
    if value ~= false and not rule.fits(value) then
      return { field = name, expected = rule.expected, got = shown(value) }
    end
  end
end

---Check faults.
---@param faults trueconf.bridge.Faults
---@param level integer of the caller to blame
local function check(faults, level)
  local wrong = complaint(faults)
  if not wrong then return end
  if not RULES[wrong.field] then error(("unknown fault '%s'"):format(wrong.field), level + 1) end
  error(("fault '%s' must be %s, got %s"):format(wrong.field, wrong.expected, wrong.got), level + 1)
end

local WORDS = { ["true"] = true, ["false"] = false }

local function value_of(text)
  if WORDS[text] ~= nil then return WORDS[text] end
  return math.tointeger(tonumber(text)) or tonumber(text) or text
end

---Read faults from the command line: "drop=0.01", "silent", "silence.getChats=1".
---@param list string[]
---@return trueconf.bridge.Faults? faults
---@return string? complaint
local function parse(list)
  local faults = {}
  for _, text in ipairs(list) do
    local name, value = text:match "^([^=]+)=(.+)$"
    if not name then name, value = text, "true" end
    local group, method = name:match "^([%w_]+)%.(%w+)$"
    if group then
      if type(faults[group]) ~= "table" then faults[group] = {} end
      faults[group][method] = value_of(value)
    else
      faults[name] = value_of(value)
    end
  end
  local ok, message = pcall(check, faults, 0)
  if not ok then return nil, (tostring(message):gsub("^[^ ]+:%d+: ", "")) end
  return faults
end

return { check = check, complaint = complaint, parse = parse, RULES = RULES }
