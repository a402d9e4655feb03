-- SPDX-License-Identifier: MIT
-- The fields of a message, in each shape that servers give it, and its methods.

local message = require "trueconf.bot.message"

local ME, USER, CHAT = "Herald@chat.acme.test/9f31c2", "mira@chat.acme.test", "c1"

-- A bot that records what it is asked to do.
local function new_bot()
  local bot = { calls = {}, engine = {} }
  bot.face = bot
  function bot.user_id() return ME end
  return setmetatable(bot, { __index = function(self, name)
    return function(_, ...)
      self.calls[#self.calls + 1] = { name, ... }
      return true
    end
  end })
end

local function received(kind, content, more)
  local payload = {
    messageId = "m1", chatId = CHAT, chat = { chatId = CHAT, chatTitle = "Ops", chatType = 2 }, timestamp = 5,
    author = { id = USER, type = 1 }, box = { id = 1, position = "0" }, type = kind, isEdited = false,
    content = content,
  }
  for key, value in pairs(more or {}) do payload[key] = value ~= "none" and value or nil end
  local bot = new_bot()
  return message.new(bot, { payload = payload, chat_id = CHAT }), bot
end

local function html(text, more)
  return received(200, { text = text, parseMode = "html" }, more)
end

local KINDS = {
  "photo", "video", "audio", "voice", "sticker", "document", "location", "survey", "contact", "forwarded",
}

-- The names of these fields that a message has.
local function kinds_of(msg)
  local found = {}
  for _, kind in ipairs(KINDS) do
    if msg[kind] ~= nil then found[#found + 1] = kind end
  end
  return found
end

local function attachment(mime)
  return received(202, { name = "a", size = 3, fileId = "f1", mimeType = mime, readyState = 2 })
end

describe("a message", function()
  for mime, kind in pairs {
    ["image/png"] = "photo", ["video/mp4"] = "video", ["audio/ogg; codecs=opus"] = "audio",
    ["sticker/webp"] = "sticker", ["Sticker/WebP"] = "sticker", ["text/vcard"] = "contact",
    ["application/pdf"] = "document", ["text/plain"] = "document",
  } do
    it("with " .. mime .. " is a " .. kind, function()
      local msg = attachment(mime)
      assert.same({ kind }, kinds_of(msg))
      assert.same({ name = "a", size = 3, file_id = "f1", mime_type = mime, ready_state = 2 }, msg.file)
      assert.equal("", msg.text)
    end)
  end

  it("with a file of no type is a document", function()
    local msg = received(202, { name = "a", size = 3, infoHash = "f1", readyState = 1 })
    assert.same({ "document" }, kinds_of(msg))
    assert.equal("f1", msg.document.file_id)
    assert.equal(msg.document, msg.file)
  end)

  it("is voice", function()
    local msg = received(205, { fileId = "f1", size = 3, mimeType = "audio/ogg", duration = 4 })
    assert.same({ "voice" }, kinds_of(msg))
    assert.same({ file_id = "f1", size = 3, mime_type = "audio/ogg", duration = 4 }, msg.voice)
  end)

  it("is a place, its name called either way", function()
    local msg = received(203, { latitude = 55.7, longitude = 37.6, description = "Office" })
    assert.same({ "location" }, kinds_of(msg))
    assert.same({ latitude = 55.7, longitude = 37.6, title = "Office" }, msg.location)
  end)

  it("is a survey", function()
    local msg = received(204, { url = "https://x", title = "Lunch", buttonText = "Go" })
    assert.same({ "survey" }, kinds_of(msg))
    assert.same({ url = "https://x", title = "Lunch", button_text = "Go" }, msg.survey)
  end)

  it("hands on a contact", function()
    local msg = html '<a href="trueconf:kim@chat.acme.test&do=profile">Kim</a>'
    assert.same({ "contact" }, kinds_of(msg))
    assert.same({ user_id = "kim@chat.acme.test", name = "Kim" }, msg.contact)
    assert.same({}, kinds_of(html '<a href="trueconf:kim@chat.acme.test">Kim</a>'))
    assert.equal("f1", attachment("text/vcard").contact.file.file_id)
  end)

  it("forwards another one, nested as servers do", function()
    local msg = received(201, { messageId = "m0", chatId = "c0", timestamp = 4, author = { id = "kim@x", type = 1 },
      type = 202, content = { name = "a", size = 3, fileId = "f1", mimeType = "image/png", readyState = 2 } })
    assert.same({ "forwarded" }, kinds_of(msg))
    local original = msg.forwarded
    assert.same({ "m0", "c0", "kim@x", "" }, { original.id, original.chat_id, original.author, original.text })
    assert.same({ "photo" }, kinds_of(original))
    assert.equal(original, msg.forwarded)
  end)

  it("forwards one that cannot be answered if the server does not say where it is from", function()
    local original = received(201, { type = 200, content = { text = "x", parseMode = "text" } }).forwarded
    for method, missing in pairs {
      answer = "which chat", reply = "which chat", post = "which chat",
      edit = "which message", forward = "which message", remove = "which message",
    } do
      local result, err = original[method](original, "y")
      assert.is_nil(result)
      assert.same({ "PROTOCOL", "not_sent" }, { err.name, err.outcome })
      assert.matches(("^%s: the server does not say %s"):format(method, missing), err.message)
    end
    for _, method in ipairs { "send", "ask", "wait" } do
      assert.equal("PROTOCOL", select(2, original.chat[method](original.chat, "y")).name)
    end
    assert.matches("ask%(%) works only for messages that a handler got", select(2, pcall(original.ask, original)))
  end)

  it("forwards a text, nested or flat, which is not its own", function()
    for _, content in ipairs {
      { type = 200, content = { text = "<b>/order</b>", parseMode = "html" } },
      { text = "<b>/order</b>", parseMode = "html" },
    } do
      local msg = received(201, content)
      assert.equal("", msg.text)
      assert.equal("/order", msg.forwarded.text)
      assert.equal("", msg.text)
      assert.same({}, msg.mentions)
    end
  end)

  it("of a kind nobody knows yet is nothing of these", function()
    local msg = received(299, { text = "?", fileId = "f" })
    assert.same({}, kinds_of(msg))
    assert.is_nil(msg.file)
    assert.equal("?", msg.text)
  end)

  it("survives what makes no sense", function()
    local msg = received("x", "y", { author = "z", chat = 7, box = "none", timestamp = "none" })
    assert.same({ "", "", false, {}, false }, { msg.text, msg.author, msg.is_system, msg.mentions, msg.mentions_me })
    assert.same({}, kinds_of(msg))
    assert.same({ id = CHAT }, msg.chat)
    local odd = received(202, "no table")
    assert.is_nil(odd.document)
    assert.is_nil(received(200, { text = 5 }).contact)
  end)

  it("tells of the system", function()
    local joined = received(1, { userId = USER, role = "user" }, { author = { id = "chat.acme.test", type = 0 } })
    assert.is_true(joined.is_system)
    assert.is_false(html("x").is_system)
  end)

  it("tells who is mentioned", function()
    local msg = html('Ask <a href="trueconf:kim@chat.acme.test">Kim</a> or '
      .. '<a href="trueconf:HERALD@chat.acme.test/x">me</a>')
    assert.same({ "kim@chat.acme.test", "HERALD@chat.acme.test" }, msg.mentions)
    assert.is_true(msg.mentions_me)
    assert.is_true(html('<a href="trueconf:herald">me</a>').mentions_me)
    assert.is_false(html('<a href="trueconf:kim@chat.acme.test">Kim</a>').mentions_me)
    local all = html "@all come"
    assert.same({ "@all" }, all.mentions)
    assert.is_false(all.mentions_me)
  end)

  it("tells what its chat is, where the server says it", function()
    local msg = html "x"
    assert.same({ id = CHAT, title = "Ops", type = 2, kind = "group" }, msg.chat)
    assert.is_true(msg.in_group)
    assert.is_false(html("x", { chat = { chatId = CHAT, chatType = 1 } }).in_group)
    local old = html("x", { chat = "none" })
    assert.is_nil(old.in_group)
    assert.same({ id = CHAT }, old.chat)
    assert.equal(CHAT, old.envelope.chat.chatId)
  end)

  it("knows the message it answers", function()
    local msg = html("yes", { replyMessageId = "m0", replyMessage = {
      messageId = "m0", chatId = CHAT, timestamp = 4, type = 200, author = { id = ME, type = 1 },
      content = { text = "<i>well?</i>", parseMode = "html" },
    } })
    assert.same({ "m0", "m0", "well?" }, { msg.reply_to, msg.reply_message.id, msg.reply_message.text })
    assert.is_nil(html("x").reply_message)
  end)

  it("tells whether it was edited and where it stands", function()
    assert.is_true(html("x", { isEdited = "true" }).is_edited)
    assert.is_false(html("x", { isEdited = "none" }).is_edited)
    assert.same({ id = 1, position = "0" }, html("x").box)
  end)

  it("can be edited, forwarded and removed", function()
    local msg, bot = html "x"
    assert(msg:edit "new")
    assert(msg:edit("*new*", { parse_mode = "markdown" }))
    assert(msg:forward "c2")
    assert(msg:remove())
    assert(msg:remove(true))
    assert.same({
      { "edit_message", "m1", "new", {} }, { "edit_message", "m1", "*new*", { parse_mode = "markdown" } },
      { "forward_message", "c2", "m1" }, { "remove_message", "m1", false }, { "remove_message", "m1", true },
    }, bot.calls)
  end)
end)
