-- SPDX-License-Identifier: MIT
-- Dead letters: messages whose handler has failed, and requests of the server that cannot be read. The bot's store
-- keeps the newest thousand of them, until they are put into the queue again or discarded.

local core = require "trueconf.core"

local COLLECTION = "dead_letters"
local MOST = 1000

---A message whose handler has failed, or a request that cannot be read.
---@class trueconf.DeadLetter
---@field id string of the message; one of its own if it cannot be read
---@field chat_id string? nil: it cannot be read
---@field payload table? the message as it came
---@field text string? in place of the payload: what came, if it cannot be read
---@field method string? with the text: the request of the server
---@field error string what its handler has raised, or why it cannot be read
---@field traceback string?
---@field source string? where the handler was registered
---@field tries integer
---@field at integer when it became one, UNIX milliseconds

---@class trueconf.DeadLetters
---@field private store trueconf.Store
local DeadLetters = {}
DeadLetters.__index = DeadLetters

---@param store trueconf.Store
---@return trueconf.DeadLetters
local function new(store)
  return setmetatable({ store = store }, DeadLetters)
end

-- Errors of handlers and frames of servers may be any bytes; JSON is UTF-8.
local as_utf8 = core.mend_utf8

local function change_of(self, id, record)
  record.at = core.now()
  local is_full = self.store:count(COLLECTION) >= MOST and not self.store:get(COLLECTION, id)
  return { collection = COLLECTION, id = id, value = record, keep = MOST }, is_full
end

---The change of the store by which a message is kept whose handler has failed.
---@param message trueconf.Message
---@param failure { err: any, traceback: string }
---@param source string?
---@param tries integer
---@return trueconf.StoreChange change
---@return boolean is_full the oldest makes room for it
function DeadLetters:change(message, failure, source, tries)
  return change_of(self, message.id, {
    chat_id = message.chat_id, payload = message.payload, error = as_utf8(tostring(failure.err)),
    traceback = as_utf8(failure.traceback), source = source, tries = tries,
  })
end

---Keep a request that cannot be read.
---@param method string
---@param text string
---@param why string
---@return boolean is_full the oldest has made room for it
function DeadLetters:put_unreadable(method, text, why)
  local change, is_full = change_of(self, core.uuid(), {
    method = method, text = as_utf8(text), error = as_utf8(why), tries = 0,
  })
  self.store:apply { change }
  return is_full
end

---@return trueconf.DeadLetter[] messages oldest first
function DeadLetters:list()
  local list = self.store:list(COLLECTION)
  for index, item in ipairs(list) do
    item.value.id = item.id
    list[index] = item.value
  end
  return list
end

---@param id string of the message
---@return trueconf.DeadLetter?
function DeadLetters:get(id)
  local value = self.store:get(COLLECTION, id)
  if value then value.id = id end
  return value
end

---@param id string
function DeadLetters:remove(id)
  self.store:remove(COLLECTION, id)
end

return { new = new }
