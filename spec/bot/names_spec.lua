-- SPDX-License-Identifier: MIT
-- Names on a bot belong to the script: no field, method, subclass or loop over pairs() changes how the bot works.

local trueconf = require "trueconf"
local bots = require "spec.support.bots"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = bots.LIMIT

-- Names that people use in bots of pizzerias, help desks, games and reminders; none is a method of ours.
local INNOCENT = {}
for name in ([[
  finish begin held hold idle works work working offer report queue inbox session sessions store handlers handler
  routes route name id order orders cancel draft data_store retry retries tries wait waits waiting ready ready_at
  started stopping stopped ended watched facts limits version web exchange patience call_layers layers hooks hook
  calls save load open close answer answers question questions help prefix command_prefix commands users user
  chats_seen clicked clicks double_click late_click open_questions closed_questions is_mine take_in take_event
  redirect authors turned_away event_meta event_item read_message read_event may_say name_of end_work work_on
  begin_ready take claim settle later hurry release reap urgent event_of message_item put_off context source run end_run
  acknowledge is_expected came_again expect flush acks at_work idle_at stuck postponed held_down find_wait hand_over
  end_wait is_over ask_in wait_in leave fail postpone dead_letter stop_writing session_changes write_timer letters
  outbox_box open_store reopen_store close_store outbox_has_room session_here save_sessions post_to_chat_of
  settle_down state_changed fall_back set_hook on_request is_double_click question_opened question_closed
  buttons_gone take_late_click may_answer notice_leaving end_dialogs may_end_dialogs max_handlers max_dialogs
  handler_timeout busy_timeout ask_timeout ask_defaults stop_timeout ordered remembers ack_when timer count total
  menu basket price table_number game score level lives lang language config settings options db cache log_file
  admin owner token password username
]]):gmatch "%S+" do INNOCENT[#INNOCENT + 1] = name end

-- The methods of an object, to be called when its fields hold something else.
local function methods_of(object)
  local class, methods = getmetatable(object).__index, {}
  while type(class) == "table" do
    for name, value in pairs(class) do
      if type(value) == "function" and not methods[name] then methods[name] = value end
    end
    local above = getmetatable(class)
    class = above and above.__index
  end
  return methods
end

local spoilers = {
  ["functions that raise"] = function(name) return function() error("called by the bot: " .. name, 0) end end,
  ["functions that return nothing"] = function() return function() end end,
  ["texts"] = function(name) return name end,
  ["numbers"] = function() return 17 end,
  ["false"] = function() return false end,
  ["tables"] = function() return {} end,
}

-- Put our own names and all methods on an object.
local function spoil(object, methods, make)
  for _, name in ipairs(INNOCENT) do object[name] = make(name) end
  for name in pairs(methods) do object[name] = make(name) end
  for _, name in ipairs { "log", "url", "data" } do object[name] = make(name) end
end

-- The handlers of a bot with a bit of everything, registered by `api`, whatever is on the bot.
local function register(api, bot, errors)
  api.on_error(bot, function(err) errors[#errors + 1] = tostring(err) end)
  api.use(bot, function(msg, next)
    msg.state.seen = true
    next()
  end)
  api.on_command(bot, "order", function(msg, args)
    local address = assert(msg:ask("Where to?", { timeout = LIMIT }))
    local size = assert(msg.chat:ask("Which size?", { choices = { "small", "large" }, show = "list" }))
    msg.user_session.orders = (msg.user_session.orders or 0) + 1
    assert(msg:post(("%d %s %s to %s, order %d"):format(args.count, size, args.what, address.text,
      msg.user_session.orders)))
  end, { { "count", type = "integer" }, { "what" }, description = "order something" })
  api.on_text(bot, "^break$", function() error "broken on purpose" end)
  api.on_text(bot, "^hello$", trueconf.filter.private, function(msg) assert(msg:reply("seen: " .. msg.text)) end)
end

local function talk(case, lines)
  for place = 1, #lines, 2 do
    assert(case.chat:say(lines[place]))
    assert.equal(lines[place + 1], bots.hear(case.mira))
  end
end

local function order(case, number)
  talk(case, { "hello", "seen: hello", "/order 2 pizza", "Where to?", "Hill 5", "Which size?\n1. small\n2. large",
    "2", ("2 large pizza to Hill 5, order %d"):format(number), "/help", "/order COUNT WHAT - order something" })
end

-- A bot's life: a conversation, a failure, a lost connection, a restart, and another bot on the same store.
local function life(case, change)
  local errors, path = {}, case.directory:file "bot.db"
  local function begin()
    local bot = system.bot(case.server, { store = path })
    local api = methods_of(bot)
    bot = change(bot, api) or bot
    register(api, bot, errors)
    api.start(bot)
    assert(api.wait_ready(bot, LIMIT))
    return bot, api
  end
  local bot, api = begin()
  case.chat = case.mira:chat_with "herald"
  order(case, 1)
  assert(case.chat:say "break")
  helper.eventually(function() return #api.dead_letters(bot) == 1 end)
  assert.is_true(api.requeue(bot, api.dead_letters(bot)[1].id))
  helper.eventually(function() return #api.dead_letters(bot) == 1 and #errors == 2 end)
  for _, err in ipairs(errors) do assert.matches("broken on purpose", err) end
  assert.same({ waiting = 0, unsent = 0 }, api.outbox(bot))
  case.server:drop "herald"
  order(case, 2)
  assert.same({}, api.dialogs(bot))
  assert.equal("herald@localhost", api.user_id(bot))
  api.stop(bot, 1)
  assert.equal("closed", api.state(bot))
  api.start(bot)
  order(case, 3)
  assert(api.replace_handlers(bot, function(given)
    api.on_message(given, function(msg) assert(msg:answer "new")  end)
  end))
  talk(case, { "hello", "new" })
  api.stop(bot, 1)
  bot, api = begin()
  order(case, 4)
  assert.same("broken on purpose", api.dead_letters(bot)[1].error:match "broken on purpose")
  api.stop(bot, 1)
end

-- A case with a Bridge whose bot `change` gets before anything is registered.
local function lives(change)
  return helper.async(function()
    local directory <close> = system.directory()
    local server = system.start_bridge()
    local case = { directory = directory, server = server, mira = server:person "mira" }
    local ok, err = xpcall(life, debug.traceback, case, change)
    server:stop()
    if not ok then error(err, 0) end
  end, 60)
end

describe("names that a script puts on its bot", function()
  it("are many", function() assert.is_true(#INNOCENT >= 100) end)

  it("are none of ours by chance: an untouched bot lives", lives(function() end))

  for kind, make in pairs(spoilers) do
    it("change nothing as " .. kind, lives(function(bot, api) spoil(bot, api, make) end))
  end

  it("are all that pairs() meets beside the log, the address and the data", lives(function(bot)
    bot.basket = {}
    local names = {}
    for name in pairs(bot) do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "basket", "data", "log", "url" }, names)
    for _, name in ipairs(names) do bot[name] = nil end
  end))

  it("may be those of a class of the script's, whose methods stand before the bot's", lives(function(bot, api)
    local class = {}
    spoil(class, api, spoilers["functions that raise"])
    setmetatable(class, { __index = getmetatable(bot).__index })
    return setmetatable(bot, { __index = class })
  end))

  it("may be those of an object that inherits from the bot", lives(function(bot, api)
    local pizzeria = setmetatable({}, { __index = bot })
    local shop = setmetatable({}, { __index = pizzeria })
    spoil(shop, api, spoilers["functions that raise"])
    return shop
  end))

  it("stay the script's: handlers find them on msg.bot", bots.case(function(bot)
    function bot:finish(what) return "finished " .. what end
    bot.held = { "one" }
    bot:on_message(function(msg) assert(msg:answer(msg.bot:finish(#msg.bot.held))) end)
  end, function(case)
    assert.equal("finished 1", bots.ask(case, "go"))
    assert.equal("finished 1", bots.ask(case, "again"))
  end))
end)

local NOTES = {
  "lane", "key", "frame_id", "epoch", "acked", "dialog", "event", "item", "tries", "work", "wait", "held", "order",
  "other_frames", "method", "store", "session", "engine", "client", "run", "turn", "waiter", "failure", "thread",
  "record", "state", "settled", "settle", "waiters", "posted", "doubt_since",
}

describe("names that a script puts on a message", function()
  for kind, make in pairs(spoilers) do
    it("change nothing as " .. kind, bots.case(function(bot)
      bot:on_message(function(msg)
        local methods = { ask = msg.ask, answer = msg.answer, post = msg.post, leave = msg.leave }
        local text = msg.text
        for _, name in ipairs(NOTES) do msg[name] = make(name) end
        if text ~= "ask" then return assert(methods.answer(msg, "seen: " .. text)) end
        local answer = assert(methods.ask(msg, "well?"))
        local posted = assert(methods.post(msg, "so " .. answer.text))
        local wait = posted.wait
        for _, name in ipairs(NOTES) do posted[name] = make(name) end
        assert(wait(posted, LIMIT))
      end)
    end, function(case)
      for _ = 1, 2 do
        talk(case, { "one", "seen: one", "ask", "well?", "yes", "so yes", "two", "seen: two" })
      end
      helper.eventually(function() return #case.server:unread "herald" == 0 end)
    end))
  end
end)

describe("names that a script puts on a client", function()
  for kind, make in pairs(spoilers) do
    it("change nothing as " .. kind, helper.async(function()
      local server = system.start_bridge()
      local client = trueconf.client(system.bot_options(server))
      local api = methods_of(client)
      spoil(client, api, make)
      api.start(client)
      assert(api.wait_ready(client, LIMIT))
      local mira = server:person "mira"
      local chat_id = assert(api.create_p2p_chat(client, "mira@localhost"))
      local sent = assert(api.send_message(client, chat_id, "hello"))
      assert.equal("hello", bots.hear(mira))
      local edit = sent.edit
      for _, name in ipairs(NOTES) do sent[name] = make(name) end
      assert(edit(sent, "hello again"))
      for message in api.history(client, chat_id) do assert.equal("hello again", message.text) end
      local file = assert(api.send_file(client, chat_id, { name = "a.txt", data = "abc" }))
      assert.equal("abc", api.download(client, file.file_id))
      assert(api.call(client, "getChats", { count = 1, page = 1 }))
      api.stop(client)
      assert.equal("closed", api.state(client))
      server:stop()
    end))
  end
end)
