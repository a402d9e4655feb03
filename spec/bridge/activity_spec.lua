-- SPDX-License-Identifier: MIT
-- Activity, surveys, buttons, commands and upload limits.

local core = require "trueconf.core"
local support = require "spec.support.bridge"

local server, herald, mira, chat_id

local function setup(options)
  server = support.server(options)
  herald, mira = support.login(server, "herald"), support.login(server, "mira")
  chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
  herald:take()
  mira:take()
end

local function code(client, method, payload)
  return (client:request(method, payload)).errorCode
end

local function stranger()
  server:add_account "john"
  return support.login(server, "john")
end

describe("sendChatActivity", function()
  before_each(function() setup() end)
  after_each(function() core.virtual_time(false) end)

  it("says when to repeat it", function()
    local payload = { chatId = chat_id, activityType = "typing" }
    local response = herald:request("sendChatActivity", payload)
    assert.same({ chatId = chat_id, activityType = "typing", retryAfter = 6000 }, response)
    assert.same({}, mira:take())
    assert.equal(399, code(herald, "sendChatActivity", { chatId = chat_id, activityType = "thinking" }))
    assert.equal(304, code(herald, "sendChatActivity", { chatId = "gone", activityType = "typing" }))
    assert.equal(305, code(stranger(), "sendChatActivity", payload))
  end)

  it("is seen until it fades", function()
    core.virtual_time(true, 1788000000000, 1)
    local chat = server:person("mira"):chat_with "herald"
    assert.is_nil(chat:activity "herald")
    herald:request("sendChatActivity", { chatId = chat_id, activityType = "uploading_file" })
    assert.equal("uploading_file", chat:activity "Herald")
    assert.is_nil(chat:activity "mira")
    core.advance(6)
    assert.is_nil(chat:activity "herald")
  end)
end)

describe("a survey", function()
  local SURVEY = {
    url = "https://chat.acme.test/webtools/survey", appVersion = 1, path = "c17", title = "Lunch",
    description = "{{Survey}}", buttonText = "{{Go to survey}}", secret = ("0"):rep(40), alt = "<b>Lunch</b>",
  }

  before_each(function() setup() end)

  local function post()
    return herald:request("sendSurvey", { chatId = chat_id, content = SURVEY })
  end

  it("is a message of its own kind", function()
    local sent = post()
    assert.equal(chat_id, sent.chatId)
    local envelope = mira:take()[1].payload
    assert.equal(204, envelope.type)
    assert.same(SURVEY, envelope.content)
    assert.same(envelope, (mira:request("getMessageById", { messageId = sent.messageId })))
  end)

  it("is replaced by its author", function()
    local sent = post()
    mira:take()
    local content = {
      path = "c18", title = "Dinner", description = "{{Anonymous survey}}", buttonText = "Go", alt = "<b>Dinner</b>",
    }
    local edit = { messageId = sent.messageId, content = content }
    assert.equal(303, code(mira, "editSurvey", edit))
    local response = herald:request("editSurvey", edit)
    assert.equal(sent.messageId, response.messageId)
    local news = mira:take()[1]
    assert.equal("editMessage", news.method)
    assert.same({ text = "<b>Dinner</b>", parseMode = "html" }, news.payload.content)
    local envelope = mira:request("getMessageById", { messageId = sent.messageId })
    content.url, content.appVersion, content.secret = SURVEY.url, SURVEY.appVersion, SURVEY.secret
    assert.same(content, envelope.content)
    assert.is_true(envelope.isEdited)
  end)

  it("is refused when fields are missing or the kind is another", function()
    assert.equal(399, code(herald, "sendSurvey", { chatId = chat_id, content = { url = "x" } }))
    assert.equal(304, code(herald, "sendSurvey", { chatId = "gone", content = SURVEY }))
    assert.equal(305, code(stranger(), "sendSurvey", { chatId = chat_id, content = SURVEY }))
    local text = herald:say(chat_id, "x").messageId
    assert.equal(307, code(herald, "editSurvey", { messageId = text, content = SURVEY }))
    assert.equal(306, code(herald, "editSurvey", { messageId = "none", content = SURVEY }))
    assert.equal(307, code(herald, "editMessage",
      { messageId = post().messageId, content = { text = "x", parseMode = "text" } }))
  end)
end)

describe("buttons", function()
  local YES = { type = "command", label = "Yes", command = "deploy", customData = "r17", id = "y", style = "success" }
  local LOG = { type = "url", label = "Log", url = "https://ci.acme.test/17" }

  local function ask(buttons)
    return herald:say(chat_id, "Deploy?", { content = { text = "Deploy?", parseMode = "text", buttons = buttons } })
  end

  before_each(function() setup() end)

  it("are given by getMessageById and history, not by the notification", function()
    local sent = ask { { YES, LOG } }
    assert.is_nil(mira:take()[1].payload.content.buttons)
    local content = (mira:request("getMessageById", { messageId = sent.messageId })).content
    assert.same({ { YES, LOG } }, content.buttons)
    content = (mira:request("getChatHistory", { chatId = chat_id, count = 1 })).messages[1].content
    assert.same({ { YES, LOG } }, content.buttons)
    assert.is_nil((mira:request("getChatByID", { chatId = chat_id })).lastMessage.content.buttons)
  end)

  it("are gone after an edit without them, and not forwarded", function()
    local sent = ask { { YES } }
    local copy = herald:request("forwardMessage", { chatId = chat_id, messageId = sent.messageId })
    copy = herald:request("getMessageById", { messageId = copy.messageId })
    assert.is_nil(copy.content.content.buttons)
    herald:request("editMessage", { messageId = sent.messageId, content = { text = "Done", parseMode = "text" } })
    assert.is_nil((herald:request("getMessageById", { messageId = sent.messageId })).content.buttons)
  end)

  it("have labels of one line", function()
    local sent = ask { { { type = "copy", label = "a\nb\r\nc", data = "x" } } }
    local content = (mira:request("getMessageById", { messageId = sent.messageId })).content
    assert.equal("a b c", content.buttons[1][1].label)
  end)

  it("out of their limits are refused with 399", function()
    local nine = {}
    for place = 1, 9 do nine[place] = LOG end
    local rows = {}
    for place = 1, 9 do rows[place] = { LOG } end
    for name, buttons in pairs {
      row = { nine }, rows = rows, no_type = { { { label = "x" } } }, no_array = { LOG },
      label = { { { type = "copy", label = ("x"):rep(33), data = "x" } } },
      no_label = { { { type = "copy", data = "x" } } },
      scheme = { { { type = "url", url = "ftp://acme.test" } } },
      command = { { { type = "command", label = "x", command = ("x"):rep(256) } } },
      ascii = { { { type = "command", label = "x", command = "ä" } } },
    } do
      assert.equal(399, (ask(buttons)).errorCode, name)
    end
  end)

  it("tell the bot of a click, not who clicked", function()
    local sent = ask { { YES, LOG } }
    herald:take()
    local person = server:person "mira"
    assert.is_true(person:click(sent.messageId, "y"))
    local news = herald:take()[1]
    assert.equal("command", news.method)
    assert.same({ type = "userCommand", command = "deploy", customData = "r17" }, news.payload.commandPayload)
    assert.is_nil(news.payload.commandId)
    local source = news.payload.commandSource
    assert.equal("inlineKeyboard", source.type)
    assert.equal("y", source.buttonId)
    assert.equal(sent.messageId, source.message.messageId)
    assert.equal("herald@chat.acme.test", source.message.author.id)
    assert.same({ text = "Deploy?", parseMode = "text" }, source.message.content)
    assert.is_nil(mira:take()[2])
  end)

  it("without an id are clicked by their label", function()
    local sent = ask { { { type = "command", label = "Stop", command = "stop" } } }
    herald:take()
    assert.is_true(server:person("mira"):click(sent.messageId, "Stop"))
    local payload = herald:take()[1].payload
    assert.equal("stop", payload.commandPayload.command)
    assert.is_nil(payload.commandSource.buttonId)
  end)

  it("may send the click to another bot", function()
    local john = stranger()
    local button = { type = "command", label = "x", command = "go", to = "john@chat.acme.test" }
    local sent = ask { { button } }
    herald:take()
    assert.is_true(server:person("mira"):click(sent.messageId, "x"))
    assert.same({}, herald:take())
    assert.equal("go", john:take()[1].payload.commandPayload.command)
  end)

  it("that do not send a command, or are not seen, cannot be clicked", function()
    local sent = ask { { YES, { type = "url", id = "l", url = "https://acme.test" } } }
    local ok, err = server:person("mira"):click(sent.messageId, "l")
    assert.is_nil(ok)
    assert.equal("ACCESS_DENIED", err.name)
    assert.is_nil((server:person("mira"):click(sent.messageId, "n")))
    assert.equal(305, select(2, server:person("john"):click(sent.messageId, "y")).code)
    assert.equal(306, select(2, server:person("mira"):click("none", "y")).code)
  end)
end)

describe("answerCommand", function()
  local function click()
    local buttons = { { { type = "command", label = "Go", command = "g" } } }
    local content = { text = "?", parseMode = "text", buttons = buttons }
    local sent = herald:say(chat_id, "?", { content = content })
    herald:take()
    local mira_herself = server:person "mira"
    mira_herself:events()
    mira_herself:click(sent.messageId, "Go")
    return herald:take()[1].payload.commandId, mira_herself
  end

  it("tells who clicked, once, where clicks can be answered", function()
    setup { command_ids = true }
    local id, person = click()
    local answer = { commandId = id, answerType = "complete", message = { text = "Done" } }
    assert.equal(302, code(mira, "answerCommand", answer))
    assert.same({}, (herald:request("answerCommand", answer)))
    local events = person:events()
    assert.equal("answerCommand", events[#events].method)
    assert.equal("Done", events[#events].payload.message.text)
    assert.equal(302, code(herald, "answerCommand", answer))
  end)

  it("is checked, and has nothing to answer as 5.5.6 is", function()
    setup()
    assert.is_nil((click()))
    assert.equal(302, code(herald, "answerCommand",
      { commandId = "x", answerType = "complete", message = { text = "Done" } }))
    assert.equal(399, code(herald, "answerCommand", { commandId = "x", answerType = "complete", message = {} }))
    assert.equal(399, code(herald, "answerCommand",
      { commandId = "x", answerType = "never", message = { text = "Done" } }))
  end)

  it("is possible for the newest thousand clicks", function()
    setup { command_ids = true }
    local id = click()
    local message = herald:request("getChatHistory", { chatId = chat_id, count = 1 }).messages[1].messageId
    for _ = 1, 1000 do server.clicks:click(server.accounts:by_login "mira", message, "Go") end
    local answer = { commandId = id, answerType = "complete", message = { text = "Done" } }
    assert.equal(302, code(herald, "answerCommand", answer))
  end)
end)

describe("upload limits", function()
  local LIMITS = { max_size = 50000000, extensions = { mode = "block", list = { "exe", "bat" } } }
  local ON_WIRE = { maxSize = 50000000, extensions = { mode = "block", list = { "exe", "bat" } } }

  it("come after auth and on request", function()
    server = support.server { upload_limits = LIMITS }
    local client, _, _, news = support.login(server, "herald")
    assert.equal("getFileUploadLimits", news.method)
    assert.equal(1, news.id)
    assert.same(ON_WIRE, news.payload)
    assert.same(ON_WIRE, (client:request "getFileUploadLimits"))
  end)

  it("are null where there are none", function()
    server = support.server()
    local client = support.login(server, "herald")
    client:raw '{"type":1,"id":9,"method":"getFileUploadLimits","payload":{}}'
    for _, field in ipairs { "maxSize", "extensions" } do
      assert.is_truthy(client.sent[1]:find(('"%s":null'):format(field), 1, true))
    end
  end)

  it("come after what is unread", function()
    setup()
    herald:say(chat_id, "hello")
    local client = support.connect(server)
    local _, frames = client:request("auth",
      { token = server:mint_token "mira", tokenType = "JWT", receiveUnread = true })
    assert.equal("sendMessage", frames[1].method)
    assert.equal("getFileUploadLimits", frames[2].method)
  end)

  it("come again when they change", function()
    setup()
    local unknown = support.connect(server)
    server:set_upload_limits(LIMITS)
    assert.same(ON_WIRE, herald:take()[1].payload)
    assert.same(ON_WIRE, mira:take()[1].payload)
    assert.same({}, unknown:take())
    assert.same(ON_WIRE, (herald:request "getFileUploadLimits"))
  end)

  it("are checked", function()
    for message, limits in pairs {
      ["max_size"] = { max_size = 0 },
      ["extensions: option 'mode'"] = { extensions = { list = {} } },
      ["extensions: option .list. must be a list of strings"] = { extensions = { mode = "allow", list = { 1 } } },
      ["unknown option"] = { size = 1 },
    } do
      assert.error_matches(function() support.server { upload_limits = limits } end, message)
    end
    assert.error_matches(function() server:set_upload_limits { max_size = 0 } end, "set_upload_limits.*max_size")
  end)
end)
