-- SPDX-License-Identifier: MIT
-- Messages that were set aside because their handler has failed, or because they cannot be read: kept in the bot's
-- store, the newest thousand of them, until they are replayed or forgotten.

local core = require "trueconf.core"

local COLLECTION = "aside"
local MOST = 1000

---A message that was set aside.
---@class trueconf.AsideMessage
---@field id string of the message; one of its own if it cannot be read
---@field chat_id string? nil: it cannot be read
---@field payload table? the message as it came
---@field text string? in place of the payload: what came, if it cannot be read
---@field method string? with the text: the request of the server
---@field error string what its handler has raised, or why it cannot be read
---@field traceback string?
---@field place string? where the handler was registered
---@field tries integer
---@field at integer when it was set aside, UNIX milliseconds

---@class trueconf.Aside
---@field private store trueconf.Store
local Aside = {}
Aside.__index = Aside

---@param store trueconf.Store
---@return trueconf.Aside
local function new(store)
  return setmetatable({ store = store }, Aside)
end

-- Errors of handlers and frames of servers may be any bytes; JSON is UTF-8.
local as_utf8 = core.mend_utf8

local function put(self, id, record)
  record.at = core.now()
  self.store:remove(COLLECTION, id)
  self.store:put(COLLECTION, id, record)
  return self.store:drop_oldest(COLLECTION, MOST) > 0
end

---@param message trueconf.Message
---@param failure { err: any, traceback: string }
---@param place string?
---@param tries integer
---@return boolean is_full the oldest has made room for it
function Aside:put(message, failure, place, tries)
  return put(self, message.id, {
    chat_id = message.chat_id, payload = message.payload, error = as_utf8(tostring(failure.err)),
    traceback = as_utf8(failure.traceback), place = place, tries = tries,
  })
end

---Keep what cannot be read.
---@param method string
---@param text string
---@param why string
---@return boolean is_full the oldest has made room for it
function Aside:put_unreadable(method, text, why)
  return put(self, core.uuid(), { method = method, text = as_utf8(text), error = as_utf8(why), tries = 0 })
end

---@return trueconf.AsideMessage[] messages oldest first
function Aside:list()
  local list = self.store:list(COLLECTION)
  for place, item in ipairs(list) do
    item.value.id = item.id
    list[place] = item.value
  end
  return list
end

---@param id string of the message
---@return trueconf.AsideMessage?
function Aside:get(id)
  local value = self.store:get(COLLECTION, id)
  if value then value.id = id end
  return value
end

---@param id string
function Aside:remove(id)
  self.store:remove(COLLECTION, id)
end

return { new = new }
