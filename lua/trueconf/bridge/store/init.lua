-- SPDX-License-Identifier: MIT
-- The data of a Bridge, in memory: accounts, chats, messages, read marks, and the key that signs tokens. It holds no
-- rules; those are in accounts/ and chat/, which use the data only through the methods below. disk.lua is a store that
-- also writes every change to a file. No method looks at more messages than it returns or removes, besides the messages
-- that the account has removed for itself.
--
-- "key" is an account's login in lower case: logins are compared without regard to case.

local core = require "trueconf.core"
local unread = require "trueconf.bridge.store.unread"
local without = require("trueconf.base.without").without

---@class trueconf.bridge.Message
---@field id string UUID
---@field chat_id string
---@field box integer number in the chat, from 1 on
---@field timestamp integer UNIX milliseconds
---@field type integer envelope type
---@field author string TrueConf ID, or the name of the server
---@field author_key string? nil: the system
---@field content table replaced as a whole, never altered
---@field edited boolean
---@field reply_to string? message id
---@field package hidden table<string, true>? keys of accounts that removed it for themselves
---@field package rowid integer? its row in the file
---@field package readers integer? number of accounts that have not read it, if it is in the file
---@field package forgotten boolean? it is out of the history
---@field package older trueconf.bridge.Message?
---@field package newer trueconf.bridge.Message?

---@class trueconf.bridge.ChatRecord
---@field id string
---@field type integer ChatType
---@field title string?
---@field avatar string? id of the file with its picture
---@field pair string[]? keys of the two sides of a personal chat, whether they take part at the moment or not
---@field members string[] keys, in the order they came; replaced, never altered
---@field roles table<string, string> of the members, by key
---@field package hidden_through table<string, integer> box up to which messages are hidden from an account
---@field last integer box of the newest message there ever was
---@field package count integer messages kept
---@field package oldest trueconf.bridge.Message?
---@field package newest trueconf.bridge.Message?

---@class trueconf.bridge.Store
---@field signing_key string
---@field server_name string? set by the first Bridge that uses the store
---@field expired_through integer tokens with a serial up to this one are expired, of all accounts
---@field in_use boolean
---@field on_orphan fun(file: trueconf.bridge.FileRecord)? called when nothing refers to a file any more
---@field package file_uses table<string, integer> by file id: number of messages and chat pictures that refer to it
local Store = {}
Store.__index = Store

---@param options { history_limit: integer, unread_limit: integer }
---@return trueconf.bridge.Store
local function new(options)
  local self = setmetatable({
    signing_key = core.random(32),
    expired_through = 0,
    in_use = false,
    serial = 0,
    history_limit = options.history_limit,
    unread_limit = options.unread_limit,
    accounts = {},
  }, Store)
  self:empty()
  return self
end

-- Forget everything but the accounts.
function Store:empty()
  self.chats, self.chats_of_key, self.personal, self.favorites = {}, {}, {}, {}
  self.messages, self.unread = {}, {}
  self.files, self.file_uses = {}, {}
end

---@param name string
function Store:set_server_name(name)
  self.server_name = name
  self:name_accounts()
end

-- Accounts may be older than the name of their server.
function Store:name_accounts()
  if not self.server_name then return end
  for _, account in pairs(self.accounts) do account.id = account.login .. "@" .. self.server_name end
end

---The reason why changes cannot be written at the moment; never, for a store in memory.
---@return string? complaint
function Store:complaint() return nil end

---Commit the changes so far.
---@return true? ok
---@return trueconf.Error? err IO: they are undone
function Store:commit() return true end

---Close the file of a store on disk.
function Store:close() end

-- Accounts and tokens --------------------------------------------------------------------

---@param key string
---@return trueconf.bridge.Account?
function Store:account(key)
  return self.accounts[key]
end

---@return trueconf.bridge.Account[] accounts by key
function Store:account_list()
  local list = {}
  for _, account in pairs(self.accounts) do list[#list + 1] = account end
  table.sort(list, function(a, b) return a.key < b.key end)
  return list
end

---@param account trueconf.bridge.Account
function Store:put_account(account)
  self.accounts[account.key] = account
end

---@param key string of an account that takes part in no chat
function Store:remove_account(key)
  self.accounts[key] = nil
end

---Expire all tokens with a serial up to the last one.
---@param account? trueconf.bridge.Account only those of this account
function Store:expire_tokens(account)
  if not account then
    self.expired_through = self.serial
    return
  end
  account.expired_through = self.serial
  self:put_account(account)
end

---@return integer serial a new one
function Store:next_serial()
  self.serial = self.serial + 1
  return self.serial
end

---@return integer serial the last one given
function Store:last_serial()
  return self.serial
end

-- Chats ----------------------------------------------------------------------------------

-- '/' cannot be part of a login.
local function pair_of(key_a, key_b)
  if key_b < key_a then key_a, key_b = key_b, key_a end
  return key_a .. "/" .. key_b
end

---@param chat_id string
---@return trueconf.bridge.ChatRecord?
function Store:chat(chat_id)
  return self.chats[chat_id]
end

---@param key_a string
---@param key_b string
---@return trueconf.bridge.ChatRecord?
function Store:personal_chat(key_a, key_b)
  return self.personal[pair_of(key_a, key_b)]
end

---@param key string
---@return trueconf.bridge.ChatRecord?
function Store:favorites_chat(key)
  return self.favorites[key]
end

---Add a chat without members; one with `pair` is found by personal_chat() from then on.
---@param chat { id: string, type: integer, title: string?, pair: string[]? }
---@return trueconf.bridge.ChatRecord
function Store:add_chat(chat)
  chat.members, chat.roles, chat.hidden_through = {}, {}, {}
  chat.last, chat.count = 0, 0
  self.chats[chat.id] = chat
  if chat.pair then self.personal[pair_of(chat.pair[1], chat.pair[2])] = chat end
  return chat
end

---@param key string
---@param chat trueconf.bridge.ChatRecord
function Store:set_favorites(key, chat)
  self.favorites[key] = chat
end

---@param chat trueconf.bridge.ChatRecord
---@param title string
function Store:set_title(chat, title)
  chat.title = title
end

---@param chat trueconf.bridge.ChatRecord
---@param file_id string
function Store:set_avatar(chat, file_id)
  self:hold_file(file_id)
  if chat.avatar then self:release_file(chat.avatar) end
  chat.avatar = file_id
end

---Add a member to a chat.
---@param chat trueconf.bridge.ChatRecord
---@param key string
---@param role string
---@param show_history boolean show the earlier messages too, unless they were hidden from this account
function Store:join(chat, key, role, show_history)
  chat.members = table.move(chat.members, 1, #chat.members, 1, {})
  chat.members[#chat.members + 1] = key
  chat.roles[key] = role
  if not show_history then chat.hidden_through[key] = chat.last end
  local list = self.chats_of_key[key] or {}
  list[#list + 1] = chat
  self.chats_of_key[key] = list
end

---Remove a member from a chat, with its unread messages there.
---@param chat trueconf.bridge.ChatRecord
---@param key string
function Store:leave(chat, key)
  chat.members, chat.roles[key] = without(chat.members, key), nil
  self.chats_of_key[key] = without(self.chats_of_key[key], chat)
  self:forget_unread(key, chat.id)
end

---@param chat trueconf.bridge.ChatRecord
---@param key string of one who takes part
---@param role string
function Store:set_role(chat, key, role)
  chat.roles[key] = role
end

-- Items from `first` on, at most `count` of them.
local function slice(list, first, count)
  return table.move(list, first, math.min(#list, first + count - 1), 1, {})
end

---@param chat trueconf.bridge.ChatRecord
---@param first integer index of the first one wanted
---@param count integer
---@return string[] keys in the order they came
function Store:members_of(chat, first, count)
  return slice(chat.members, first, count)
end

---The chats of an account, in the order it entered them, so that pages do not move.
---@param key string
---@param first integer
---@param count integer
---@return trueconf.bridge.ChatRecord[]
function Store:chats_of(key, first, count)
  return slice(self.chats_of_key[key] or {}, first, count)
end

---A shelf for values with a limited lifetime that outlive the Bridge; nil for a store in memory.
---@param kind string
---@return trueconf.bridge.Shelf?
function Store:shelf(kind) return nil end -- luacheck: no unused args

---Remove a chat with everything in it.
---@param chat trueconf.bridge.ChatRecord
function Store:remove_chat(chat)
  for _, key in ipairs(chat.members) do
    self:leave(chat, key)
    if self.favorites[key] == chat then self.favorites[key] = nil end
  end
  self:clear(chat)
  if chat.avatar then self:release_file(chat.avatar) end
  self.chats[chat.id] = nil
  if chat.pair then self.personal[pair_of(chat.pair[1], chat.pair[2])] = nil end
end

-- Messages -------------------------------------------------------------------------------

-- The id of the file of a message; a forward carries the original inside.
local function file_of(message)
  local content = message.content
  return content.fileId or type(content.content) == "table" and content.content.fileId or nil
end

-- The messages of a chat are a doubly linked list: removing any of them costs the same.
local function link(chat, message)
  message.older = chat.newest
  if chat.newest then chat.newest.newer = message else chat.oldest = message end
  chat.newest = message
  chat.count = chat.count + 1
end

local function unlink(chat, message)
  local older, newer = message.older, message.newer
  if older then older.newer = newer else chat.oldest = newer end
  if newer then newer.older = older else chat.newest = older end
  message.older, message.newer = nil, nil
  chat.count = chat.count - 1
end

-- Append a message to its chat, with the box it has.
function Store:link(chat, message)
  link(chat, message)
  self.messages[message.id] = message
  local file_id = file_of(message)
  if file_id then self:hold_file(file_id) end
end

---Release a message that is no longer kept.
---@param message trueconf.bridge.Message
function Store:forget_message(message)
  self.messages[message.id] = nil
  local file_id = file_of(message)
  if file_id then self:release_file(file_id) end
end

---Append a message to its chat and give it its box; the oldest one leaves when the history is full.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
function Store:append(chat, message)
  chat.last = chat.last + 1
  message.box = chat.last
  self:link(chat, message)
  while chat.count > self.history_limit do
    local oldest = chat.oldest
    unlink(chat, oldest)
    self:forget_message(oldest)
  end
end

---@param message_id string
---@return trueconf.bridge.Message?
function Store:message(message_id)
  return self.messages[message_id]
end

---Replace the content of a message.
---@param message trueconf.bridge.Message
---@param content table
function Store:edit(message, content)
  message.content, message.edited = content, true
end

---Remove a message for everybody.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
function Store:remove(chat, message)
  for _, key in ipairs(chat.members) do self:remove_unread(key, message.id) end
  unlink(chat, message)
  self:forget_message(message)
end

---Remove a message for one member alone.
---@param key string
---@param message trueconf.bridge.Message
function Store:hide(key, message)
  message.hidden = message.hidden or {}
  message.hidden[key] = true
  self:remove_unread(key, message.id)
end

---Remove all messages for everybody.
---@param chat trueconf.bridge.ChatRecord
function Store:clear(chat)
  for _, key in ipairs(chat.members) do self:forget_unread(key, chat.id) end
  local message = chat.oldest
  while message do
    self:forget_message(message)
    message = message.newer
  end
  chat.oldest, chat.newest, chat.count = nil, nil, 0
end

---Remove all messages for one account alone, also if it comes back later.
---@param chat trueconf.bridge.ChatRecord
---@param key string
function Store:hide_all(chat, key)
  chat.hidden_through[key] = chat.last
  self:forget_unread(key, chat.id)
end

---True if a member sees a message.
---@param chat trueconf.bridge.ChatRecord
---@param message trueconf.bridge.Message
---@param key string
---@return boolean
function Store:is_visible(chat, message, key)
  return message.box > (chat.hidden_through[key] or 0) and not (message.hidden and message.hidden[key])
end

---The messages of a chat that an account sees, newest first. Besides the returned messages it looks only at those that
---the account has removed for itself.
---@param chat trueconf.bridge.ChatRecord
---@param key string
---@param count integer at most so many
---@param from? trueconf.bridge.Message the first one; nil: the newest
---@return trueconf.bridge.Message[] messages newest first
function Store:history_of(chat, key, count, from)
  local list, message, first = {}, from or chat.newest, chat.hidden_through[key] or 0
  while message and message.box > first and #list < count do
    if self:is_visible(chat, message, key) then list[#list + 1] = message end
    message = message.older
  end
  return list
end

---Everything kept of a chat.
---@param chat trueconf.bridge.ChatRecord
---@return trueconf.bridge.Message[] messages oldest first
function Store:history(chat)
  local list, message = {}, chat.oldest
  while message do
    list[#list + 1] = message
    message = message.newer
  end
  return list
end

-- Files ----------------------------------------------------------------------------------

---@param file_id string
---@return trueconf.bridge.FileRecord?
function Store:file(file_id)
  return self.files[file_id]
end

---@param file trueconf.bridge.FileRecord
function Store:put_file(file)
  self.files[file.id] = file
end

---Count one more reference to a file.
---@param file_id string
function Store:hold_file(file_id)
  self.file_uses[file_id] = (self.file_uses[file_id] or 0) + 1
end

---Count one reference less; with the last one the file is removed.
---@param file_id string
function Store:release_file(file_id)
  local uses = self.file_uses[file_id] - 1
  self.file_uses[file_id] = uses > 0 and uses or nil
  if uses > 0 then return end
  local file = self.files[file_id]
  self:remove_file(file_id)
  if file then self:orphan(file) end
end

function Store:orphan(file)
  if self.on_orphan then self.on_orphan(file) end
end

---@param file_id string
function Store:remove_file(file_id)
  self.files[file_id] = nil
end

-- Unread ---------------------------------------------------------------------------------

---Note a message as not read yet; above the limit the oldest one is forgotten.
---@param key string
---@param message trueconf.bridge.Message
---@param rowid? integer its row in the file
function Store:add_unread(key, message, rowid)
  local set = self.unread[key]
  if not set then
    set = unread.new()
    self.unread[key] = set
  end
  set:add(message, rowid)
  while set.count > self.unread_limit do self:remove_unread(key, set:first().id) end
end

---@param key string
---@param message_id string
---@return boolean removed
---@return integer? rowid its row in the file
---@return trueconf.bridge.Message? message
function Store:remove_unread(key, message_id)
  local set = self.unread[key]
  if set then return set:remove(message_id) end
  return false
end

---@param key string
---@param message_id string
---@return boolean
function Store:is_unread(key, message_id)
  local set = self.unread[key]
  return set ~= nil and set:has(message_id)
end

---Forget the unread messages of an account in a chat.
---@param key string
---@param chat_id string
function Store:forget_unread(key, chat_id)
  local set = self.unread[key]
  for message_id in pairs(set and set:ids_of(chat_id) or {}) do self:remove_unread(key, message_id) end
end

---@param key string
---@param chat_id string
---@return integer
function Store:unread_count(key, chat_id)
  local set = self.unread[key]
  return set and set:count_of(chat_id) or 0
end

---@param key string
---@param limit? integer the newest so many; nil: all
---@return trueconf.bridge.Message[] messages oldest first
function Store:unread_list(key, limit)
  local set = self.unread[key]
  return set and set:list(limit) or {}
end

return { new = new, Store = Store }
