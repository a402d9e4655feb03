-- SPDX-License-Identifier: MIT
-- Uploads and downloads that are cancelled: lua/trueconf/files/cancel_token.lua, through a Bridge over real sockets.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local scene = require "spec.support.chat_scene"
local system = require "spec.support.system"
local trueconf = require "trueconf"

local MIB = 1 << 20

-- Sockets this process has open, of client and Bridge.
local function sockets()
  local pid = system.read("/proc/self/stat"):match "^%d+"
  return tonumber(system.output("ls -l /proc/%s/fd | grep -c socket:", pid))
end

local function exists(path) return system.read(path) ~= nil end

-- Start a call that waits; `state` will have its results.
local function start(fn, ...)
  local state = { over = core.waiter() }
  core.spawn(function(...) state.over:wake(fn(...)) end, ...)
  return state
end

-- The call must end at once, and with this outcome.
local function assert_cancelled(outcome, result, err)
  assert.is_nil(result)
  assert.equal("CANCELLED", err.name, tostring(err))
  assert.equal(outcome, err.outcome)
end

-- Run the body and return the temporary files that were made.
local function temporaries(body)
  local made, paths = os.tmpname, {}
  rawset(os, "tmpname", function()
    paths[#paths + 1] = made()
    return paths[#paths]
  end)
  body()
  rawset(os, "tmpname", made)
  return paths
end

-- A variable that tells when it is closed.
local function closing(log)
  return setmetatable({}, { __close = function() log.closed = true end })
end

describe("an upload that is cancelled", function()
  local function send(at, transfer, options)
    options.name, options.transfer = "a.bin", transfer
    return start(at.bot.send_file, at.bot, at.chat_id, options)
  end

  it("from on_progress leaves nothing behind, here and at the server", scene(function(at)
    local transfer, first, open = trueconf.transfer(), nil, nil
    local sent, err = at.bot:send_file(at.chat_id, {
      data = ("x"):rep(64 * MIB), name = "a.bin", transfer = transfer,
      on_progress = function(bytes, total)
        assert.is_true(total > 64 * MIB)
        if bytes > 8 * MIB and first == nil then first, open = transfer:cancel(), sockets() end
      end,
    })
    assert_cancelled("not_sent", sent, err)
    assert.is_true(first)
    assert.equal(0, core.stats().transfers)
    helper.eventually(function() return sockets() <= open - 2 end)
    helper.eventually(function() return system.output("ls -A '%s'", at.server.files.folder) == "" end)
    assert.same({}, at.server:history(at.chat_id))
  end))

  it("while it waits for leave takes the request back", scene(function(at)
    local transfer = trueconf.transfer()
    at.server:fault { silence = { uploadFile = 1 } }
    local call = send(at, transfer, { data = "x" })
    helper.eventually(function() return at.bot.session:stats().in_flight == 1 end)
    transfer:cancel()
    assert_cancelled("not_sent", call.over:wait(5))
    assert.equal(0, at.bot.session:stats().in_flight)
  end))

  it("while it waits for the connection is not sent later", scene(function(at)
    local transfer, finish = trueconf.transfer(), at.server.files.finish
    at.server.files.finish = function(...)
      finish(...)
      at.server:fault { refuse_upgrades = true }
      at.server:drop()
    end
    local call = send(at, transfer, { data = "x" })
    helper.eventually(function() return at.bot.session:stats().queued == 1 end)
    transfer:cancel()
    assert_cancelled("not_sent", call.over:wait(5))
    at.server:fault { refuse_upgrades = false }
    assert(at.bot:wait_ready(10))
    assert(at.bot:send_message(at.chat_id, "hello"))
    assert.equal(1, #at.server:history(at.chat_id))
  end))

  it("while the message is on its way does not know of it", scene(function(at)
    local transfer, post = trueconf.transfer(), at.server.files.post
    at.server.files.post = function(...)
      transfer:cancel()
      return post(...)
    end
    at.server:fault { delay = 0.05 }
    assert_cancelled("unknown", send(at, transfer, { data = "x" }).over:wait(5))
    helper.eventually(function() return #at.server:history(at.chat_id) == 1 end)
    helper.eventually(function() return at.bot.session:stats().stale == 1 end)
  end))

  it("while its reader waits closes what that holds", scene(function(at)
    local transfer, log = trueconf.transfer(), {}
    local paths = temporaries(function()
      local call = send(at, transfer, { reader = function()
        local _ <close> = closing(log)
        log.waits = true
        core.waiter():wait()
      end })
      helper.eventually(function() return log.waits end)
      transfer:cancel()
      assert_cancelled("not_sent", call.over:wait(5))
    end)
    assert.is_true(log.closed)
    assert.equal(1, #paths)
    assert.is_false(exists(paths[1]))
  end))

  it("by its reader ends where that waits next", scene(function(at)
    local transfer, pieces = trueconf.transfer(), 0
    assert_cancelled("not_sent", send(at, transfer, { reader = function()
      pieces = pieces + 1
      if pieces == 2 then transfer:cancel() end
      if pieces > 2 then core.sleep(30) end
      return "x"
    end }).over:wait(5))
    assert.equal(3, pieces)
  end))
end)

describe("a download that is cancelled", function()
  local function sent(at, bytes)
    return assert(at.bot:send_file(at.chat_id, { data = bytes or "0123456789", name = "a.bin" }))
  end

  local function fetch(at, message, transfer, options)
    options.transfer = transfer
    return start(at.bot.download, at.bot, message, options)
  end

  it("from on_progress leaves no part of the file, and closes the connection", scene(function(at)
    local message, transfer, open = sent(at, ("x"):rep(MIB)), trueconf.transfer(), nil
    at.server:fault { download_rate = 100000 }
    local call = fetch(at, message, transfer, {
      path = at.directory:file "copy", on_progress = function()
        transfer:cancel()
        open = sockets()
      end,
    })
    assert_cancelled(nil, call.over:wait(5))
    assert.equal("", system.output("ls -A '%s'", at.directory.path))
    assert.equal(0, core.stats().transfers)
    helper.eventually(function() return sockets() <= open - 2 end)
  end))

  it("while it waits for the file hears of it no more", scene(function(at)
    at.server:fault { file_delay = 30 }
    local message, transfer = sent(at), trueconf.transfer()
    local call = fetch(at, message, transfer, {})
    local progress = at.server.files.progress
    helper.eventually(function() return next(at.bot.file_waiters or {}) and next(progress.subscribers) end)
    transfer:cancel()
    assert_cancelled(nil, call.over:wait(5))
    assert.same({}, at.bot.file_waiters)
    helper.eventually(function() return not next(progress.subscribers) end)
  end))

  it("while its sink waits closes what that holds", scene(function(at)
    local message, transfer, log = sent(at), trueconf.transfer(), {}
    local paths = temporaries(function()
      local call = fetch(at, message, transfer, { sink = function()
        local _ <close> = closing(log)
        log.waits = true
        core.sleep(30)
      end })
      helper.eventually(function() return log.waits end)
      transfer:cancel()
      assert_cancelled(nil, call.over:wait(5))
    end)
    assert.is_true(log.closed)
    assert.equal(1, #paths)
    assert.is_false(exists(paths[1]))
  end))

  it("between two tries does not try again", scene(function(at)
    local message, transfer = sent(at, ("x"):rep(MIB)), trueconf.transfer()
    at.server:fault { download_cut = 1000 }
    local tries, handle = 0, at.server.files.handle
    at.server.files.handle = function(...)
      tries = tries + 1
      if tries == 4 then core.timer(0.1, function() transfer:cancel() end) end
      return handle(...)
    end
    assert_cancelled(nil, fetch(at, message, transfer, {}).over:wait(5))
    assert.equal(4, tries)
  end))

  it("together with its caller's coroutine is not gone on with", scene(function(at)
    local message, log = sent(at), {}
    local caller = core.spawn(function()
      at.bot:download(message, { transfer = trueconf.transfer(), sink = function()
        local _ <close> = closing(log)
        log.waits = true
        core.sleep(30)
      end })
    end)
    helper.eventually(function() return log.waits end)
    assert.is_true(core.cancel(caller))
    assert.is_true(log.closed)
  end))
end)

describe("a transfer", function()
  it("that was cancelled before lets nothing begin", scene(function(at)
    local transfer = trueconf.transfer()
    assert.is_true(transfer:cancel())
    assert.is_false(transfer:cancel())
    local calls = at.bot.session:stats().calls
    assert_cancelled("not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "a", transfer = transfer }))
    assert_cancelled(nil, at.bot:download("none", { transfer = transfer }))
    assert.equal(calls, at.bot.session:stats().calls)
  end))

  it("ends all that has it, and nothing else", scene(function(at)
    local transfer, calls = trueconf.transfer(), {}
    at.server:fault { file_delay = 1 }
    local message = assert(at.bot:send_file(at.chat_id, { data = "0123456789", name = "a.bin" }))
    for i = 1, 3 do calls[i] = start(at.bot.download, at.bot, message, { transfer = i < 3 and transfer or nil }) end
    helper.eventually(function() return next(at.bot.file_waiters or {}) end)
    transfer:cancel()
    assert_cancelled(nil, calls[1].over:wait(5))
    assert_cancelled(nil, calls[2].over:wait(5))
    assert.equal("0123456789", (assert(calls[3].over:wait(10))))
  end))

  it("that is cancelled too late changes nothing", scene(function(at)
    local transfer = trueconf.transfer()
    local sent = assert(at.bot:send_file(at.chat_id, { data = "x", name = "a.txt", transfer = transfer }))
    assert.equal("x", (assert(at.bot:download(sent, { transfer = transfer }))))
    transfer:cancel()
    assert.equal(1, #at.server:history(at.chat_id))
  end))

  it("hands on the error of a reader or sink, and results as they are", scene(function(at)
    local transfer = trueconf.transfer()
    local ok, err = pcall(at.bot.send_file, at.bot, at.chat_id, {
      name = "a", transfer = transfer, reader = function() error "out of paper" end,
    })
    assert.is_false(ok)
    assert.matches("files/cancel_token_spec.lua:%d+: out of paper", err)
    local result
    result, err = at.bot:download("none", { transfer = transfer })
    assert.is_nil(result)
    assert.equal("FILE_NOT_FOUND", err.name)
  end))

  it("works from the main thread, outside of the loop", function()
    local transfer = trueconf.transfer()
    local client = trueconf.client { url = "ws://127.0.0.1:1", token = "a.b.c" }
    client:start()
    core.timer(0.01, function() transfer:cancel() end)
    assert_cancelled(nil, client:download("none", { transfer = transfer }))
    client:stop()
    core.close()
  end)

  it("must be one", scene(function(at)
    for _, wrong in ipairs { true, {} } do
      local ok, err = pcall(function() at.bot:download("none", { transfer = wrong }) end)
      assert.is_false(ok)
      assert.matches("files/cancel_token_spec.lua:%d+: download: option 'transfer' must be", err)
    end
  end))
end)

describe("who asks for the server's version and is cancelled", function()
  it("lets go on who waits for the answer, and the next one asks again", helper.async(function()
    local server_version = require "trueconf.api.server_version"
    local client = trueconf.client { url = "ws://127.0.0.1:1", token = "a.b.c" }
    local ask = server_version.ask
    server_version.ask = function() core.sleep(30) end
    local first = core.spawn(client.server_version, client)
    core.sleep(0)
    local second = start(function() return "done", client:server_version() end)
    core.sleep(0)
    core.cancel(first)
    assert.same({ "done" }, { second.over:wait(5) })
    server_version.ask = function() return "5.5.6" end
    assert.equal("5.5.6", client:server_version())
    server_version.ask = ask
  end))
end)
