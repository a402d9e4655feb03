-- SPDX-License-Identifier: MIT
-- Messages that were set aside because their handler has failed: kept in the bot's store, the newest
-- thousand of them, until they are replayed or forgotten.

local core = require "trueconf.core"

local COLLECTION = "aside"
local MOST = 1000

---A message that was set aside.
---@class trueconf.AsideMessage
---@field id string of the message
---@field chat_id string
---@field payload table the message as it came
---@field error string what its handler has raised
---@field traceback string
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

-- What a handler raises may be any bytes; JSON is UTF-8.
local function as_utf8(text)
  return utf8.len(text) and text or text:gsub("[\x80-\xff]", "?")
end

---@param message trueconf.Message
---@param failure { err: any, traceback: string }
---@param place string?
---@param tries integer
function Aside:put(message, failure, place, tries)
  self.store:remove(COLLECTION, message.id)
  self.store:put(COLLECTION, message.id, {
    chat_id = message.chat_id, payload = message.payload, error = as_utf8(tostring(failure.err)),
    traceback = as_utf8(failure.traceback), place = place, tries = tries, at = core.now(),
  })
  local list = self.store:list(COLLECTION)
  for place_in_list = 1, #list - MOST do self.store:remove(COLLECTION, list[place_in_list].id) end
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
