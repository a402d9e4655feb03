-- SPDX-License-Identifier: MIT
-- Files from a client through the Bridge and back, over real sockets: lua/trueconf/files/upload.lua,
-- download.lua and files.lua.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local scene = require "spec.support.chat_scene"
local system = require "spec.support.system"

local behind = require("trueconf.base.hooks").behind

local function file(at, name, bytes) return system.write(at.directory:file(name), bytes) end

local function listing(path) return system.output("ls -A '%s'", path) end

local function refused(name, outcome, sent, err)
  assert.is_nil(sent)
  assert.equal(name, err.name)
  assert.equal(outcome, err.outcome)
  return err
end

describe("send_file", function()
  it("sends a file by its path, and the file comes back byte by byte", scene(function(at)
    local bytes = core.random(300000)
    local sent = assert(at.bot:send_file(at.chat_id, { path = file(at, "plan.pdf", bytes) }))
    assert.same({
      name = "plan.pdf", size = 300000, mimeType = "application/pdf", readyState = 2, fileId = sent.file_id,
    }, at.server:history(at.chat_id)[1].record.content)
    assert.equal(at.chat_id, sent.chat_id)
    assert.equal(bytes, (assert(at.bot:download(sent))))
  end))

  it("sends bytes, under a name that may hold any letters", scene(function(at)
    local sent = assert(at.bot:send_file(at.chat_id, { data = "hello", name = 'Ünï "q" 計画.txt' }))
    local info = assert(at.bot:get_file_info(sent.file_id))
    assert.equal('Ünï "q" 計画.txt', info.name)
    assert.equal("text/plain", info.mime_type)
  end))

  it("sends what a reader brings, piece by piece, and leaves no temporary file", scene(function(at)
    local made, paths = os.tmpname, {}
    rawset(os, "tmpname", function()
      paths[#paths + 1] = made()
      return paths[#paths]
    end)
    local count = 0
    local sent, err = at.bot:send_file(at.chat_id, { name = "long.log", reader = function()
      core.sleep(0.001)
      count = count + 1
      return count <= 5 and ("line %d\n"):format(count) or nil
    end })
    rawset(os, "tmpname", made)
    assert(sent, err)
    assert.equal("line 1\nline 2\nline 3\nline 4\nline 5\n", (assert(at.bot:download(sent))))
    assert.is_not_nil(paths[1])
    assert.is_nil(system.read(paths[1]))
  end))

  it("reads a pipe to its end while the loop goes on, and what has no size before it is read", scene(function(at)
    local fifo, turns, over = at.directory:file "notes.txt", 0, false
    system.output("mkfifo '%s'", fifo)
    core.spawn(function()
      repeat
        core.sleep(0.01)
        turns = turns + 1
        if turns == 10 then assert(os.execute(("printf 'from a pipe' >'%s' &"):format(fifo))) end
      until over
    end)
    local sent, err = at.bot:send_file(at.chat_id, { path = fifo })
    over = true
    assert(sent, err)
    assert.is_true(turns >= 10)
    assert.equal("from a pipe", (assert(at.bot:download(sent))))
    assert.equal("notes.txt", at.server:history(at.chat_id)[1].record.content.name)
    sent = assert(at.bot:send_file(at.chat_id, { path = "/proc/self/status", name = "status.txt" }))
    assert.matches("^Name:", (assert(at.bot:download(sent))))
  end))

  it("does not read more from a pipe or a reader than the server takes", scene(function(at)
    behind(at.bot).client.limits, behind(at.bot).client.limits_asked = { max_size = 1000 }, true
    local pieces = 0
    local err = refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { name = "endless", reader = function()
      pieces = pieces + 1
      return ("x"):rep(100)
    end }))
    assert.equal("the file is over 1000 bytes", err.message)
    assert.equal(11, pieces)
  end))

  it("sends no device, and says that a file is empty", scene(function(at)
    local err = refused("IO", "not_sent", at.bot:send_file(at.chat_id, { path = "/dev/zero" }))
    assert.equal("cannot read /dev/zero: it is a device, not a plain file", err.message)
    err = refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { path = file(at, "empty", "") }))
    assert.equal("'empty' is an empty file", err.message)
  end))

  it("gives up with its reader, and sends nothing", scene(function(at)
    local err = refused("CANCELLED", "not_sent", at.bot:send_file(at.chat_id, { name = "a.txt", reader = function()
      return nil, "no more paper"
    end }))
    assert.matches("no more paper", err.message)
    assert.same({}, at.server:history(at.chat_id))
  end))

  it("posts a caption as a message of its own before the file", scene(function(at)
    local sent = assert(at.bot:send_file(at.chat_id, {
      data = "x", name = "a.txt", caption = "The **plan**", parse_mode = "markdown",
    }))
    local caption, attachment = table.unpack(at.server:history(at.chat_id))
    assert.same({ text = "The **plan**", parseMode = "markdown" }, caption.record.content)
    assert.equal(caption.id, sent.caption_message_id)
    assert.equal(attachment.id, sent.id)
    assert.equal(202, attachment.record.type)
  end))

  it("answers a message", scene(function(at)
    local first = assert(at.bot:send_message(at.chat_id, "hello"))
    assert(at.bot:send_file(at.chat_id, { data = "x", name = "a.txt", reply_to = first.id }))
    assert.equal(first.id, at.server:history(at.chat_id)[2].reply_to)
  end))

  it("sends a preview beside a picture, and a sticker as its own", scene(function(at)
    local picture = file(at, "cat.jpg", "all of the cat")
    local sent = assert(at.bot:send_file(at.chat_id, {
      path = picture, preview = { data = "small cat", name = "cat.webp" },
    }))
    assert.equal("small cat", (assert(at.bot:download(sent, { preview = true }))))
    assert.equal("image/webp", at.bot:get_file_info(sent.file_id).previews[1].mime_type)
    sent = assert(at.bot:send_file(at.chat_id, { data = "RIFF", sticker = true }))
    local info = at.bot:get_file_info(sent.file_id)
    assert.equal("sticker/webp", info.mime_type)
    assert.equal("file.webp", info.name)
    assert.equal("RIFF", (assert(at.bot:download(sent, { preview = true }))))
  end))

  it("takes what was uploaded before by its temporal id, as the schema has it", scene(function(at)
    refused("UPLOADED_FILE_NOT_FOUND", "rejected", at.bot:send_file(at.chat_id, "tmp-none"))
    refused("UPLOADED_FILE_NOT_FOUND", "rejected",
      at.bot:send_file { chat_id = at.chat_id, temporal_file_id = "tmp-none", caption = "c" })
  end))

  it("takes all arguments by name", scene(function(at)
    assert(at.bot:send_file { chat_id = at.chat_id, data = "x", name = "a.txt" })
    assert.equal("a.txt", at.server:history(at.chat_id)[1].record.content.name)
  end))

  it("tells its progress", scene(function(at)
    local last, total = 0, nil
    local path = file(at, "a.bin", ("x"):rep(1 << 20))
    assert(at.bot:send_file(at.chat_id, { path = path, on_progress = function(sent, all)
      assert.is_true(sent >= last)
      last, total = sent, all
    end }))
    assert.is_true(last >= 1 << 20)
    assert.equal(total, last)
  end))

  it("checks the limits before anything is sent", scene(function(at)
    local size = refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { data = ("x"):rep(11), name = "a.pdf" }))
    assert.equal("a.pdf is 11 bytes, 10 allowed", size.message)
    local kind = refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "a.EXE" }))
    assert.equal("a.EXE: files with the extension 'exe' are not allowed", kind.message)
    refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "a", type = "x/unknown" }))
    refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { data = "", name = "a.pdf" }))
    local long = ("x"):rep(4097)
    refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "a.pdf", caption = long }))
    assert(at.bot:send_file(at.chat_id, { data = "x", name = "a.PDF" }))
  end, { upload_limits = { max_size = 10, extensions = { mode = "allow", list = { ".Pdf" } } } }))

  it("adds the extension of the type to a name without one", scene(function(at)
    assert(at.bot:send_file(at.chat_id, { data = "x", name = "picture", type = "image/png" }))
    assert.equal("picture.png", at.server:history(at.chat_id)[1].record.content.name)
  end))

  it("names what the server has against a file", scene(function(at)
    at.server:set_upload_limits { max_size = 10 }
    behind(at.bot).client.limits = {}
    refused("MAX_FILE_SIZE_EXCEEDED", "not_sent", at.bot:send_file(at.chat_id, { data = ("x"):rep(11), name = "a.b" }))
    refused("CHAT_NOT_FOUND", "rejected", at.bot:send_file("nowhere", { data = "x", name = "a.b" }))
    assert.same({}, at.server:history(at.chat_id))
  end))

  it("says so when the web server is in trouble, and that nothing was sent", scene(function(at)
    at.server:fault { files_status = 502 }
    local err = refused("HTTP", "rejected", at.bot:send_file(at.chat_id, { data = "x", name = "a.b" }))
    assert.equal(502, err.code)
  end))

  it("begins again when the server has forgotten the upload task", scene(function(at)
    at.server.files.begin = function(files)
      files.begin = nil                 -- the next time as always
      return "e2c9d7b0-6a41-4f0b-8f55-0b1c3d2e4f60"
    end
    assert(at.bot:send_file(at.chat_id, { data = "x", name = "a.b" }))
  end))

  it("does not know of a message whose answer was lost, and says so", scene(function(at)
    at.server.files.post = function()
      at.server:drop()
      return nil, 300
    end
    refused("DISCONNECTED", "unknown", at.bot:send_file(at.chat_id, { data = "x", name = "a.b" }))
  end))

  it("asks for the limits, once, where none were told", scene(function(at)
    local asked = 0
    local limits = at.server.upload_limits
    at.server.upload_limits = function(self)
      asked = asked + 1
      return limits(self)
    end
    behind(at.bot).client.limits = nil
    refused("LIMIT", "not_sent", at.bot:send_file(at.chat_id, { data = "xx", name = "a.b" }))
    assert(at.bot:send_file(at.chat_id, { data = "x", name = "a.b" }))
    assert.equal(1, asked)
  end, { upload_limits = { max_size = 1 } }))

  it("raises mistakes of the script at its line", scene(function(at)
    local function mistake(pattern, ...)
      local ok, err = pcall(at.bot.send_file, at.bot, ...)
      assert.is_false(ok)
      assert.matches(pattern, err)
    end
    mistake("one of 'path', 'data' and 'reader' is needed", at.chat_id, {})
    mistake("one of 'path', 'data' and 'reader' is needed", at.chat_id, { path = "a", data = "b" })
    mistake("unknown option 'pth', did you mean 'path'", at.chat_id, { pth = "a" })
    mistake("option 'name' is required", at.chat_id, { data = "b" })
    mistake("preview needs one of", at.chat_id, { path = "a", preview = {} })
    mistake("'type' must be a MIME type", at.chat_id, { path = "a", type = "text" })
    mistake("send_file: bad argument 'chat_id'", 7, { path = "a" })
    local _, err = pcall(function() at.bot:send_file(at.chat_id, {}) end)
    assert.matches("^spec/files/client_spec.lua:%d+: ", err)
  end))

  it("returns what is wrong with the file", scene(function(at)
    refused("IO", "not_sent", at.bot:send_file(at.chat_id, { path = at.directory:file "none" }))
    refused("IO", "not_sent", at.bot:send_file(at.chat_id, { path = at.directory.path }))
    refused("BAD_FILE_NAME", "not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "a/b" }))
    refused("BAD_FILE_NAME", "not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "a\nb" }))
    refused("BAD_FILE_NAME", "not_sent", at.bot:send_file(at.chat_id, { data = "x", name = "\xff.txt" }))
  end))

  for _, version in ipairs { "5.5.0", "5.5.2", "5.5.3", "5.5.4" } do
    it("works with a server " .. version, scene(function(at)
      local sent = assert(at.bot:send_file(at.chat_id, { data = "x", name = "a.txt", caption = "c" }))
      assert.is_nil(sent.caption_message_id)
      assert.equal("x", (assert(at.bot:download(sent))))
      assert.equal("a.txt", at.bot:get_file_info(sent.file_id).name)
    end, { version = version }))
  end
end)

describe("download", function()
  local function sent(at, bytes)
    return assert(at.bot:send_file(at.chat_id, { data = bytes or "0123456789", name = "a.bin" }))
  end

  it("saves to a path, and tells what came", scene(function(at)
    local message, last = sent(at), nil
    local path = file(at, "copy", "old")
    local result = assert(at.bot:download(message.file_id, {
      path = path, on_progress = function(received, total) last = { received, total } end,
    }))
    assert.same({
      file_id = message.file_id, name = "a.bin", size = 10, mime_type = "application/octet-stream",
    }, result)
    assert.equal("0123456789", system.read(path))
    assert.same({ 10, 10 }, last)
    assert.equal("copy", listing(at.directory.path))
  end))

  it("puts no file in the place of what is none, and fetches nothing then", scene(function(at)
    local message, fifo, link = sent(at), at.directory:file "fifo", at.directory:file "link"
    system.output("mkfifo '%s'", fifo)
    local progress = 0
    local result, err = at.bot:download(message, { path = fifo, on_progress = function() progress = progress + 1 end })
    assert.is_nil(result)
    assert.same({ "IO", "cannot write " .. fifo .. ": it is a FIFO, not a plain file" }, { err.name, err.message })
    assert.equal(0, progress)
    system.output("ln -s copy '%s'", link)
    file(at, "copy", "old")
    assert(at.bot:download(message, { path = link }))
    assert.equal("0123456789", system.read(at.directory:file "copy"))
    assert.equal("copy\nfifo\nlink", listing(at.directory.path))
  end))

  it("gives to a sink, which may stop it", scene(function(at)
    local message, pieces = sent(at, ("x"):rep(100000)), {}
    local result = assert(at.bot:download(message, { sink = function(piece)
      core.sleep(0)
      pieces[#pieces + 1] = piece
    end }))
    assert.equal(100000, result.size)
    assert.equal(("x"):rep(100000), table.concat(pieces))
    assert.is_true(#pieces > 1)
    local result2, err = at.bot:download(message, { sink = function() return nil, "full" end })
    assert.is_nil(result2)
    assert.equal("CANCELLED", err.name)
    assert.matches("full", err.message)
  end))

  it("refuses more than the caller wants", scene(function(at)
    local message = sent(at)
    local path = at.directory:file "copy"
    for _, opts in ipairs { { max_bytes = 9 }, { max_bytes = 9, path = path } } do
      local result, err = at.bot:download(message, opts)
      assert.is_nil(result)
      assert.equal("LIMIT", err.name)
      assert.equal("the file is 10 bytes, 9 allowed", err.message)
    end
    assert.is_nil(system.read(path))
    assert.equal("0123456789", (at.bot:download(message, { max_bytes = 10 })))
  end))

  it("waits until the server has all of it", scene(function(at)
    at.server:fault { file_delay = 0.3 }
    local message = sent(at)
    assert.equal(1, at.bot:get_file_info(message.file_id).ready_state)
    assert.equal("0123456789", (assert(at.bot:download(message))))
  end))

  it("waits no longer than it is told", scene(function(at)
    at.server:fault { file_delay = 30 }
    local message = sent(at)
    local result, err = at.bot:download(message, { timeout = 0.2 })
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.name)
  end))

  it("waits no longer than it is told for the connection either", scene(function(at)
    local message = sent(at)
    at.server:fault { refuse_upgrades = true }
    at.server:drop()
    helper.eventually(function() return at.bot:state() ~= "ready" end)
    local result, err = at.bot:download(message, { timeout = 0.2 })
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.name)
  end))

  -- The requests for files that the Bridge answers from now on, by their ranges. `before` is called with each
  -- and its number first, and may change or answer it; then it returns true.
  local function watch(at, before)
    local ranges, handle = {}, at.server.files.handle
    at.server.files.handle = function(files, request)
      ranges[#ranges + 1] = request.headers.range or "all"
      if not (before and before(request, #ranges)) then return handle(files, request) end
    end
    return ranges
  end

  -- Run fn while nothing sleeps; returns how long it would have slept.
  local function without_sleep(fn)
    local sleep, pauses = core.sleep, {}
    core.sleep = function(seconds) pauses[#pauses + 1] = seconds end
    fn()
    core.sleep = sleep
    return pauses
  end

  it("goes on where the connection was cut, in a file, a sink and a string", scene(function(at)
    local bytes = core.random(500000)
    local message, ranges, path = sent(at, bytes), watch(at), at.directory:file "copy"
    at.server:fault { download_cut = 200000 }
    local pieces, seen = {}, {}
    assert(at.bot:download(message, { path = path, on_progress = function(received, total)
      assert.is_true(received >= (seen[#seen] or 0))
      seen[#seen + 1] = received
      assert.equal(500000, total)
    end }))
    assert.same({ "all", "bytes=200000-", "bytes=400000-" }, ranges)
    assert.equal(500000, seen[#seen])
    assert.is_true(bytes == system.read(path))
    assert(at.bot:download(message, { sink = function(piece) pieces[#pieces + 1] = piece end }))
    assert.is_true(bytes == table.concat(pieces))
    assert.is_true(bytes == at.bot:download(message))
    assert.equal(9, #ranges)
    assert.equal("copy", listing(at.directory.path))
  end))

  -- The connection of the first try is cut, and the second one meets `trouble`.
  local function cut_once(at, trouble)
    at.server:fault { download_cut = 200000 }
    return watch(at, function(request, number)
      if number ~= 2 then return false end
      at.server:fault { download_cut = false }
      return trouble(request)
    end)
  end

  for trouble, case in pairs {
    ["from a server that gives no parts"] = {
      function(request) request.headers.range = nil end, { "all", "bytes=200000-" },
    },
    ["when the file has changed meanwhile"] = {
      function(request) request.headers["if-range"] = '"another"' end, { "all", "bytes=200000-" },
    },
    ["when the file has become shorter"] = {
      function(request) request.headers.range = "bytes=500000-" end, { "all", "bytes=200000-", "all" },
    },
    ["when the web server is in trouble for a while"] = {
      function(request) return request:respond(502, {}, "down") end, { "all", "bytes=200000-", "bytes=200000-" },
    },
  } do
    it("is complete after a cut " .. trouble, scene(function(at)
      local bytes = core.random(500000)
      local message, ranges = sent(at, bytes), cut_once(at, case[1])
      assert.is_true(bytes == at.bot:download(message))
      assert.same(case[2], ranges)
    end))
  end

  it("goes on when the server asks for it, and not before", scene(function(at)
    local bytes, refused_at = core.random(500000), nil
    local message = sent(at, bytes)
    cut_once(at, function(request)
      refused_at = core.monotonic()
      return request:respond(429, { ["Retry-After"] = "1" }, "busy")
    end)
    assert.is_true(bytes == at.bot:download(message))
    assert.is_true(core.monotonic() - refused_at >= 1)
  end))

  it("gets a fresh address for the rest when the old one is refused", scene(function(at)
    local bytes = core.random(500000)
    local message, ranges, addressed = sent(at, bytes), watch(at), at.server.files.addressed
    at.server:fault { download_cut = 200000 }
    local refused_tokens = {}
    at.server.files.addressed = function(files, request)
      local token = request.query.token
      if refused_tokens[token] then return nil end
      core.sleep(1 - core.now() % 1000 / 1000) -- tokens tell apart seconds
      refused_tokens[token] = true
      return addressed(files, request)
    end
    assert.is_true(bytes == at.bot:download(message))
    -- Every part is refused once, at the address of the part before.
    assert.same({ "all", "bytes=200000-", "bytes=200000-", "bytes=400000-", "bytes=400000-" }, ranges)
  end))

  it("gives up after some tries that bring little, and leaves no half of a file", scene(function(at)
    local message, ranges = sent(at, ("x"):rep(1 << 20)), watch(at)
    at.server:fault { download_cut = 1000 }
    local pauses = without_sleep(function()
      local result, err = at.bot:download(message, { path = at.directory:file "copy" })
      assert.is_nil(result)
      assert.equal("DISCONNECTED", err.name)
    end)
    assert.same({ 0, 0.25, 0.5, 1, 2 }, pauses)
    assert.equal("bytes=5000-", ranges[#ranges])
    assert.equal("", listing(at.directory.path))
  end))

  it("goes on as often as it takes while the tries bring much", scene(function(at)
    local message, ranges = sent(at, ("x"):rep(10 << 20)), watch(at)
    at.server:fault { download_cut = 1 << 20 }
    local pauses = without_sleep(function() assert.equal(10 << 20, #assert(at.bot:download(message))) end)
    assert.equal(10, #ranges)
    assert.same({ 0, 0, 0, 0, 0, 0, 0, 0, 0 }, pauses)
  end))

  it("gives up a slow transfer in time", scene(function(at)
    local message = sent(at, ("x"):rep(1 << 20))
    at.server:fault { download_rate = 20000 }
    local result, err = at.bot:download(message, { path = at.directory:file "copy", timeout = 0.3 })
    assert.is_nil(result)
    assert.equal("TIMEOUT", err.name)
    assert.equal("", listing(at.directory.path))
  end))

  it("names the status of a server in trouble, never the address", scene(function(at)
    local message = sent(at)
    at.server:fault { files_status = 503 }
    local result, err = at.bot:download(message)
    assert.is_nil(result)
    assert.equal("HTTP", err.name)
    assert.equal(503, err.code)
    assert.is_nil(tostring(err):find "token")
  end))

  it("does not know every id", scene(function(at)
    local result, err = at.bot:download "none"
    assert.is_nil(result)
    assert.equal("FILE_NOT_FOUND", err.name)
    result, err = at.bot:download(sent(at), { preview = true })
    assert.is_nil(result)
    assert.equal("FILE_NOT_FOUND", err.name)
  end))

  it("takes the file of a message", scene(function(at)
    local mira, got = system.bot(at.server, { username = "mira", password = "x" }), core.waiter()
    mira:on_message(function(msg) got:wake(msg) end)
    mira:start()
    assert(mira:wait_ready(10))
    sent(at)
    local msg = assert(got:wait(10))
    assert.equal("0123456789", (assert(mira:download(msg))))
    assert.equal("0123456789", (assert(mira:download(msg.document))))
    mira:stop()
  end))

  it("takes the file of a person, whose bytes the other person sees", scene(function(at)
    local got = core.waiter()
    at.bot:on_message(function(msg)
      if msg.document then got:wake(msg) end
    end)
    local chat = at.server:person("mira"):chat_with "herald"
    local seen = assert(chat:send_file("plan.pdf", "0123456789", { caption = "The <plan>" }))
    assert.equal("0123456789", seen:file())
    assert.equal("The &lt;plan&gt;", at.server:history(at.chat_id)[1].text)
    local msg = assert(got:wait(10))
    assert.equal("application/pdf", msg.document.mime_type)
    assert.equal("0123456789", (assert(at.bot:download(msg.document))))
    local nothing, err = chat:send_file("a", "b", { reply_to = "none" })
    assert.is_nil(nothing)
    assert.equal("MESSAGE_NOT_FOUND", err.name)
    assert.is_nil(chat:say("hello"):file())
  end))

  it("shows no secret of an address to on_trace", function()
    local frames = {}
    scene(function(at)
      local message = sent(at)
      local query = assert(at.bot:get_file_info(message.file_id)).download_url:match "%?(.*)$"
      local text = table.concat(frames, "\n")
      assert.is_nil(text:find(query, 1, true))
      assert.is_truthy(text:find(message.file_id .. "?***", 1, true))
    end, nil, { on_trace = function(_, frame) frames[#frames + 1] = frame end })()
  end)

  it("takes only path and query of the address from the server", function()
    local download, url = require "trueconf.files.download", require "trueconf.base.url"
    local path = "/bridge/api/client/v1/files/1f?token=t.k"
    local function at(address, given)
      local request, err = download.address({ web = { endpoints = url.endpoints(url.parse(address)) } }, given)
      return request and request.url or err.name
    end
    assert.equal("http://localhost:4309" .. path, at("ws://localhost:4309", "https://inside.acme:4443" .. path))
    assert.equal("https://chat.acme.test" .. path, at("wss://chat.acme.test", path))
    assert.equal("https://acme.test/chat" .. path, at("wss://acme.test/chat", "http://inside" .. path))
    assert.equal("https://acme.test/chat" .. path, at("wss://acme.test/chat", "https://acme.test/chat" .. path))
    for _, given in ipairs { "", "files", "http://inside", "http://inside/a b", "//inside/a\n", "file:/etc/passwd" } do
      assert.equal("PROTOCOL", at("ws://localhost:4309", given), given)
    end
    assert.equal("PROTOCOL", at("ws://localhost:4309", nil))
  end)

  it("raises mistakes of the script at its line", scene(function(at)
    local _, err = pcall(function() at.bot:download({}) end)
    assert.matches("^spec/files/client_spec.lua:%d+: download: a file, a message", err)
    _, err = pcall(function() at.bot:download("a", { path = "b", sink = print }) end)
    assert.matches("^spec/files/client_spec.lua:%d+: download: not both", err)
  end))
end)

describe("the page about files", function()
  -- Its scripts are written for a folder of their own.
  local function in_folder(script, directory)
    return script:gsub('(path = ")', "%1" .. directory.path .. "/"):gsub('(preview = ")', "%1" .. directory.path .. "/")
  end

  it("has scripts that run, and print what it says", scene(function(at)
    for _, name in ipairs { "plan.pdf", "cat.jpg", "cat-small.jpg", "wink.webp" } do file(at, name, name) end
    local got = core.waiter()
    at.bot:on_message(function(msg) got:wake(msg) end)
    assert(at.server:person("mira"):chat_with("herald"):send_file("../up.txt", "0123456789"))
    local printed = {}
    local environment = setmetatable({
      bot = at.bot, chat_id = at.chat_id, msg = assert(got:wait(10)),
      print = function(value) printed[#printed + 1] = tostring(value) end,
    }, { __index = _G })
    for script in system.read("docs/files.md"):gmatch "\n```lua\n(.-)\n```" do
      assert(load(in_folder(script, at.directory), "=docs/files.md", "t", environment))()
    end
    local sent = at.server:history(at.chat_id)[3].record.content
    assert.same({ sent.fileId, "10", "10", "CANCELLED", "the bytes" }, printed)
    assert.equal("0123456789", system.read(at.directory:file "inbox-_up.txt"))
    assert.equal("wink.webp", at.server:history(at.chat_id)[8].record.content.name)
  end))
end)
