-- SPDX-License-Identifier: MIT
-- Servers that answer oddly: each field of each answer left out, null, or of another type, for every method and
-- everything that works in the background. There is a result in the types of the schema, or nil and an error with a
-- stable name; nothing is raised, and nothing is left behind.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local chat_cache = require "trueconf.api.chat_cache"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local oauth = require "trueconf.client.oauth"
local protocol = require "trueconf.protocol"
local scene = require "spec.support.scene"
local server_version = require "trueconf.api.server_version"
local spoiled = require "spec.support.spoiled"
local system = require "spec.support.system"
local trueconf = require "trueconf"
local web = require "trueconf.base.web"

local behind = require("trueconf.base.hooks").behind

local NEWEST = protocol.versions.NEWEST
local LIMIT = 200                       -- seconds for one walk; usually it takes a few
local HERALD, MIRA = "herald@chat.acme.test", "mira@chat.acme.test"
local TYPES = { string = "string", integer = "integer", number = "number", boolean = "boolean" }

local MOST_TOLD = 20

local function complain(list, text, ...)
  if #list < MOST_TOLD then list[#list + 1] = text:format(...) end
end

-- Counts of things that wait.
local function waiting(client)
  local stats, session = core.stats(), behind(client).client.session:stats()
  return ("%d pending, %d coroutines, %d in flight, %d queued"):format(stats.pending, stats.coroutines,
    session.in_flight, session.queued)
end

-- An error as callers may rely on it, or what is wrong with it.
local function wrong_error(err)
  if not Error.is(err) then return "no error object: " .. tostring(err) end
  if not Error.names[err.name] then return "an unknown name" end
end

-- The fields of a result have the types that the schema gives them.
local function wrong_field(method, result)
  local declared = protocol.objects[protocol.methods[method].response]
  if type(result) ~= "table" or not declared then return nil end
  for _, field in ipairs(declared.fields) do
    local enum = protocol.enums[field.type]
    local expected, value = TYPES[enum and enum.base or field.type] or "table", result[field.lua_name]
    if field.type == "Author" then expected = "string" end -- the id alone, of a message
    if value ~= nil and type(value) ~= expected and math.type(value) ~= expected then
      return ("%s is a %s"):format(field.lua_name, type(value))
    end
  end
end

-- Run one call; complains of what was raised, of no result without an error, and of what is left.
local function expect_settled(wrong, client, what, call)
  local before = waiting(client)
  local ok, result, err = pcall(call)
  local after = waiting(client)
  if not ok then
    complain(wrong, "%s: raised %s", what, tostring(result))
  elseif result == nil then
    local mistake = wrong_error(err)
    if mistake then complain(wrong, "%s: %s", what, mistake) end
  end
  if before ~= after then complain(wrong, "%s: %s before, %s after", what, before, after) end
  return ok and result or nil, err
end

-- Methods ---------------------------------------------------------------------------------------------

-- The fate of a request is unknown when its answer is of no use.
local function wrong_outcome(method, err)
  if err.name ~= "PROTOCOL" then return err.name .. " in place of PROTOCOL" end
  if err.method ~= method then return "it does not name its method" end
  if err.outcome ~= "unknown" then return "outcome " .. tostring(err.outcome) end
end

local function call_spoiled(it, method, way, wrong, make)
  local client, what = it.clients.herald, way and way.name or "whole"
  local arguments = make()
  it.way, it.method = way, method
  local result, err = expect_settled(wrong, client, what, function()
    return client[protocol.methods[method].lua_name](client, arguments)
  end)
  it.way = nil
  local mistake = result ~= nil and wrong_field(method, result) or err and wrong_outcome(method, err)
  if mistake then complain(wrong, "%s: %s", what, mistake) end
  return result, err
end

local function walk_method(it, method, wrong)
  local function make() return scene.arguments(scene.WORKS[method][1](it)) end
  it.last = nil
  call_spoiled(it, method, nil, wrong, make)
  local arguments = make()
  local reads = protocol.methods[method].read
  for _, way in ipairs(spoiled.ways(assert(it.last, "no answer"))) do
    call_spoiled(it, method, way, wrong, reads and function() return arguments end or make)
  end
  if it.clients.herald:state() ~= "ready" then complain(wrong, "the connection was lost") end
end

describe("a client whose server answers oddly", function()
  local wrong = {}

  setup(helper.async(function()
    local it = scene.start(NEWEST)
    it.clients.herald:stop()              -- which looks into what comes
    it.clients.herald = trueconf.client {
      url = it.server:url(), token = it.server:mint_token "herald", log = "off", server_version = NEWEST,
    }
    it.clients.herald:start()
    assert(it.clients.herald:wait_ready(10))
    spoiled.watch(it.server, function(method, payload, request)
      if not request or method ~= it.method then return nil end
      it.last = payload
      return it.way
    end)
    for _, method in ipairs(protocol.method_order) do
      wrong[method] = {}
      if method ~= "auth" then walk_method(it, method, wrong[method]) end
    end
    it:stop()
  end, LIMIT))

  for _, method in ipairs(protocol.method_order) do
    if method ~= "auth" then
      it("has a result or an error of " .. method, function() assert.same({}, wrong[method]) end)
    end
  end
end)

-- In the background -----------------------------------------------------------------------------------

-- A Bridge and a bot; `choose` is what spoiled.watch() takes, and may be changed as the case goes on.
local function with_bot(body, options)
  return helper.async(function()
    local it = { wrong = {}, choose = function() end }
    it.server = system.start_bridge { server_name = "chat.acme.test", ping_interval = 0 }
    spoiled.watch(it.server, function(...) return it.choose(...) end)
    it.bot = system.bot(it.server, options)
    it.mira = it.server:person "mira"
    it.bot:start()
    assert(it.bot:wait_ready(10))
    body(it)
    it.bot:stop(1)
    it.server:stop()
    assert.same({}, it.wrong)
  end, LIMIT)
end

-- The ways to spoil the answer to a method as it comes now.
local function ways_of(it, method, call)
  local last
  it.choose = function(name, payload, request)
    if request and name == method then last = payload end
  end
  call()
  it.choose = function() end
  return spoiled.ways(assert(last, "no answer to " .. method))
end

-- Spoil all answers to a method in one way after the other.
local function each_way(it, method, call)
  for _, way in ipairs(ways_of(it, method, call)) do
    it.choose = function(name, _, request) return request and name == method and way or nil end
    expect_settled(it.wrong, it.bot, method .. ": " .. way.name, call)
  end
  it.choose = function() end
end

-- A loop reports an error by raising the object.
local function loop(iterator)
  return function()
    local ok, err = pcall(function()
      for _ in iterator() do end -- luacheck: ignore 542
    end)
    if ok then return true end
    return nil, err
  end
end

describe("a bot whose server answers oddly", function()
  it("ends its lists", with_bot(function(it)
    local bot = it.bot
    local chat = it.mira:chat_with "herald"
    for number = 1, 3 do assert(chat:say("message " .. number)) end
    each_way(it, "getChats", loop(function() return bot:chats { count = 1 } end))
    each_way(it, "getChatHistory", loop(function() return bot:history(chat.id, { count = 2 }) end))
    each_way(it, "getChatParticipants", loop(function() return bot:participants(chat.id, { page_size = 1 }) end))
  end))

  it("knows chats and roles, or says that it does not", with_bot(function(it)
    local bot = it.bot
    local group = assert(bot:create_group_chat "Ops")
    local function forget() behind(bot).client.chat_cache = nil end
    each_way(it, "getChatByID", function()
      forget()
      return chat_cache.chat_kind(behind(bot).client, group)
    end)
    each_way(it, "getChatParticipant", function()
      forget()
      return chat_cache.role(behind(bot).client, group, HERALD)
    end)
    local client = behind(bot).client
    local answer = client.get_chat_participant
    client.get_chat_participant = function() return nil, Error.new("UNSUPPORTED", "too old") end
    each_way(it, "getChatParticipants", function()
      forget()
      return chat_cache.role(behind(bot).client, group, HERALD)
    end)
    client.get_chat_participant = answer
  end))

  it("keeps no activity that nobody can show", with_bot(function(it)
    local chat = it.mira:chat_with "herald"
    for _, way in ipairs(ways_of(it, "sendChatActivity", function() it.bot:send_chat_activity(chat.id) end)) do
      local before, came = waiting(it.bot), core.waiter()
      it.choose = function(name)
        if name ~= "sendChatActivity" then return nil end
        came:wake(true)
        return way
      end
      local activity = it.bot:keep_typing(chat.id)
      assert(came:wait(10))
      core.sleep(0)
      activity:close()
      helper.eventually(function() return waiting(it.bot) == before end)
    end
  end))

  it("sends what was posted once", with_bot(function(it)
    local bot, chats, by_chat = it.bot, {}, {}
    local chat = it.mira:chat_with "herald"
    local ways = {}
    for _, method in ipairs { "getChatHistory", "sendMessage" } do
      local found = ways_of(it, method, function()
        bot:get_chat_history(chat.id, 1)
        return bot:send_message(chat.id, "first")
      end)
      for _, way in ipairs(found) do ways[#ways + 1] = { method = method, way = way } end
    end
    for place, entry in ipairs(ways) do
      chats[place] = assert(bot:create_group_chat("Group " .. place))
      by_chat[chats[place]] = entry
    end
    -- The first answer of each chat only.
    it.choose = function(name, _, request)
      local entry = request and by_chat[request.chatId]
      if not entry or entry.method ~= name then return nil end
      by_chat[request.chatId] = nil
      return entry.way
    end
    local posts = {}
    for place in ipairs(ways) do posts[place] = assert(bot:post(chats[place], "news")) end
    for place, entry in ipairs(ways) do
      local what = entry.method .. ": " .. entry.way.name
      local id, err = posts[place]:wait(60)
      local second = assert(bot:post(chats[place], "more")):wait(60)
      local count = 0
      for _, message in ipairs(it.server:history(chats[place])) do
        if message.text == "news" then count = count + 1 end
      end
      if not id or not second then complain(it.wrong, "%s: not sent: %s", what, tostring(err)) end
      if count ~= 1 then complain(it.wrong, "%s: sent %d times", what, count) end
    end
  end))

  it("ends its questions", with_bot(function(it)
    local outcomes = {}
    it.bot:on_message(function(msg)
      local ok, answer, err = pcall(msg.ask, msg, "what?", 10)
      table.insert(outcomes, { ok = ok, answer = answer, err = err })
    end)
    local chat = it.mira:chat_with "herald"
    local function talk()
      local before = #outcomes
      assert(chat:say "hello")
      helper.eventually(function() return behind(it.bot).dialogs.waits.count > 0 or #outcomes > before end)
      if #outcomes == before then assert(chat:say "this") end
      helper.eventually(function() return #outcomes > before end)
      return outcomes[#outcomes]
    end
    assert(talk().answer)
    for _, way in ipairs(ways_of(it, "sendMessage", talk)) do
      it.choose = function(name, _, request) return request and name == "sendMessage" and way or nil end
      local outcome = talk()
      if not outcome.ok then complain(it.wrong, "%s: raised %s", way.name, tostring(outcome.answer)) end
      if outcome.ok and not outcome.answer then
        local mistake = wrong_error(outcome.err)
        if mistake then complain(it.wrong, "%s: %s", way.name, mistake) end
      end
    end
    it.choose = function() end
    assert(talk().answer, "the chat stands still")
  end))

  it("fetches a file, or says why not", with_bot(function(it)
    local bot = it.bot
    local group = assert(bot:create_group_chat "Files")
    local file_id = assert(bot:send_file(group, { data = "12345", name = "plan.txt" })).file_id
    local function fetch() return bot:download(file_id, { timeout = 20 }) end
    each_way(it, "getFileInfo", fetch)
  end))

  -- All at once: each polls.
  it("waits for a file, or says why not", with_bot(function(it)
    local bot, ways, count, left = it.bot, {}, {}, 0
    local UPLOADING = protocol.enums.FileState.UPLOADING
    local group = assert(bot:create_group_chat "Files")
    local function new_file() return assert(bot:send_file(group, { data = "12345", name = "plan.txt" })).file_id end
    local first = new_file()
    local found = {
      getFileInfo = ways_of(it, "getFileInfo", function() bot:get_file_info(first) end),
      subscribeFileProgress = ways_of(it, "subscribeFileProgress", function() bot:subscribe_file_progress(first) end),
    }
    for method, list in pairs(found) do
      for _, way in ipairs(list) do ways[new_file()] = { method = method, way = way } end
    end
    it.choose = function(name, payload, request)
      local entry = request and ways[request.fileId]
      if not entry then return nil end
      if name == "getFileInfo" then
        count[request.fileId] = (count[request.fileId] or 0) + 1
        if count[request.fileId] > 1 then return nil end
        payload.readyState = UPLOADING
        return entry.method == name and entry.way or spoiled.as_it_is
      end
      return entry.method == name and entry.way or nil
    end
    local before = waiting(bot)
    for file_id, entry in pairs(ways) do
      left = left + 1
      core.spawn(function()
        local ok, bytes, err = pcall(bot.download, bot, file_id, { timeout = 60 })
        local mistake = not ok and tostring(bytes) or not bytes and wrong_error(err) or bytes and bytes ~= "12345"
        if mistake then complain(it.wrong, "%s: %s: %s", entry.method, entry.way.name, tostring(mistake)) end
        left = left - 1
      end)
    end
    helper.eventually(function() return left == 0 and waiting(bot) == before end, 60)
  end))

  it("sends a file, or says why not", with_bot(function(it)
    local bot = it.bot
    local group = assert(bot:create_group_chat "Files")
    local function send() return bot:send_file(group, { data = "12345", name = "plan.txt" }) end
    for _, method in ipairs { "uploadFile", "sendFile" } do each_way(it, method, send) end
    behind(bot).client.limits, behind(bot).client.limits_asked = nil, nil
    each_way(it, "getFileUploadLimits", function()
      behind(bot).client.limits, behind(bot).client.limits_asked = nil, nil
      return send()
    end)
  end))
end)

-- Over HTTP -------------------------------------------------------------------------------------------

-- Bodies that a field of an answer may be in.
local function bodies_of(good)
  local bodies = { "", "null", "7", "\"x\"", "[]", "{", "\xff" }
  for _, way in ipairs(spoiled.ways(good)) do
    bodies[#bodies + 1] = way.frame(good, 1):match '^{"type":2,"id":1,"payload":(.*)}$'
  end
  return bodies
end

describe("odd answers over HTTP", function()
  local server
  setup(function() server = faulty.start() end)
  teardown(function() server:stop() end)

  local function each_body(good, wrong, statuses, call)
    for _, status in ipairs(statuses) do
      for _, body in ipairs(bodies_of(good)) do
        if utf8.len(body) then
          local address = server:http { { "respond", status, body } }
          local ok, result, err = pcall(call, address)
          local what = ("%d %s"):format(status, body)
          if not ok then complain(wrong, "%s: raised %s", what, tostring(result)) end
          if ok and result == nil and type(err) ~= "string" then
            local mistake = wrong_error(err)
            if mistake then complain(wrong, "%s: %s", what, mistake) end
          end
        end
      end
    end
  end

  -- Every request goes to this address.
  local function way_to(address)
    local way = web.new({ url = address }, {})
    for name in pairs(way.endpoints) do way.endpoints[name] = address end
    return way
  end

  it("do not keep the version from being asked for", helper.async(function()
    local wrong = {}
    each_body({ product = { version = "5.5.6" } }, wrong, { 200, 204, 404 }, function(address)
      local version, why = server_version.ask(way_to(address))
      assert(version == nil or type(version) == "string")
      return version, why
    end)
    assert.same({}, wrong)
  end, LIMIT))

  it("end an exchange for a token", helper.async(function()
    local wrong = {}
    local good = { access_token = "t", authorization_code = "c", expires_in = 1e12, error = { errors = {
      { reason = "invalidScope" } } } }
    each_body(good, wrong, { 200, 400, 403 }, function(address)
      return oauth.new({ web = way_to(address), client_id = "a", username = "u", password = "p" }):run()
    end)
    assert.same({}, wrong)
  end, LIMIT))

  it("end an upload", with_bot(function(it)
    local group = assert(it.bot:create_group_chat "Files")
    each_body({ temporalFileId = "f", error = 310, error_description = "x" }, it.wrong, { 200, 201, 400, 500 },
      function(address)
        behind(it.bot).client.web.endpoints.files = address
        return it.bot:send_file(group, { data = "12345", name = "plan.txt" })
      end)
  end))

  it("are no token", helper.async(function()
    for _, body in ipairs(bodies_of { access_token = "t", token_type = "JWT", expires_at = 4e12, expires_in = 1e5 }) do
      if utf8.len(body) then
        local session, record = faulty.session {
          token = false, username = "herald", password = "4711", url = server:ws { "accept", "auth", "echo" },
          token_url = server:http { { "respond", 201, body } }, backoff_min = 5,
        }
        session:start()
        helper.eventually(function() return session:state() == "ready" or faulty.reason(record, "backoff") end)
        local err = faulty.reason(record, "backoff")
        assert.is_nil(err and wrong_error(err), body)
        session:stop()
        assert.equal("closed", session:state())
      end
    end
  end, LIMIT))
end)

-- Notifications -------------------------------------------------------------------------------

describe("a bot whose server tells odd things", function()
  it("takes, keeps or passes over each", with_bot(function(it)
    local bot, heard = it.bot, 0
    local function look(event)
      heard = heard + 1
      for _, name in ipairs { "chat_id", "message_id", "user_id", "timestamp", "title", "role", "for_all", "text" } do
        local value = event[name]
        assert(value == nil or type(value) ~= "table", name)
      end
      assert(type(event.chat_id or "") == "string")
      return tostring(event)
    end
    bot:on_message(look)
    for method in pairs(protocol.notifications) do
      if method ~= "sendMessage" then bot:on(require("trueconf.api.events").name_of(method), look) end
    end
    local mira = it.mira
    local chat = mira:chat_with "herald"
    local group = assert(bot:create_group_chat "Ops")
    assert(bot:add_chat_participant(group, MIRA, true))

    local function cause(way)
      local sent = chat:say("hello " .. way)
      bot:edit_chat_title(group, "Title " .. way)
      bot:change_participant_role(group, MIRA, "admin")
      bot:change_participant_role(group, MIRA, "user")
      bot:clear_history(group, true)
      bot:remove_chat_participant(group, MIRA)
      bot:add_chat_participant(group, MIRA, true)
      local gone = assert(bot:create_group_chat "Gone")
      bot:remove_chat(gone)
      if sent and type(sent) == "table" and sent.id then bot:remove_message(sent.id, true) end
    end

    local examples = {}
    it.choose = function(name, payload, request)
      if not request then examples[name] = payload end
    end
    cause "first"
    local longest, ways = 0, {}
    for name, payload in pairs(examples) do
      ways[name] = spoiled.ways(payload)
      longest = math.max(longest, #ways[name])
    end
    for place = 1, longest do
      it.choose = function(name, _, request)
        return not request and ways[name] and ways[name][place] or nil
      end
      cause(place)
      assert(bot:get_user_display_name(HERALD))
    end
    it.choose = function() end
    local before = heard
    assert(chat:say "the last one")
    helper.eventually(function() return heard > before end)
    assert.equal("ready", bot:state())
    assert.same({}, helper.reported_errors())
  end))
end)
