-- SPDX-License-Identifier: MIT
-- Expectations of a test: the messages that a person hears and sees. The clock moves on until an expected message
-- comes, or its time is over.

local failure = require "trueconf.testing.failure"
local misuse = require "trueconf.base.misuse"
local labels_of = require("trueconf.testing.user").labels_of

local WITHIN = 10                       -- seconds of virtual time
local quoted = failure.quoted

---An expected text: the whole text, a part of it, a Lua pattern, or a function that returns true for a text that fits.
---@alias trueconf.testing.Text string|{ contains: string? , pattern: string? }|fun(text: string, message: table): any

---@class (exact) trueconf.testing.ExpectOptions
---@field within? number|string seconds of virtual time, or a text such as "2h"; default 10 s, of hears_nothing() 0
---@field chat? trueconf.testing.Group|string only messages in this chat; default all chats
---@field bytes? string expected content of the file

---@class trueconf.testing.Expectation
---@field private kit trueconf.testing.Kit
---@field private user trueconf.testing.User
local Expectation = {}
Expectation.__index = Expectation

-- Texts -------------------------------------------------------------------------------------

local function fits(wanted, text, message)
  if type(wanted) == "string" then return text == wanted end
  if type(wanted) == "function" then return wanted(text, message) end
  return (not wanted.contains or text:find(wanted.contains, 1, true))
    and (not wanted.pattern or text:find(wanted.pattern))
end

local function shown(wanted)
  if type(wanted) == "string" then return quoted(wanted) end
  if type(wanted) == "function" then
    local info = debug.getinfo(wanted, "S")
    return ("what the function at %s:%d accepts"):format(info.short_src, info.linedefined)
  end
  local parts = {}
  if wanted.contains then parts[1] = "something with " .. quoted(wanted.contains) end
  if wanted.pattern then parts[#parts + 1] = "something like " .. quoted(wanted.pattern) end
  return table.concat(parts, " and ")
end

local function check(wanted)
  local kind = type(wanted)
  local good = kind == "string" or kind == "function"
    or kind == "table" and (type(wanted.contains) == "string" or type(wanted.pattern) == "string")
  if not good then
    failure.raise("expected a text, { contains = }, { pattern = } or a function, got a %s", kind)
  end
end

local function said(message)
  if message.name then return ("the file %s"):format(message.name) end
  return quoted(message.text)
end

-- Expecting ---------------------------------------------------------------------------------

-- Move the clock until fn() is true, or the time is over.
function Expectation:wait(options, within, fn)
  self.kit:begin()
  self.kit:wait_for(self.kit:seconds(options and options.within or within), fn)
end

-- The next unheard message, which then counts as heard. Fails if none comes in time.
function Expectation:next_message(what, options)
  local user, message, entry = self.user, nil, nil
  self:wait(options, WITHIN, function()
    message, entry = user:next_unheard(options and options.chat)
    return message ~= nil
  end)
  if not message then self.kit:fail("%s should %s, but heard nothing", user.login, what) end
  user:mark_heard(entry)
  return message
end

---Expect the next unheard message of a bot to have this text.
---@param wanted trueconf.testing.Text
---@param options? trueconf.testing.ExpectOptions
---@return trueconf.testing.Heard message
function Expectation:hears(wanted, options)
  check(wanted)
  local what = "hear " .. shown(wanted)
  local message = self:next_message(what, options)
  if message.name or not fits(wanted, message.text, message) then
    self.kit:fail("%s should %s, but heard %s", self.user.login, what, said(message))
  end
  return message
end

---Expect no unheard message of a bot.
---@param options? trueconf.testing.ExpectOptions
function Expectation:hears_nothing(options)
  local user, message = self.user, nil
  self:wait(options, 0, function()
    message = user:next_unheard(options and options.chat)
    return message ~= nil
  end)
  if message then self.kit:fail("%s should hear nothing, but heard %s", user.login, said(message)) end
end

---Expect the next unheard message of a bot to be a file.
---@param wanted? trueconf.testing.Text its name
---@param options? trueconf.testing.ExpectOptions
---@return trueconf.testing.Heard message
---@return string? bytes of the file; nil: it cannot be fetched yet
function Expectation:gets_file(wanted, options)
  if wanted ~= nil then check(wanted) end
  local what = wanted and "get the file " .. shown(wanted) or "get a file"
  local message = self:next_message(what, options)
  if not message.name or wanted and not fits(wanted, message.name, message) then
    self.kit:fail("%s should %s, but got %s", self.user.login, what, said(message))
  end
  local bytes = message:file()
  if options and options.bytes and bytes ~= options.bytes then
    self.kit:fail("the file %s should hold %d bytes, but its %d bytes are others", message.name, #options.bytes,
      bytes and #bytes or 0)
  end
  return message, bytes
end

---Expect a message of a bot, heard or not, to have this text at the moment, as after an edit.
---@param wanted trueconf.testing.Text
---@param options? trueconf.testing.ExpectOptions
---@return trueconf.testing.Heard message
function Expectation:sees(wanted, options)
  check(wanted)
  local found
  self:wait(options, WITHIN, function()
    for message in self.user:newest(options and options.chat) do
      found = fits(wanted, message.text, message) and message
      if found then return true end
    end
  end)
  if not found then self.kit:fail("%s should see %s, but does not", self.user.login, shown(wanted)) end
  return found
end

local function in_brackets(labels)
  return labels[1] and "[" .. table.concat(labels, "] [") .. "]" or "none"
end

---Expect the newest message with buttons to have these.
---@param labels string[] in order
---@param options? trueconf.testing.ExpectOptions
---@return trueconf.testing.Heard message
function Expectation:sees_buttons(labels, options)
  local wanted, visible, found = in_brackets(labels), nil, nil
  self:wait(options, WITHIN, function()
    visible = "none"
    for message in self.user:newest(options and options.chat) do
      found, visible = message, in_brackets(labels_of(message))
      if visible ~= "none" then break end
    end
    return visible == wanted
  end)
  if visible == wanted then return found end
  self.kit:fail("%s should see the buttons %s, but sees %s", self.user.login, wanted, visible)
end

---@param kit trueconf.testing.Kit
---@param user trueconf.testing.User
---@return trueconf.testing.Expectation
local function new(kit, user)
  return setmetatable({ kit = kit, user = user }, Expectation)
end

misuse.guard(Expectation, "expectation", { "hears", "hears_nothing", "gets_file", "sees", "sees_buttons" })

return { new = new, fits = fits, shown = shown, check = check }
