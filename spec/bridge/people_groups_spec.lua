-- SPDX-License-Identifier: MIT
-- Acts of people besides writing: groups and channels, changes, events.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local support = require "spec.support.bridge"

local server, herald, mira, john

before_each(function()
  server = support.server { accounts = { herald = "1", mira = "2", john = "3" } }
  herald = support.login(server, "herald")
  mira, john = server:person "mira", server:person "john"
end)

after_each(function() core.virtual_time(false) end)

local function methods_of(frames)
  local found = {}
  for index, frame in ipairs(frames) do found[index] = frame.method end
  return table.concat(found, " ")
end

local function texts(chat)
  local found = {}
  for _, message in ipairs(chat:history()) do
    if message.type >= 200 then found[#found + 1] = message.text end
  end
  return table.concat(found, " ")
end

describe("a person's group", function()
  local group

  before_each(function() group = mira:create_group "Ops" end)

  it("takes in others, whom it tells of", function()
    assert.is_true(group:add "herald")
    local frames = herald:take()
    assert.equal("addChatParticipant", methods_of(frames))
    assert.equal("mira@chat.acme.test", frames[1].payload.addedBy.id)
    local chat = herald:request("getChatByID", { chatId = group.id })
    assert.equal("Ops", chat.title)
    assert.equal(2, chat.chatType)
    group:say "hello"
    assert.equal("hello", herald:take()[1].payload.content.text)
  end)

  it("shows older messages to a newcomer if that is wanted", function()
    group:say "old"
    group:add("herald", { show_history = true })
    group:add "john"
    assert.equal("old", texts(server:person("herald"):chat(group.id)))
    assert.equal("", texts(john:chat(group.id)))
  end)

  it("is managed: roles, title, who must go", function()
    group:add "herald"
    group:add "john"
    herald:take()
    assert.is_true(group:set_role("john", "admin"))
    assert.is_true(john:chat(group.id):rename "Operations")
    assert.is_true(group:expel("john", { clear_history = true }))
    assert.equal("changeParticipantRole editChatTitle removeChatParticipant", methods_of(herald:take()))
    local chat, err = john:chat(group.id)
    assert.is_nil(chat)
    assert.equal("USER_IS_NOT_CHAT_PARTICIPANT", err.name)
  end)

  it("refuses what the role does not allow", function()
    group:add "john"
    local his = john:chat(group.id)
    for name, act in pairs {
      add = function() return his:add "herald" end,
      expel = function() return his:expel "mira" end,
      role = function() return his:set_role("mira", "user") end,
      rename = function() return his:rename "x" end,
      clear = function() return his:clear() end,
      remove = function() return his:remove(group:say "mine") end,
      edit = function() return his:edit(group:say "mine", "x") end,
    } do
      local ok, err = act()
      assert.is_nil(ok, name)
      assert.equal("NOT_ENOUGH_RIGHTS", err.name, name)
    end
    assert.equal("USER_IS_ALREADY_CHAT_PARTICIPANT", select(2, group:add "john").name)
    assert.equal("ROLE_NOT_FOUND", select(2, group:set_role("john", "writer")).name)
  end)

  it("is left, and removed by its owner", function()
    group:add "john"
    assert.is_true(john:chat(group.id):leave())
    assert.same({}, john:chats())
    assert.equal(group.id, mira:chats()[1].id)
    assert.is_true(group:leave())
    assert.same({}, mira:chats())
    local messages, err = group:history()
    assert.is_nil(messages)
    assert.equal("CHAT_NOT_FOUND", err.name)
    assert.equal("CHAT_NOT_FOUND", select(2, group:say "x").name)
  end)
end)

describe("a person's channel", function()
  it("is read by others", function()
    local channel = mira:create_channel "News"
    channel:add "john"
    local message, err = john:chat(channel.id):say "x"
    assert.is_nil(message)
    assert.equal("NOT_ENOUGH_RIGHTS", err.name)
    channel:set_role("john", "writer")
    assert.equal("x", john:chat(channel.id):say("x").text)
  end)
end)

describe("a person's message", function()
  local chat

  before_each(function()
    chat = mira:chat_with "herald"
    herald:take()
  end)

  it("can be edited as it was typed", function()
    local message = chat:say "one"
    herald:take()
    local edited = chat:edit(message, "a < b")
    assert.equal("a &lt; b", edited.text)
    assert.equal("html", edited.parse_mode)
    assert.is_true(edited.edited)
    assert.is_false(message.edited)
    local frame = herald:take()[1]
    assert.equal("editMessage", frame.method)
    assert.same({ text = "a &lt; b", parseMode = "html" }, frame.payload.content)
    assert.equal("**b**", chat:edit(message.id, "**b**", { parse_mode = "markdown" }).text)
    assert.equal("MESSAGE_NOT_FOUND", select(2, chat:edit("none", "x")).name)
    assert.error_matches(function() chat:edit(message, "") end, "text must not be empty")
  end)

  it("can be removed for all and for oneself", function()
    local first, second = chat:say "one", chat:say "two"
    herald:take()
    assert.is_true(chat:remove(first))
    assert.equal("removeMessage", methods_of(herald:take()))
    assert.is_true(chat:remove(second, { only_for_me = true }))
    assert.same({}, herald:take())
    assert.equal("", texts(chat))
    assert.equal("two", texts(server:person("herald"):chat(chat.id)))
    assert.is_true(chat:clear { only_for_me = true })
    assert.same({}, herald:take())
  end)

  it("is read by nobody when its chat is gone", function()
    local group = mira:create_group "Ops"
    group:add "john"
    local message = group:say "hello"
    group:leave()
    assert.is_false(message:is_read_by "john")
  end)

  it("can be forwarded to another chat", function()
    local message = chat:say "hello"
    local copy = mira:chat_with("john"):forward(message)
    assert.equal(201, copy.type)
    assert.equal("hello", copy.text)
    assert.equal(message.id, copy.content.messageId)
  end)

  it("shows the buttons of a bot, which can be clicked", function()
    local buttons = { { { type = "command", label = "Yes", command = "go", id = "y" } } }
    local content = { text = "Go?", parseMode = "text", buttons = buttons }
    herald:request("sendMessage", { chatId = chat.id, content = content })
    herald:take()
    local history = chat:history()
    local message = history[#history]
    assert.same(buttons, message.buttons)
    assert.is_true(mira:click(message, "y"))
    assert.equal("command", methods_of(herald:take()))
  end)
end)

describe("a person's events", function()
  it("are what a connection of the same account gets", function()
    local connection = support.login(server, "mira", { receiveSystemMessageEnvelopes = true })
    local group = mira:create_group "Ops"
    group:add "herald"
    local message = group:say "hello"
    group:edit(message, "hi")
    group:remove(message)
    group:rename "x"
    group:leave()
    local expected = {}
    for index, frame in ipairs(connection:take()) do
      expected[index] = { method = frame.method, payload = frame.payload }
    end
    local events = mira:events()
    assert.equal("createGroupChat addChatParticipant sendMessage sendMessage editMessage removeMessage editChatTitle "
      .. "sendMessage removeChat", methods_of(events))
    assert.same(expected, events)
    assert.same({}, mira:events())
  end)

  it("are the newest thousand", function()
    local chat = mira:chat_with "herald"
    for index = 1, 1001 do chat:say(tostring(index)) end
    local events = mira:events()
    assert.equal(1000, #events)
    assert.equal("2", events[1].payload.content.text)
  end)

  it("come to who watches", helper.async(function()
    local done, seen = core.waiter(), {}
    mira:on_event(function(event)
      seen[#seen + 1] = event.method .. " " .. event.payload.chatType
      done:wake(true)
    end)
    local id = herald:request("createP2PChat", { userId = mira.id }).chatId
    assert.is_string(id)
    assert.is_true(done:wait(5))
    assert.same({ "createP2PChat 1" }, seen)
    assert.error_matches(function() mira:on_event "x" end, "on_event: a function expected, got a string")
  end))

  it("are told of misuse", function()
    local group = mira:create_group "Ops"
    assert.error_matches(function() group:add "nobody" end, "there is no account 'nobody'")
    assert.error_matches(function() mira:create_group "" end, "title must not be empty")
    assert.error_matches(function() mira:create_channel(17) end, "title: a string expected, got a number")
  end)
end)
