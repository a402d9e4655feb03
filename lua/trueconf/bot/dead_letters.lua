-- SPDX-License-Identifier: MIT
-- Dead letters: messages whose handler has failed, and requests of the server that cannot be read. The bot's store
-- keeps the newest thousand of them, until they are discarded, or handled after they were put into the queue again.

local core = require "trueconf.core"

local COLLECTION = "dead_letters"
local MOST = 1000

---A message whose handler has failed, or a request that cannot be read.
---@class trueconf.DeadLetter
---@field id string of the message; one of its own if it cannot be read
---@field chat_id string? nil: it cannot be read
---@field payload table? the message as it came
---@field text string? in place of the payload, if it cannot be read: the text as it came
---@field method string? with the text: the request of the server
---@field error string the error of its handler, or the reason why it cannot be read
---@field traceback string?
---@field source string? where the handler was registered
---@field tries integer
---@field at integer time when it became one, UNIX milliseconds

---@class trueconf.DeadLetters
---@field private store trueconf.Store
---@field private in_queue table<string, true> ids of those that are in the queue again
local DeadLetters = {}
DeadLetters.__index = DeadLetters

---@param store trueconf.Store
---@param in_queue table<string, true> ids of those that are in the queue again: they are kept, and not shown
---@return trueconf.DeadLetters
local function new(store, in_queue)
  return setmetatable({ store = store, in_queue = in_queue }, DeadLetters)
end

-- Errors of handlers and frames of servers may be any bytes; JSON is UTF-8.
local as_utf8 = core.mend_utf8

local function change_of(self, id, record)
  record.at = core.now()
  local is_full = self.store:count(COLLECTION) >= MOST and not self.store:get(COLLECTION, id)
  return { collection = COLLECTION, id = id, value = record, keep = MOST }, is_full
end

---The change of the store that keeps a message whose handler has failed.
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
  local list = {}
  for _, item in ipairs(self.store:list(COLLECTION)) do
    item.value.id = item.id
    if not self.in_queue[item.id] then list[#list + 1] = item.value end
  end
  return list
end

---@param id string of the message
---@return trueconf.DeadLetter?
function DeadLetters:get(id)
  local value = not self.in_queue[id] and self.store:get(COLLECTION, id) or nil
  if value then value.id = id end
  return value
end

---The change of the store by which a letter goes that was put into the queue again.
---@param id string
---@return trueconf.StoreChange
function DeadLetters:removal(id)
  self.in_queue[id] = nil
  return { collection = COLLECTION, id = id }
end

---@param id string
function DeadLetters:remove(id)
  self.store:remove(COLLECTION, id)
end

return { new = new }
