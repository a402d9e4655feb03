-- SPDX-License-Identifier: MIT
-- A cache of two facts about chats that bots ask the server for again and again: the kind of a chat, and the roles of
-- its participants.

local lru = require "trueconf.base.lru"
local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local objects = require "trueconf.api.objects"
local protocol = require "trueconf.protocol"

local MOST = 10000                      -- entries of each sort
local ROLE_LIFE = 60                    -- seconds; a change that the server tells of counts at once

local chat_cache = {}

-- The cache of a client, made on first use. Roles are kept by chat, so that one change in a chat forgets all of its
-- roles.
local function kept(client)
  local store = client.chat_cache
  if not store then
    store = { kinds = lru.new(MOST), roles = lru.new(MOST) }
    client.chat_cache = store
  end
  return store
end

-- Kinds ------------------------------------------------------------------------------------

---The kind of a chat. A chat never changes its kind, so the server is asked once.
---@async
---@param client trueconf.Client
---@param chat_id string
---@return trueconf.ChatKind? kind
---@return trueconf.Error? err
function chat_cache.chat_kind(client, chat_id)
  local kinds = kept(client).kinds
  local kind = kinds:get(chat_id)
  if kind then return kind end
  local chat, err = client:get_chat_by_id(chat_id)
  if not chat then return nil, err end
  if not chat.chat_type then
    return nil, Error.new("PROTOCOL", "the server does not say what kind of chat it is", { method = "getChatByID" })
  end
  kind = objects.chat_kinds[chat.chat_type] or "undef"
  kinds:put(chat_id, kind)
  return kind
end

-- Roles ------------------------------------------------------------------------------------

local TOO_OLD = { UNSUPPORTED = true, ROUTE_NOT_FOUND = true }

-- Servers before 5.5.4 can only list all participants.
local function role_in_list(client, chat_id, user_id)
  local function find()
    for participant in client:participants(chat_id) do
      if protocol.plain_id(participant.user_id) == user_id then return participant.role end
    end
    return false
  end
  local ok, role = pcall(find)
  if ok then return role end
  if not Error.is(role) then error(role, 0) end
  return nil, role
end

local function ask_role(client, chat_id, user_id)
  local participant, err = client:get_chat_participant(chat_id, user_id)
  if participant then return participant.role end
  if err.name == "USER_IS_NOT_CHAT_PARTICIPANT" then return false end
  if TOO_OLD[err.name] then return role_in_list(client, chat_id, user_id) end
  return nil, err
end

---The role of a user in a chat, kept for a minute or until the server reports a change there.
---@async
---@param client trueconf.Client
---@param chat_id string
---@param user_id string
---@return string|false|nil role false: no participant; nil: not known
---@return trueconf.Error? err
function chat_cache.role(client, chat_id, user_id)
  local roles, now = kept(client).roles, core.monotonic()
  local of_chat = roles:get(chat_id)
  user_id = protocol.plain_id(user_id)
  local entry = of_chat and of_chat:get(user_id)
  if entry and now - entry.at < ROLE_LIFE then return entry.role end
  if not of_chat then
    of_chat = lru.new(MOST)
    roles:put(chat_id, of_chat)
  end
  local role, err = ask_role(client, chat_id, user_id)
  if role == nil then return nil, err end
  of_chat:put(user_id, { role = role, at = now })
  return role
end

-- Notifications that change roles; each names the chat.
local CHANGES_ROLES = { changeParticipantRole = true, addChatParticipant = true, removeChatParticipant = true,
  removeChat = true }

---Forget the entries that a notification makes wrong.
---@param client trueconf.Client
---@param method string
---@param event table
function chat_cache.notice(client, method, event)
  if chat_cache.concerned(client, method) and event.chat_id then client.chat_cache.roles:remove(event.chat_id) end
end

---True if a notification could make an entry wrong.
---@param client trueconf.Client
---@param method string
---@return boolean
function chat_cache.concerned(client, method)
  return client.chat_cache and CHANGES_ROLES[method] or false
end

return chat_cache
