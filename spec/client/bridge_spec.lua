-- SPDX-License-Identifier: MIT
-- Two bots and the Bridge: the methods and events of a client, end to end.

local bridge = require "trueconf.bridge"
local helper = require "spec.support.helper"
local trueconf = require "trueconf"

-- Records the events of a bot; next(name) waits for the next event of a name.
local function record(bot, names)
  local told = { events = {} }
  for _, name in ipairs(names) do
    told.events[name] = {}
    bot:on(name, function(event) table.insert(told.events[name], event) end)
  end
  function told.next(name)
    return helper.eventually(function() return table.remove(told.events[name], 1) end, 5)
  end
  return told
end

local EVENTS = {
  "message", "edit_message", "remove_message", "create_group_chat", "create_channel", "create_favorites_chat",
  "create_p2p_chat", "add_chat_participant", "remove_chat_participant", "change_participant_role", "remove_chat",
  "clear_history", "edit_chat_title", "command",
}

-- A Bridge with two bots that record what they are told.
local function with_bots(body, options)
  return helper.async(function()
    local given = { accounts = { herald = "4711", mira = "4712" }, log = { level = "off" } }
    for key, value in pairs(options or {}) do given[key] = value end
    local server = assert(bridge.start(given))
    local bots, told = {}, {}
    for login, password in pairs { herald = "4711", mira = "4712" } do
      local bot = trueconf.bot { url = server:url(), username = login, password = password, log = "off" }
      told[login] = record(bot, EVENTS)
      bot:start()
      assert(bot:wait_ready(5))
      bots[login] = bot
    end
    helper.finally(function()
      for _, bot in pairs(bots) do bot:stop(1) end
      server:stop()
    end, body, bots.herald, told.herald, bots.mira, told.mira, server)
  end)
end

local function collect(iterator, field)
  local list = {}
  for item in iterator do list[#list + 1] = item[field] end
  return list
end

describe("a client at the Bridge", function()
  it("makes a group, fills it, changes it and leaves nothing of it", with_bots(function(herald, heard, mira, seen)
    local group = assert(herald:create_group_chat "Ops")
    assert.equal("Ops", heard.next "create_group_chat".title)
    assert.is_true(herald:add_chat_participant(group, mira:user_id(), true))
    local added = seen.next "add_chat_participant"
    assert.same({ group, mira:user_id(), herald:user_id() }, { added.chat_id, added.user_id, added.added_by.id })
    assert.is_true(herald:change_participant_role(group, mira:user_id(), "admin"))
    assert.equal("admin", seen.next "change_participant_role".role)
    assert.equal("admin", assert(mira:get_chat_participant(group, mira:user_id())).role)
    assert.is_true(herald:has_chat_participant(group, mira:user_id()))
    assert(mira:edit_chat_title(group, "Ops and more"))
    assert.equal("Ops and more", heard.next "edit_chat_title".title)
    local chat = assert(herald:get_chat_by_id(group))
    assert.same({ group, "Ops and more", "group" }, { chat.chat_id, chat.title, chat.kind })
    assert.is_true(herald:remove_chat_participant { chat_id = group, user_id = mira:user_id() })
    assert.equal(mira:user_id(), seen.next "remove_chat_participant".user_id)
    assert.is_false(herald:has_chat_participant(group, mira:user_id()))
    assert.is_true(herald:remove_chat(group))
    assert.equal(group, heard.next "remove_chat".chat_id)
    local answer, err = herald:get_chat_by_id(group)
    assert.is_nil(answer)
    assert.equal("CHAT_NOT_FOUND", err.name)
  end))

  it("writes, edits, forwards, removes and reads messages", with_bots(function(herald, heard, mira, seen)
    local chat_id = assert(herald:create_p2p_chat(mira:user_id()))
    assert.equal("p2p", seen.next "create_p2p_chat".kind)
    local sent = assert(herald:send_message(chat_id, "Build *ok*", { parse_mode = "markdown" }))
    local msg = seen.next "message"
    assert.same({ sent.id, "Build ok", "p2p", false }, { msg.id, msg.text, msg.chat.kind, msg.in_group })
    assert.equal(sent.id, assert(sent:edit "Build ok, 42 tests").message_id)
    assert.equal("Build ok, 42 tests", seen.next "edit_message".content.text)
    local message = assert(mira:get_message_by_id(sent.id))
    assert.same({ "Build ok, 42 tests", true }, { message.text, message.is_edited })
    local favorites = assert(mira:create_favorites_chat())
    local copy = assert(message:forward(favorites))
    local forwarded = assert(mira:get_message_by_id(copy.id)).forwarded
    assert.same({ "Build ok, 42 tests", herald:user_id() }, { forwarded.text, forwarded.author })
    assert(msg:reply "thanks")
    assert.equal(sent.id, heard.next "message".reply_to)
    assert.is_true(sent:remove())
    assert.equal(sent.id, seen.next "remove_message".message_id)
    assert.equal("MESSAGE_NOT_FOUND", select(2, mira:get_message_by_id(sent.id)).name)
    assert.is_true(mira:clear_history(chat_id))
    assert.same({}, collect(mira:history(chat_id), "text"))
    assert.same({ "thanks" }, collect(herald:history(chat_id), "text"))
  end))

  it("goes through pages of chats, participants and messages", with_bots(function(herald, _, mira)
    local group, ids = nil, {}
    for number = 1, 5 do
      group = assert(herald:create_group_chat("group " .. number))
      ids[group] = true
    end
    for chat in herald:chats { count = 2 } do ids[chat.chat_id] = nil end
    assert.is_nil(next(ids))
    assert(herald:add_chat_participant(group, mira:user_id()))
    local participants = collect(herald:participants(group, { page_size = 1 }), "user_id")
    table.sort(participants)
    assert.same({ herald:user_id(), mira:user_id() }, participants)
    for number = 1, 7 do assert(herald:send_message(group, "text " .. number)) end
    local texts = {}
    for message in herald:history(group, { count = 3 }) do
      if not message.is_system then texts[#texts + 1] = message.text end
    end
    assert.same({ "text 7", "text 6", "text 5", "text 4", "text 3", "text 2", "text 1" }, texts)
  end))

  it("posts a survey", with_bots(function(herald, _, mira, seen)
    local chat_id = assert(herald:create_p2p_chat(mira:user_id()))
    assert(herald:send_survey {
      chat_id = chat_id, url = "https://chat.acme.test/webtools/survey", path = "p1", title = "Lunch",
    })
    local survey = seen.next "message".survey
    assert.same({ "Lunch", "p1", "{{Survey}}" }, { survey.title, survey.path, survey.description })
  end))

  it("offers buttons and hears of clicks", with_bots(function(herald, heard, _, _, server)
    local kim = server:person "kim"
    local chat_id = kim:chat_with "herald".id
    local sent = assert(herald:send_message(chat_id, "Deploy?", { buttons = { {
      { type = "command", id = "y", label = "Yes", command = "deploy", custom_data = "r17", style = "success" },
      { type = "url", label = "Log", url = "https://ci.acme.test/17" },
    } } }))
    assert.equal("r17", assert(herald:get_message_by_id(sent.id)).content.buttons[1][1].customData)
    assert(kim:click(sent.id, "y"))
    local click = heard.next "command"
    assert.same({ "deploy", "r17", "y", chat_id, sent.id, herald:user_id() }, {
      click.command, click.custom_data, click.button_id, click.chat_id, click.message.id, click.message.author,
    })
    assert(click.message:edit "It is on its way.")
    local edited = assert(herald:get_message_by_id(sent.id))
    assert.equal("It is on its way.", edited.text)
    assert.is_nil(edited.content.buttons)
  end))

  it("shows what it is doing", with_bots(function(herald, _, _, _, server)
    local chat = server:person "kim":chat_with "herald"
    do
      local _ <close> = herald:keep_typing(chat.id, "uploading_file")
      helper.eventually(function() return chat:activity "herald" == "uploading_file" end)
    end
    assert.equal("typing", assert(herald:send_chat_activity(chat.id)).activity_type)
  end))

  it("hears of upload limits when it is there, and can ask for them", with_bots(function(herald)
    local limits = { max_size = 100, extensions = { mode = "block", list = { "exe" } } }
    helper.eventually(function() return herald:upload_limits() end)
    assert.same(limits, herald:upload_limits())
    assert.same(limits, herald:get_file_upload_limits())
  end, { upload_limits = { max_size = 100, extensions = { mode = "block", list = { "exe" } } } }))

  it("names what the server refuses", with_bots(function(herald, _, mira)
    local answer, err = herald:send_message("gone", "x")
    assert.is_nil(answer)
    assert.same({ "CHAT_NOT_FOUND", "rejected" }, { err.name, err.outcome })
    local group = assert(herald:create_group_chat "Ops")
    assert.equal("USER_IS_NOT_CHAT_PARTICIPANT", select(2, herald:get_chat_participant(group, mira:user_id())).name)
    assert(herald:add_chat_participant(group, mira:user_id()))
    assert.equal("USER_IS_ALREADY_CHAT_PARTICIPANT",
      select(2, herald:add_chat_participant(group, mira:user_id())).name)
    assert.equal("NOT_ENOUGH_RIGHTS", select(2, mira:remove_chat_participant(group, herald:user_id())).name)
  end))

  it("learns the server's version from it", with_bots(function(herald, _, mira)
    assert.matches("^5%.5%.3", herald:server_version())
    local group = assert(herald:create_group_chat "Ops")
    local answer, err = herald:get_chat_participant(group, mira:user_id())
    assert.is_nil(answer)
    assert.equal("UNSUPPORTED", err.name)
    assert.is_true(herald:clear_history(group))
  end, { version = "5.5.3" }))
end)
