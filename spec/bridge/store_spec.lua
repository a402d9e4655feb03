-- SPDX-License-Identifier: MIT
-- The data folder of a Bridge: it keeps everything that was answered, however the Bridge ends, and nothing that it
-- could not write.

local core = require "trueconf.core"
local trueconf = require "trueconf"
local data = require "trueconf.bridge.store.folder"
local helper = require "spec.support.helper"
local snapshot = require "spec.support.snapshot"
local support = require "spec.support.bridge"
local system = require "spec.support.system"

local async = helper.async

describe("a store on disk", function()
  local directory, server, herald, mira

  before_each(function()
    directory = system.directory()
    server = support.server { data = directory:file "data" }
    herald, mira = support.login(server, "herald"), support.login(server, "mira")
  end)
  after_each(function()
    server.store:close()
    directory:__close()
  end)

  local function must(client, method, payload)
    local response = client:request(method, payload)
    assert.is_nil(response.errorCode, method)
    return response
  end

  -- A group of both, and a message in it.
  local function group()
    local chat_id = must(herald, "createGroupChat", { title = "Night shift" }).chatId
    must(herald, "addChatParticipant", { chatId = chat_id, userId = "mira@chat.acme.test", displayHistory = false })
    return chat_id, herald:say(chat_id, "hello").messageId
  end

  -- Close the folder and open it again: nothing is different.
  local function kept()
    local before = snapshot(server.store)
    server.store:close()
    local store = assert(data.open(directory:file "data", server.options))
    assert.same(before, snapshot(store))
    store:close()
  end

  it("keeps accounts, tokens and their end", function()
    server:add_account("Edda", { display_name = "Edda Gram", password = "x", disabled = true })
    server:expire_tokens "herald"
    server:mint_token "mira"
    server:expire_tokens()
    server:mint_token "mira"
    assert.equal("Edda Gram", server.store:account("edda").display_name)
    kept()
  end)

  it("keeps chats of all kinds, their titles, pictures, people and roles", function()
    local chat_id = group()
    must(herald, "createChannel", { title = "News" })
    must(herald, "createFavoritesChat", {})
    must(herald, "createP2PChat", { userId = "mira@chat.acme.test" })
    must(herald, "editChatTitle", { chatId = chat_id, title = "Day shift" })
    must(herald, "changeParticipantRole", { chatId = chat_id, userId = "mira@chat.acme.test", role = "admin" })
    assert.equal("admin", server.store:chat(chat_id).roles.mira)
    kept()
  end)

  it("keeps who has gone and what is gone", function()
    local chat_id = group()
    must(mira, "removeChat", { chatId = chat_id })
    local other = group()
    must(herald, "removeChat", { chatId = other })
    local personal = must(herald, "createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    herald:say(personal, "hello")
    must(mira, "removeChat", { chatId = personal })
    assert.same({ "herald" }, server.store:chat(personal).members)
    kept()
  end)

  it("keeps messages as they are, changed, hidden and removed", function()
    local chat_id, message_id = group()
    local buttons = { { { type = "command", label = "Go", command = "go", id = "g" }, { type = "url", label = "See",
      url = "https://acme.test" } } }
    must(herald, "sendMessage", { chatId = chat_id, replyMessageId = message_id,
      content = { text = "Grüße \0 & \"'", parseMode = "html", buttons = buttons } })
    must(herald, "editMessage", { messageId = message_id, content = { text = "changed", parseMode = "text" } })
    must(mira, "removeMessage", { messageId = message_id, forAll = false })
    must(herald, "removeMessage", { messageId = herald:say(chat_id, "gone").messageId, forAll = true })
    must(herald, "forwardMessage", { chatId = chat_id, messageId = message_id })
    must(mira, "clearHistory", { chatId = chat_id, forAll = false })
    herald:say(chat_id, "after")
    kept()
  end)

  it("keeps nothing of a removed message", function()
    local chat_id = group()
    local secret = herald:say(chat_id, "a very secret word").messageId
    must(herald, "removeMessage", { messageId = secret, forAll = true })
    server.store:commit()
    assert.equal(0, server.store.db:value("SELECT count(*) FROM messages WHERE content LIKE '%secret%'"))
    herald:say(chat_id, "another secret word")
    must(herald, "clearHistory", { chatId = chat_id, forAll = true })
    server.store:commit()
    assert.equal(0, server.store.db:value("SELECT count(*) FROM messages WHERE content LIKE '%secret%'"))
  end)

  it("keeps unread messages beyond the history, until they are read", function()
    server.store.history_limit = 2
    local chat_id = group()
    for place = 1, 5 do herald:say(chat_id, "number " .. place) end
    kept()
    server.store = assert(data.open(directory:file "data", server.options))
    assert.equal(6, #server.store:unread_list "mira")
    for _, message in ipairs(server.store:unread_list "mira") do server.store:remove_unread("mira", message.id) end
    kept()
    server.store = assert(data.open(directory:file "data", server.options))
    server.store:commit()
    assert.equal(2, server.store.db:value "SELECT count(*) FROM messages")
  end)
end)

describe("a Bridge with a data folder", function()
  local directory, folder

  before_each(function()
    directory = system.directory()
    folder = directory:file "data"
  end)
  after_each(function() directory:__close() end)

  -- Send numbers until the connection ends; ids of those that were answered, by number.
  local function send_until_end(client, chat_id, first, on_number)
    local answered, number = {}, first
    repeat
      if on_number then on_number(number) end
      local sent = client:send_message(chat_id, "number " .. number)
      answered[number] = sent and sent.message_id
      number = number + 1
    until not sent
    return answered, number
  end

  local function client_of(url)
    local client = trueconf.client {
      url = url, username = "herald", password = "4711", log = "off", backoff_min = 0.02, backoff_max = 0.1,
      call_timeout = 10,
    }
    client:start()
    return client
  end

  local COMMAND = "bin/trueconf bridge --port %d --data '%s' --account herald:4711 --account mira:x"

  local function launch(port)
    local child = system.launch_lua(COMMAND:format(port, folder))
    helper.eventually(function()
      return core.http { url = ("http://127.0.0.1:%d/vsstatus"):format(port), timeout = 1 }
    end, 20)
    return child
  end

  it("loses nothing it has answered when it is killed", async(function()
    local port, all, chat_id, next_number = system.free_port(), {}, nil, 1
    for _ = 1, 4 do
      local child <close> = launch(port)
      local client = client_of("ws://127.0.0.1:" .. port)
      chat_id = chat_id or assert(client:create_p2p_chat "mira@localhost")
      local last = next_number + 50 + core.random(1):byte()
      local answered
      answered, next_number = send_until_end(client, chat_id, next_number, function(number)
        if number == last then os.execute("kill -KILL " .. child.pid) end
      end)
      for number, id in pairs(answered) do all[number] = id end
      client:stop()
    end
    local child <close> = launch(port)
    local client = client_of("ws://127.0.0.1:" .. port)
    local found = {}
    for message in client:history(chat_id) do found[message.id] = message.text end
    local count = 0
    for number, id in pairs(all) do
      count = count + 1
      assert.equal("number " .. number, found[id])
    end
    assert.is_true(count > 20, count)
    client:stop()
    child:kill(15)
  end))

  it("says when the disk is full, undoes what it cannot write, and goes on when there is room", async(function()
    local lines = {}
    local server = system.start_bridge {
      data = folder, log = { level = "error", sink = function(_, line) lines[#lines + 1] = line end },
    }
    local client = client_of(server:url())
    local chat_id = assert(client:create_p2p_chat "mira@localhost")
    server.store.db:rows "PRAGMA max_page_count = 60"
    local answered, failed = send_until_end(client, chat_id, 1)
    assert.is_true(failed > 20, failed)
    assert.matches("bridge: the last changes are undone, the data cannot be written: .*/bridge%.db: "
      .. "database or disk is full", lines[1])
    local count = 0
    for message in client:history(chat_id) do
      count = count + 1
      assert.equal(message.id, answered[tonumber(message.text:match "%d+")])
    end
    assert.equal(#answered, count)
    server.store.db:rows "PRAGMA max_page_count = 4000"
    assert.is_truthy(client:send_message(chat_id, "again"))
    local last = server:history(chat_id)
    assert.equal("again", last[#last].text)
    client:stop()
    server:stop()
  end))

  it("refuses at once while nothing can be written", async(function()
    local server = system.start_bridge { data = folder }
    local client = client_of(server:url())
    local chat_id = assert(client:create_p2p_chat "mira@localhost")
    server.store.db:rows "PRAGMA query_only = 1"
    local sent, err = client:send_message(chat_id, "lost")
    assert.is_nil(sent)
    assert.same({ "DISCONNECTED", "unknown" }, { err.name, err.outcome })
    sent, err = client:send_message(chat_id, "refused")
    assert.is_nil(sent)
    assert.same({ 300, "the server cannot write its data" }, { err.code, err.message })
    assert.same({ true, 0 }, { client:get_chat_by_id(chat_id) ~= nil, #server:history(chat_id) })
    server.store.db:rows "PRAGMA query_only = 0"
    assert.is_truthy(client:send_message(chat_id, "again"))
    client:stop()
    server:stop()
  end))

  it("is not started with a file whose parts do not fit together", async(function()
    local server = system.start_bridge { data = folder }
    server.store.db:run("INSERT INTO members VALUES ('nowhere', 'mira', 'user', 1)")
    server:stop()
    local again, err = require("trueconf.bridge").start { data = folder }
    assert.is_nil(again)
    assert.equal("IO", err.name)
    assert.matches("bridge%.db is damaged: ", err.message)
  end))

  it("is not started with a file that is damaged, and leaves it as it is", async(function()
    assert(core.private_folder(folder))
    system.write(folder .. "/bridge.db", ("rubbish "):rep(2000))
    system.output("chmod 600 '%s/bridge.db'", folder)
    local server, err = require("trueconf.bridge").start { data = folder }
    assert.is_nil(server)
    assert.equal("IO", err.name)
    assert.matches("bridge%.db: file is not a database", err.message)
    assert.equal(("rubbish "):rep(2000), system.read(folder .. "/bridge.db"))
  end))
end)
