-- SPDX-License-Identifier: MIT
-- A store that outlives the Bridge: the store in memory that also writes every change to a SQLite file. The changes of
-- one turn of the loop are one transaction, committed before the answers of that turn are sent. Reading never touches
-- the file.
--
-- When a commit fails, the changes of its turn are undone: the store goes back to the content of the file, and
-- `on_failure` lets the Bridge drop the connections that wait for answers.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local sqlite = require "trueconf.base.sqlite"
local store = require "trueconf.bridge.store"

local FILE = "bridge.db"
local SCHEMA = { name = "the Bridge", application_id = 0x54434272 }

-- Contents and files are JSON. `rowid` counts up over all tables that have it: frequent writes only append, and rows
-- are found by their rowid. `forgotten` messages are out of the history, and kept for accounts that have not read them.
-- `last` of a chat is the highest box there ever was, also of removed messages.
SCHEMA.versions = { [[
  CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE accounts (key TEXT PRIMARY KEY, login TEXT, display_name TEXT, disabled REAL, password_hash TEXT,
    expired_through REAL) WITHOUT ROWID;
  CREATE TABLE chats (id TEXT PRIMARY KEY, type REAL, title TEXT, avatar TEXT, pair_a TEXT, pair_b TEXT,
    last REAL) WITHOUT ROWID;
  CREATE TABLE members (chat_id TEXT, key TEXT, role TEXT, rowid REAL, PRIMARY KEY (chat_id, key)) WITHOUT ROWID;
  CREATE TABLE hidden_through (chat_id TEXT, key TEXT, box REAL, PRIMARY KEY (chat_id, key)) WITHOUT ROWID;
  CREATE TABLE favorites (key TEXT PRIMARY KEY, chat_id TEXT) WITHOUT ROWID;
  CREATE TABLE messages (rowid INTEGER PRIMARY KEY, id TEXT, chat_id TEXT, box REAL, timestamp REAL, type REAL,
    author TEXT, author_key TEXT, content TEXT, edited REAL, reply_to TEXT, forgotten REAL);
  CREATE TABLE hidden (message_id TEXT, key TEXT, PRIMARY KEY (message_id, key)) WITHOUT ROWID;
  CREATE TABLE unread (rowid INTEGER PRIMARY KEY, key TEXT, message_id TEXT);
  CREATE TABLE files (id TEXT PRIMARY KEY, record TEXT) WITHOUT ROWID;
  CREATE TABLE shelves (kind TEXT, id TEXT, value TEXT, over REAL, PRIMARY KEY (kind, id)) WITHOUT ROWID
]] }

---@class trueconf.bridge.DiskStore: trueconf.bridge.Store
---@field on_failure fun(err: trueconf.Error)? called when the changes of a turn were undone
---@field private db trueconf.Sqlite
---@field private failed trueconf.Error? error of the last commit
---@field private rowid integer the last one given: orders members and unread messages
---@field private orphans trueconf.bridge.FileRecord[] files that go with the commit
local Disk = setmetatable({}, { __index = store.Store })
Disk.__index = Disk
local Store = store.Store

-- Transactions -----------------------------------------------------------------------------

function Disk:write(sql, ...)
  self.db:write(sql, ...)
end

-- Removes unreferenced files after the commit.
function Disk:drop_orphans()
  local orphans = self.orphans
  self.orphans = {}
  for _, file in ipairs(orphans) do Store.orphan(self, file) end
end

function Disk:orphan(file)
  self.orphans[#self.orphans + 1] = file
end

function Disk:settled(err)
  self.failed = err
  if not err then return self:drop_orphans() end
  self.orphans = {}
  self:load()
  if self.on_failure then self.on_failure(err) end
end

---Commit the changes so far.
---@return true? ok
---@return trueconf.Error? err IO: they are undone
function Disk:commit()
  return self.db:settle()
end

---The reason why changes cannot be written at the moment: the last commit has failed, and another try fails too.
---@return string? complaint
function Disk:complaint()
  if not self.failed then return nil end
  local ok, err = self.db:transaction(function()
    self.db:run("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", core.now())
  end)
  self.failed = not ok and err or nil
  return self.failed and self.failed.message
end

function Disk:close()
  self.db:close()
end

-- Writing -----------------------------------------------------------------------------------

function Disk:keep(name, value)
  self:write("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)
end

function Disk:set_server_name(name)
  if name ~= self.server_name then self:keep("server_name", name) end
  Store.set_server_name(self, name)
end

function Disk:next_serial()
  local serial = Store.next_serial(self)
  self:keep("serial", serial)
  return serial
end

function Disk:expire_tokens(account)
  Store.expire_tokens(self, account)
  if not account then self:keep("expired_through", self.expired_through) end
end

function Disk:put_account(account)
  Store.put_account(self, account)
  self:write("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?)", account.key, account.login,
    account.display_name, account.disabled, account.password_hash, account.expired_through)
end

function Disk:remove_account(key)
  Store.remove_account(self, key)
  self:write("DELETE FROM accounts WHERE key = ?", key)
end

-- Chats --------------------------------------------------------------------------------------

function Disk:put_chat(chat)
  local pair = chat.pair or {}
  self:write("INSERT OR REPLACE INTO chats VALUES (?, ?, ?, ?, ?, ?, ?)", chat.id, chat.type, chat.title, chat.avatar,
    pair[1], pair[2], chat.last)
end

function Disk:add_chat(chat)
  local added = Store.add_chat(self, chat)
  self:put_chat(added)
  return added
end

function Disk:set_favorites(key, chat)
  Store.set_favorites(self, key, chat)
  self:write("INSERT OR REPLACE INTO favorites VALUES (?, ?)", key, chat.id)
end

function Disk:set_title(chat, title)
  Store.set_title(self, chat, title)
  self:put_chat(chat)
end

function Disk:set_avatar(chat, file_id)
  Store.set_avatar(self, chat, file_id)
  self:put_chat(chat)
end

function Disk:next_rowid()
  self.rowid = self.rowid + 1
  return self.rowid
end

function Disk:keep_hidden_through(chat, key)
  self:write("INSERT OR REPLACE INTO hidden_through VALUES (?, ?, ?)", chat.id, key, chat.hidden_through[key])
end

function Disk:join(chat, key, role, show_history)
  Store.join(self, chat, key, role, show_history)
  self:write("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", chat.id, key, role, self:next_rowid())
  if not show_history then self:keep_hidden_through(chat, key) end
end

function Disk:leave(chat, key)
  Store.leave(self, chat, key)
  self:write("DELETE FROM members WHERE chat_id = ? AND key = ?", chat.id, key)
end

function Disk:set_role(chat, key, role)
  Store.set_role(self, chat, key, role)
  self:write("UPDATE members SET role = ? WHERE chat_id = ? AND key = ?", role, chat.id, key)
end

function Disk:remove_chat(chat)
  Store.remove_chat(self, chat)
  for _, name in ipairs { "favorites", "hidden_through" } do
    self:write(("DELETE FROM %s WHERE chat_id = ?"):format(name), chat.id)
  end
  self:write("DELETE FROM chats WHERE id = ?", chat.id)
end

-- Messages -----------------------------------------------------------------------------------

function Disk:append(chat, message)
  message.rowid, message.readers = self:next_rowid(), 0
  Store.append(self, chat, message)
  self:write("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", message.rowid, message.id, chat.id,
    message.box, message.timestamp, message.type, message.author, message.author_key,
    assert(json.encode(message.content)), message.edited, message.reply_to)
end

function Disk:edit(message, content)
  Store.edit(self, message, content)
  self:write("UPDATE messages SET content = ?, edited = 1 WHERE rowid = ?", assert(json.encode(content)), message.rowid)
end

function Disk:forget_message(message)
  Store.forget_message(self, message)
  message.forgotten = true
  if message.readers > 0 then
    self:write("UPDATE messages SET forgotten = 1 WHERE rowid = ?", message.rowid)
  else
    self:write("DELETE FROM messages WHERE rowid = ?", message.rowid)
  end
  if message.hidden then self:write("DELETE FROM hidden WHERE message_id = ?", message.id) end
end

-- When the newest message is removed, store the chat, so that its box is not used again.
function Disk:remove(chat, message)
  Store.remove(self, chat, message)
  if message.box == chat.last then self:put_chat(chat) end
end

function Disk:clear(chat)
  Store.clear(self, chat)
  self:put_chat(chat)
end

function Disk:hide(key, message)
  Store.hide(self, key, message)
  self:write("INSERT OR REPLACE INTO hidden VALUES (?, ?)", message.id, key)
end

function Disk:hide_all(chat, key)
  Store.hide_all(self, chat, key)
  self:keep_hidden_through(chat, key)
end

-- Files --------------------------------------------------------------------------------------

function Disk:put_file(file)
  Store.put_file(self, file)
  local record = { name = file.name, size = file.size, mime = file.mime, preview = file.preview }
  self:write("INSERT OR REPLACE INTO files VALUES (?, ?)", file.id, assert(json.encode(record)))
end

function Disk:remove_file(file_id)
  Store.remove_file(self, file_id)
  self:write("DELETE FROM files WHERE id = ?", file_id)
end

-- Unread -------------------------------------------------------------------------------------

function Disk:add_unread(key, message)
  if self:is_unread(key, message.id) then return end
  local rowid = self:next_rowid()
  message.readers = message.readers + 1
  self:write("INSERT INTO unread VALUES (?, ?, ?)", rowid, key, message.id)
  Store.add_unread(self, key, message, rowid)
end

function Disk:remove_unread(key, message_id)
  local removed, rowid, message = Store.remove_unread(self, key, message_id)
  if not removed then return false end
  self:write("DELETE FROM unread WHERE rowid = ?", rowid)
  message.readers = message.readers - 1
  if message.forgotten and message.readers == 0 then
    self:write("DELETE FROM messages WHERE rowid = ?", message.rowid)
  end
  return true
end

-- Shelves ------------------------------------------------------------------------------------

---@class trueconf.bridge.Shelf values of one kind that are kept for a limited time
---@field private store trueconf.bridge.DiskStore
---@field private kind string
local Shelf = {}
Shelf.__index = Shelf

---@param id string
---@param value table of JSON values
---@param over integer UNIX milliseconds
function Shelf:put(id, value, over)
  local text = assert(json.encode(value))
  self.store:write("INSERT OR REPLACE INTO shelves VALUES (?, ?, ?, ?)", self.kind, id, text, over)
end

---@param id string
function Shelf:remove(id)
  self.store:write("DELETE FROM shelves WHERE kind = ? AND id = ?", self.kind, id)
end

---@return { id: string, value: table, over: integer }[] ordered by their end
function Shelf:list()
  local list = self.store.db:rows("SELECT id, value, over FROM shelves WHERE kind = ? ORDER BY over", self.kind)
  for index, row in ipairs(list) do list[index] = { id = row[1], value = json.decode(row[2]), over = row[3] } end
  return list
end

function Disk:shelf(kind)
  return setmetatable({ store = self, kind = kind }, Shelf)
end

-- Reading it all -----------------------------------------------------------------------------

-- A truth value from a column of SQL.
local function truth(value)
  return value == 1
end

-- Other objects hold accounts: an account that is known already is filled anew.
function Disk:load_accounts()
  local before = self.accounts
  self.accounts = {}
  for _, row in ipairs(self.db:rows "SELECT * FROM accounts") do
    local account = before[row[1]] or {}
    account.key, account.login, account.display_name = row[1], row[2], row[3]
    account.disabled, account.password_hash, account.expired_through = truth(row[4]), row[5], row[6]
    self.accounts[account.key] = account
  end
  self:name_accounts()
end

function Disk:load_members()
  for _, row in ipairs(self.db:rows "SELECT chat_id, key, role, rowid FROM members ORDER BY rowid") do
    Store.join(self, self.chats[row[1]], row[2], row[3], true)
    self.rowid = math.max(self.rowid, row[4])
  end
  for _, row in ipairs(self.db:rows "SELECT chat_id, key, box FROM hidden_through") do
    self.chats[row[1]].hidden_through[row[2]] = row[3]
  end
  for _, row in ipairs(self.db:rows "SELECT key, chat_id FROM favorites") do
    Store.set_favorites(self, row[1], self.chats[row[2]])
  end
end

function Disk:load_chats()
  for _, row in ipairs(self.db:rows "SELECT id, type, title, pair_a, pair_b, avatar, last FROM chats") do
    local pair = row[4] and { row[4], row[5] }
    local chat = Store.add_chat(self, { id = row[1], type = row[2], title = row[3], pair = pair })
    if row[6] then Store.set_avatar(self, chat, row[6]) end
    chat.last = row[7]
  end
  self:load_members()
end

local function message_of(row)
  return {
    rowid = row[1], id = row[2], chat_id = row[3], box = row[4], timestamp = row[5], type = row[6], author = row[7],
    author_key = row[8], content = json.decode(row[9]), edited = truth(row[10]), reply_to = row[11],
    forgotten = truth(row[12]) or nil, readers = 0,
  }
end

-- lua-dbi would read a rowid as 32 bits.
local MESSAGES = "SELECT CAST(rowid AS REAL), id, chat_id, box, timestamp, type, author, author_key, content, edited, "
  .. "reply_to, forgotten FROM messages ORDER BY rowid"
local UNREAD = "SELECT CAST(rowid AS REAL), key, message_id FROM unread ORDER BY rowid"

-- Returns all messages by their ids, also messages that are kept only because they are unread.
function Disk:load_messages()
  local all = {}
  for _, row in ipairs(self.db:rows(MESSAGES)) do
    local message = message_of(row)
    local chat = self.chats[message.chat_id]
    all[message.id], chat.last = message, math.max(chat.last, message.box)
    if not message.forgotten then self:link(chat, message) end
    self.rowid = math.max(self.rowid, message.rowid)
  end
  for _, row in ipairs(self.db:rows "SELECT message_id, key FROM hidden") do
    local message = all[row[1]]
    message.hidden = message.hidden or {}
    message.hidden[row[2]] = true
  end
  return all
end

function Disk:load_unread(messages)
  for _, row in ipairs(self.db:rows(UNREAD)) do
    local message = messages[row[3]]
    message.readers = message.readers + 1
    Store.add_unread(self, row[2], message, row[1])
    self.rowid = math.max(self.rowid, row[1])
  end
end

function Disk:load_files()
  for _, row in ipairs(self.db:rows "SELECT id, record FROM files") do
    local file = json.decode(row[2])
    file.id, file.ready = row[1], true
    self.files[file.id] = file
  end
end

function Disk:load_meta()
  local meta = {}
  for _, row in ipairs(self.db:rows "SELECT name, value FROM meta") do meta[row[1]] = row[2] end
  self.server_name = meta.server_name
  self.serial, self.expired_through = meta.serial or 0, meta.expired_through or 0
end

-- Load the content of the file into memory.
function Disk:load()
  self:empty()
  self.rowid = 0
  self:load_meta()
  self:load_accounts()
  self:load_files()
  self:load_chats()
  self:load_unread(self:load_messages())
end

---Open the store of a data folder; it is made when it is missing.
---@param folder string that only its owner may read
---@param options { history_limit: integer, unread_limit: integer }
---@return trueconf.bridge.DiskStore? store
---@return trueconf.Error? err IO: damaged, in use by another Bridge, of a newer version, cannot be written;
---UNSUPPORTED: lua-dbi is missing
local function open(folder, options)
  local db, err = sqlite.open(folder .. "/" .. FILE, SCHEMA)
  if not db then return nil, err end
  local self = setmetatable(store.new(options), Disk)
  self.db, self.orphans = db, {}
  db.on_settled = function(failure) self:settled(failure) end
  local ok
  ok, err = pcall(self.load, self)
  if ok then return self end
  db:close()
  if type(err) == "string" then err = core.error("IO", ("%s is damaged: %s"):format(db.path, err)) end
  return nil, err
end

return { open = open, FILE = FILE }
