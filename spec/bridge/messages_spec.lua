-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local support = require "spec.support.bridge"

local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

local function texts(frames)
  local found = {}
  for _, frame in ipairs(frames) do
    if frame.method == "sendMessage" then found[#found + 1] = frame.payload.content.text end
  end
  return table.concat(found, " ")
end

describe("messages", function()
  local server, herald, mira, chat_id

  before_each(function()
    server = support.server { accounts = { herald = "1", mira = "2", john = "3" } }
    herald, mira = support.login(server, "herald"), support.login(server, "mira")
    chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    herald:take()
    mira:take()
  end)

  after_each(function() core.virtual_time(false) end)

  local function send(client, text, more)
    local payload = { chatId = chat_id, content = { text = text, parseMode = "text" } }
    for name, value in pairs(more or {}) do payload[name] = value end
    return client:request("sendMessage", payload)
  end

  it("are answered with chat, id and time", function()
    core.virtual_time(true, 1788000000120, 1)
    local response = send(herald, "Build ok")
    assert.equal(chat_id, response.chatId)
    assert.equal(core.now(), response.timestamp)
    assert.matches(UUID, response.messageId)
  end)

  it("reach the other side as a whole envelope", function()
    core.virtual_time(true, 1788000000120, 1)
    local response = send(herald, "Build **ok**", { content = { text = "Build **ok**", parseMode = "markdown" } })
    assert.same({
      {
        method = "sendMessage", type = 1, id = 3,
        payload = {
          messageId = response.messageId,
          chatId = chat_id,
          chat = { chatId = chat_id, chatType = 1 },
          timestamp = core.now(),
          author = { id = "herald@chat.acme.test", type = 1 },
          box = { id = 1, position = "0" },
          type = 200,
          isEdited = false,
          content = { text = "Build **ok**", parseMode = "markdown" },
        },
      },
    }, mira:take())
  end)

  it("say null where a personal chat has no title", function()
    send(herald, "x")
    assert.is_truthy(mira.sent[1]:find('"chatTitle":null', 1, true))
  end)

  it("come back to the connection that sent them, after the response", function()
    local response, frames = send(herald, "mine")
    assert.equal(1, #frames)
    assert.equal(response.messageId, frames[1].payload.messageId)
  end)

  it("come back only to the account's other connections if the Bridge is told so", function()
    local quiet = support.server { echo = "others" }
    local first, second = support.login(quiet, "herald"), support.login(quiet, "herald")
    local chat, frames = first:request("createP2PChat", { userId = "mira@chat.acme.test" })
    assert.same({}, frames)
    second:take()
    local payload = { chatId = chat.chatId, content = { text = "x", parseMode = "text" } }
    local _, echo = first:request("sendMessage", payload)
    assert.same({}, echo)
    assert.equal("x", texts(second:take()))
  end)

  it("reach every connection of both accounts, each with ids of its own", function()
    local second = support.login(server, "mira")
    send(herald, "one")
    send(herald, "two")
    local frames = second:take()
    assert.equal("one two", texts(frames))
    assert.equal(2, frames[1].id)
    assert.equal(3, frames[2].id)
    assert.equal("one two", texts(mira:take()))
  end)

  it("reach nobody else, nor a connection without auth", function()
    local john, stranger = support.login(server, "john"), support.connect(server)
    send(herald, "secret")
    assert.same({}, john:take())
    assert.same({}, stranger:take())
  end)

  it("stop coming when the connection is gone", function()
    local second = support.login(server, "mira")
    second:gone()
    send(herald, "x")
    assert.same({}, second:take())
    assert.equal("x", texts(mira:take()))
  end)

  it("are counted in boxes chat by chat", function()
    local _, first = send(herald, "a")
    local _, second = send(mira, "b")
    assert.equal(1, first[1].payload.box.id)
    assert.equal(2, second[1].payload.box.id)
    chat_id = herald:request("createP2PChat", { userId = "john@chat.acme.test" }).chatId
    local _, echo = send(herald, "c")
    assert.equal(1, echo[1].payload.box.id)
  end)

  it("carry the message they answer, one level deep", function()
    local first = send(herald, "first")
    local second = send(mira, "second", { replyMessageId = first.messageId })
    mira:take()
    send(herald, "third", { replyMessageId = second.messageId })
    local envelope = mira:take()[1].payload
    assert.equal(second.messageId, envelope.replyMessageId)
    assert.equal("second", envelope.replyMessage.content.text)
    assert.equal(first.messageId, envelope.replyMessage.replyMessageId)
    assert.is_nil(envelope.replyMessage.replyMessage)
    assert.equal(chat_id, envelope.replyMessage.chat.chatId)
  end)

  it("take null for no answered message", function()
    local response = send(herald, "x", { replyMessageId = json.null })
    assert.is_string(response.messageId)
    assert.is_nil(mira:take()[1].payload.replyMessageId)
  end)

  it("refuse an unknown chat, a foreign one, and an answer to what is not there", function()
    local right = chat_id
    chat_id = "gone"
    assert.equal(304, (send(herald, "x")).errorCode)
    chat_id = right
    assert.equal(305, (send(support.login(server, "john"), "x")).errorCode)
    assert.equal(306, (send(herald, "x", { replyMessageId = "a" })).errorCode)
    local elsewhere = herald:request("createP2PChat", { userId = "john@chat.acme.test" }).chatId
    local there = herald:request("sendMessage", { chatId = elsewhere, content = { text = "x", parseMode = "text" } })
    assert.equal(306, (send(herald, "x", { replyMessageId = there.messageId })).errorCode)
    assert.equal("", texts(mira:take()))
  end)

  it("are cut after 4096 characters, not bytes", function()
    send(herald, ("ä"):rep(4096))
    assert.equal(4096, utf8.len(mira:take()[1].payload.content.text))
    send(herald, ("ä"):rep(4097) .. "end")
    assert.equal(("ä"):rep(4096), mira:take()[1].payload.content.text)
    send(herald, ("a"):rep(5000))
    assert.equal(("a"):rep(4096), mira:take()[1].payload.content.text)
  end)

  it("are cut by what is visible of them: marks do not count, targets of links do", function()
    local function received(text)
      send(herald, text, { content = { text = text, parseMode = "html" } })
      return mira:take()[1].payload.content.text
    end
    local function linked(length) return '<a href="https://acme.test">' .. ("a"):rep(length) .. "</a>" end
    local bold = "<b>" .. ("a"):rep(4096) .. "</b>"
    assert.is_true(received(bold) == bold)
    assert.is_true(received("<b>" .. ("a"):rep(4100) .. "</b>") == bold)
    assert.is_true(received(linked(4078)) == linked(4078))
    assert.is_true(received(linked(4079)) == linked(4078))
    assert.is_true(#received(("<b>"):rep(100000) .. ("a"):rep(5000)) < 305000)
  end)

  it("are cut by what servers of the version count", function()
    local content = ("<br>x"):rep(4096)
    for version, lines in pairs { ["5.5.4"] = 4096 // 5, ["5.5.6"] = 4096 } do
      server = support.server { version = version }
      herald, mira = support.login(server, "herald"), support.login(server, "mira")
      chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
      mira:take()
      send(herald, content, { content = { text = content, parseMode = "html" } })
      local kept = mira:take()[1].payload.content.text
      assert.equal(lines, select(2, kept:gsub("<br>x", "")), version)
      assert.is_truthy(kept == content:sub(1, #kept), version)
    end
  end)

  it("are refused when they are too long, if the Bridge is told so", function()
    server = support.server { long_text = "refuse" }
    herald, mira = support.login(server, "herald"), support.login(server, "mira")
    chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    local sent = send(herald, ("a"):rep(4096))
    assert.is_string(sent.messageId)
    local response = send(herald, ("a"):rep(4097))
    assert.equal(399, response.errorCode)
    assert.equal("content.text is 4097 visible characters, 4096 allowed", response.errorDescription)
    local edit = { messageId = sent.messageId, content = { text = ("a"):rep(4097), parseMode = "text" } }
    assert.equal(399, (herald:request("editMessage", edit)).errorCode)
  end)

  it("are kept up to the limit of the history", function()
    local small = support.server { history_limit = 2 }
    local bot = support.login(small, "herald")
    local chat = bot:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    local ids = {}
    for index = 1, 3 do
      local content = { text = "m" .. index, parseMode = "text" }
      ids[index] = bot:request("sendMessage", { chatId = chat, content = content }).messageId
    end
    local history = small:history(chat)
    assert.same({ "m2", "m3" }, { history[1].text, history[2].text })
    assert.equal(2, #history)
    assert.equal(3, history[2].box)
    local late = { chatId = chat, replyMessageId = ids[1], content = { text = "x", parseMode = "text" } }
    assert.equal(306, (bot:request("sendMessage", late)).errorCode)
    assert.is_nil(small:history "gone")
  end)

  it("are encoded once for all who get them", function()
    for _ = 1, 5 do support.login(server, "mira") end
    local encode, calls = json.encode, 0
    json.encode = function(value)
      if value.box then calls = calls + 1 end
      return encode(value)
    end
    send(herald, "x")
    json.encode = encode
    assert.equal(1, calls)
  end)
end)

describe("unread messages", function()
  local server, mira, chat_id

  before_each(function()
    server = support.server()
    mira = support.login(server, "mira")
    chat_id = mira:request("createP2PChat", { userId = "herald@chat.acme.test" }).chatId
  end)

  local function say(...)
    for _, text in ipairs { ... } do
      mira:request("sendMessage", { chatId = chat_id, content = { text = text, parseMode = "text" } })
    end
  end

  local function unread(login)
    local found = {}
    for index, message in ipairs(server:unread(login)) do found[index] = message.text end
    return table.concat(found, " ")
  end

  it("are what others wrote, until they are acked", function()
    local herald = support.login(server, "herald")
    say("a", "b", "c")
    assert.equal("a b c", unread "herald")
    assert.equal("", unread "mira")
    local frames = herald:take()
    herald:ack(frames[2].id)
    assert.equal("a c", unread "herald")
    herald:raw('{"type":2,"id":' .. frames[1].id .. ',"payload":{}}')
    assert.equal("c", unread "herald")
    herald:ack(frames[1].id)
    assert.equal("c", unread "herald")
  end)

  it("are not touched by the ack of another notification or another connection", function()
    local herald = support.login(server, "herald")
    support.login(server, "herald")
    say "a"
    local id = herald:take()[1].id
    mira:ack(id)
    herald:ack(id + 1)
    assert.equal("a", unread "herald")
  end)

  it("come after auth if it asks for them, oldest first, then live ones", function()
    say("a", "b", "c")
    local herald, frames = support.login(server, "herald", { receiveUnread = true })
    assert.equal("a b c", texts(frames))
    assert.equal(1, frames[1].id)
    say "d"
    assert.equal("d", texts(herald:take()))
  end)

  it("do not come if it does not", function()
    say "a"
    local herald, frames = support.login(server, "herald")
    assert.same({}, frames)
    support.login(server, "herald", { receiveUnread = false })
    assert.same({}, herald:take())
    assert.equal("a", unread "herald")
  end)

  it("come again on the next connection until they are acked", function()
    say("a", "b")
    local first, frames = support.login(server, "herald", { receiveUnread = true })
    first:ack(frames[1].id)
    first:gone()
    local second, again = support.login(server, "herald", { receiveUnread = true })
    assert.equal("b", texts(again))
    second:ack(again[1].id)
    local _, none = support.login(server, "herald", { receiveUnread = true })
    assert.same({}, none)
  end)

  it("come with the same message id and time as when they were live", function()
    local first = support.login(server, "herald")
    say "a"
    local live = first:take()[1].payload
    local _, frames = support.login(server, "herald", { receiveUnread = true })
    assert.same(live, frames[1].payload)
  end)

  it("come 1000 at a time, the oldest first, the rest at the next connection", function()
    local numbers = {}
    for number = 1, 1002 do
      numbers[number] = tostring(number)
      say(numbers[number])
    end
    local first, frames = support.login(server, "herald", { receiveUnread = true })
    assert.equal(1000, #frames)
    assert.equal(table.concat(numbers, " ", 1, 1000), texts(frames))
    assert.equal(1002, #server:unread "herald")
    for _, frame in ipairs(frames) do first:ack(frame.id) end
    local _, rest = support.login(server, "herald", { receiveUnread = true })
    assert.equal("1001 1002", texts(rest))
  end)

  it("are still there on the next Bridge with the same state", function()
    say("a", "b")
    local again = support.server { state = server:state() }
    local herald, frames = support.login(again, "herald", { receiveUnread = true })
    assert.equal("a b", texts(frames))
    herald:ack(frames[1].id)
    assert.equal(1, #again:unread "herald")
    local response = herald:request("createP2PChat", { userId = "mira@chat.acme.test" })
    assert.equal(chat_id, response.chatId)
  end)

  it("are kept when their chat has forgotten them, up to a limit", function()
    server = support.server { history_limit = 1, unread_limit = 2 }
    mira = support.login(server, "mira")
    chat_id = mira:request("createP2PChat", { userId = "herald@chat.acme.test" }).chatId
    say("a", "b", "c")
    local _, frames = support.login(server, "herald", { receiveUnread = true })
    assert.equal("b c", texts(frames))
  end)
end)
