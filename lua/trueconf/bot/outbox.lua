-- SPDX-License-Identifier: MIT
-- The outbox: messages that must arrive. They are kept in the bot's store first, sent in order per chat, different
-- chats at the same time, and tried again until the server has accepted or refused them. When the outcome of a message
-- is unknown, the bot looks for it in the history of the chat before it sends it again: at once, and once more when
-- bytes that the network may still hold of a lost connection can no longer arrive.
--
-- In the store: `outbox` holds waiting posts, in order; `posted` the idempotency keys of sent posts; `unsent` the
-- refused posts.

local backoff = require "trueconf.base.backoff"
local face = require "trueconf.base.face"
local fifo = require "trueconf.base.fifo"
local lru = require "trueconf.base.lru"
local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local message_request = require "trueconf.api.message_request"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"
local sorted_keys = require "trueconf.base.sorted_keys"
local text = require "trueconf.text"
local handler_run = require "trueconf.bot.handler_run"

local INSIDE = face.INSIDE

local MOST_WAITING = 10000
local ROOM_AGAIN = 9000                 -- waiting posts at which a full outbox has room again
local MOST_KEYS, MOST_UNSENT = 10000, 1000 -- kept; above that the oldest is dropped
local KEY_LIFE = 30 * 86400 * 1000      -- milliseconds
local FIRST_PAUSE, LONGEST_PAUSE = 1, 60 -- seconds between tries
local LOOK_BACK = 500                   -- messages of the history at most
local MOST_CHATS = 1000                 -- chats whose newest message is remembered

local outboxes = {}

-- Seconds. A server closes a connection that has not answered its pings for about 20 (protocol, "Keepalive"); bytes
-- that come over it later are lost.
outboxes.grace = 25

---@class (exact) trueconf.PostOptions: trueconf.SendOptions
---@field key? string idempotency key: a second post with the same key does nothing
---@field user_id? string in place of a chat: the personal chat with this user, which is opened if needed

local SCHEMA = { key = { type = "string" }, user_id = { type = "string" } }
for name, option in pairs(message_request.OPTIONS) do SCHEMA[name] = option end

---A message that was accepted for sending.
---@class trueconf.Posted
---@field id string its own
---@field key string?
---@field chat_id string? nil: a personal chat that is not open yet
---@field state "waiting"|"sent"|"refused"
---@field message_id string? once it is sent
---@field err trueconf.Error? of the refusal, or of the last try
local Posted = {}

local SHOWN = { id = true, key = true, chat_id = true, state = true, message_id = true, err = true }

-- Fields that a script sets on it belong to the script.
local posted_meta = {
  __name = "trueconf.Posted",
  __classes = { SHOWN, Posted },
  __index = function(self, name)
    if SHOWN[name] then return rawget(self, INSIDE)[name] end
    return Posted[name]
  end,
}

-- A message on its way through the outbox.
---@class trueconf.Post: trueconf.Posted
---@field posted trueconf.Posted the object that the script holds
---@field record table as it is in the store
---@field doubt_since number? time of the first look for it in the chat; monotonic seconds
---@field waiters table<trueconf.core.Waiter, true> of scripts that wait for it
local Post = {}
Post.__index = Post

---@class trueconf.Outbox
---@field private engine trueconf.Engine
---@field private client trueconf.Client
---@field private store trueconf.Store
---@field private queues table<string, trueconf.Fifo> posts that wait, by chat or person
---@field private newest trueconf.Lru by chat: a message that is older than the next one to be sent
---@field private keys table<string, trueconf.Post> of waiting posts
---@field private waiting integer
---@field private running boolean
---@field is_full boolean a post was refused, and the outbox has no room yet
local Outbox = {}
Outbox.__index = Outbox

-- Posts ------------------------------------------------------------------------------------

local function post_of(id, record)
  local post = setmetatable({
    id = id, key = record.key, chat_id = record.chat_id, message_id = record.message_id, state = "waiting",
    waiters = {}, record = record,
  }, Post)
  post.posted = setmetatable({ [INSIDE] = post }, posted_meta)
  return post
end

function Post:settle(state)
  self.state = state
  local waiters = self.waiters
  self.waiters = {}
  for waiter in pairs(waiters) do waiter:wake(true) end
end

-- A script that waits for a post; closing the variable ends the wait.
local Waiting = { __close = function(waiting) waiting.waiters[waiting.waiter] = nil end }

---Wait until the message is sent or refused.
---@async
---@param timeout? number seconds
---@return string? message_id
---@return trueconf.Error? err TIMEOUT, CLOSED, or why it was refused
function Posted:wait(timeout)
  local post = rawget(self, INSIDE)
  if post.state == "waiting" then
    local waiting <close> = setmetatable({ waiters = post.waiters, waiter = core.waiter() }, Waiting)
    post.waiters[waiting.waiter] = true
    local ok, err = waiting.waiter:wait(timeout)
    if not ok then return nil, err end
  end
  if post.state == "sent" then return post.message_id end
  return nil, post.err
end

-- Keeping ----------------------------------------------------------------------------------

-- Drop the old idempotency keys of posts that were sent before this process began.
local function expire_keys(store)
  store:drop_oldest("posted", MOST_KEYS)
  local oldest = core.now() - KEY_LIFE
  for _, item in ipairs(store:list "posted") do
    if item.value.at < oldest then store:remove("posted", item.id) end
  end
end

local function queue_of(record)
  return record.chat_id or "user " .. record.user_id
end

function Outbox:enqueue(post)
  local name = queue_of(post.record)
  local queue = self.queues[name] or fifo.new()
  self.queues[name] = queue
  queue:push(post)
  self.waiting = self.waiting + 1
  if post.key then self.keys[post.key] = post end
  self:work(name)
end

---@param engine trueconf.Engine
---@param store trueconf.Store
---@return trueconf.Outbox
function outboxes.new(engine, store)
  local self = setmetatable({
    engine = engine, client = engine.client, store = store, queues = {}, newest = lru.new(MOST_CHATS), keys = {},
    waiting = 0, running = false, is_full = false,
  }, Outbox)
  expire_keys(store)
  for _, item in ipairs(store:list "outbox") do self:enqueue(post_of(item.id, item.value)) end
  return self
end

-- The post with this idempotency key, if there was one.
function Outbox:known(key)
  if self.keys[key] then return self.keys[key] end
  local kept = self.store:get("posted", key)
  if not kept then return nil end
  local post = post_of(kept.id, kept)
  post.key = key
  post:settle "sent"
  return post
end

function Outbox:check_room()
  if self.waiting < MOST_WAITING then return true end
  self.is_full = true
  return nil, Error.new("LIMIT", ("%d messages wait to be sent, the outbox is full"):format(self.waiting))
end

---Accept a message for sending; see bot:post().
---@param record table
---@return trueconf.Posted?
---@return trueconf.Error? err LIMIT, IO
function Outbox:post(record)
  local known = record.key and self:known(record.key)
  if known then return known.posted end
  local ok, err = self:check_room()
  if not ok then return nil, err end
  local id = core.uuid()
  record.at, record.tries = core.now(), 0
  self.store:put("outbox", id, record)
  ok, err = self.store:commit()
  if not ok then
    self.store:remove("outbox", id)
    return nil, err
  end
  local post = post_of(id, record)
  self:enqueue(post)
  return post.posted
end

-- One message ------------------------------------------------------------------------------

local function message_of(record)
  return {
    chat_id = record.chat_id, text = record.text, parse_mode = record.parse_mode, reply_to = record.reply_to,
    buttons = record.buttons,
  }
end

-- After stop() the record in the store stays as it is: the next start looks up posts with an unknown outcome.
function Outbox:keep(post)
  if self.over then return end
  self.store:put("outbox", post.id, post.record)
end

function Outbox:sent(post, message_id)
  post.message_id = message_id
  self.store:remove("outbox", post.id)
  if post.key then
    self.store:put("posted", post.key, {
      id = post.id, chat_id = post.record.chat_id, message_id = message_id, at = core.now(),
    })
    self.kept_keys = (self.kept_keys or 0) + 1
    if self.kept_keys % (MOST_KEYS // 10) == 0 then self.store:drop_oldest("posted", MOST_KEYS) end
  end
  post:settle "sent"
end

function Outbox:refused(post, err)
  if self.over then return end
  post.err = err
  local record = post.record
  record.error, record.message = err.name, err.message
  self.store:remove("outbox", post.id)
  self.store:put("unsent", post.id, record)
  self.store:drop_oldest("unsent", MOST_UNSENT)
  self.client.log:error("a posted message was refused, bot:unsent() has it: chat %s: %s",
    record.chat_id or record.user_id, err)
  post:settle "refused"
end

-- The personal chat, opened when there is none or the known one is gone.
function Outbox:open_chat(record)
  local chat_id, err = self.client:create_p2p_chat(record.user_id)
  if chat_id then record.chat_id = chat_id end
  return chat_id ~= nil, err
end

local function words(content, mode)
  return text.plain(content or "", mode)
end

-- True if a message of the history is the post with the unknown outcome.
local function is_same(message, record)
  return words(message.text, message.parse_mode) == words(record.text, record.parse_mode)
    and (message.reply_to or nil) == record.reply_to
end

-- Look for a message after the newest one that was there before it was sent.
local function find(client, record)
  local me, count = nil, 0
  for message in client:history(record.chat_id) do
    me = me or protocol.plain_id(client:user_id()) -- known once the history has come
    count = count + 1
    if message.id == record.after or count > LOOK_BACK then break end
    if protocol.plain_id(message.author) == me and is_same(message, record) then return message.id end
  end
  return false
end

---@return string|false|nil message_id false: it did not arrive; nil: that is unknown now
---@return trueconf.Error? err
function Outbox:look_up(record)
  local ok, result = pcall(find, self.client, record)
  if ok then return result end
  if not Error.is(result) then error(result, 0) end
  if result.name == "CHAT_NOT_FOUND" then return false end
  return nil, result
end

-- The newest message before one is sent: where a look-up ends.
---@return string? message_id "": there is none
---@return trueconf.Error? err
function Outbox:anchor(record)
  local known = self.newest:get(record.chat_id)
  if known then return known end
  local page, err = self.client:get_chat_history(record.chat_id, 1)
  if not page then return err.outcome == "rejected" and "" or nil, err end
  local newest = page.messages and page.messages[1]
  return newest and newest.id or ""
end

-- Classes of errors about the message itself. Other errors are about the connection, the account or the server, and may
-- go away.
local OF_MESSAGE = { request = true, done = true }

-- True if the server has refused the message for good. A used request id is no fault of the message.
local function is_final(err)
  if err.name == "UNSUPPORTED" then return true end
  return err.outcome == "rejected" and OF_MESSAGE[Error.names[err.name].class] and err.name ~= "DUPLICATE_ID"
end

-- Send it once. Before a byte is sent, the store holds that it may have been sent.
function Outbox:send(post)
  local record = post.record
  local after, sent, err
  after, err = self:anchor(record)
  if not after then return nil, err end
  record.after, record.tries, record.in_doubt, post.doubt_since = after, record.tries + 1, true, nil
  self:keep(post)
  sent, err = self.store:commit()
  if not sent then
    record.in_doubt = nil
    return nil, err
  end
  sent, err = self.client:send_message(message_of(record))
  if sent then
    self.newest:put(record.chat_id, sent.id)
    return sent.id
  end
  if err.outcome == "not_sent" or err.outcome == "rejected" then
    record.in_doubt = nil
    self:keep(post)
  end
  return nil, err
end

-- Seconds until a message with an unknown outcome can no longer arrive.
local function rest_of_grace(post)
  if not post.record.in_doubt then return 0 end
  post.doubt_since = post.doubt_since or core.monotonic()
  return math.max(0, post.doubt_since + outboxes.grace - core.monotonic())
end

-- Find out whether a message has arrived. Returns its id; or false: it has not and will not; or nil, the reason why
-- that is unknown, and true if it stays unknown.
function Outbox:resolve(post)
  local record, rest = post.record, rest_of_grace(post)
  local found, err = self:look_up(record)
  if found then self.newest:put(record.chat_id, found) end
  if found ~= false then return found, err, err and is_final(err) end
  if rest > 0 then return nil, Error.new("TIMEOUT", "it may have been sent, and may still arrive", { op = "post" }) end
  record.in_doubt = nil
  return false
end

-- Try to send a message. Returns its id; or nil, the error, and true if the failure is final.
function Outbox:try(post)
  local record = post.record
  if self.store.failing then return nil, self.store.failing end
  if not record.chat_id then
    local open, err = self:open_chat(record)
    if not open then return nil, err, is_final(err) end
  end
  if record.in_doubt then
    local found, err, final = self:resolve(post)
    if found ~= false then return found, err, final end
  end
  local message_id, err = self:send(post)
  if message_id then return message_id end
  if err.name == "CHAT_NOT_FOUND" and record.user_id and not record.reopened then
    self.newest:remove(record.chat_id)
    record.chat_id, record.reopened = nil, true
    return self:try(post)
  end
  return nil, err, is_final(err)
end

-- Make one try, and settle the post or plan the next try.
function Outbox:step(post)
  local message_id, err, final = self:try(post)
  post.err = err
  if message_id then self:sent(post, message_id) elseif final then self:refused(post, err) end
end

-- Functions of use_call belong to the script, and may raise.
function Outbox:raised(post, failure)
  local err = failure.err
  post.err = Error.is(err) and err or Error.new("CANCELLED", tostring(err), { op = "post" })
  local dispatch = self.engine.dispatch
  core.spawn(dispatch.report, dispatch, failure, nil, nil, "a posted message")
end

-- Try until it is settled, or the bot stops.
function Outbox:deliver(post, queue)
  local tries = 0
  while self.running do
    local ok, failure = xpcall(self.step, handler_run.with_traceback, self, post)
    if not ok then self:raised(post, failure) end
    if post.state ~= "waiting" or not self.running then return end
    local rest = rest_of_grace(post)
    tries = tries + 1
    local wait = backoff.jittered(backoff.pause(tries, FIRST_PAUSE, LONGEST_PAUSE))
    if rest > 0 then wait = math.min(wait, rest) end
    self.client.log:debug("a posted message waits %g s for its next try: %s", wait, post.err)
    queue.pause = core.waiter()
    queue.pause:wait(wait)
    queue.pause = nil
  end
end

-- Queues -----------------------------------------------------------------------------------

-- A running queue of a chat. At every end of its coroutine, the next one can begin.
local Turn = {}

function Turn.__close(turn)
  local self, name, queue = turn.outbox, turn.name, turn.queue
  queue.busy = false
  if not queue:peek() then self.queues[name] = nil end
  if self.waiting == 0 and self.empty then self.empty:wake(true) end
end

local function run_queue(self, name, queue)
  local _ <close> = setmetatable({ outbox = self, name = name, queue = queue }, Turn)
  while self.running and queue:peek() do
    local post = queue:peek()
    self:deliver(post, queue)
    if post.state == "waiting" then break end
    queue:pop()
    self.waiting = self.waiting - 1
    if post.key then self.keys[post.key] = nil end
    if self.is_full and self.waiting <= ROOM_AGAIN then
      self.is_full = false
      self.engine.persistence:outbox_has_room()
    end
  end
end

function Outbox:work(name)
  local queue = self.queues[name]
  if not self.running or queue.busy then return end
  queue.busy = true
  core.spawn(run_queue, self, name, queue)
end

---Try waiting posts now, without the rest of their pause.
function Outbox:hurry()
  for _, queue in pairs(self.queues) do
    if queue.pause then queue.pause:wake(true) end
  end
end

---Begin to send.
function Outbox:start()
  self.running = true
  for _, name in ipairs(sorted_keys(self.queues)) do self:work(name) end
end

---Stop sending; waiting posts stay in the store. Without a file they are sent first, until the deadline.
---@async
---@param deadline number seconds
function Outbox:stop(deadline)
  if not self.store.is_durable and self.waiting > 0 and self.running and deadline > 0 then
    self.empty = core.waiter()
    self.empty:wait(deadline)
    self.empty = nil
  end
  self.running = false
  self:hurry()
end

---Stop using the store, which will be closed next.
function Outbox:close()
  self.over = true
end

-- State ------------------------------------------------------------------------------------

---The state of the outbox.
---@class trueconf.OutboxState
---@field waiting integer messages
---@field oldest number? seconds that the oldest of them waits
---@field unsent integer messages that were refused, at most 1000

---@return trueconf.OutboxState
function Outbox:look()
  local oldest
  for _, queue in pairs(self.queues) do
    local first = queue:peek()
    if first and (not oldest or first.record.at < oldest) then oldest = first.record.at end
  end
  return {
    waiting = self.waiting, oldest = oldest and (core.now() - oldest) / 1000, unsent = self.store:count "unsent",
  }
end

---A posted message that the server has refused.
---@class trueconf.UnsentMessage
---@field id string of the post
---@field chat_id string?
---@field user_id string? in place of a chat
---@field text string
---@field key string?
---@field posted_at integer UNIX milliseconds
---@field tries integer
---@field error string name of the error
---@field message string of the error, for people

---@return trueconf.UnsentMessage[] messages oldest first
function Outbox:unsent()
  local list = self.store:list "unsent"
  for index, item in ipairs(list) do
    local record = item.value
    list[index] = {
      id = item.id, chat_id = record.chat_id, user_id = record.user_id, text = record.text, key = record.key,
      posted_at = record.at, tries = record.tries, error = record.error, message = record.message,
    }
  end
  return list
end

---Post a refused message once more, behind the others of its chat.
---@param id string
---@return trueconf.Posted? posted nil without an error: there is no such message
---@return trueconf.Error? err LIMIT, IO
function Outbox:post_again(id)
  local record = self.store:get("unsent", id)
  if not record then return nil end
  local ok, err = self:check_room()
  if not ok then return nil, err end
  self.store:remove("unsent", id)
  local refused = { error = record.error, message = record.message, at = record.at, tries = record.tries }
  record.error, record.message, record.reopened = nil, nil, nil -- an unknown outcome is looked up first
  local posted
  posted, err = self:post(record)
  if posted then return posted end
  for name, value in pairs(refused) do record[name] = value end
  self.store:put("unsent", id, record)
  return nil, err
end

---Forget a refused message.
---@param id string
function Outbox:forget(id)
  self.store:remove("unsent", id)
end

-- Arguments --------------------------------------------------------------------------------

-- Refuse at once a post that the server would refuse.
local function check(record, level)
  local args = message_of(record)
  args.chat_id = args.chat_id or ""
  local payload, err = message_request.build(level + 2, args)
  return payload ~= nil, err
end

-- Everything may be given by name, all in one table.
local function read(chat_id, content, given)
  if type(chat_id) ~= "table" then return chat_id, content, given end
  local rest = {}
  for name, value in pairs(chat_id) do rest[name] = value end
  rest.chat_id, rest.text = nil, nil
  return chat_id.chat_id, chat_id.text, rest
end

---Make the record of a post from the arguments of bot:post().
---@param level integer stack level to blame
---@return table? record
---@return trueconf.Error? err LIMIT: too long
function outboxes.record_of(level, ...)
  local chat_id, content, given = read(...)
  local record = options.check(SCHEMA, given or {}, level + 1, "post")
  if (chat_id == nil) == (record.user_id == nil) then
    error("post: either 'chat_id' or 'user_id' is needed", level + 1)
  end
  if chat_id ~= nil then options.argument("post", "chat_id", chat_id, "string", level + 1) end
  content = options.text("post", "text", content, level + 1)
  record.chat_id, record.text = chat_id, content
  local ok, err = check(record, level + 1)
  if not ok then return nil, err end
  return record
end

misuse.guard(Posted, "posted")

return outboxes
