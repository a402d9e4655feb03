-- SPDX-License-Identifier: MIT
-- Chats of a Bridge: the rules for creating, renaming and removing them, and for participants. Every act returns its
-- result and a list of notifications to send after the answer; or nil, an error code and optionally a description.

local protocol = require "trueconf.protocol"
local random_hex = require "trueconf.base.random_hex"

local codes, rights = protocol.codes, protocol.rights
local ChatType, EnvelopeType, Role = protocol.enums.ChatType, protocol.enums.EnvelopeType, protocol.enums.Role
local MAX_PAGE = protocol.limits.PARTICIPANTS_PAGE

---@class trueconf.bridge.Chats
---@field private store trueconf.bridge.Store
---@field private accounts trueconf.bridge.Accounts
---@field private envelopes trueconf.bridge.Envelopes
---@field private notifications trueconf.bridge.Notifications
---@field private messages trueconf.bridge.Messages
local Chats = {}
Chats.__index = Chats

---@param store trueconf.bridge.Store
---@param accounts trueconf.bridge.Accounts
---@param shapes trueconf.bridge.Envelopes
---@param notifications trueconf.bridge.Notifications
---@param messages trueconf.bridge.Messages
---@return trueconf.bridge.Chats
local function new(store, accounts, shapes, notifications, messages)
  return setmetatable({
    store = store,
    accounts = accounts,
    envelopes = shapes,
    notifications = notifications,
    messages = messages,
  }, Chats)
end

-- Creating -------------------------------------------------------------------------------

local function new_chat_id()
  return random_hex(20)
end

function Chats:open_personal(account, other)
  local chat = self.store:add_chat { id = new_chat_id(), type = ChatType.P2P, pair = { account.key, other.key } }
  self.store:join(chat, account.key, Role.USER, true)
  self.store:join(chat, other.key, Role.USER, true)
  return chat, { self.notifications:created(chat, chat.members) }
end

---The personal chat with somebody; there is only one.
---@param account trueconf.bridge.Account
---@param user_id string TrueConf ID of the other side
---@return trueconf.bridge.ChatRecord? chat
---@return any notifications or code
---@return string? description
function Chats:personal(account, user_id)
  local other = self.accounts:by_id(user_id)
  if not other then return nil, codes.ACCESS_DENIED, ("userId: no account '%s' on this server"):format(user_id) end
  if other == account then return nil, codes.ACCESS_DENIED, "userId: a personal chat needs somebody else" end
  local chat = self.store:personal_chat(account.key, other.key)
  if not chat then return self:open_personal(account, other) end
  if chat.roles[account.key] then return chat, {} end
  self.store:join(chat, account.key, Role.USER, true)
  return chat, { self.notifications:created(chat, { account.key }) }
end

-- A chat that one account opens for itself.
function Chats:open(account, kind, role, title)
  local chat = self.store:add_chat { id = new_chat_id(), type = kind, title = title }
  self.store:join(chat, account.key, role, true)
  return chat, { self.notifications:created(chat, { account.key }) }
end

---@param account trueconf.bridge.Account its owner
---@param title string
---@return trueconf.bridge.ChatRecord chat
---@return trueconf.bridge.Notification[] notifications
function Chats:create_group(account, title)
  return self:open(account, ChatType.GROUP, Role.OWNER, title)
end

---@param account trueconf.bridge.Account its owner
---@param title string
---@return trueconf.bridge.ChatRecord chat
---@return trueconf.bridge.Notification[] notifications
function Chats:create_channel(account, title)
  return self:open(account, ChatType.CHANNEL, Role.OWNER, title)
end

---The account's notes to itself; there is only one such chat.
---@param account trueconf.bridge.Account
---@return trueconf.bridge.ChatRecord chat
---@return trueconf.bridge.Notification[] notifications
function Chats:favorites(account)
  local chat = self.store:favorites_chat(account.key)
  if chat then return chat, {} end
  local notifications
  chat, notifications = self:open(account, ChatType.FAVORITES, Role.FAVORITES_OWNER)
  self.store:set_favorites(account.key, chat)
  return chat, notifications
end

-- Listing --------------------------------------------------------------------------------

---One page of the chats that the account takes part in.
---@param account trueconf.bridge.Account
---@param count integer of a page; never more than 100
---@param page integer from 1
---@return table[] chats as they look on the wire
function Chats:list(account, count, page)
  count = math.min(count, MAX_PAGE)
  local list = self.store:chats_of(account.key, (page - 1) * count + 1, count)
  for index, chat in ipairs(list) do list[index] = self.envelopes:chat(chat, account.key) end
  return list
end

---@param account trueconf.bridge.Account
---@param chat_id string
---@return table? chat as it looks on the wire
---@return integer? code
function Chats:get(account, chat_id)
  local chat, code = self.messages:chat_of(chat_id, account)
  if not chat then return nil, code end
  return self.envelopes:chat(chat, account.key)
end

-- Settings -------------------------------------------------------------------------------

-- A chat in which the account has the right to an action on settings or participants.
function Chats:managed(account, chat_id, action)
  local chat, code = self.messages:chat_of(chat_id, account)
  if not chat then return nil, code end
  if rights.may(chat.roles[account.key], action, chat.type) then return chat end
  return nil, codes.NOT_ENOUGH_RIGHTS, "chatId: only owner and admins of groups and channels may do this"
end

---@param account trueconf.bridge.Account
---@param chat_id string
---@param title string
---@return integer? timestamp
---@return any notifications or code
---@return string? description
function Chats:set_title(account, chat_id, title)
  local chat, code, description = self:managed(account, chat_id, "rename")
  if not chat then return nil, code, description end
  self.store:set_title(chat, title)
  local note, timestamp = self.messages:note(chat, EnvelopeType.EDIT_CHAT_TITLE, { title = title })
  return timestamp, { self.notifications:title(chat), note }
end

---Give a chat another picture.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param take fun(): trueconf.bridge.FileRecord? returns the picture; called when the change is allowed
---@return true? ok
---@return any notifications or code
---@return string? description
function Chats:set_avatar(account, chat_id, take)
  local chat, code, description = self:managed(account, chat_id, "change_avatar")
  if not chat then return nil, code, description end
  local picture = take()
  if not picture then return nil, codes.FILE_NOT_FOUND, "temporalFileId: there is no such upload" end
  self.store:set_avatar(chat, picture.id)
  local address = self.envelopes:avatar(chat)
  local note = self.messages:note(chat, EnvelopeType.EDIT_CHAT_AVATAR, { avatarUrl = address })
  return true, { self.notifications:avatar(chat, address), note }
end

local OWNERS = { [Role.OWNER] = true, [Role.FAVORITES_OWNER] = true }

---Remove a chat: the owner removes it for all, others leave.
---@param account trueconf.bridge.Account
---@param chat_id string
---@return true? ok
---@return any notifications or code
function Chats:remove(account, chat_id)
  local chat, code = self.messages:chat_of(chat_id, account)
  if not chat then return nil, code end
  if OWNERS[chat.roles[account.key]] then
    local notifications = self.notifications:chat_removed(chat, chat.members)
    self.store:remove_chat(chat)
    return true, { notifications }
  end
  self.store:hide_all(chat, account.key)
  local notifications = chat.pair and {} or self:part(chat, account, account)
  if chat.pair then self.store:leave(chat, account.key) end
  table.insert(notifications, 1, self.notifications:chat_removed(chat, { account.key }))
  return true, notifications
end

-- People ---------------------------------------------------------------------------------

---Add a user to a group or channel.
---@param account trueconf.bridge.Account that adds the user
---@param chat_id string
---@param user_id string TrueConf ID
---@param show_history? boolean
---@return true? ok
---@return any notifications or code
---@return string? description
function Chats:add(account, chat_id, user_id, show_history)
  local chat, code, complaint = self:managed(account, chat_id, "add_participant")
  if not chat then return nil, code, complaint end
  local member = self.accounts:by_id(user_id)
  if not member then return nil, codes.ACCESS_DENIED, ("userId: no account '%s' on this server"):format(user_id) end
  if chat.roles[member.key] then return nil, codes.USER_IS_ALREADY_CHAT_PARTICIPANT end
  self.store:join(chat, member.key, Role.USER, show_history == true)
  local content = { userId = member.id, role = Role.USER }
  local note, timestamp = self.messages:note(chat, EnvelopeType.ADD_PARTICIPANT, content)
  return true, { self.notifications:added(chat, member, account, timestamp), note }
end

-- A member leaves, or another account removes it.
function Chats:part(chat, member, account)
  local before = chat.members
  self.store:leave(chat, member.key)
  local note, timestamp = self.messages:note(chat, EnvelopeType.REMOVE_PARTICIPANT, { userId = member.id })
  return { self.notifications:removed(chat, before, member, account, timestamp), note }
end

-- A member of a chat that is not its owner.
function Chats:changeable_member(chat, user_id)
  local member = self.accounts:by_id(user_id)
  local role = member and chat.roles[member.key]
  if not role then return nil, codes.USER_IS_NOT_CHAT_PARTICIPANT end
  if OWNERS[role] then return nil, codes.NOT_ENOUGH_RIGHTS, "userId: an owner stays one" end
  return member
end

---Remove somebody from a group or channel; everybody but the owner may remove oneself.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param user_id string TrueConf ID
---@param wipe? boolean hide all earlier messages if the user comes back
---@return true? ok
---@return any notifications or code
---@return string? description
function Chats:expel(account, chat_id, user_id, wipe)
  local chat, code, description = self.messages:chat_of(chat_id, account)
  if not chat then return nil, code, description end
  local leaves = not chat.pair and self.accounts:by_id(user_id) == account
  if not leaves then
    chat, code, description = self:managed(account, chat_id, "remove_participant")
    if not chat then return nil, code, description end
  end
  local member
  member, code, description = self:changeable_member(chat, user_id)
  if not member then return nil, code, description end
  if wipe then self.store:hide_all(chat, member.key) end
  return true, self:part(chat, member, account)
end

---@param account trueconf.bridge.Account
---@param chat_id string
---@param user_id string TrueConf ID
---@param role string
---@return true? ok
---@return any notifications or code
---@return string? description
function Chats:set_role(account, chat_id, user_id, role)
  local chat, code, description = self:managed(account, chat_id, "change_role")
  if not chat then return nil, code, description end
  local member
  member, code, description = self:changeable_member(chat, user_id)
  if not member then return nil, code, description end
  if role == Role.OWNER then return nil, codes.NOT_ENOUGH_RIGHTS, "role: there is one owner" end
  if not rights.can_be_given(role, chat.type) then
    local what = Role.set[role] and "it cannot be given in this chat" or "there is no such role"
    return nil, codes.ROLE_NOT_FOUND, ("role: '%s': %s"):format(role, what)
  end
  self.store:set_role(chat, member.key, role)
  local note, timestamp = self.messages:note(chat, EnvelopeType.PARTICIPANT_ROLE, { userId = member.id, role = role })
  return true, { self.notifications:role(chat, member, timestamp), note }
end

---One page of the participants.
---@param account trueconf.bridge.Account
---@param chat_id string
---@param size integer of a page; never more than 100
---@param page integer from 1
---@return { userId: string, role: string }[]? people
---@return integer? code
function Chats:people(account, chat_id, size, page)
  local chat, code = self.messages:chat_of(chat_id, account)
  if not chat then return nil, code end
  size = math.min(size, MAX_PAGE)
  local list = self.store:members_of(chat, (page - 1) * size + 1, size)
  for index, key in ipairs(list) do
    list[index] = { userId = self.store:account(key).id, role = chat.roles[key] }
  end
  return list
end

---True if a user takes part.
---@param account trueconf.bridge.Account that asks
---@param chat_id string
---@param user_id string TrueConf ID
---@return boolean? result
---@return integer? code
function Chats:has(account, chat_id, user_id)
  local chat, code = self.messages:chat_of(chat_id, account)
  if not chat then return nil, code end
  local member = self.accounts:by_id(user_id)
  return member ~= nil and chat.roles[member.key] ~= nil
end

---The role of a user.
---@param account trueconf.bridge.Account that asks
---@param chat_id string
---@param user_id string TrueConf ID
---@return trueconf.bridge.Account? member
---@return string|integer role or code
function Chats:role_of(account, chat_id, user_id)
  local chat, code = self.messages:chat_of(chat_id, account)
  if not chat then return nil, code --[[@as integer]] end
  local member = self.accounts:by_id(user_id)
  local role = member and chat.roles[member.key]
  if not role then return nil, codes.USER_IS_NOT_CHAT_PARTICIPANT end
  return member, role
end

return { new = new }
