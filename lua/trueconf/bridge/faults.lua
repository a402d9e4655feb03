-- SPDX-License-Identifier: MIT
-- What can be made to go wrong, and when it does. Each fault draws from a random source of its own, made
-- from the seed, so that a run can be repeated, and one fault does not change what another one does.

local core = require "trueconf.core"
local protocol = require "trueconf.protocol"
local url = require "trueconf.base.url"
local reply = require "trueconf.bridge.http.reply"

local codes = protocol.codes

---What can be made to go wrong; nil: nothing of the kind. A rate says how often: up to 1 it is a
---probability, a whole number above 1 means every so many times. Rates of methods are one rate for all
---methods but `auth`, or a table of rates by method. Token requests are those of the OAuth2 exchange as well.
---@class trueconf.bridge.Faults
---@field seed? integer of what is left to chance; with the same one the same happens again. Giving it starts anew
---@field refuse_upgrades? integer|true HTTP status that answers every upgrade; true: 503
---@field token_status? integer HTTP status of the token endpoint, with a body of HTML
---@field token_error? number rate of token requests that are answered 503
---@field token_silent? boolean the token endpoint never answers
---@field silent? boolean frames are taken and nothing is sent, neither answers nor notifications
---@field silence? number|table<string, number> rates of methods whose requests get no answer and do nothing
---@field auth_error? integer code that answers every `auth`
---@field expire? number rate of `auth` requests before which all tokens expire, so that they are answered 203
---@field request_error? number|table<string, number> rates of methods whose requests are refused
---@field request_error_code? integer with this code; default 300
---@field delay? number seconds before a request is carried out
---@field delay_up_to? number seconds; as `delay`, but any time up to this, so that answers change their order
---@field news_delay? number seconds before a notification is sent
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
---@field file_delay? number seconds until a file that is sent can be fetched, as one of another server
---@field download_rate? integer bytes per second of a download, at most
---@field download_cut? integer bytes after which the connection of a download is dropped
---@field drop_at? "token"|"open"|"auth"|"ready"|"answer" drop the TCP connection: on a token request, when a socket
---opens, on `auth`, after the answer to `auth`, in place of the answer to a request that was carried out

local HOLD = 0.1                        -- seconds a notification waits for one to follow it
local UNAVAILABLE = 503
local PATHS = url.PATHS
local FILES_PATH = PATHS.files
local TOKEN_PATHS = {
  [PATHS.token] = true, [PATHS.oauth_token] = true, [PATHS.oauth_code] = true, [PATHS.oauth_exchange] = true,
}

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
  request_error_code = INTEGER, delay = SECONDS, delay_up_to = SECONDS, news_delay = SECONDS, drop = RATE,
  drop_place = one_of("before", "middle", "after"), duplicate = RATE, reorder = RATE, idle_drop = SECONDS,
  files_status = STATUS, files_error = RATE, upload_cut = RATE, upload_cut_after = BYTES, upload_rate = SPEED,
  file_delay = SECONDS, download_rate = SPEED, download_cut = BYTES,
  drop_at = one_of("token", "open", "auth", "ready", "answer"),
}

-- A value as it may be shown: short ones as they are, of others the type.
local function shown(value)
  if type(value) == "string" and #value <= 40 then return ("'%s'"):format(value) end
  return type(value) == "number" and "number " .. value or type(value)
end

---@class trueconf.bridge.FaultComplaint
---@field field string
---@field expected string
---@field got string

---What is wrong with faults, or nil; false ends one and is always well.
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

---Read faults as they are given to a command: "drop=0.01", "silent", "silence.getChats=1".
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

-- Chance -----------------------------------------------------------------------------------

---The faults of a Bridge at work.
---@class trueconf.bridge.Mischief
---@field values trueconf.bridge.Faults those that are set
---@field struck table<string, integer> how often each one has struck
---@field private bridge trueconf.bridge.Server
---@field private seed integer?
---@field private sources table<string, integer> states of the random sources
---@field private tried table<string, integer>
---@field private held table<trueconf.core.Connection, string> notifications to be sent behind the next one
---@field private touched table<trueconf.core.Connection, number> when the last frame passed
---@field private timers table<trueconf.core.Timer, trueconf.core.Connection>
---@field private uploads table<string, fun(request: trueconf.core.Request)> what becomes of uploads, by task
local Mischief = {}
Mischief.__index = Mischief

---@param bridge trueconf.bridge.Server
---@param values trueconf.bridge.Faults
---@return trueconf.bridge.Mischief
local function new(bridge, values)
  return setmetatable({
    bridge = bridge, values = values, struck = {}, sources = {}, tried = {}, held = {}, touched = {}, timers = {},
    uploads = {},
  }, Mischief)
end

---Begin the random sources anew.
---@param seed? integer nil: one that is different each time
function Mischief:start(seed)
  self.seed, self.sources, self.tried = seed, {}, {}
end

-- The state in which the random source of a name begins: FNV-1a of the name, by the seed.
local function first_state(seed, name)
  local state = 0xcbf29ce484222325 ~ seed
  for place = 1, #name do state = (state ~ name:byte(place)) * 0x100000001b3 end
  return state
end

---A number from 0 to below 1, by SplitMix64.
---@param name string of the random source
---@return number
function Mischief:draw(name)
  self.seed = self.seed or string.unpack("<i8", core.random(8))
  local state = (self.sources[name] or first_state(self.seed, name)) + 0x9E3779B97F4A7C15
  self.sources[name] = state
  local mixed = (state ~ (state >> 30)) * 0xBF58476D1CE4E5B9
  mixed = (mixed ~ (mixed >> 27)) * 0x94D049BB133111EB
  return ((mixed ~ (mixed >> 31)) >> 11) * 2.0 ^ -53
end

function Mischief:strikes_at(name, rate)
  local tried = (self.tried[name] or 0) + 1
  self.tried[name] = tried
  if rate > 1 then return tried % rate == 0 end
  return self:draw(name) < rate
end

function Mischief:note(name)
  self.struck[name] = (self.struck[name] or 0) + 1
  self.bridge.reports:fault(name, self.struck[name])
  return true
end

---Whether a fault strikes this time.
---@param name string
---@param method? string that it is about
---@return boolean
function Mischief:strikes(name, method)
  local rate, source = self.values[name], name
  if method and type(rate) == "table" then
    rate, source = rate[method], name .. "." .. method
  elseif method == "auth" then
    rate = nil
  end
  return rate ~= nil and self:strikes_at(source, rate) and self:note(name)
end

-- Requests ---------------------------------------------------------------------------------

---Whether a request is passed over.
---@param frame table
---@return boolean
function Mischief:ignores(frame)
  if frame.method == "auth" and self:strikes "expire" then self.bridge.store:expire_tokens() end
  return self:strikes("silence", frame.method)
end

---The code a request is refused with, if it is.
---@param frame table
---@return integer?
function Mischief:refusal(frame)
  if not self:strikes("request_error", frame.method) then return nil end
  return self.values.request_error_code or codes.INTERNAL_ERROR
end

---How long a request waits.
---@return number? seconds
function Mischief:delay()
  local most = self.values.delay_up_to
  if not most then return self.values.delay end
  return (self.values.delay or 0) + most * self:draw "delay_up_to"
end

-- Frames -----------------------------------------------------------------------------------

function Mischief:after(seconds, transport, fn)
  local timer
  timer = core.timer(seconds, function()
    self.timers[timer] = nil
    fn()
  end)
  self.timers[timer] = transport
end

local PLACES = { "before", "middle", "after" }

function Mischief:emit(transport, text)
  self.bridge:on_sent(transport, text)
  transport:send(text)
end

function Mischief:drop(transport, text)
  local place = self.values.drop_place or PLACES[1 + math.floor(3 * self:draw "drop_place")]
  if place == "before" then return transport:drop() end
  local sent = place == "middle" and #text // 2 or #text
  self.bridge:on_sent(transport, text:sub(1, sent))
  transport:drop(text, sent)
end

function Mischief:release(transport)
  local text = self.held[transport]
  self.held[transport] = nil
  if text then self:emit(transport, text) end
end

function Mischief:pass(transport, text, is_news)
  if self:strikes "drop" then return self:drop(transport, text) end
  if is_news and not self.held[transport] and self:strikes "reorder" then
    self.held[transport] = text
    return self:after(HOLD, transport, function() self:release(transport) end)
  end
  self:emit(transport, text)
  if self:strikes "duplicate" then self:emit(transport, text) end
  if is_news then self:release(transport) end
end

---Send a frame, or do to it what the faults want.
---@param transport trueconf.core.Connection
---@param text string
---@param is_news? boolean it is a notification
function Mischief:send(transport, text, is_news)
  local values = self.values
  if not next(values) then return self:emit(transport, text) end
  self:touch(transport)
  if not is_news or not values.news_delay then return self:pass(transport, text, is_news) end
  self:after(values.news_delay, transport, function() self:pass(transport, text, true) end)
end

-- Idle connections -------------------------------------------------------------------------

function Mischief:watch(transport)
  local idle, since = self.values.idle_drop, self.touched[transport]
  if not idle or not since then
    self.touched[transport] = nil
    return
  end
  local left = since + idle - core.monotonic()
  if left > 0 then return self:after(left, transport, function() self:watch(transport) end) end
  self.touched[transport] = nil
  self:note "idle_drop"
  transport:drop()
end

---A frame passes, or the connection opens.
---@param transport trueconf.core.Connection
function Mischief:touch(transport)
  if not self.values.idle_drop then return end
  local watched = self.touched[transport]
  self.touched[transport] = core.monotonic()
  if not watched then self:watch(transport) end
end

---A connection is gone.
---@param transport trueconf.core.Connection
function Mischief:forget(transport)
  self.held[transport], self.touched[transport] = nil, nil
  for timer, of in pairs(self.timers) do
    if of == transport then
      self.timers[timer] = nil
      timer:cancel()
    end
  end
end

---Let go of everything.
function Mischief:close()
  for timer in pairs(self.timers) do timer:cancel() end
  self.timers, self.held, self.touched, self.uploads = {}, {}, {}, {}
end

-- HTTP -------------------------------------------------------------------------------------

local function respond_unavailable(request) reply.as_proxy(request, UNAVAILABLE) end

local function drop(request) request:drop() end

-- What becomes of a request about files, if anything.
function Mischief:fate_of_file(method)
  if method == "POST" and self:strikes "upload_cut" then return drop end
  return self:strikes "files_error" and respond_unavailable or nil
end

---An upload begins. One that will fail does not touch its task, so that it can be tried again.
---@param head trueconf.core.RequestHead
---@return trueconf.core.BodyDecision?
function Mischief:on_head(head)
  if head.path ~= FILES_PATH or head.method ~= "POST" then return nil end
  local task = head.headers["upload-task-id"] or ""
  self.uploads[task] = self:fate_of_file "POST"
  return self.uploads[task] and { ignore_body = true }
end

---What becomes of the body of an upload that is taken.
---@param decision trueconf.core.BodyDecision?
---@return trueconf.core.BodyDecision?
function Mischief:hamper(decision)
  if not decision or not decision.form then return decision end
  decision.rate, decision.cut_after = self.values.upload_rate, self.values.upload_cut_after
  return decision
end

---Answer an HTTP request in the place of the Bridge, if a fault wants it.
---@param request trueconf.core.Request
---@return boolean handled
function Mischief:on_http(request)
  local fate
  if TOKEN_PATHS[request.path] then
    fate = self:strikes "token_error" and respond_unavailable
  elseif request.path == FILES_PATH then
    local task = request.headers["upload-task-id"] or ""
    fate, self.uploads[task] = self.uploads[task], nil
  elseif request.path:sub(1, #FILES_PATH + 1) == FILES_PATH .. "/" then
    fate = self:fate_of_file "GET"
  end
  if fate then fate(request) end
  return fate and true or false
end

return { new = new, check = check, complaint = complaint, parse = parse, RULES = RULES }
