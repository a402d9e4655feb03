-- SPDX-License-Identifier: MIT
-- Session tables: the data of a bot about a user or a chat, kept in its store. Handlers that use the same session at
-- the same time share one table; it is written when a handler has finished or begins to wait for a person, and only if
-- it has changed.

local json = require "trueconf.base.json"

---@class trueconf.Session
---@field value table that handlers use
---@field private key string
---@field private text string as it is in the store

---@class trueconf.Sessions
---@field private store trueconf.Store
---@field private live table<string, trueconf.Session> of those in use
local Sessions = {}
Sessions.__index = Sessions

local COLLECTION = "sessions"

---@param store trueconf.Store
---@return trueconf.Sessions
local function new(store)
  return setmetatable({ store = store, live = setmetatable({}, { __mode = "v" }) }, Sessions)
end

---@param kind "user"|"chat"
---@param id string
---@return trueconf.Session
function Sessions:open(kind, id)
  local key = kind .. " " .. id
  local session = self.live[key]
  if session then return session end
  local value = self.store:get(COLLECTION, key) or {}
  session = { key = key, value = value, text = json.encode_exact(value) }
  self.live[key] = session
  return session
end

---The change of the store by which a session is kept.
---@param session trueconf.Session
---@return trueconf.StoreChange? change nil without an error: the session is as it is in the store
---@return trueconf.Error? err PROTOCOL: a value without a form in JSON, which is named
function Sessions:change(session)
  local text, err = json.encode_exact(session.value)
  if not text then return nil, err end
  if text == session.text then return nil end
  session.text = text
  return { collection = COLLECTION, id = session.key, value = next(session.value) ~= nil and session.value or nil }
end

return { new = new }
