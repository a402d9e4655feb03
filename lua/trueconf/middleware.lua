-- SPDX-License-Identifier: MIT
-- Public. Middleware that many bots need: access control and rate limit.
--
--   bot:use(middleware.allow { users = { "anna", "boris@chat.example.com" } })
--   bot:use(middleware.rate_limit { count = 5, seconds = 10 })
--   moderation:use(middleware.roles { "owner", "admin", refuse = "That is for the owner and admins." })
--

require "trueconf.base.needs"

local lru = require "trueconf.base.lru"
local core = require "trueconf.core"
local filter = require "trueconf.filter"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"

local middleware = {}

---The reaction to an event that may not pass: a text to reply with, or a function.
---@alias trueconf.Refusal string|fun(event: trueconf.Message|table, bot: trueconf.Bot)

-- Makes a function of a refusal. Only messages can be answered, other events not.
local function refuse_with(refusal)
  if type(refusal) ~= "string" then return refusal or function() end end
  return function(event)
    if event.reply then assert(event:reply(refusal)) end
  end
end

---Let only events pass that a filter accepts.
---@param test trueconf.Filter|trueconf.Predicate
---@param refusal? trueconf.Refusal default: silence
---@return trueconf.Middleware
function middleware.guard(test, refusal)
  if not filter.is_callable(test) then
    options.refuse("guard", "a filter or a function", test, 2)
  end
  local refuse = refuse_with(refusal)
  return function(event, next, bot)
    if test(event, bot) then next() else refuse(event, bot) end
  end
end

---@class (exact) trueconf.AllowOptions
---@field users? string[] TrueConf IDs, or logins, which match on any server
---@field chats? string[] ids of chats in which everybody may use the bot
---@field anonymous? boolean let events without an author pass, such as clicks; default false
---@field refuse? trueconf.Refusal default: silence

local ALLOW = {
  users = { type = "table", check = options.is_list_of_strings },
  chats = { type = "table", check = options.is_list_of_strings },
  anonymous = { type = "boolean", default = false },
  refuse = { type = "string|function" },
}

---An allow-list: only these people, and everybody in these chats.
---@param given trueconf.AllowOptions
---@return trueconf.Middleware
function middleware.allow(given)
  local allowed = options.check(ALLOW, given, 2, "middleware.allow")
  local by_user = allowed.users and allowed.users[1] and filter.author(allowed.users)
  local by_chat = allowed.chats and allowed.chats[1] and filter.chat(allowed.chats)
  return middleware.guard(filter.new(function(event, bot)
    return allowed.anonymous and not filter.author_of(event) or by_user and by_user(event, bot)
      or by_chat and by_chat(event, bot)
  end), allowed.refuse)
end

---@class (exact) trueconf.RolesOptions
---@field [integer] string roles: "owner", "admin", ...
---@field refuse? trueconf.Refusal default: silence

local ROLES = { refuse = ALLOW.refuse }

---Only for people with one of these roles in the chat. In personal chats everybody has the role user.
---@param given trueconf.RolesOptions
---@return trueconf.Middleware
function middleware.roles(given)
  if type(given) ~= "table" then options.refuse("roles", "a table", given, 2) end
  local roles, named = {}, {}
  for key, value in pairs(given) do
    if math.type(key) == "integer" then roles[key] = value else named[key] = value end
  end
  return middleware.guard(filter.role(roles), options.check(ROLES, named, 2, "middleware.roles").refuse)
end

-- Rate limit -------------------------------------------------------------------------------------

---@class (exact) trueconf.RateOptions
---@field count integer messages that may pass at once
---@field seconds number after which `count` messages may pass again; the allowance grows evenly meanwhile
---@field by? "user"|"chat"|fun(event: table): any key by which messages are counted; default "user"
---@field on_limit? fun(msg: trueconf.Message, wait: number, first: boolean) called for a message above the limit:
---seconds until the next may pass, and whether this is the first one above the limit since a message has passed
---@field max_buckets? integer users or chats that are remembered; default 10000

local RATE = {
  count = { type = "integer", min = 1, required = true },
  seconds = { type = "number", min = 0.001, required = true },
  by = { type = "string|function", default = "user", check = function(by)
    return type(by) == "function" or by == "user" or by == "chat", "must be 'user', 'chat' or a function"
  end },
  on_limit = { type = "function" },
  max_buckets = { type = "integer", min = 2, default = 10000 },
}

local KEYS = {
  user = function(event) return event.author and protocol.plain_id(event.author) end,
  chat = function(event) return event.chat_id end,
}

-- A bucket holds up to `count` tokens and fills evenly; each message takes one.
local function take_token(bucket, limit, now)
  local rate = limit.count / limit.seconds
  bucket.tokens = math.min(limit.count, bucket.tokens + (now - bucket.at) * rate)
  bucket.at = now
  if bucket.tokens < 1 then return (1 - bucket.tokens) / rate end
  bucket.tokens = bucket.tokens - 1
end

---Rate limit: stop messages that come too fast, by a token bucket for each user or chat. Events other than messages
---pass. The clock is the runtime's, so a test can move it.
---@param given trueconf.RateOptions
---@return trueconf.Middleware
function middleware.rate_limit(given)
  local limit = options.check(RATE, given, 2, "middleware.rate_limit")
  local key_of = KEYS[limit.by] or limit.by
  local buckets = lru.new(limit.max_buckets)
  return function(event, next)
    local key = event.is_system == false and key_of(event)
    if not key then return next() end
    local now, bucket = core.monotonic(), buckets:get(key)
    if not bucket then
      bucket = { tokens = limit.count, at = now }
      buckets:put(key, bucket)
    end
    local wait = take_token(bucket, limit, now)
    local first = wait ~= nil and not bucket.dry
    bucket.dry = wait ~= nil
    if not wait then return next() end
    if limit.on_limit then limit.on_limit(event, wait, first) end
  end
end

return misuse.strict(middleware, "trueconf.middleware")
