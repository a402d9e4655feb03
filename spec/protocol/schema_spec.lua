-- SPDX-License-Identifier: MIT
-- The schema against the protocol's tables, written out here a second time; and what is made
-- from it: names, checks, arguments, normalising, generated payloads.

local Error = require "trueconf.base.error"
local generate = require "spec.support.generate"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

-- The protocol's tables ---------------------------------------------------------------------

-- Method, since, request fields, response fields ("[" an array of what follows), specific codes.
-- A line that ends in a backslash goes on.
local METHODS = [[
auth 5.5.0 | token tokenType receiveUnread? receiveSystemMessageEnvelopes? | userId connectionId? | 201 202 203 204
sendMessage 5.5.0 | chatId replyMessageId? content | chatId messageId timestamp | 303 304 305 306
editMessage 5.5.0 | messageId content | messageId timestamp | 303 306 307
forwardMessage 5.5.0 | chatId messageId | chatId messageId timestamp | 303 304 305 306 307
removeMessage 5.5.0 | messageId forAll | | 303 306
getMessageById 5.5.0 read | messageId | \
  messageId chatId? chat? timestamp type author box content isEdited? replyMessageId? replyMessage? | 305 306
getChatHistory 5.5.0 read | chatId count fromMessageId? | chatId count messages | 304 305 306
clearHistory 5.5.3 | chatId forAll | | 303 304 305
createP2PChat 5.5.0 | userId | chatId |
createGroupChat 5.5.0 | title | chatId |
createChannel 5.5.0 | title | chatId |
createFavoritesChat 5.5.2 | | chatId |
getChats 5.5.0 read | count page | [ chatId title chatType avatarUrl? lastMessage? unreadMessages |
getChatByID 5.5.0 read | chatId | chatId title chatType avatarUrl? lastMessage? unreadMessages | 304 305
removeChat 5.5.0 | chatId | | 304 305
editChatTitle 5.5.3 | chatId title | chatId timestamp | 303 304 305
editChatAvatar 5.5.3 | chatId temporalFileId | | 303 304 305 308
addChatParticipant 5.5.0 | chatId userId displayHistory? | | 303 304 305 309
removeChatParticipant 5.5.0 | chatId userId clearHistory | | 303 304 305
changeParticipantRole 5.5.2 | chatId userId role | | 303 304 305 312
getChatParticipants 5.5.0 read | chatId pageSize pageNumber | participants | 304 305
getChatParticipant 5.5.4 read | chatId userId | userId role type | 304 305
hasChatParticipant 5.5.0 read | chatId userId | result | 304 305
getUserDisplayName 5.5.0 read | userId | displayName |
uploadFile 5.5.0 | fileSize fileName | uploadTaskId | 310 401 402 403 406
sendFile 5.5.0 | chatId replyMessageId? content | chatId messageId timestamp fileId? captionMessageId? | \
  303 304 305 306 308 310 311 400 404 405 408
getFileInfo 5.5.0 read | fileId | fileId name size mimeType? readyState downloadUrl? previews? | 308 404
getFileUploadLimits 5.5.3 read | | maxSize? extensions? |
subscribeFileProgress 5.5.0 | fileId | result | 308 404
unsubscribeFileProgress 5.5.0 | fileId | result | 308 404
sendSurvey 5.5.0 | chatId replyMessageId? content | chatId messageId timestamp | 303 304 305 306
editSurvey 5.5.0 | messageId content | messageId timestamp | 303 306 307
sendChatActivity 5.5.6 | chatId activityType | chatId activityType retryAfter | 304 305
answerCommand 5.5.6 | commandId answerType message | |
]]

local NOTIFICATIONS = [[
sendMessage 5.5.0 | messageId chatId? chat? timestamp type author box content isEdited? replyMessageId? replyMessage?
editMessage 5.5.0 | chatId timestamp content messageId?
removeMessage 5.5.0 | chatId messageId removedBy?
createP2PChat 5.5.0 | chatId title chatType lastMessage? unreadMessages
createGroupChat 5.5.0 | chatId title chatType lastMessage? unreadMessages
createChannel 5.5.0 | chatId title chatType lastMessage? unreadMessages
createFavoritesChat 5.5.2 | chatId title chatType lastMessage? unreadMessages
addChatParticipant 5.5.0 | chatId userId timestamp addedBy?
removeChatParticipant 5.5.0 | chatId userId timestamp removedBy?
changeParticipantRole 5.5.2 | chatId userId role timestamp
removeChat 5.5.0 | chatId
clearHistory 5.5.3 | chatId forAll
editChatTitle 5.5.3 | chatId title
editChatAvatar 5.5.3 | chatId avatarUrl?
getFileUploadLimits 5.5.3 | maxSize? extensions?
uploadFileProgress 5.5.0 | fileId progress
command 5.5.6 | commandId? commandSource commandPayload
]]

local CODES = {
  DUPLICATE_ID = 2, CONNECTION_ERROR = 100, CONNECTION_TIMEOUT = 101, TLS_ERROR = 102, UNSUPPORTED_PROTOCOL = 103,
  ROUTE_NOT_FOUND = 104, NOT_AUTHORIZED = 200, INVALID_CREDENTIALS = 201, USER_DISABLED = 202,
  CREDENTIALS_EXPIRED = 203, UNSUPPORTED_CREDENTIALS = 204, INTERNAL_ERROR = 300, OPERATION_TIMEOUT = 301,
  ACCESS_DENIED = 302, NOT_ENOUGH_RIGHTS = 303, CHAT_NOT_FOUND = 304, USER_IS_NOT_CHAT_PARTICIPANT = 305,
  MESSAGE_NOT_FOUND = 306, UNKNOWN_MESSAGE = 307, FILE_NOT_FOUND = 308, USER_IS_ALREADY_CHAT_PARTICIPANT = 309,
  FILE_UPLOAD_FAILED = 310, FILE_NOT_READY = 311, ROLE_NOT_FOUND = 312, WRONG_PAYLOAD_FORMAT = 399, FILE_ERROR = 400,
  NOT_ENOUGH_SPACE = 401, BAD_FILE_NAME = 402, FILE_UPLOAD_FORBIDDEN = 403, UPLOADED_FILE_NOT_FOUND = 404,
  UPLOADED_FILE_NOT_READY = 405, MAX_FILE_SIZE_EXCEEDED = 406, UPLOAD_TASK_NOT_FOUND = 407, INVALID_FILE = 408,
}

-- Fields that a version brought, by where they are.
local SINCE = {
  { "auth", "receiveSystemMessageEnvelopes", "5.5.4" }, { "addChatParticipant", "displayHistory", "5.5.2" },
  { "uploadFile", "fileName", "5.5.3" }, { "TextContent", "buttons", "5.5.6" }, { "Envelope", "chat", "5.5.6" },
  { "Envelope", "replyMessage", "5.5.6" }, { "LastMessage", "chat", "5.5.6" },
  { "SentFile", "captionMessageId", "5.5.6" },
}

local ENUMS = {
  AuthorType = "0 1", ChatType = "0 1 2 3 5 6", FileState = "0 1 2", ParseMode = "text markdown html",
  ExtensionMode = "allow block", ActivityType = "typing choosing_sticker uploading_file",
  EnvelopeType = "1 2 21 22 23 110 200 201 202 203 204 205",
  Role = "owner admin user conf_owner conf_moderator favorites_owner writer",
  ButtonType = "command url message copy share", ButtonStyle = "default primary danger success",
  AnswerType = "complete timeout cancel message",
  AnswerStatus = "unknown pending running ok failed canceled timeout",
  AnswerVisibility = "default toast sticky alert", AnswerLevel = "info warning error critical",
  OAuthError = "invalid_request invalid_client invalid_grant unsupported_grant_type", FrameType = "0 1 2",
  TokenType = "JWT", CommandType = "userCommand", CommandSourceType = "inlineKeyboard",
  SurveyDescription = "{{Survey}},{{Anonymous survey}}",
}

local function cells(row)
  local list = {}
  for cell in (row .. "|"):gmatch "%s*(.-)%s*|" do list[#list + 1] = cell end
  return list
end

local function rows(text)
  local list = {}
  for line in text:gsub("\\\n%s*", ""):gmatch "[^\n]+" do list[#list + 1] = cells(line) end
  return list
end

-- Fields as the tables here write them. A required field that may be null has no mark.
local function fields_in_short(fields)
  local words = {}
  for place, field in ipairs(fields) do words[place] = field.name .. (field.optional and "?" or "") end
  return table.concat(words, " ")
end

local function payload_in_short(payload)
  if type(payload) == "table" then return fields_in_short(payload) end
  local item = payload:match "^%[(.*)%]$"
  return (item and "[ " or "") .. fields_in_short(protocol.objects[item or payload].fields)
end

local function codes_in_short(errors)
  local codes = {}
  for place, name in ipairs(errors) do codes[place] = protocol.codes[name] or name end
  table.sort(codes)
  return table.concat(codes, " ")
end

describe("the schema", function()
  it("has the 34 methods", function()
    local list = rows(METHODS)
    assert.equal(34, #list)
    assert.equal(34, #protocol.method_order)
    for place, row in ipairs(list) do
      local name, since, read = row[1]:match "^(%S+) (%S+) ?(%S*)$"
      local method = protocol.methods[name]
      assert.equal(name, protocol.method_order[place])
      assert.equal(since, method.since, name)
      assert.equal(read == "read", method.read, name)
      assert.equal(row[2], fields_in_short(method.request), name)
      assert.equal(row[3], payload_in_short(method.response), name)
      assert.equal(row[4], codes_in_short(method.errors), name)
    end
  end)

  it("has the 17 notifications", function()
    local list = rows(NOTIFICATIONS)
    assert.equal(17, #list)
    assert.equal(17, #protocol.notification_order)
    for place, row in ipairs(list) do
      local name, since = row[1]:match "^(%S+) (%S+)$"
      assert.equal(name, protocol.notification_order[place])
      assert.equal(since, protocol.notifications[name].since, name)
      assert.equal(row[2], payload_in_short(protocol.notifications[name].payload), name)
    end
  end)

  it("has all error codes", function()
    assert.same(CODES, protocol.codes)
    for name, code in pairs(CODES) do
      assert.equal(code >= 399 and "5.5.6" or "5.5.0", protocol.code_since(code), name)
    end
  end)

  it("has all enums", function()
    for name, words in pairs(ENUMS) do
      local separator = words:find "," and "," or " "
      local values = {}
      for place, value in ipairs(protocol.enums[name].values) do values[place] = tostring(value) end
      assert.equal(words, table.concat(values, separator), name)
    end
    for name in pairs(protocol.enums) do assert.is_string(ENUMS[name], name) end
    assert.equal(205, protocol.enums.EnvelopeType.VOICE_MESSAGE)
    assert.equal("WRITER", protocol.enums.Role.names.writer)
  end)

  it("knows which version brought a field", function()
    local known = {}
    local function collect(name, fields)
      for _, field in ipairs(fields) do known[name .. "." .. field.name] = field.since end
    end
    for name, method in pairs(protocol.methods) do collect(name, method.request) end
    for name, object in pairs(protocol.objects) do collect(name, object.fields) end
    for _, row in ipairs(SINCE) do assert.equal(row[3], known[row[1] .. "." .. row[2]], row[2]) end
  end)

  it("names only types that there are", function()
    for name in pairs(protocol.objects) do
      assert.is_truthy(pcall(protocol.check, name, {}, "response"), name)
      assert.is_truthy(pcall(protocol.normalise, name, {}, "response"), name)
    end
    for _, union in pairs(protocol.unions) do
      for _, name in pairs(union.of) do assert.is_table(protocol.objects[name], name) end
    end
  end)

  it("has a meaning in one line for everything", function()
    local function look(name, fields)
      for _, field in ipairs(fields) do
        assert.is_truthy(#field.doc > 0 and not field.doc:find "\n", name .. "." .. field.name)
      end
    end
    for name, object in pairs(protocol.objects) do
      assert.is_string(object.doc, name)
      look(name, object.fields)
      for _, fields in pairs(object.variants or {}) do look(name, fields) end
    end
    for name, method in pairs(protocol.methods) do
      assert.is_truthy(method.doc:find "%.$", name)
      look(name, method.request)
    end
    for name, news in pairs(protocol.notifications) do assert.is_truthy(news.doc:find "%.$", name) end
  end)

  it("tells the errors a method may meet, by version", function()
    local function has(list, name)
      for _, entry in ipairs(list) do
        if entry == name then return true end
      end
      return false
    end
    local newest, older = protocol.errors_of "uploadFile", protocol.errors_of("uploadFile", "5.5.4")
    assert.is_true(has(newest, "MAX_FILE_SIZE_EXCEEDED") and has(newest, "NOT_AUTHORIZED"))
    assert.is_true(has(newest, "WRONG_PAYLOAD_FORMAT"))
    assert.is_true(has(older, "FILE_UPLOAD_FAILED") and has(older, "NOT_AUTHORIZED"))
    assert.is_false(has(older, "MAX_FILE_SIZE_EXCEEDED") or has(older, "WRONG_PAYLOAD_FORMAT"))
  end)

  it("still has what other files take from it", function()
    assert.same({ "text", "markdown", "html" }, protocol.PARSE_MODES)
    assert.equal(200, protocol.PLAIN_MESSAGE)
    assert.is_true(protocol.READS.getChatHistory)
    assert.is_nil(protocol.READS.sendMessage)
    assert.equal("mira@acme.test", protocol.plain_id "Mira@acme.test/9f31c2")
  end)
end)

local function read_file(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

describe("what is generated", function()
  it("tells the language server of each method", function()
    local annotations = read_file "lua/trueconf/meta/protocol.lua"
    local by_hand = read_file "lua/trueconf/client/init.lua"
    for name, method in pairs(protocol.methods) do
      local head = "\nfunction Client:" .. method.lua_name .. "("
      local found = annotations:find(head, 1, true) or by_hand:find(head, 1, true)
      assert.is_truthy(name == "auth" or found, name)
    end
  end)

  it("names only types that are told of somewhere", function()
    local annotations, defined = read_file "lua/trueconf/meta/protocol.lua", {}
    local pipe <close> = assert(io.popen "find lua -name '*.lua' -exec cat {} +")
    for line in pipe:lines() do
      local name = line:match "^%-%-%-@class[ exact()]* (trueconf%.%a+)" or line:match "^%-%-%-@alias (trueconf%.%a+)"
      if name then defined[name] = true end
    end
    for name in annotations:gmatch "%f[%w]trueconf%.%u%a+" do assert.is_true(defined[name], name) end
  end)

  it("is a page whose links lead somewhere", function()
    local page, anchors = read_file "docs/protocol.md", {}
    for heading in page:gmatch "\n##+ ([^\n]+)" do
      local anchor = heading:lower():gsub(" ", "-")
      assert.is_nil(anchors[anchor], heading)
      anchors[anchor] = true
    end
    for target in page:gmatch "%]%(#([^)]+)%)" do assert.is_true(anchors[target], target) end
    for _, name in ipairs(protocol.method_order) do assert.is_true(anchors[name:lower()], name) end
    for _, name in ipairs(protocol.notification_order) do
      assert.is_true(anchors[name:lower() .. "-notification"], name)
    end
  end)
end)

describe("names", function()
  it("follow the rule", function()
    for wire, lua in pairs {
      getChatByID = "get_chat_by_id", getMessageById = "get_message_by_id", createP2PChat = "create_p2p_chat",
      sendMessage = "send_message", auth = "auth", mimeType = "mime_type", infoHash = "info_hash",
      captionMessageId = "caption_message_id", receiveSystemMessageEnvelopes = "receive_system_message_envelopes",
    } do
      assert.equal(lua, protocol.lua_name(wire))
    end
  end)

  it("lead back to the wire, for each method and field", function()
    local function look(fields)
      for _, field in ipairs(fields) do assert.equal(field.name, protocol.wire_name(field.lua_name)) end
    end
    for name, method in pairs(protocol.methods) do
      assert.equal(name, protocol.wire_name(method.lua_name))
      assert.equal(method, protocol.by_lua_name[method.lua_name])
      look(method.request)
    end
    for _, object in pairs(protocol.objects) do look(object.fields) end
    assert.is_nil(protocol.wire_name "no_such_name")
  end)
end)

describe("versions", function()
  it("are compared number by number", function()
    for _, case in ipairs {
      { "5.5.6", "5.5.6", 0 }, { "5.5.10", "5.5.9", 1 }, { "5.5.6.10213", "5.5.6", 1 }, { "5.5", "5.5.0", 0 },
      { "5.4.9", "5.5.0", -1 }, { "6", "5.5.6", 1 },
    } do
      assert.equal(case[3], protocol.versions.compare(case[1], case[2]))
    end
    assert.is_true(protocol.since("5.5.6.1", "5.5.6"))
    assert.is_false(protocol.since("5.5.5", "5.5.6"))
    assert.is_true(protocol.since("5.5.0", nil))
  end)

  it("belong to a row of the matrix", function()
    for version, profile in pairs {
      ["5.4.0"] = "5.5.0", ["5.5.1"] = "5.5.0", ["5.5.2.11031"] = "5.5.2", ["5.5.5"] = "5.5.4", ["6.0"] = "5.5.6",
    } do
      assert.equal(profile, protocol.versions.profile(version))
    end
  end)

  it("must be versions", function()
    assert.has_error(function() protocol.since("new", "5.5.6") end, "not a version: 'new'")
    assert.has_error(function() protocol.since(nil, "5.5.6") end, "not a version: 'nil'")
  end)
end)

-- Checks ------------------------------------------------------------------------------------

local function message(text, parse_mode, more)
  local payload = { chatId = "c", content = { text = text, parseMode = parse_mode } }
  for name, value in pairs(more or {}) do payload[name] = value end
  return payload
end

local function with_buttons(rows_of_buttons)
  return { chatId = "c", content = { text = "x", parseMode = "text", buttons = rows_of_buttons } }
end

local function refused(name, payload, direction, version)
  local ok, mistake = protocol.check(name, payload, direction, version)
  assert.is_nil(ok)
  return mistake.kind .. ": " .. mistake.message, mistake
end

describe("a check", function()
  it("lets pass what fits", function()
    assert.is_true(protocol.check("sendMessage", message("hi", "text")))
    assert.is_true(protocol.check("sendMessage", message("hi", "html", { replyMessageId = "m", extra = 1 })))
    assert.is_true(protocol.check("getChats", { count = 1, page = 1 }))
    assert.is_true(protocol.check("getChats", {}, "response"))
    assert.is_true(protocol.check("createFavoritesChat", {}))
  end)

  it("tells what is missing", function()
    local text, mistake = refused("sendMessage", { content = { text = "x", parseMode = "text" } })
    assert.equal("missing: missing field 'chatId': a string expected", text)
    assert.same({ "chatId", "a string", "nothing" }, { mistake.field, mistake.expected, mistake.got })
    assert.equal(
      "missing: missing field 'content.parseMode': one of text, markdown, html expected",
      (refused("sendMessage", message("x"))))
    assert.equal("missing: missing field 'content': an object expected", (refused("sendMessage", { chatId = "c" })))
  end)

  it("tells a wrong type", function()
    for value, got in pairs {
      [7] = "a number", [true] = "a boolean", [1.5] = "a number with a fraction", [json.null] = "null",
      [{ 1 }] = "an array", [{ a = 1 }] = "an object",
    } do
      local text = refused("getChatByID", { chatId = value })
      assert.equal("type: bad field 'chatId': a string expected, got " .. got, text)
    end
    assert.equal(
      "type: bad field 'content.parseMode': one of text, markdown, html expected, got a number",
      (refused("sendMessage", message("x", 4))))
    assert.equal("type: bad payload: an object expected, got an array", (refused("getChats", { 1 })))
    assert.equal("type: bad payload: an array expected, got an object", (refused("getChats", { a = 1 }, "response")))
    assert.equal("type: bad field 'count': an integer expected, got a string", (refused("getChats", { count = "1" })))
    assert.equal(
      "type: bad field 'latitude': a number expected, got a string",
      (refused("LocationContent", { latitude = "1", longitude = 2 }, "notification")))
  end)

  it("tells a word that is none of those expected, without showing all of a long one", function()
    assert.equal(
      "enum: bad field 'content.parseMode': one of text, markdown, html expected, got 'xml'",
      (refused("sendMessage", message("x", "xml"))))
    local _, mistake = refused("sendMessage", message("x", "\n" .. ("é"):rep(90)))
    assert.equal("'?" .. ("é"):rep(39) .. "…'", mistake.got)
    assert.equal(
      "enum: bad field 'type': one of 0 (SYSTEM), 1 (USER) expected, got 7",
      (refused("Author", { id = "x", type = 7 }, "notification")))
  end)

  it("tells what is out of range", function()
    assert.equal(
      "range: bad field 'count': an integer of at least 1 expected, got 0",
      (refused("getChats", { count = 0, page = 1 })))
    assert.equal(
      "range: bad field 'fileSize': an integer of at least 1 expected, got -5",
      (refused("uploadFile", { fileSize = -5, fileName = "a" })))
  end)

  it("tells what is too long or empty", function()
    local text, mistake = refused("sendMessage", message(("é"):rep(5000), "text"))
    assert.equal("length: content.text is 5000 visible characters, 4096 allowed", text)
    assert.equal(
      "LIMIT: content.text is 5000 visible characters, 4096 allowed", tostring(Error.new("LIMIT", mistake.message)))
    assert.is_true(protocol.check("sendMessage", message(("é"):rep(4096), "text")))
    assert.equal(
      "length: content.text is empty, 1 to 4096 visible characters expected",
      (refused("sendMessage", message("", "text"))))
    text = refused("createGroupChat", { title = ("x"):rep(256) })
    assert.equal("length: title is 256 characters, 255 allowed", text)
  end)

  it("counts what a person sees, if text.lua can", function()
    local marked = message(("<b>ab</b>"):rep(2000), "html")
    local can = require "trueconf.text".visible_length ~= nil
    assert.equal(can or nil, (protocol.check("sendMessage", marked)))
    assert.is_nil(protocol.check("sendMessage", message(("<b>ab</b>"):rep(2049), "html")))
  end)

  it("that finds nothing leaves nothing behind", function()
    local payload = with_buttons { { { type = "copy", data = "x", label = "a" } } }
    collectgarbage "stop"
    protocol.check("sendMessage", payload) -- compiles it, and lets the stack grow
    local before = collectgarbage "count"
    for _ = 1, 100 do protocol.check("sendMessage", payload) end
    local after = collectgarbage "count"
    collectgarbage "restart"
    assert.equal(before, after)
  end)

  it("looks into lists", function()
    local ok = { type = "copy", label = "a", data = "b" }
    assert.is_true(protocol.check("sendMessage", with_buttons { { ok, ok }, { ok } }))
    local eight = { ok, ok, ok, ok, ok, ok, ok, ok }
    local nine = { ok, ok, ok, ok, ok, ok, ok, ok, ok }
    local most = { eight, eight, eight, eight, eight, eight, eight, eight }
    assert.is_true(protocol.check("sendMessage", with_buttons(most)))
    assert.equal(
      "length: content.buttons[2] is 9 buttons in a row, 8 allowed",
      (refused("sendMessage", with_buttons { { ok }, nine })))
    local rows_of_one = {}
    for place = 1, 9 do rows_of_one[place] = { ok } end
    assert.equal("length: content.buttons is 9 rows, 8 allowed", (refused("sendMessage", with_buttons(rows_of_one))))
    assert.equal(
      "type: bad field 'content.buttons[1]': an array expected, got an object",
      (refused("sendMessage", with_buttons { ok })))
  end)

  it("wants of a button what its type needs", function()
    local function button(of)
      return select(2, protocol.check("sendMessage", with_buttons { { of } }))
    end
    for _, case in ipairs {
      { { type = "command", label = "a" }, "command", "missing" },
      { { type = "command", command = "a" }, "label", "missing" },
      { { type = "command", label = "a", command = "é" }, "command", "type" },
      { { type = "command", label = "a", command = ("x"):rep(256) }, "command", "length" },
      { { type = "command", label = "a", command = "x", customData = ("x"):rep(4097) }, "customData", "length" },
      { { type = "command", label = ("é"):rep(33), command = "x" }, "label", "length" },
      { { type = "url", url = "ftp://acme.test" }, "url", "enum" },
      { { type = "url", url = "no address" }, "url", "enum" },
      { { type = "url", url = "http:/" }, "url", "length" },
      { { type = "message", label = "a" }, "message", "missing" },
      { { type = "copy", label = "a", data = "" }, "data", "length" },
      { { type = "share" }, "label", "missing" },
      { { type = "dance", label = "a" }, "type", "enum" },
      { { type = "share", label = "a", style = "pink" }, "style", "enum" },
    } do
      local mistake = button(case[1])
      assert.equal("content.buttons[1][1]." .. case[2], mistake.field)
      assert.equal(case[3], mistake.kind, mistake.message)
    end
    assert.is_nil(button { type = "url", url = "HTTPS://acme.test" })
    assert.is_nil(button { type = "command", label = ("é"):rep(32), command = "x", customData = "", to = "a@b" })
  end)

  it("takes null where the protocol does", function()
    assert.is_true(protocol.check("sendMessage", message("x", "text", { replyMessageId = json.null })))
    assert.is_true(protocol.check("Chat", {
      chatId = "c", title = json.null, chatType = 1, avatarUrl = json.null, lastMessage = json.null, unreadMessages = 0,
    }, "response"))
    assert.equal(
      "type: bad field 'content.parseMode': one of text, markdown, html expected, got null",
      (refused("sendMessage", message("x", json.null))))
  end)

  it("takes a group's title by its other name", function()
    assert.is_true(protocol.check("createGroupChat", { name = "Ops" }, "incoming"))
    assert.is_true(protocol.check("createChannel", { name = "News" }, "incoming"))
  end)

  it("is milder as a server", function()
    for name, payload in pairs {
      sendMessage = message(("x"):rep(5000), "text"),       -- servers cut
      createGroupChat = { title = ("x"):rep(256) },
      changeParticipantRole = { chatId = "c", userId = "u", role = "king" }, -- has a code of its own, as have the next
      auth = { token = "t", tokenType = "PASSPORT" },
      uploadFile = { fileSize = 1, fileName = "" },
    } do
      assert.is_nil(protocol.check(name, payload), name)
      assert.is_true(protocol.check(name, payload, "incoming"), name)
    end
    assert.is_nil(protocol.check("sendMessage", message("", "text"), "incoming"))
    assert.is_nil(protocol.check("createGroupChat", { title = ("x"):rep(257) }, "incoming"))
    assert.is_nil(protocol.check("changeParticipantRole", { chatId = "c", userId = "u", role = 1 }, "incoming"))
  end)

  it("knows nothing of what came after a version", function()
    local payload = with_buttons "none"
    assert.equal(
      "type: bad field 'content.buttons': an array expected, got a string", (refused("sendMessage", payload)))
    assert.is_true(protocol.check("sendMessage", payload, "incoming", "5.5.4"))
    assert.is_true(protocol.check("uploadFile", { fileSize = 1 }, "incoming", "5.5.2.11031"))
    assert.equal(
      "missing: missing field 'fileName': a string expected",
      (refused("uploadFile", { fileSize = 1 }, "incoming", "5.5.3")))
  end)

  it("looks at what a message says by its type", function()
    local envelope = generate.new(1):valid("Envelope", "notification")
    envelope.type, envelope.content = 202, { text = "x", parseMode = "text" }
    assert.equal(
      "missing: missing field 'content.name': a string expected", (refused("Envelope", envelope, "notification")))
    envelope.type, envelope.content = 201, { type = 200, content = { text = 7, parseMode = "text" } }
    assert.equal(
      "type: bad field 'content.content.text': a string expected, got a number",
      (refused("sendMessage", envelope, "notification")))
  end)

  it("tells methods and directions that there are not", function()
    assert.has_error(function() protocol.check("sing", {}) end, "the schema knows no method 'sing'")
    assert.has_error(function() protocol.check("getChats", {}, "notification") end,
      "the schema knows no notification 'getChats'")
    assert.has_error(function() protocol.check("getChats", {}, "up") end, "not a direction: 'up'")
  end)
end)

-- Arguments ---------------------------------------------------------------------------------

local function wire(name, ...)
  local args, mistake = protocol.arguments(name, ...)
  if not args then return nil, mistake end
  return protocol.to_wire(name, args)
end

describe("arguments", function()
  it("go by name or by place", function()
    local expected = { chatId = "c", replyMessageId = "m", content = { text = "hi", parseMode = "text" } }
    assert.same(expected, wire("sendMessage", "c", "hi", { reply_message_id = "m" }))
    assert.same(expected, wire("sendMessage", { chat_id = "c", text = "hi", reply_to = "m" }))
    assert.same(expected, wire("sendMessage", { chat_id = "c", content = { text = "hi" }, reply_to = "m" }))
    assert.same({ chatId = "c", count = 20, fromMessageId = "m" }, wire("getChatHistory", "c", 20, "m"))
    assert.same({ chatId = "c", count = 100, fromMessageId = "m" }, wire("getChatHistory", "c", nil, "m"))
  end)

  it("take their defaults", function()
    assert.same({ count = 50, page = 1 }, wire "getChats")
    assert.same({ messageId = "m", forAll = false }, wire("removeMessage", "m"))
    assert.same({ chatId = "c", activityType = "typing" }, wire("sendChatActivity", "c"))
    assert.same({}, wire "createFavoritesChat")
  end)

  it("may be objects", function()
    local caption = { text = "Plan", parseMode = "text" }
    local expected = { chatId = "c", content = { temporalFileId = "f", caption = caption } }
    assert.same(expected, wire("sendFile", "c", "f", "Plan"))
    assert.same(expected, wire("sendFile", "c", "f", { text = "Plan" }))
    assert.same(expected, wire("sendFile", { chat_id = "c", temporal_file_id = "f", caption = "Plan" }))
    assert.same(
      { commandId = "k", answerType = "complete", message = { text = "done", level = "info" } },
      wire("answerCommand", "k", "complete", { text = "done", level = "info" }))
    local button = { type = "command", label = "Yes", command = "y", custom_data = "r17", wait_reply = false }
    assert.same(
      { { { type = "command", label = "Yes", command = "y", customData = "r17", waitReply = false } } },
      wire("sendMessage", "c", "hi", { buttons = { { button } } }).content.buttons)
  end)

  it("leave the caller's tables alone", function()
    local args = { chat_id = "c", content = { text = "hi" }, buttons = { { { type = "share", label = "a" } } } }
    local before = json.encode(args)
    protocol.to_wire("sendMessage", args)
    assert.same(json.decode(before), args)
  end)

  it("are told when unknown", function()
    local payload, mistake = wire("sendMessage", { chatid = "c" })
    assert.is_nil(payload)
    assert.equal("unknown argument 'chatid', did you mean 'chat_id'?", mistake.message)
    assert.same({ "chatid", "unknown" }, { mistake.field, mistake.kind })
    mistake = select(2, wire("sendMessage", "c", "x", { buttons = { { { kind = "share" } } } }))
    assert.equal("kind", mistake.field)
    mistake = select(2, wire("getChats", 1, 2, 3))
    assert.equal("get_chats: at most 2 arguments and a table expected, got 3", mistake.message)
  end)

  it("of a wrong type reach the check as they are", function()
    for _, args in ipairs {
      { chat_id = 7, text = "x" }, { chat_id = "c", text = {} }, { chat_id = "c", content = "x" },
      { chat_id = "c", content = "x", text = "y" }, { chat_id = "c", text = "x", buttons = { 7 } },
    } do
      assert.equal("type", select(2, protocol.check("sendMessage", (protocol.to_wire("sendMessage", args)))).kind)
    end
  end)
end)

-- Arriving payloads --------------------------------------------------------------------------

describe("what arrives", function()
  it("names its chat both ways", function()
    local envelope = protocol.normalise("Envelope", { chatId = "c" })
    assert.same({ chatId = "c", chat = { chatId = "c" }, isEdited = false }, envelope)
    envelope = protocol.normalise("sendMessage", { chat = { chatId = "c", chatType = 1 }, isEdited = true })
    assert.same({ chatId = "c", chat = { chatId = "c", chatType = 1 }, isEdited = true }, envelope)
    local chat = protocol.normalise("Chat", { chatId = "c", unreadMessages = 2, lastMessage = { chatId = "c" } })
    assert.equal("c", chat.lastMessage.chat.chatId)
    local click = protocol.normalise("command", { commandSource = { message = { chat = { chatId = "c" } } } })
    assert.equal("c", click.commandSource.message.chatId)
    assert.equal("c", protocol.normalise("Envelope", { replyMessage = { chatId = "c" } }).replyMessage.chat.chatId)
  end)

  it("nests what was forwarded", function()
    local flat = protocol.normalise("sendMessage", { type = 201, content = { text = "x", parseMode = "html" } })
    assert.same({ type = 200, content = { text = "x", parseMode = "html" } }, flat.content)
    local nested = { type = 201, content = { type = 200, content = { text = "x", parseMode = "html" } } }
    assert.same(nested.content, protocol.normalise("sendMessage", nested).content)
    local twice = { type = 201, content = { type = 201, content = { text = "x" } } }
    assert.equal("x", protocol.normalise("sendMessage", twice).content.content.content.text)
  end)

  it("has whole numbers, truth values and roles as they are meant", function()
    local envelope = protocol.normalise("sendMessage", { timestamp = 5.0, type = 23.0, content = { forAll = "true" } })
    assert.equal("integer", math.type(envelope.timestamp))
    assert.is_true(envelope.content.forAll)
    assert.is_false(protocol.normalise("clearHistory", { forAll = "False" }).forAll)
    assert.equal("yes", protocol.normalise("clearHistory", { forAll = "yes" }).forAll)
    local page = { participants = { { id = "a", role = 0 }, { userId = "b", role = "writer" } } }
    assert.same(
      { participants = { { userId = "a", role = "owner" }, { userId = "b", role = "writer" } } },
      protocol.normalise("getChatParticipants", page, "response"))
  end)

  it("goes by one name", function()
    assert.same({ fileId = "f" }, protocol.normalise("getFileInfo", { infoHash = "f" }, "response"))
    local progress = protocol.normalise("uploadFileProgress", { infoHash = "f", progress = 1 })
    assert.same({ fileId = "f", progress = 1 }, progress)
    assert.same({ title = "Ops" }, protocol.normalise("createGroupChat", { name = "Ops" }, "request"))
    local place = protocol.normalise("sendMessage", { type = 203, content = { description = "here" } })
    assert.equal("here", place.content.title)
  end)

  it("may be a list of chats, bare or not", function()
    for _, payload in ipairs { { { chatId = "c" } }, { chats = { { chatId = "c" } } } } do
      assert.same({ { chatId = "c", unreadMessages = 0 } }, protocol.normalise("getChats", payload, "response"))
    end
    assert.same({}, protocol.normalise("getChats", { chats = json.array() }, "response"))
  end)

  it("may be nothing", function()
    assert.same({}, protocol.normalise("removeChat", nil, "response"))
    local payload, mistake = protocol.normalise("sendMessage", "text")
    assert.is_nil(payload)
    assert.equal("bad payload: an object expected, got a string", mistake.message)
  end)

  it("are limits only if they make sense", function()
    local limits = { maxSize = 5, extensions = { mode = "allow", list = { "pdf", ".PDF", "..Tar" } } }
    assert.same(
      { maxSize = 5, extensions = { mode = "allow", list = { "pdf", "pdf", "tar" } } },
      protocol.normalise("getFileUploadLimits", limits))
    assert.same({}, protocol.normalise("getFileUploadLimits", {}))
    for _, payload in ipairs {
      { maxSize = 0 }, { maxSize = -1 }, { maxSize = 1.5 }, { maxSize = "5" },
      { extensions = { mode = "some", list = {} } },
      { extensions = { mode = "allow" } }, { extensions = { mode = "allow", list = { 7 } } },
    } do
      local taken, mistake = protocol.normalise("getFileUploadLimits", payload)
      assert.is_nil(taken)
      assert.is_string(mistake.message)
    end
  end)

  it("may be damaged anywhere", function()
    local some = generate.new(23)
    for _ = 1, 100 do
      local name = some:notification_name()
      local payload = some:broken(name, "notification")
      if payload then assert.has_no_error(function() protocol.normalise(name, payload) end) end
    end
  end)
end)

-- Rights and codes --------------------------------------------------------------------------

describe("rights", function()
  local may = protocol.rights.may
  local CHAT = protocol.enums.ChatType

  -- owner, admin, user, conf_owner, conf_moderator, favorites_owner
  local CELLS = {
    read = "yyyyyy", write = "yyyyyy", add_participant = "yynnnn", remove_participant = "yynnnn", edit_own = "yyyyyy",
    remove_own = "yyyyyy", remove_others_for_self = "yyyyyn", remove_others_for_all = "yynyyn",
    clear_for_self = "yyyyyy", clear_for_all = "yynyyn", rename = "yynnnn", change_avatar = "yynnnn",
    change_role = "yynnnn",
  }

  it("are those of the table", function()
    for action, row in pairs(CELLS) do
      for place = 1, #row do
        local role = protocol.enums.Role.values[place]
        assert.equal(row:sub(place, place) == "y", may(role, action), role .. " " .. action)
      end
    end
    for action in pairs(protocol.rights.TABLE) do assert.is_string(CELLS[action], action) end
  end)

  it("differ in channels and personal chats", function()
    assert.is_false(may("user", "write", CHAT.CHANNEL))
    assert.is_true(may("writer", "write", CHAT.CHANNEL))
    assert.is_true(may("user", "read", CHAT.CHANNEL))
    assert.is_false(may("writer", "add_participant", CHAT.CHANNEL))
    assert.is_true(may("user", "clear_for_all", CHAT.P2P))
    assert.is_false(may("owner", "add_participant", CHAT.P2P))
    assert.has_error(function() may("user", "fly") end, "no such action: 'fly'")
  end)

  it("tell which roles can be given", function()
    assert.is_true(protocol.rights.can_be_given("admin", CHAT.GROUP))
    assert.is_false(protocol.rights.can_be_given("writer", CHAT.GROUP))
    assert.is_true(protocol.rights.can_be_given("writer", CHAT.CHANNEL))
    assert.is_false(protocol.rights.can_be_given("owner", CHAT.CHANNEL))
  end)
end)

describe("codes", function()
  it("have another number at older servers", function()
    for code, older in pairs { [406] = 310, [407] = 310, [404] = 308, [405] = 311, [304] = 304 } do
      assert.equal(older, protocol.code_at(code, "5.5.4"))
      assert.equal(code, protocol.code_at(code, "5.5.6"))
    end
    assert.is_nil(protocol.code_at(399, "5.5.4"))
    assert.equal(399, protocol.code_at(399, "5.5.6.10213"))
  end)
end)

-- Generated payloads ------------------------------------------------------------------------

describe("generated payloads", function()
  local ROUNDS = 8                      -- slow under `make gctorture`

  -- Every method in both directions and every notification.
  local function each(visit)
    for _, name in ipairs(protocol.method_order) do
      visit(name, "request")
      visit(name, "response")
    end
    for _, name in ipairs(protocol.notification_order) do visit(name, "notification") end
  end

  it("pass if they are valid, also as JSON and at a server", function()
    local some = generate.new(5)
    each(function(name, direction)
      for _ = 1, ROUNDS do
        local payload = some:valid(name, direction)
        local ok, mistake = protocol.check(name, payload, direction)
        assert.is_true(ok, name .. ": " .. (mistake and mistake.message or ""))
        local received = json.decode((json.encode(payload)))
        local seen = direction == "request" and "incoming" or direction
        ok, mistake = protocol.check(name, received, seen)
        assert.is_true(ok, name .. ": " .. (mistake and mistake.message or ""))
      end
    end)
  end)

  it("fail at the one field that was spoiled", function()
    local some, kinds = generate.new(7), {}
    each(function(name, direction)
      for _ = 1, ROUNDS do
        local payload, expected = some:broken(name, direction)
        if payload then
          local ok, mistake = protocol.check(name, payload, direction)
          assert.is_nil(ok, name .. " " .. expected.field)
          assert.same({ expected.field, expected.kind }, { mistake.field, mistake.kind })
          kinds[expected.kind] = (kinds[expected.kind] or 0) + 1
        end
      end
    end)
    for _, kind in ipairs { "missing", "type", "enum", "range", "length" } do
      assert.is_true((kinds[kind] or 0) > 2, kind .. " " .. (kinds[kind] or 0))
    end
  end)

  it("are the same again from the same seed", function()
    local one, other = generate.new(11), generate.new(11)
    for _ = 1, 100 do
      local name = one:method_name()
      assert.equal(name, other:method_name())
      assert.same(one:valid(name), other:valid(name))
      assert.same({ one:broken(name) }, { other:broken(name) })
    end
  end)

  it("stay valid when they are normalised", function()
    local some = generate.new(13)
    for _, name in ipairs(protocol.notification_order) do
      for _ = 1, ROUNDS do
        local payload = protocol.normalise(name, json.decode((json.encode(some:valid(name, "notification")))))
        local ok, mistake = protocol.check(name, payload, "notification")
        assert.is_true(ok, name .. ": " .. (mistake and mistake.message or ""))
      end
    end
  end)
end)
