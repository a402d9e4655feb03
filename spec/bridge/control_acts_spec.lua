-- SPDX-License-Identifier: MIT
-- Acts of the control endpoint besides writing: groups, files, surveys, administration; and the list of acts is that of
-- Lua.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local control = require "trueconf.bridge.control"
local base64 = require "trueconf.bridge.control.base64"
local helper = require "spec.support.helper"
local support = require "spec.support.control"
local system = require "spec.support.system"

local KEY, LIMIT = support.KEY, support.LIMIT
local ACCOUNTS = { herald = "1", mira = "2", john = "3" }

-- A case with a Bridge, and a function that asks for acts: get() over HTTP, act() over the WebSocket.
local function served(body, options)
  options = options or {}
  options.accounts = options.accounts or ACCOUNTS
  return support.served(function(server)
    local client = support.connect(server)
    body(server, function(name, input) return client:act(name, input) end, client)
    client.socket:close()
  end, options)
end

local function get(server, path)
  local answer, status = support.ask(server, "GET", path)
  assert.equal(200, status, answer.message)
  return answer
end

describe("groups under control", function()
  it("are made with people and roles, and changed", served(function(server, act)
    local group = act("chats", { person = "mira", group = "Plans", participants = { herald = "admin", john = "user" } })
    local here = { person = "mira", chat_id = group.chat_id }
    local function roles()
      local found = {}
      for _, one in ipairs(get(server, "participants?person=mira&chat_id=" .. group.chat_id).participants) do
        found[one.login] = one.role
      end
      return found
    end
    local function with(more)
      for name, value in pairs(here) do more[name] = value end
      return more
    end
    assert.same({ mira = "owner", herald = "admin", john = "user" }, roles())
    act("role", with { login = "john", role = "admin" })
    act("expel", with { login = "herald", clear_history = true })
    assert.same({ mira = "owner", john = "admin" }, roles())
    act("say", with { text = "before" })
    act("add", with { login = "herald", show_history = true })
    local seen = {}
    for _, message in ipairs(act("history", { person = "herald", chat_id = group.chat_id }).messages) do
      if message.type == 200 then seen[#seen + 1] = message.text end
    end
    assert.same({ "before" }, seen)
    act("rename", with { title = "New plans" })
    local listed = get(server, "chats?person=herald").chats
    assert.same({ { chat_id = group.chat_id, title = "New plans", type = 2, role = "user" } }, listed)
    act("leave", { person = "herald", chat_id = group.chat_id })
    assert.same({ mira = "owner", john = "admin" }, roles())
  end))

  it("may be channels, with writers, and notes to oneself", served(function(_, act, client)
    local channel = act("chats", { person = "mira", channel = "News", participants = { herald = "writer" } })
    act("say", { person = "herald", chat_id = channel.chat_id, text = "news" })
    local notes = act("chats", { person = "mira", favorites = true })
    assert.same(notes, act("chats", { person = "mira", favorites = true }))
    for input, expected in pairs {
      [{ group = "x", participants = { nobody = "user" } }] = "participants: expected the login of an account",
      [{ group = "x", participants = { herald = "king" } }] = "participants: expected an object of logins with one of",
      [{ with = "herald", participants = { john = "user" } }] = "participants: expected nothing but for a group",
      [{ group = "x", participants = { herald = "writer" } }] = "there is no such role",
    } do
      input.person = "mira"
      local answer = client:ask("chats", input)
      local found = answer.message:find(expected, 1, true) or answer.error == "ROLE_NOT_FOUND"
      assert.is_truthy(found, answer.message)
    end
  end))
end)

describe("messages under control", function()
  it("are forwarded, removed, cleared, marked as read", served(function(server, act)
    local one = act("say", { person = "mira", with = "herald", text = "one" })
    local two = act("say", { person = "mira", with = "herald", text = "two" })
    act("say", { person = "mira", with = "herald", text = "three" })
    assert.equal(3, #get(server, "unread?login=herald").messages)
    local function read_by(id)
      return get(server, "read_by?person=mira&login=herald&message_id=" .. id).read
    end
    assert.is_false(read_by(one.message_id))
    assert.equal(2, act("mark_read", { person = "herald", with = "mira", message_id = two.message_id }).marked)
    assert.is_true(read_by(one.message_id))
    assert.equal(1, act("mark_read", { person = "herald", with = "mira" }).marked)
    local forwarded = act("forward", { person = "herald", with = "john", message_id = one.message_id })
    assert.same({ 201, "one" }, { forwarded.type, forwarded.text })
    act("remove", { person = "mira", with = "herald", message_id = two.message_id })
    local function texts(person, with, more)
      local found = {}
      local path = ("history?person=%s&with=%s%s"):format(person, with, more or "")
      for place, message in ipairs(get(server, path).messages) do found[place] = message.text end
      return table.concat(found, " ")
    end
    assert.equal("one three", texts("herald", "mira"))
    assert.equal("three", texts("herald", "mira", "&count=1"))
    act("remove", { person = "herald", with = "mira", message_id = one.message_id, only_for_me = true })
    assert.same({ "three", "one three" }, { texts("herald", "mira"), texts("mira", "herald") })
    act("clear", { person = "mira", with = "herald" })
    assert.equal("", texts("herald", "mira"))
  end))

  it("are waited for until somebody has read them", served(function(server, act, client)
    local said = act("say", { person = "mira", with = "herald", text = "hello" })
    client:send { id = "read", act = "read_by", person = "mira", login = "herald", timeout = 30,
      message_id = said.message_id }
    client:send { id = "know", act = "mark_read", person = "herald", with = "mira" }
    local answers = {}
    for _ = 1, 2 do
      local answer = client:receive()
      answers[answer.id] = answer.result
    end
    assert.same({ know = { marked = 1 }, read = { read = true } }, answers)
    assert.same({}, server:unread "herald")
  end))

  it("may be surveys", served(function(server, act)
    local bot = system.bot(server, { password = "1" })
    local card
    bot:on_message(function(message) card = message.survey end)
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local sent = act("survey", { person = "mira", with = "herald", title = "A < B?", path = "s1", anonymous = true })
    helper.eventually(function() return card end)
    assert.same({ "A < B?", "s1", "{{Anonymous survey}}", "https://localhost/webtools/survey" },
      { card.title, card.path, card.description, card.url })
    assert.matches("^%x+$", sent.content.secret)
    assert.equal("📊 <a href='https://localhost/webtools/survey?id=s1&amp;error=autologin_not_supported'>A &lt; B?</a>",
      sent.content.alt)
    local edited = act("edit_survey", { person = "mira", with = "herald", title = "C?", path = "s1",
      message_id = sent.message_id })
    assert.same({ 204, "C?", true }, { edited.type, edited.content.title, edited.edited })
    bot:stop(0)
  end))

  it("are announced", served(function(server, act)
    local function activity() return get(server, "activity?person=herald&with=mira&login=mira").activity end
    assert.is_nil(activity())
    act("show_activity", { person = "mira", with = "herald", activity = "typing" })
    assert.equal("typing", activity())
    assert.equal("activity", (select(1, support.ask(server, "POST", "activity",
      { person = "mira", with = "herald", activity = "dancing" })).field))
  end))
end)

describe("files under control", function()
  local function post(server, path, more)
    local asked = { url = support.url(server, path), method = "POST", timeout = LIMIT,
      headers = { Authorization = "Bearer " .. KEY } }
    for name, value in pairs(more) do asked[name] = value end
    local answer = assert(core.http(asked))
    return json.decode(answer.body), answer.status
  end

  local function download(server, message_id, person)
    return assert(core.http {
      url = support.url(server, ("download?person=%s&message_id=%s"):format(person, message_id)), timeout = LIMIT,
      headers = { Authorization = "Bearer " .. KEY }, max_body = 64 << 20,
    })
  end

  local function count_files(server)
    return tonumber(system.output("ls '%s' | wc -l", server.files.folder))
  end

  it("come as a body, a form or base64, and are fetched by who sees them", served(function(server, act, client)
    local large = core.random(1 << 20):rep(3)
    local first = act("say", { person = "mira", with = "herald", text = "files" })
    local where = "send_file?person=mira&with=herald&"
    local sent = {
      post(server, where .. "name=a%20b.txt&caption=see&reply_to=" .. first.message_id, { body = large }),
      post(server, where .. "type=text/x-log", { form = {
        { name = "file", filename = "c.log", type = "text/plain", data = "log" }, { name = "other", data = "x" } } }),
      act("send_file", { person = "mira", with = "herald", name = "d.bin", data = base64.encode "\0\1\255" }),
    }
    local expected = { { "a b.txt", large, "text/plain" }, { "c.log", "log", "text/x-log" },
      { "d.bin", "\0\1\255", "application/octet-stream" } }
    for place, message in ipairs(sent) do
      local name, bytes, kind = table.unpack(expected[place])
      assert.same({ 202, name }, { message.type, message.content and message.content.name }, message.message)
      local file = get(server, "file?person=herald&message_id=" .. message.message_id)
      assert.same({ name, #bytes, kind, true }, { file.name, file.size, file.mime_type, file.ready })
      local answer = download(server, message.message_id, "herald")
      assert.equal(kind, answer.headers["content-type"])
      assert.is_true(answer.body == bytes)
      assert.is_true(assert(core.http { url = file.url, timeout = LIMIT }).body == bytes)
      assert.equal(409, download(server, message.message_id, "john").status)
    end
    assert.equal(first.message_id, sent[1].reply_to)
    assert.equal("see", act("history", { person = "mira", with = "herald" }).messages[2].text)
    assert.equal(base64.encode "log", act("download", { person = "herald", message_id = sent[2].message_id }).data)
    local answer = client:ask("download", { person = "herald", message_id = sent[1].message_id })
    assert.equal("LIMIT", answer.error)
    assert.equal(3, count_files(server))
  end))

  it("go through forwards, and become pictures of groups", served(function(server, act)
    local voice = act("send_voice", { person = "mira", with = "herald", data = base64.encode "ogg", duration = 3 })
    assert.equal(205, voice.type)
    assert.equal(3, voice.content.duration)
    local place = act("send_location", {
      person = "mira", with = "herald", latitude = 59.94, longitude = 30, title = "x",
    })
    assert.equal(203, place.type)
    assert.same({ latitude = 59.94, longitude = 30, title = "x" }, place.content)
    local sent = act("send_file", { person = "mira", with = "herald", name = "a.png", data = base64.encode "png" })
    local forwarded = act("forward", { person = "herald", with = "john", message_id = sent.message_id })
    assert.equal("png", download(server, forwarded.message_id, "john").body)
    local group = act("chats", { person = "mira", group = "Plans" }).chat_id
    assert.is_true(post(server, ("avatar?person=mira&chat_id=%s&name=b.png"):format(group), { body = "b" }).done)
    local bot = system.bot(server, { username = "mira", password = "2" })
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local chat = assert(bot:call("getChatByID", { chatId = group }))
    assert.matches("^http://127.*token=", chat.avatarUrl or chat.avatar_url)
    bot:stop(0)
  end))

  it("leave nothing behind when they are refused", served(function(server, act)
    act("send_file", { person = "mira", with = "herald", name = "kept", data = "" })
    local body = ("x"):rep(100000)
    for path, expected in pairs {
      ["send_file?person=nobody&with=herald&name=a"] = { 400, "person" },
      ["send_file?person=mira&with=herald"] = { 400, "name" },
      ["send_file?person=mira&with=herald&name=a&more=1"] = { 400, "more" },
      ["send_file?person=mira&with=herald&name=a&type=a%0d%0aX:%20y"] = { 400, "type" },
      ["send_file?person=mira&chat_id=x&name=a"] = { 409 },
      ["send_file?person=mira&with=herald&name=a&reply_to=x"] = { 409 },
    } do
      local answer, status = post(server, path, { body = body })
      assert.same(expected, { status, answer.field }, path)
    end
    local answer, status = post(server, "send_file?person=mira&with=herald&name=a", { body = body, headers = {} })
    assert.same({ 401, "UNAUTHORIZED" }, { status, answer.error })
    answer = support.ask(server, "POST", "send_file", { person = "mira", with = "herald", name = "a" })
    assert.same({ "data", "nothing" }, { answer.field, answer.got })
    answer = support.ask(server, "POST", "send_file", { person = "mira", with = "herald", name = "a", data = "?" })
    assert.same({ "data", "base64" }, { answer.field, answer.expected })
    local text = act("say", { person = "mira", with = "herald", text = "x" }).message_id
    assert.equal("message_id", support.ask(server, "GET", "file?person=mira&message_id=" .. text).field)
    assert.equal(1, count_files(server))
  end))
end)

describe("what an administrator does under control", function()
  it("mints and expires tokens, drops connections", served(function(server, act, client)
    local minted = act("mint_token", { login = "herald", expires_in = 60 })
    assert.is_true(math.abs(minted.expires_at - core.now() // 1000 - 60) <= LIMIT)
    assert.is_truthy(server.tokens:verify(minted.token, server.accounts))
    act("expire_tokens", { login = "mira" })
    assert.is_truthy(server.tokens:verify(minted.token, server.accounts))
    act("expire_tokens", {})
    assert.equal("expired", select(2, server.tokens:verify(minted.token, server.accounts)))
    local bot = system.bot(server, { password = "1" })
    bot:start()
    assert(bot:wait_ready(LIMIT))
    act("drop", { login = "mira" })
    assert.equal(1, act("state").connections)
    act("drop", {})
    helper.eventually(function() return bot:state() ~= "ready" or nil end)
    assert.equal("login", client:ask("drop", { login = "nobody" }).field)
    assert.is_true(act("accounts", { login = "herald", disabled = true }).disabled)
    assert.is_true(server.accounts:by_login "herald".disabled)
    bot:stop(0)
  end))

  it("sets what may be uploaded", served(function(server, act, client)
    assert.same({ maxSize = 10, extensions = { mode = "block", list = { "exe" } } },
      act("upload_limits", { max_size = 10, mode = "block", extensions = json.array { "exe" } }))
    assert.equal(10, server.options.upload_limits.max_size)
    assert.same({ maxSize = 10, extensions = { mode = "block", list = { "exe" } } }, act("state").upload_limits)
    assert.same({}, act("upload_limits", {}))
    for input, field in pairs { [{ max_size = 0 }] = "max_size", [{ mode = "block" }] = "extensions",
      [{ mode = "some", extensions = json.array {} }] = "mode",
      [{ mode = "allow", extensions = { a = 1 } }] = "extensions" } do
      assert.equal(field, client:ask("upload_limits", input).field)
    end
  end))
end)

describe("a Bridge under control that cannot write", function()
  it("says so, and has done nothing", helper.async(function()
    local directory <close> = system.directory()
    local server = system.start_bridge {
      data = directory:file "data", accounts = ACCOUNTS, control = { key = KEY }, log = { level = "off" },
    }
    local client = support.connect(server)
    local said = client:act("say", { person = "mira", with = "herald", text = "kept" })
    server.store.db:rows "PRAGMA query_only = 1"
    local input = { person = "mira", with = "herald", text = "lost" }
    for _ = 1, 2 do                     -- while it fails, and when that is known
      local answer, status = support.ask(server, "POST", "say", input)
      assert.same({ 507, "IO" }, { status, answer.error })
      assert.equal("IO", client:ask("say", input).error)
    end
    assert.equal(1, #get(server, "history?person=mira&with=herald").messages)
    server.store.db:rows "PRAGMA query_only = 0"
    client:act("say", input)
    assert.same({ "kept", "lost" }, (function()
      local texts = {}
      for place, message in ipairs(server:history(said.chat_id)) do texts[place] = message.text end
      return texts
    end)())
    client.socket:close()
    server:stop()
  end))
end)

describe("events of a person", function()
  it("have a bound of their own, and it is told how many were dropped", served(function(server, act)
    local mira = server:person "mira"
    local chat = server:person("herald"):chat_with "mira"
    mira:events()
    chat:say "kept"
    for _ = 1, 1004 do mira:note("test", {}) end
    local read = act("events", { person = "mira", timeout = 0 })
    assert.same({ 1000, 5 }, { #read.events, read.dropped })
    assert.equal(0, act("events", { person = "mira", timeout = 0 }).dropped)
    assert.equal("kept", mira:wait_message(0).text)
  end))
end)

describe("the list of acts", function()
  -- Functions that are no act: those that make and end the Bridge, and those that its own parts call.
  local NO_ACTS = {
    ["Server:listen"] = true, ["Server:stop"] = true, ["Server:state"] = true, ["Server:control_key"] = true,
    ["Server:person"] = true, ["Server:on_sent"] = true, ["Server:hold"] = true, ["Server:on_authorized"] = true,
    ["Server:tell_person"] = true, ["Person:notify"] = true, ["Person:note"] = true, ["Person:close"] = true,
  }

  -- Functions with a doc comment.
  local function public(found, path)
    local documented = false
    for line in io.lines("lua/trueconf/bridge/" .. path .. ".lua") do
      local name = line:match "^function (%u%w+:[%w_]+)"
      if name and documented then found[name] = true end
      documented = line:find "^%-%-%-" ~= nil
    end
  end

  it("is that of Lua", function()
    local offered, told = {}, {}
    for _, path in ipairs { "server", "person/init", "person/chat", "person/message" } do public(offered, path) end
    for name, act in pairs(control.acts) do
      for _, function_name in ipairs(act.lua) do
        assert.is_true(offered[function_name], name .. ": " .. function_name)
        told[function_name] = true
      end
    end
    for name in pairs(offered) do assert.is_true(told[name] ~= NO_ACTS[name], name) end
    for name in pairs(NO_ACTS) do assert.is_true(offered[name], name) end
  end)
end)
