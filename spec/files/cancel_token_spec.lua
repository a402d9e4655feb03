-- SPDX-License-Identifier: MIT
-- Uploads and downloads that are cancelled: lua/trueconf/files/cancel_token.lua, through a Bridge over real sockets.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local scene = require "spec.support.chat_scene"
local system = require "spec.support.system"
local trueconf = require "trueconf"

local behind = require("trueconf.base.hooks").behind

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
  local function send(at, cancel_token, options)
    options.name, options.cancel = "a.bin", cancel_token
    return start(at.bot.send_file, at.bot, at.chat_id, options)
  end

  it("from on_progress leaves nothing behind, here and at the server", scene(function(at)
    local cancel_token, first, open = trueconf.cancel_token(), nil, nil
    local sent, err = at.bot:send_file(at.chat_id, {
      data = ("x"):rep(64 * MIB), name = "a.bin", cancel = cancel_token,
      on_progress = function(bytes, total)
        assert.is_true(total > 64 * MIB)
        if bytes > 8 * MIB and first == nil then first, open = cancel_token:cancel(), sockets() end
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
    local cancel_token = trueconf.cancel_token()
    at.server:fault { silence = { uploadFile = 1 } }
    local call = send(at, cancel_token, { data = "x" })
    helper.eventually(function() return behind(at.bot).client.session:stats().in_flight == 1 end)
    cancel_token:cancel()
    assert_cancelled("not_sent", call.over:wait(5))
    assert.equal(0, behind(at.bot).client.session:stats().in_flight)
  end))

  it("while it waits for the connection is not sent later", scene(function(at)
    local cancel_token, finish = trueconf.cancel_token(), at.server.files.finish
    at.server.files.finish = function(...)
      finish(...)
      at.server:fault { refuse_upgrades = true }
      at.server:drop()
    end
    local call = send(at, cancel_token, { data = "x" })
    helper.eventually(function() return behind(at.bot).client.session:stats().queued == 1 end)
    cancel_token:cancel()
    assert_cancelled("not_sent", call.over:wait(5))
    at.server:fault { refuse_upgrades = false }
    assert(at.bot:wait_ready(10))
    assert(at.bot:send_message(at.chat_id, "hello"))
    assert.equal(1, #at.server:history(at.chat_id))
  end))

  it("while the message is on its way does not know of it", scene(function(at)
    local cancel_token, post = trueconf.cancel_token(), at.server.files.post
    at.server.files.post = function(...)
      cancel_token:cancel()
      return post(...)
    end
    at.server:fault { delay = 0.05 }
    assert_cancelled("unknown", send(at, cancel_token, { data = "x" }).over:wait(5))
    helper.eventually(function() return #at.server:history(at.chat_id) == 1 end)
    helper.eventually(function() return behind(at.bot).client.session:stats().stale == 1 end)
  end))

  it("while its reader waits closes what that holds", scene(function(at)
    local cancel_token, log = trueconf.cancel_token(), {}
    local paths = temporaries(function()
      local call = send(at, cancel_token, { reader = function()
        local _ <close> = closing(log)
        log.waits = true
        core.waiter():wait()
      end })
      helper.eventually(function() return log.waits end)
      cancel_token:cancel()
      assert_cancelled("not_sent", call.over:wait(5))
    end)
    assert.is_true(log.closed)
    assert.equal(1, #paths)
    assert.is_false(exists(paths[1]))
  end))

  it("by its reader ends where that waits next", scene(function(at)
    local cancel_token, pieces = trueconf.cancel_token(), 0
    assert_cancelled("not_sent", send(at, cancel_token, { reader = function()
      pieces = pieces + 1
      if pieces == 2 then cancel_token:cancel() end
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

  local function fetch(at, message, cancel_token, options)
    options.cancel = cancel_token
    return start(at.bot.download, at.bot, message, options)
  end

  it("from on_progress leaves no part of the file, and closes the connection", scene(function(at)
    local message, cancel_token, open = sent(at, ("x"):rep(MIB)), trueconf.cancel_token(), nil
    at.server:fault { download_rate = 100000 }
    local call = fetch(at, message, cancel_token, {
      path = at.directory:file "copy", on_progress = function()
        cancel_token:cancel()
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
    local message, cancel_token = sent(at), trueconf.cancel_token()
    local call = fetch(at, message, cancel_token, {})
    local progress = at.server.files.progress
    local client = behind(at.bot).client
    helper.eventually(function() return next(client.file_waiters or {}) and next(progress.subscribers) end)
    cancel_token:cancel()
    assert_cancelled(nil, call.over:wait(5))
    assert.same({}, behind(at.bot).client.file_waiters)
    helper.eventually(function() return not next(progress.subscribers) end)
  end))

  it("while its sink waits closes what that holds", scene(function(at)
    local message, cancel_token, log = sent(at), trueconf.cancel_token(), {}
    local paths = temporaries(function()
      local call = fetch(at, message, cancel_token, { sink = function()
        local _ <close> = closing(log)
        log.waits = true
        core.sleep(30)
      end })
      helper.eventually(function() return log.waits end)
      cancel_token:cancel()
      assert_cancelled(nil, call.over:wait(5))
    end)
    assert.is_true(log.closed)
    assert.equal(1, #paths)
    assert.is_false(exists(paths[1]))
  end))

  it("between two tries does not try again", scene(function(at)
    local message, cancel_token = sent(at, ("x"):rep(MIB)), trueconf.cancel_token()
    at.server:fault { download_cut = 1000 }
    local tries, handle = 0, at.server.files.handle
    at.server.files.handle = function(...)
      tries = tries + 1
      if tries == 4 then core.timer(0.1, function() cancel_token:cancel() end) end
      return handle(...)
    end
    assert_cancelled(nil, fetch(at, message, cancel_token, {}).over:wait(5))
    assert.equal(4, tries)
  end))

  it("together with its caller's coroutine is not gone on with", scene(function(at)
    local message, log = sent(at), {}
    local caller = core.spawn(function()
      at.bot:download(message, { cancel = trueconf.cancel_token(), sink = function()
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

describe("a cancel token", function()
  it("that was cancelled before lets nothing begin", scene(function(at)
    local cancel_token = trueconf.cancel_token()
    assert.is_true(cancel_token:cancel())
    assert.is_false(cancel_token:cancel())
    local calls = behind(at.bot).client.session:stats().calls
    assert_cancelled("not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "a", cancel = cancel_token }))
    assert_cancelled(nil, at.bot:download("none", { cancel = cancel_token }))
    assert.equal(calls, behind(at.bot).client.session:stats().calls)
  end))

  it("ends all that has it, and nothing else", scene(function(at)
    local cancel_token, calls = trueconf.cancel_token(), {}
    at.server:fault { file_delay = 1 }
    local message = assert(at.bot:send_file(at.chat_id, { data = "0123456789", name = "a.bin" }))
    for i = 1, 3 do calls[i] = start(at.bot.download, at.bot, message, { cancel = i < 3 and cancel_token or nil }) end
    helper.eventually(function() return next(behind(at.bot).client.file_waiters or {}) end)
    cancel_token:cancel()
    assert_cancelled(nil, calls[1].over:wait(5))
    assert_cancelled(nil, calls[2].over:wait(5))
    assert.equal("0123456789", (assert(calls[3].over:wait(10))))
  end))

  it("that is cancelled too late changes nothing", scene(function(at)
    local cancel_token = trueconf.cancel_token()
    local sent = assert(at.bot:send_file(at.chat_id, { data = "x", name = "a.txt", cancel = cancel_token }))
    assert.equal("x", (assert(at.bot:download(sent, { cancel = cancel_token }))))
    cancel_token:cancel()
    assert.equal(1, #at.server:history(at.chat_id))
  end))

  it("hands on the error of a reader or sink, and results as they are", scene(function(at)
    local cancel_token = trueconf.cancel_token()
    local ok, err = pcall(at.bot.send_file, at.bot, at.chat_id, {
      name = "a", cancel = cancel_token, reader = function() error "out of paper" end,
    })
    assert.is_false(ok)
    assert.matches("files/cancel_token_spec.lua:%d+: out of paper", err)
    local result
    result, err = at.bot:download("none", { cancel = cancel_token })
    assert.is_nil(result)
    assert.equal("FILE_NOT_FOUND", err.name)
  end))

  it("works from the main thread, outside of the loop", function()
    local cancel_token = trueconf.cancel_token()
    local client = trueconf.client { url = "ws://127.0.0.1:1", token = "a.b.c" }
    client:start()
    core.timer(0.01, function() cancel_token:cancel() end)
    assert_cancelled(nil, client:download("none", { cancel = cancel_token }))
    client:stop()
    core.close()
  end)

  it("must be one", scene(function(at)
    for _, wrong in ipairs { true, {} } do
      local ok, err = pcall(function() at.bot:download("none", { cancel = wrong }) end)
      assert.is_false(ok)
      assert.matches("files/cancel_token_spec.lua:%d+: download: option 'cancel' must be", err)
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
