-- SPDX-License-Identifier: MIT
-- A Bridge on a real socket with clients of ours at it and something of everything in its chats; and for each method
-- a request that succeeds there, and how each error of the schema is brought about. Requests are payloads of the
-- wire, so that they can be sent by a client and as raw frames.
--
-- Herald owns a group, in which mira and noah are users, and a channel that mira reads; john has a group of his own.
-- Herald's client is told the version of the server, those of the others ask.

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local seen = require "spec.support.seen"
local trueconf = require "trueconf"

local BUTTONS_SINCE = protocol.objects.Button.since
local PATIENCE = 10                     -- seconds for anything
local NOWHERE = "gone"
local HERALD, MIRA, NOAH, JOHN = "herald@chat.acme.test", "mira@chat.acme.test", "noah@chat.acme.test",
  "john@chat.acme.test"
local BUTTONS = { {
  { type = "command", label = "Go", command = "go", customData = "17", id = "g", style = "primary", waitReply = true,
    to = HERALD },
  { type = "url", label = "Log", url = "https://chat.acme.test/17" },
}, {
  { type = "message", label = "Hi", message = "hello", draft = true },
  { type = "copy", label = "Copy", data = "17" },
  { type = "share", label = "Share" },
} }

---@class spec.Scene
---@field version string
---@field server trueconf.bridge.Server
---@field clients table<string, trueconf.Client> by login
---@field seen spec.Seen what came over the wire to the clients
---@field sent integer requests that the clients have sent
---@field group string
---@field channel string
---@field foreign string a chat that only john takes part in
---@field foreign_message string
local Scene = {}
Scene.__index = Scene

local scene = { NOWHERE = NOWHERE, BUTTONS = BUTTONS }

-- Start and stop ----------------------------------------------------------------------------

-- Notes what goes over the wire of a client.
local function tracer(self)
  local methods = {}
  return function(direction, text)
    local frame = assert(json.decode(text))
    if direction == "out" then
      if frame.type == 1 then methods[frame.id], self.sent = frame.method, self.sent + 1 end
    elseif frame.type == 1 then
      self.seen:notification(frame.method, frame.payload)
    elseif not frame.payload.errorCode then
      self.seen:response(methods[frame.id], frame.payload)
    end
  end
end

function Scene:client(login)
  local client = trueconf.client {
    url = self.server:url(), token = self.server:mint_token(login), log = "off", call_timeout = PATIENCE,
    server_version = login == "herald" and self.version or nil, receive_system = true, on_trace = tracer(self),
  }
  client:start()
  assert(client:wait_ready(PATIENCE))
  return client
end

---Send a request that must succeed; the payload of its response.
---@async
function Scene:call(login, method, payload)
  return assert(self.clients[login]:call(method, payload))
end

local function furnish(self)
  self.group = self:new_group()
  self.channel = self:call("herald", "createChannel", { title = "News" }).chatId
  self:add(self.channel, MIRA)
  self.foreign = self:call("john", "createGroupChat", { title = "Elsewhere" }).chatId
  self.foreign_message = self:say("hidden", { chatId = self.foreign }, "john")
end

local function serve(self, options)
  local given = {
    server_name = "chat.acme.test", accounts = { herald = "1", mira = "2", noah = "3", john = "4" }, password_cost = 1,
    version = self.version, ping_interval = 0, command_ids = true, log = { level = "off" },
    upload_limits = { max_size = 1000, extensions = { mode = "block", list = { "exe" } } },
  }
  for name, value in pairs(options or {}) do given[name] = value end
  self.server = assert(bridge.start(given))
  for _, login in ipairs { "herald", "mira", "john" } do self.clients[login] = self:client(login) end
end

---@async
---@param version string of the profile that is played
---@param options? trueconf.bridge.Options
---@return spec.Scene
function scene.start(version, options)
  local self = setmetatable({ version = version, seen = seen.new(version), sent = 0, clients = {} }, Scene)
  serve(self, options)
  furnish(self)
  return self
end

---Start a Bridge and clients anew, after stop(), with what the options let it remember.
---@async
---@param options trueconf.bridge.Options
function Scene:start_again(options)
  serve(self, options)
end

---@async
function Scene:stop()
  for _, client in pairs(self.clients) do client:stop() end
  self.server:stop()
end

---True if the played version has the additions of another version.
function Scene:has(since)
  return protocol.since(self.version, since)
end

-- Objects of requests -----------------------------------------------------------------------

---@async
function Scene:add(chat_id, user_id)
  self:call("herald", "addChatParticipant", { chatId = chat_id, userId = user_id, displayHistory = true })
end

---A group of herald with mira and noah in it.
---@async
function Scene:new_group()
  local group = self:call("herald", "createGroupChat", { title = "Ops" }).chatId
  self:add(group, MIRA)
  self:add(group, NOAH)
  return group
end

---A message in the group.
---@async
---@return string message_id
function Scene:say(text, more, login)
  local payload = { chatId = self.group, content = { text = text, parseMode = "text" } }
  for name, value in pairs(more or {}) do payload[name] = value end
  return self:call(login or "herald", "sendMessage", payload).messageId
end

---A message in the group that answers another.
---@async
---@return string message_id
function Scene:answer(content)
  return self:say("yes", { replyMessageId = self:say "what?", content = content })
end

function scene.survey(title)
  return {
    url = "https://chat.acme.test/webtools/survey", appVersion = 1, path = "p1", title = title,
    description = "{{Survey}}", buttonText = "{{Go to survey}}", secret = ("0"):rep(40), alt = "📊 " .. title,
  }
end

---@async
function Scene:post_survey()
  return self:call("herald", "sendSurvey", { chatId = self.group, content = scene.survey "Lunch" }).messageId
end

---Upload a small picture with a preview.
---@async
---@param login? string default herald
---@return string temporal_file_id
function Scene:upload(login)
  local task = self:call(login or "herald", "uploadFile", { fileSize = 5, fileName = "plan.png" }).uploadTaskId
  local answer = assert(core.http {
    url = self.server:url():gsub("^ws", "http") .. "/bridge/api/client/v1/files",
    headers = { ["Upload-Task-Id"] = task },
    form = {
      { name = "file", filename = "plan.png", type = "image/png", data = "12345" },
      { name = "preview", filename = "plan.webp", type = "image/webp", data = "12" },
    },
  })
  return assert(json.decode(answer.body).temporalFileId, answer.body)
end

---@async
function Scene:file()
  self.file_id = self.file_id or self:call("herald", "sendFile", {
    chatId = self.group, content = { temporalFileId = self:upload() },
  }).fileId
  return self.file_id
end

---A click of mira that herald can answer.
---@async
---@return string command_id
function Scene:click()
  local said = self:answer { text = "Go?", parseMode = "text", buttons = BUTTONS }
  local clicks = self.server.clicks
  assert(self.server:person("mira"):click(said, "g"))
  return clicks.order[clicks.order.last]
end

-- A message as the Bridge keeps it.
function Scene:record(message_id)
  return self.server.store:message(message_id)
end

function Scene:roles(chat_id)
  local chat = self.server.store:chat(chat_id)
  return chat and chat.roles
end

-- Requests that succeed ---------------------------------------------------------------------

local function text(words, more)
  local content = { text = words, parseMode = "text" }
  for name, value in pairs(more or {}) do content[name] = value end
  return content
end

-- Does a message that was sent say what it should?
local function sent(kind, fits)
  return function(self, answer, payload)
    local record = self:record(answer.messageId)
    assert(answer.chatId == payload.chatId and record.chat_id == payload.chatId and record.type == kind)
    assert(record.author == HERALD and record.timestamp == answer.timestamp)
    assert(fits(record, answer), "it says something else")
  end
end

local function nothing(answer)
  assert(next(answer) == nil)
end

-- By method: makes the payload; and looks whether the answer is right and it was done.
---@type table<string, function[]>
scene.WORKS = {
  auth = {
    function(self) return { token = self.server:mint_token "herald", tokenType = "JWT", receiveUnread = false } end,
    function(_, answer) assert(answer.userId:match "^[^/]*" == HERALD and answer.connectionId) end,
  },
  sendMessage = {
    function(self)
      local buttons = self:has(BUTTONS_SINCE) and BUTTONS or nil
      return { chatId = self.group, replyMessageId = self:answer(), content = text("two", { buttons = buttons }) }
    end,
    sent(200, function(record) return record.content.text == "two" and record.reply_to end),
  },
  editMessage = {
    function(self) return { messageId = self:say "one", content = text "two" } end,
    function(self, answer, payload)
      local record = self:record(payload.messageId)
      assert(answer.messageId == payload.messageId and record.content.text == "two" and record.edited)
    end,
  },
  forwardMessage = {
    function(self) return { chatId = self.channel, messageId = self:say "one" } end,
    sent(201, function(record) return record.content.content.text == "one" end),
  },
  removeMessage = {
    function(self) return { messageId = self:say "one", forAll = true } end,
    function(self, answer, payload)
      nothing(answer)
      assert(not self:record(payload.messageId))
    end,
  },
  getMessageById = {
    function(self)
      local buttons = self:has(BUTTONS_SINCE) and BUTTONS or nil
      return { messageId = self:answer { text = "one", parseMode = "text", buttons = buttons } }
    end,
    function(self, answer, payload)
      assert(answer.messageId == payload.messageId and answer.content.text == "one")
      assert((answer.content.buttons ~= nil) == self:has(BUTTONS_SINCE))
    end,
  },
  getChatHistory = {
    function(self)
      self:say "one"
      return { chatId = self.group, count = 1, fromMessageId = self:say "two" }
    end,
    function(_, answer) assert(answer.count == 1 and answer.messages[1].content.text == "two") end,
  },
  clearHistory = {
    function(self)
      self:say "one"
      return { chatId = self.group, forAll = true }
    end,
    function(self, answer, payload)
      nothing(answer)
      assert(#self.server:history(payload.chatId) == 1) -- the note that it was cleared
    end,
  },
  createP2PChat = {
    function() return { userId = MIRA } end,
    function(self, answer) assert(self:roles(answer.chatId).mira) end,
  },
  createGroupChat = {
    function() return { title = "Group" } end,
    function(self, answer) assert(self:roles(answer.chatId).herald == "owner") end,
  },
  createChannel = {
    function() return { title = "Channel" } end,
    function(self, answer) assert(self.server.store:chat(answer.chatId).type == 6) end,
  },
  createFavoritesChat = {
    function() return {} end,
    function(self, answer) assert(self:roles(answer.chatId).herald == "favorites_owner") end,
  },
  getChats = {
    function() return { count = 3, page = 1 } end,
    function(_, answer) assert(#answer > 0 and answer[1].chatId) end,
  },
  getChatByID = {
    function(self) return { chatId = self.group } end,
    function(self, answer) assert(answer.chatId == self.group and answer.chatType == 2) end,
  },
  removeChat = {
    function(self) return { chatId = self:new_group() } end,
    function(self, answer, payload)
      nothing(answer)
      assert(not self:roles(payload.chatId))
    end,
  },
  editChatTitle = {
    function(self) return { chatId = self.group, title = "Ops and more" } end,
    function(self, answer)
      assert(answer.chatId == self.group and self.server.store:chat(self.group).title == "Ops and more")
    end,
  },
  editChatAvatar = {
    function(self) return { chatId = self.group, temporalFileId = self:upload() } end,
    function(self, answer)
      nothing(answer)
      assert(self:call("herald", "getChatByID", { chatId = self.group }).avatarUrl)
    end,
  },
  addChatParticipant = {
    function(self) return { chatId = self:new_group(), userId = JOHN, displayHistory = true } end,
    function(self, answer, payload)
      nothing(answer)
      assert(self:roles(payload.chatId).john == "user")
    end,
  },
  removeChatParticipant = {
    function(self) return { chatId = self:new_group(), userId = NOAH, clearHistory = true } end,
    function(self, answer, payload)
      nothing(answer)
      assert(not self:roles(payload.chatId).noah)
    end,
  },
  changeParticipantRole = {
    function(self) return { chatId = self:new_group(), userId = NOAH, role = "admin" } end,
    function(self, answer, payload)
      nothing(answer)
      assert(self:roles(payload.chatId).noah == "admin")
    end,
  },
  getChatParticipants = {
    function(self) return { chatId = self.group, pageSize = 2, pageNumber = 2 } end,
    function(_, answer) assert(#answer.participants == 1 and answer.participants[1].role == "user") end,
  },
  getChatParticipant = {
    function(self) return { chatId = self.group, userId = MIRA } end,
    function(_, answer) assert(answer.userId == MIRA and answer.role == "user" and answer.type == 1) end,
  },
  hasChatParticipant = {
    function(self) return { chatId = self.group, userId = MIRA } end,
    function(_, answer) assert(answer.result == true) end,
  },
  getUserDisplayName = {
    function() return { userId = MIRA } end,
    function(_, answer) assert(answer.displayName == "mira") end,
  },
  uploadFile = {
    function() return { fileSize = 5, fileName = "plan.png" } end,
    function(self, answer) assert(self.server.files.tasks:get(answer.uploadTaskId).size == 5) end,
  },
  sendFile = {
    function(self)
      return { chatId = self.group, replyMessageId = self:say "one", content = {
        temporalFileId = self:upload(), caption = text "the plan" } }
    end,
    sent(202, function(record, answer)
      return record.content.name == "plan.png" and record.content.fileId == answer.fileId
    end),
  },
  getFileInfo = {
    function(self) return { fileId = self:file() } end,
    function(_, answer) assert(answer.size == 5 and answer.downloadUrl and answer.previews[1].size == 2) end,
  },
  getFileUploadLimits = {
    function() return {} end,
    function(_, answer) assert(answer.maxSize == 1000 and answer.extensions.list[1] == "exe") end,
  },
  subscribeFileProgress = {
    function(self) return { fileId = self:file() } end,
    function(_, answer) assert(answer.result == true) end,
  },
  unsubscribeFileProgress = {
    function(self) return { fileId = self:file() } end,
    function(_, answer) assert(answer.result == true) end,
  },
  sendSurvey = {
    function(self)
      return { chatId = self.group, replyMessageId = self:say "one", content = scene.survey "Lunch" }
    end,
    sent(204, function(record) return record.content.title == "Lunch" end),
  },
  editSurvey = {
    function(self)
      local content = scene.survey "Dinner"
      content.url, content.appVersion, content.secret = nil, nil, nil
      return { messageId = self:post_survey(), content = content }
    end,
    function(self, answer, payload)
      assert(answer.messageId == payload.messageId and self:record(payload.messageId).content.title == "Dinner")
    end,
  },
  sendChatActivity = {
    function(self) return { chatId = self.group, activityType = "typing" } end,
    function(self, answer)
      assert(answer.retryAfter > 0 and self.server.messages:activity(self.group, "herald") == "typing")
    end,
  },
  answerCommand = {
    function(self)
      return { commandId = self:click(), answerType = "message", message = {
        text = "done", status = "ok", visibility = "toast", level = "info" } }
    end,
    function(self, answer)
      nothing(answer)
      local events = self.server:person("mira"):events()
      assert(events[#events].method == "answerCommand" and events[#events].payload.message.text == "done")
    end,
  },
}

-- Errors ------------------------------------------------------------------------------------

local MESSAGE_FIELDS = { "replyMessageId", "fromMessageId", "messageId" }

local function has_field(method, name)
  for _, field in ipairs(protocol.methods[method].request) do
    if field.name == name then return true end
  end
  return false
end

local function nowhere(method, payload, names)
  for _, name in ipairs(names) do
    if has_field(method, name) then
      payload[name] = NOWHERE
      return payload
    end
  end
end

-- Mira may not do what herald may: she only reads the channel, and what herald wrote is not hers.
local function without_rights(_, payload, self)
  if payload.content and payload.chatId then payload.chatId = self.channel end
  return payload, "mira"
end

-- How an error is brought about: changes a payload that succeeds, and tells who sends it if it is not herald. Nil:
-- this method cannot meet it that way.
---@type table<string, fun(method: string, payload: table, self: spec.Scene): table?, string?>
local SPOILED = {
  NOT_ENOUGH_RIGHTS = without_rights,
  CHAT_NOT_FOUND = function(method, payload) return nowhere(method, payload, { "chatId" }) end,
  MESSAGE_NOT_FOUND = function(method, payload) return nowhere(method, payload, MESSAGE_FIELDS) end,
  FILE_NOT_FOUND = function(method, payload) return nowhere(method, payload, { "fileId", "temporalFileId" }) end,
  USER_IS_NOT_CHAT_PARTICIPANT = function(method, payload, self)
    if has_field(method, "chatId") then
      payload.chatId = self.foreign
    else
      payload.messageId = self.foreign_message
    end
    return payload
  end,
  WRONG_PAYLOAD_FORMAT = function() return json.array { 1 } end,
}

local function with_content(name, value)
  return function(_, payload)
    payload.content[name] = value
    return payload
  end
end

local function with(name, value)
  return function(_, payload)
    payload[name] = value
    return payload
  end
end

local function about_a_survey(_, payload, self)
  payload.messageId = self:post_survey()
  return payload
end

-- Special cases of single methods. Before 5.5.6 one code stands for all errors of a file.
local SPOILED_BY_METHOD = {
  editMessage = { UNKNOWN_MESSAGE = about_a_survey },
  editSurvey = {
    UNKNOWN_MESSAGE = function(_, payload, self)
      payload.messageId = self:say "no survey"
      return payload
    end,
  },
  forwardMessage = {
    UNKNOWN_MESSAGE = function(_, payload, self)
      local page = self:call("herald", "getChatHistory", { chatId = self.channel, count = 100 })
      for _, message in ipairs(page.messages) do
        if message.type < 200 then payload.messageId = message.messageId end
      end
      return payload
    end,
  },
  createP2PChat = { ACCESS_DENIED = with("userId", "nobody@chat.acme.test") },
  getUserDisplayName = { ACCESS_DENIED = with("userId", "nobody@chat.acme.test") },
  addChatParticipant = {
    ACCESS_DENIED = with("userId", "nobody@chat.acme.test"),
    USER_IS_ALREADY_CHAT_PARTICIPANT = with("userId", NOAH),
  },
  changeParticipantRole = { ROLE_NOT_FOUND = with("role", "king") },
  answerCommand = { ACCESS_DENIED = with("commandId", NOWHERE) },
  uploadFile = {
    FILE_UPLOAD_FAILED = with("fileSize", 1001),
    BAD_FILE_NAME = with("fileName", "../plan.png"),
    FILE_UPLOAD_FORBIDDEN = with("fileName", "plan.exe"),
    MAX_FILE_SIZE_EXCEEDED = with("fileSize", 1001),
  },
  sendFile = {
    FILE_NOT_FOUND = with_content("temporalFileId", NOWHERE),
    UPLOADED_FILE_NOT_FOUND = with_content("temporalFileId", NOWHERE),
  },
}

local ONLY_BY_FAULT = "it is about what goes wrong inside a server; a fault stands for it"
local NEVER_HALF = "a temporalFileId is given when the upload is whole and was found to be good"
local SAID_BY_308 = "this server says FILE_NOT_FOUND of files that were never uploaded"

-- Errors that no request brings about at a Bridge that is well: with the fault `request_error` it says them.
local BY_FAULT = {
  any = { INTERNAL_ERROR = ONLY_BY_FAULT, OPERATION_TIMEOUT = ONLY_BY_FAULT, ACCESS_DENIED = ONLY_BY_FAULT },
  uploadFile = { NOT_ENOUGH_SPACE = "a full disk is found when the bytes come: the upload is answered 401" },
  sendFile = {
    FILE_NOT_READY = NEVER_HALF, UPLOADED_FILE_NOT_READY = NEVER_HALF, FILE_UPLOAD_FAILED = NEVER_HALF,
    INVALID_FILE = NEVER_HALF, FILE_ERROR = ONLY_BY_FAULT,
  },
  getFileInfo = { UPLOADED_FILE_NOT_FOUND = SAID_BY_308 },
  subscribeFileProgress = { UPLOADED_FILE_NOT_FOUND = SAID_BY_308 },
  unsubscribeFileProgress = { UPLOADED_FILE_NOT_FOUND = SAID_BY_308 },
}

-- Errors that have a newer code at 5.5.6.
local ONLY_BEFORE = { uploadFile = { FILE_UPLOAD_FAILED = "5.5.6" }, sendFile = { FILE_NOT_FOUND = "5.5.6" } }

-- Errors about the frame and not its payload: raw frames bring them about, see protocol/methods_matrix_spec.lua. A
-- method of the oldest version meets ROUTE_NOT_FOUND nowhere: all servers have it.
scene.OF_FRAMES = { NOT_AUTHORIZED = true, DUPLICATE_ID = true, ROUTE_NOT_FOUND = true }

---How an error of a method is brought about.
---@param method string
---@param name string of the error
---@param version string
---@return "request"|"fault"|nil how nil: it is not known
---@return function|string maker or reason
function scene.way_to(method, name, version)
  local before = (ONLY_BEFORE[method] or {})[name]
  local replaced = before and protocol.since(version, before)
  local maker = (SPOILED_BY_METHOD[method] or {})[name]
  local reason = (BY_FAULT[method] or {})[name]
  if replaced then return "fault", "newer codes say it from " .. before end
  if maker then return "request", maker end
  if reason then return "fault", reason end
  if SPOILED[name] then return "request", SPOILED[name] end
  return BY_FAULT.any[name] and "fault" or nil, BY_FAULT.any[name]
end

---A request that meets an error.
---@async
---@param method string
---@param maker function of way_to()
---@return table? payload
---@return string login of who sends it
function Scene:spoiled(method, maker)
  local payload, login = maker(method, scene.WORKS[method][1](self), self)
  return payload, login or "herald"
end

-- Calls -------------------------------------------------------------------------------------

---A payload of the wire as the arguments of a client.
---@param payload any
---@return any
function scene.arguments(payload)
  if type(payload) ~= "table" or payload == json.null then return payload end
  local made = json.is_array(payload) and json.array() or {}
  for name, value in pairs(payload) do
    made[type(name) == "string" and protocol.lua_name(name) or name] = scene.arguments(value)
  end
  return made
end

return scene
