-- SPDX-License-Identifier: MIT
-- Every method of the schema, end to end between our client and the Bridge, in each version: it succeeds and has its
-- effect, and only fields of that version go over the wire; each of its errors comes with the right code and name; both
-- sides refuse methods that the version does not have. support/scene.lua describes the methods: a method or an error of
-- the schema without a description fails.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local scene = require "spec.support.scene"
local system = require "spec.support.system"

local behind = require("trueconf.base.hooks").behind

local PATIENCE = 10                     -- seconds for an answer
local LIMIT = 100                       -- seconds for one walk; usually it takes one

-- Never seen, whatever is asked for, and why.
local UNSEEN = {
  ["LocationContent"] = "people send places from their apps; no method and no person of the Bridge does",
  ["VoiceContent"] = "as with places",
  ["editMessage.messageId"] = "no server is known to send it",
  ["ChatCreated.lastMessage"] = "whoever is told of a new chat has seen no message of it yet",
}

-- Codes that no method here lists, and where they are met.
local CODES_APART = {
  UPLOAD_TASK_NOT_FOUND = "uploads, see below",
  CONNECTION_ERROR = "trouble of a real server with what is behind it; nothing is behind a Bridge",
  CONNECTION_TIMEOUT = "as CONNECTION_ERROR", TLS_ERROR = "as CONNECTION_ERROR",
  UNSUPPORTED_PROTOCOL = "a subprotocol that is none is refused when the socket opens, see bridge/server_spec.lua",
}

-- Made by methods of 5.5.3, or by people in their apps.
local UNSEEN_BEFORE = { "5.5.3", AvatarContent = true, ClearedContent = true, TitleContent = true, Chat = "avatarUrl" }

-- One walk --------------------------------------------------------------------------------------

local Walk = {}
Walk.__index = Walk

local function complain(list, text, ...)
  list[#list + 1] = text:format(...)
end

-- Run what may fail, and note what went wrong.
local function try(list, what, body)
  local ok, err = xpcall(body, function(err) return type(err) == "string" and debug.traceback(err) or tostring(err) end)
  if not ok then complain(list, "%s: %s", what, err) end
end

-- By the method of the client if there is one; the answer as the wire has it.
local function invoke(client, method, payload)
  local call = client[protocol.methods[method].lua_name]
  if call then return call(client, scene.arguments(payload)) end
  return client:call(method, payload)
end

function Walk:knows(method)
  return protocol.since(self.version, protocol.methods[method].since)
end

-- The last response of a method, to be looked at: what the client makes of it is not what the wire says.
local function listening(seen)
  local last = {}
  local response = seen.response
  function seen:response(method, payload)
    last[method] = payload
    return response(self, method, payload)
  end
  return last
end

-- Objects that the client makes something of its own of: messages, see client/message_spec.lua.
local NOT_PLAIN = { Envelope = true, LastMessage = true, SentMessage = true, SentFile = true }

-- Secrets of addresses are masked in what was seen.
local function is_same(made, wire)
  local shown = type(wire) == "string" and wire:match "^(.*)%*%*%*$"
  return made == wire or shown and made:sub(1, #shown) == shown
end

-- The client's result holds the values of the wire, under Lua's names.
local function is_told_whole(declared, made, wire)
  if type(wire) ~= "table" then return assert(is_same(made, wire), ("%s became %s"):format(wire, made)) end
  local item, object = declared:match "^%[(.*)%]$", protocol.objects[declared]
  for place, one in ipairs(item and wire or {}) do is_told_whole(item, made[place], one) end
  for _, field in ipairs(object and not NOT_PLAIN[declared] and object.fields or {}) do
    local value = wire[field.name]
    if value == nil then value = wire[field.alias] end
    if value ~= nil then is_told_whole(field.type, made[field.lua_name], value) end
  end
end

local function expect_made(method, result, wire)
  local declared, returns = protocol.methods[method].response, protocol.methods[method].returns
  if declared == "Empty" then return assert(result == true, "true was due") end
  if not returns then return is_told_whole(declared, result, wire) end
  for _, field in ipairs(protocol.objects[declared].fields) do
    if field.name == returns then is_told_whole(field.type, result, wire[returns]) end
  end
end

function Walk:succeed(method)
  local works = scene.WORKS[method]
  local payload = works[1](self.scene)
  self.last[method] = nil
  local result = assert(invoke(self.scene.clients.herald, method, payload))
  local wire = assert(self.last[method], "no response was seen")
  works[2](self.scene, wire, payload)
  if method ~= "auth" then expect_made(method, result, wire) end
end

local function expect_error(name, answer, err)
  local code, outcome = protocol.codes[name], name == "OPERATION_TIMEOUT" and "unknown" or "rejected"
  if answer ~= nil or err == nil then error(name .. " was due, but it succeeded", 0) end
  if err.name ~= name or err.code ~= code or err.outcome ~= outcome then
    error(("%s (%d) was due, got %s (%s), outcome %s"):format(name, code, err, err.code, err.outcome), 0)
  end
end

function Walk:fail(method, name)
  local how, maker = scene.way_to(method, name, self.version)
  assert(how, "support/scene.lua does not say how this comes about")
  local server = self.scene.server
  if how == "request" then
    local payload, login = self.scene:spoiled(method, maker)
    assert(payload, "support/scene.lua does not say how this comes about")
    local client = self.scene.clients[login]
    -- The client's own method would not send what is wrong by itself.
    if protocol.check(method, payload) then return expect_error(name, invoke(client, method, payload)) end
    return expect_error(name, client:call(method, payload))
  end
  local payload = scene.WORKS[method][1](self.scene)
  server:fault { request_error = { [method] = 1 }, request_error_code = protocol.codes[name] }
  local answer, err = invoke(self.scene.clients.herald, method, payload)
  server:fault()
  expect_error(name, answer, err)
end

-- A method that came later: the client does not send it, whether it was told the version or asked for it, and the
-- Bridge has no route there.
function Walk:refuse(method)
  local clients, payload, before = self.scene.clients, self.newest[method], self.scene.sent
  for _, client in ipairs { clients.herald, clients.mira } do
    local answer, err = invoke(client, method, payload)
    assert(answer == nil and err.name == "UNSUPPORTED" and err.outcome == "not_sent", tostring(err))
    local text = ("%s needs server %s, this one is %s"):format(method, protocol.methods[method].since, self.version)
    assert(err.message:sub(1, #text) == text, err.message)
  end
  assert(self.scene.sent == before, "it was sent")
  expect_error("ROUTE_NOT_FOUND", clients.herald:call(method, payload))
end

local function lacks_buttons(version)
  return not protocol.since(version, protocol.objects.Button.since)
end

-- Buttons are the one field that a client refuses: without them a message is another one.
function Walk:refuse_buttons()
  local client, before = self.scene.clients.herald, self.scene.sent
  for method, target in pairs { sendMessage = "chatId", editMessage = "messageId" } do
    local payload = { [target] = "x", content = { text = "Go?", parseMode = "text", buttons = scene.BUTTONS } }
    local answer, err = invoke(client, method, payload)
    assert(answer == nil and err.name == "UNSUPPORTED" and err.outcome == "not_sent", tostring(err))
  end
  assert(self.scene.sent == before, "it was sent")
end

function Walk:method(method)
  local wrong = {}
  self.wrong[method] = wrong
  if not scene.WORKS[method] then return complain(wrong, "support/scene.lua does not know it") end
  if not self:knows(method) then return try(wrong, "refused", function() self:refuse(method) end) end
  try(wrong, "success", function() self:succeed(method) end)
  if method == "auth" then return end   -- below, by raw frames: a client acts on what it hears of its login
  for _, name in ipairs(protocol.errors_of(method, self.version)) do
    if not scene.OF_FRAMES[name] then try(wrong, name, function() self:fail(method, name) end) end
  end
end

-- Raw frames --------------------------------------------------------------------------------------

local function connect(server)
  return assert(core.socket { url = server:url() .. "/websocket/chat_bot/", ping_interval = 0 })
end

local function send(socket, id, method, payload)
  assert(socket:send(json.encode { type = 1, id = id, method = method, payload = payload }))
end

-- Answers until that to `last_id`, by id; each a list of errorCode or 0.
local function answers(socket, last_id)
  local found = {}
  repeat
    local frame = assert(json.decode(assert(socket:receive(PATIENCE))))
    if frame.type == 2 then
      found[frame.id] = found[frame.id] or {}
      table.insert(found[frame.id], frame.payload.errorCode or 0)
    end
  until frame.type == 2 and frame.id == last_id
  return found
end

local LAST_ID = 9999

-- Send a request of each method, and then one more to see that nothing is answered twice.
local function each_method(walk, socket, body, last)
  local ids = {}
  for place, method in ipairs(protocol.method_order) do
    ids[method] = place
    body(method, place)
  end
  send(socket, LAST_ID, table.unpack(last))
  local found = answers(socket, LAST_ID)
  return function(method, ...)
    local codes = found[ids[method]] or {}
    if table.concat(codes, " ") ~= table.concat({ ... }, " ") then
      complain(walk.wrong[method], "%s: %s was due, got %s", last.what, table.concat({ ... }, " "),
        table.concat(codes, " "))
    end
  end
end

-- 200 to everything but `auth`, whatever the payload.
function Walk:before_auth()
  local socket = connect(self.scene.server)
  local expect = each_method(self, socket, function(method, id)
    if method ~= "auth" then send(socket, id, method, {}) end
  end, { "getChats", {}, what = "before auth" })
  for _, method in ipairs(protocol.method_order) do
    if method ~= "auth" then expect(method, 200) end
  end
  socket:close()
end

-- 2 to an id that is in flight, and then the answer to the first of the two.
function Walk:duplicates()
  local server = self.scene.server
  local socket = connect(server)
  send(socket, LAST_ID, "auth", scene.WORKS.auth[1](self.scene))
  assert(answers(socket, LAST_ID)[LAST_ID][1] == 0)
  server:fault { delay = 0.02 }
  local expect = each_method(self, socket, function(method, id)
    send(socket, id, method, { userId = "mira@chat.acme.test", tokenType = "x", token = "x" })
    send(socket, id, method, {})
  end, { "getUserDisplayName", { userId = "mira@chat.acme.test" }, what = "an id in flight" })
  server:fault()
  local silent = not self.scene:has "5.5.6"
  local fits = { auth = 204, getUserDisplayName = 0, createP2PChat = 0, createFavoritesChat = 0,
    getFileUploadLimits = 0 }
  for _, method in ipairs(protocol.method_order) do
    local first = fits[method] or not silent and 399 or nil
    if not self:knows(method) then first = 104 end
    expect(method, 2, first)
  end
  socket:close()
end

-- Each error of `auth`, on one connection that then is authorized nevertheless.
function Walk:logins()
  local server, wrong = self.scene.server, self.wrong.auth
  server:add_account("gone", "x")
  local ways = {
    INVALID_CREDENTIALS = { token = "none" },
    USER_DISABLED = { token = server:mint_token "gone" },
    CREDENTIALS_EXPIRED = { token = server:mint_token("herald", { expires_in = -60 }) },
    UNSUPPORTED_CREDENTIALS = { tokenType = "SAML" },
    INTERNAL_ERROR = { fault = 300 }, OPERATION_TIMEOUT = { fault = 301 },
    WRONG_PAYLOAD_FORMAT = { tokenType = 7 },
  }
  server:disable "gone"
  local socket = connect(server)
  for id, name in ipairs(protocol.errors_of("auth", self.version)) do
    local way = ways[name]
    if way then
      server:fault { auth_error = way.fault or false }
      send(socket, id, "auth", {
        token = way.token or server:mint_token "herald", tokenType = way.tokenType or "JWT" })
      local code = answers(socket, id)[id][1]
      server:fault()
      if code ~= protocol.codes[name] then complain(wrong, "%s was due, got %s", name, code) end
      if Error.from_code(code).name ~= name then complain(wrong, "%d is not called %s", code, name) end
    elseif not scene.OF_FRAMES[name] and name ~= "ACCESS_DENIED" then
      complain(wrong, "%s: no case brings it about", name)
    end
  end
  send(socket, 100, "auth", scene.WORKS.auth[1](self.scene))
  if answers(socket, 100)[100][1] ~= 0 then complain(wrong, "the connection was of no use afterwards") end
  send(socket, 101, "auth", { token = server:mint_token "mira", tokenType = "JWT" })
  if answers(socket, 101)[101][1] ~= 302 then complain(wrong, "another account was let in") end
  socket:close()
end

-- System messages in a chat after such a method: older servers send no notification, but have them in the history.
function Walk:read_notes()
  for _, method in ipairs { "removeChatParticipant", "editChatTitle", "editChatAvatar", "clearHistory" } do
    if self:knows(method) then
      local payload = scene.WORKS[method][1](self.scene)
      self.scene:call("herald", method, payload)
      self.scene:call("mira", "getChatHistory", { chatId = payload.chatId, count = 3 })
      self.scene:call("mira", "getChats", { count = 50, page = 1 })
    end
  end
end

-- Wrong uploads, over HTTP: a description, the name of the error, the request.
local FILE = { name = "file", filename = "plan.png", type = "image/png", data = "12345" }
local BAD_UPLOADS = {
  { "no task", "UPLOAD_TASK_NOT_FOUND", FILE },
  { "an unknown task", "UPLOAD_TASK_NOT_FOUND", FILE, task = "e2c9d7b0-6a41-4f0b-8f55-0b1c3d2e4f60" },
  { "no part `file`", "INVALID_FILE", { name = "other", filename = "plan.png", data = "12345" }, task = true },
  { "less than announced", "INVALID_FILE", { name = "file", filename = "plan.png", data = "1234" }, task = true },
  { "more than announced", "INVALID_FILE", { name = "file", filename = "plan.png", data = "123456" }, task = true },
}

function Walk:uploads()
  local url = self.scene.server:url():gsub("^ws", "http") .. "/bridge/api/client/v1/files"
  self.wrong.uploads = {}
  for _, case in ipairs(BAD_UPLOADS) do
    local what, name, part = table.unpack(case)
    local task = case.task
    if task == true then
      task = self.scene:call("herald", "uploadFile", { fileSize = 5, fileName = "plan.png" }).uploadTaskId
    end
    local answer = assert(core.http { url = url, headers = { ["Upload-Task-Id"] = task }, form = { part } })
    local code = protocol.code_at(protocol.codes[name], self.version)
    local body = json.decode(answer.body) or {}
    if answer.status ~= 400 or body.error ~= code or type(body.error_description) ~= "string" then
      complain(self.wrong.uploads, "%s: 400 with %d was due, got %d with %s", what, code, answer.status, answer.body)
    end
  end
end

-- All that herald and mira see, as text.
function Walk:all_there_is()
  local all = {}
  for _, login in ipairs { "herald", "mira" } do
    local chats = self.scene:call(login, "getChats", { count = 100, page = 1 })
    all[#all + 1] = chats
    for _, chat in ipairs(chats) do
      all[#all + 1] = self.scene:call(login, "getChatHistory", { chatId = chat.chatId, count = 100 }).messages
    end
  end
  return all
end

-- Addresses name the port and the time.
local function without_addresses(value)
  if type(value) ~= "table" then return value end
  local copy = {}
  for name, inner in pairs(value) do copy[name] = name ~= "avatarUrl" and without_addresses(inner) or nil end
  return copy
end

-- Another Bridge with the same data folder has the same data.
function Walk:start_again(options)
  self.scene:call("herald", "createGroupChat", { title = "odd: \0 \1 ' \u{10FFFF}" })
  self.before = without_addresses(self:all_there_is())
  self.scene:stop()
  self.scene:start_again(options)
  self.after = without_addresses(self:all_there_is())
end

local function walk(version, newest, options)
  local self = setmetatable({
    version = version, wrong = {}, newest = newest, scene = scene.start(version, options),
  }, Walk)
  self.last = listening(self.scene.seen)
  for _, method in ipairs(protocol.method_order) do self:method(method) end
  self.wrong.buttons = {}
  if lacks_buttons(version) then
    try(self.wrong.buttons, "buttons", function() self:refuse_buttons() end)
  end
  self:before_auth()
  self:duplicates()
  self:logins()
  self:uploads()
  self:read_notes()
  self.missing = self.scene.seen:missing()
  local stats = behind(self.scene.clients.herald).client.session:stats()
  self.anomalies = { stats.duplicate, stats.garbage, stats.unexpected, stats.stale }
  if options then self:start_again(options) end
  self.scene:stop()
  return self
end

-- Payloads of the newest version, for methods that older ones do not have.
local function newest_payloads()
  local it, payloads = scene.start(protocol.versions.NEWEST), {}
  for method, works in pairs(scene.WORKS) do payloads[method] = works[1](it) end
  it:stop()
  return payloads
end

local function is_unseen(name, version)
  local object, field = name:match "^([^.]*)%.?(.*)$"
  local later = UNSEEN_BEFORE[object]
  if later and not protocol.since(version, UNSEEN_BEFORE[1]) then return later == true or later == field end
  return UNSEEN[name] or UNSEEN[object]
end

-- The servers that are walked through: each version, and one that keeps everything on disk.
local SERVERS = {}
for place, row in ipairs(protocol.versions.MATRIX) do SERVERS[place] = { version = row.version, name = row.version } end
local NEWEST = protocol.versions.NEWEST
table.insert(SERVERS, { version = NEWEST, name = NEWEST .. " with a data folder", on_disk = true })

for _, served in ipairs(SERVERS) do
  describe("a server of version " .. served.name, function()
    local walked

    setup(helper.async(function()
      local directory <close> = served.on_disk and system.directory() or nil
      local options = directory and { data = directory:file "data" }
      walked = walk(served.version, newest_payloads(), options)
    end, LIMIT))

    for _, method in ipairs(protocol.method_order) do
      local known = protocol.since(served.version, protocol.methods[method].since)
      it(known and "does " .. method .. ", and says what is wrong" or "does not know " .. method, function()
        assert.same({}, walked.wrong[method])
      end)
    end

    if lacks_buttons(served.version) then
      it("is not sent buttons", function() assert.same({}, walked.wrong.buttons) end)
    end

    it("says what is wrong with an upload", function()
      assert.same({}, walked.wrong.uploads)
    end)

    it("sends what its version has and nothing else", function()
      assert.same({}, walked.scene.seen.complaints)
    end)

    it("sends everything its version has", function()
      local missing = {}
      for _, name in ipairs(walked.missing) do
        if not is_unseen(name, served.version) then missing[#missing + 1] = name end
      end
      assert.same({}, missing)
    end)

    it("answers each request once", function()
      assert.same({ 0, 0, 0, 0 }, walked.anomalies)
    end)

    if served.on_disk then
      it("has done it for ever", function()
        assert.is_true(#walked.before > 10)
        assert.same(walked.before, walked.after)
      end)
    end
  end)
end

describe("an error code", function()
  it("is one of a method's, or its place is known", function()
    local known = {}
    for name in pairs(CODES_APART) do known[name] = true end
    for _, method in ipairs(protocol.method_order) do
      for _, name in ipairs(protocol.errors_of(method)) do known[name] = true end
    end
    for name in pairs(protocol.codes) do
      assert.is_true(known[name] or false, name)
    end
    for name in pairs(CODES_APART) do assert.is_number(protocol.codes[name], name) end
  end)
end)
