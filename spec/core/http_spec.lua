-- SPDX-License-Identifier: MIT
-- HTTP transfers: csrc/http and the option `tls` of csrc/base/tls.c, against the
-- servers of spec/support/python/http_fixture.py.

local cjson = require "cjson"
local core = require "trueconf.core"
local fixture = require "spec.support.http_fixture"
local helper = require "spec.support.helper"

local server

local function get(path, options)
  local request = { url = server:url("http", path) }
  for key, value in pairs(options or {}) do request[key] = value end
  return core.http(request)
end

-- The decoded body of a transfer that must have succeeded.
local function json_of(response, err)
  assert(response, err)
  return cjson.decode(response.body)
end

local function counters() return json_of(get "/counters") end

-- A request must fail with an error of this name and a message with this text in it.
local function assert_fails(name, text, response, err)
  assert.is_nil(response)
  assert.equal(core.Error, getmetatable(err))
  assert.equal(name, err.name, tostring(err))
  assert.matches(text, err.message, 1, true)
  return err
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local data = file:read "a"
  file:close()
  return data
end

-- Run the functions beside each other and wait for all of them.
local function together(functions)
  local left, finished = #functions, core.waiter()
  for _, fn in ipairs(functions) do
    core.spawn(function()
      local ok, message = xpcall(fn, debug.traceback)
      left = left - 1
      if not ok or left == 0 then finished:wake(message) end
    end)
  end
  local message = finished:wait()
  if message then error(message, 0) end
end

setup(function() server = fixture.start() end)
teardown(function() server:stop() end)

describe("an HTTP request", function()
  it("sends method, headers and body and returns any status", helper.async(function()
    local response = assert(get("/echo", {
      body = '{"username":"herald"}',
      headers = { ["Content-Type"] = "application/json", ["X-Empty"] = "", ["Upload-Task-Id"] = "7-f" },
    }))
    assert.equal(201, response.status)
    local seen = cjson.decode(response.body)
    assert.equal("POST", seen.method)
    assert.equal('{"username":"herald"}', seen.body)
    assert.equal("application/json", seen.headers["content-type"])
    assert.equal("7-f", seen.headers["upload-task-id"])
    assert.equal("", seen.headers["x-empty"])
    assert.is_nil(seen.headers["accept-encoding"])
    assert.equal(404, get("/nothing").status)
    assert.equal(503, get("/status/503").status)
    assert.equal("status page", get("/status/400").body)
  end))

  it("is GET without a body and makes no claim about the type of one", helper.async(function()
    assert.equal("GET", json_of(get "/echo?a=b%20c").method)
    assert.equal("/echo?a=b%20c", json_of(get "/echo?a=b%20c").path)
    local seen = json_of(get("/echo", { body = "" }))
    assert.equal("POST", seen.method)
    assert.equal("0", seen.headers["content-length"])
    assert.is_nil(seen.headers["content-type"])
  end))

  it("does not ask first whether a large body is welcome", helper.async(function()
    local seen = json_of(get("/echo", { body = ("x"):rep(2 << 20) }))
    assert.equal(2 << 20, #seen.body)
    assert.is_nil(seen.headers["expect"])
  end))

  it("can use other methods", helper.async(function()
    for _, method in ipairs { "PUT", "PATCH", "DELETE", "OPTIONS", "POST" } do
      local seen = json_of(get("/echo", { method = method, body = "x\0y" }))
      assert.equal(method, seen.method)
      assert.equal("x\0y", seen.body)
    end
    assert.equal("0", json_of(get("/echo", { method = "PUT" })).headers["content-length"])
    local head = assert(get("/bytes/1000", { method = "HEAD" }))
    assert.equal("1000", head.headers["content-length"])
    assert.equal("", head.body)
  end))

  it("returns headers by their names in lower case, joined if they repeat", helper.async(function()
    local headers = get("/headers").headers
    assert.equal("Mixed Value", headers["x-case"])
    assert.equal("a, b", headers["x-twice"])
    assert.equal("", headers["x-empty"])
  end))

  it("forgets an interim response", helper.async(function()
    local response = get "/interim"
    assert.equal(200, response.status)
    assert.equal("final", response.body)
    assert.is_nil(response.headers["x-interim"])
  end))

  it("does not follow a redirect", helper.async(function()
    local response = get("/redirect/302", { headers = { Authorization = "secret" } })
    assert.equal(302, response.status)
    assert.equal("/echo", response.headers.location)
    assert.equal(307, get("/redirect/307", { body = "secret" }).status)
  end))

  it("reads a chunked answer", helper.async(function()
    assert.equal(("hello"):rep(3), get("/chunked/3").body)
  end))

  it("keeps a connection for the next request", helper.async(function()
    get "/echo"
    local before = counters().connections
    for _ = 1, 5 do get "/echo" end
    assert.equal(before, counters().connections)
  end))

  it("works from the main thread and from a nested call", function()
    assert.equal("GET", json_of(get "/echo").method)
    assert.equal(0, core.stats().transfers)
  end)

  it("runs beside many others", helper.async(function()
    local functions, sum = {}, 0
    for i = 1, 100 do
      functions[i] = function()
        local length = #json_of(get("/echo", { body = ("x"):rep(i) })).body
        sum = sum + length
      end
    end
    together(functions)
    assert.equal(5050, sum)
  end))
end)

describe("a bounded answer", function()
  it("may be as long as max_body", helper.async(function()
    assert.equal(1000, #get("/bytes/1000", { max_body = 1000 }).body)
  end))

  it("fails with LIMIT when it is longer", helper.async(function()
    assert_fails("LIMIT", "longer than 999 bytes", get("/bytes/1000", { max_body = 999 }))
    assert_fails("LIMIT", "longer than 99 bytes", get("/chunked/20", { max_body = 99 }))
    assert_fails("LIMIT", "longer than 8388608 bytes", get "/bytes/8388609")
  end))

  it("fails with LIMIT when its headers do not end", helper.async(function()
    assert_fails("LIMIT", "bytes of headers", get "/endless")
  end))
end)

describe("a form", function()
  it("goes out with raw UTF-8 names, types and bytes as they are", helper.async(function()
    local path = server:write("photo.webp", ("\0\1\r\n--"):rep(1000))
    local parts = json_of(get("/form", { form = {
      { name = "file", path = path, filename = "Отчёт за май.webp", type = "sticker/webp" },
      { name = "preview", data = "a\0b", filename = "p.jpg", type = "image/jpeg" },
      { name = "note", data = "plain" },
      { name = "empty", path = server:write("empty", "") },
    } }))
    assert.equal(4, #parts)
    assert.matches('name="file"; filename="Отчёт за май.webp"', parts[1].head, 1, true)
    assert.matches("Content-Type: sticker/webp", parts[1].head, 1, true)
    assert.equal(6000, parts[1].size)
    assert.matches('filename="p.jpg"', parts[2].head, 1, true)
    assert.equal(3, parts[2].size)
    assert.equal('Content-Disposition: form-data; name="note"', parts[3].head)
    assert.matches('filename="empty"', parts[4].head, 1, true)
    assert.equal(0, parts[4].size)
  end))

  it("sends the bytes of a file", helper.async(function()
    local data = core.random(1 << 20)
    local parts = json_of(get("/form", { form = { { name = "file", path = server:write("random", data) } } }))
    local sum = io.popen("sha256sum '" .. server:file "random" .. "'")
    assert.equal(sum:read(64), parts[1].sha256)
    sum:close()
  end))

  it("cannot be broken by a file's name", helper.async(function()
    local parts = json_of(get("/form", { form = {
      { name = "file", data = "x", filename = 'a"; name="b\r\nX-Evil: 1\r\n\r\n' },
    } }))
    assert.equal(1, #parts)
    assert.equal('Content-Disposition: form-data; name="file"; filename="a%22; name=%22b%0D%0AX-Evil: 1%0D%0A%0D%0A"',
      (parts[1].head:gsub("\r\nContent%-Type.*", "")))
  end))

  it("fails with IO for a file that cannot be read", helper.async(function()
    local missing = server:file "missing"
    assert_fails("IO", "cannot open " .. missing, get("/form", { form = { { name = "file", path = missing } } }))
    assert_fails("IO", "is not a regular file", get("/form", { form = { { name = "f", path = server.directory } } }))
  end))

  it("fails with IO for a file that becomes shorter on the way", helper.async(function()
    local path = server:write("shrinks", ("x"):rep(8 << 20))
    local response, err = get("/sink", {
      form = { { name = "file", path = path } },
      on_progress = function() server:write("shrinks", "") end,
    })
    assert_fails("IO", "has become shorter", response, err)
  end))
end)

describe("a download", function()
  local function parts_left() return #server:list "%.part$" end

  it("goes into a file and not into memory", helper.async(function()
    local path = server:file "down"
    local response = assert(get("/bytes/100000", { save_to = path }))
    assert.equal(200, response.status)
    assert.is_nil(response.body)
    assert.equal(100000, #read(path))
    assert.equal(0, parts_left())
  end))

  it("replaces an older file at once, with the usual rights", helper.async(function()
    local path = server:write("old", "old contents")
    assert(get("/bytes/3", { save_to = path }))
    assert.equal("012", read(path))
    local stat = io.popen(("umask; stat -c %%a '%s'"):format(path))
    local mask, mode = stat:read("n", "n")
    stat:close()
    assert.equal(tonumber("666", 8) & ~tonumber(tostring(mask), 8), tonumber(tostring(mode), 8))
  end))

  it("keeps what comes with another status in memory", helper.async(function()
    local path = server:file "page"
    local response = assert(get("/status/404", { save_to = path }))
    assert.equal("status page", response.body)
    assert.is_nil(io.open(path))
    assert.equal(0, parts_left())
  end))

  it("leaves nothing behind when it fails, and the older file alone", helper.async(function()
    local path = server:write("kept", "kept")
    assert_fails("DISCONNECTED", "127.0.0.1:" .. server.http, get("/half/100000", { save_to = path }))
    assert.equal("kept", read(path))
    assert.equal(0, parts_left())
  end))

  it("is bounded by max_body, if that is given", helper.async(function()
    local path = server:file "bounded"
    assert(get("/bytes/1000", { save_to = path, max_body = 1000 }))
    os.remove(path)
    assert_fails("LIMIT", "longer than 999 bytes", get("/bytes/1000", { save_to = path, max_body = 999 }))
    assert.is_nil(io.open(path))
    assert.equal(0, parts_left())
  end))

  it("fails with IO where no file can be", helper.async(function()
    assert_fails("IO", "cannot write /nowhere/file", get("/bytes/1", { save_to = "/nowhere/file" }))
  end))

  it("does not put a file in the place of a directory or a device", helper.async(function()
    local pipe = server:file "pipe"
    os.execute(("mkfifo '%s'"):format(pipe))
    for path, kind in pairs { [server.directory] = "a folder", [pipe] = "a FIFO" } do
      for _, resume in ipairs { false, true } do
        local complaint = ("cannot write %s: it is %s, not a plain file"):format(path, kind)
        assert_fails("IO", complaint, get("/bytes/1", { save_to = path, resume = resume }))
      end
    end
    assert.equal(0, parts_left())
  end))

  it("fails with IO when no more can be written", function()
    local path = server:file "limited"
    local answer = server:in_process("ulimit -f 16; trap '' XFSZ;",
      { url = server:url("http", "/bytes/1000000"), save_to = path })
    assert.equal("IO (27): cannot write " .. path .. ": File too large", answer)
    assert.is_nil(io.open(path))
    assert.equal(0, parts_left())
  end)
end)

describe("a download that is resumed", function()
  local SIZE = 100000
  local ADDRESS = "/parts/" .. SIZE

  local function resume(name, query, options)
    options = options or {}
    options.save_to, options.resume = server:file(name), true
    return get(ADDRESS .. (query or ""), options)
  end

  local function whole() return ("0123456789abcdef"):rep(SIZE // 16) end

  it("keeps what has come of it, and asks for the rest only", helper.async(function()
    local response, err, headers = resume("resumed", "?cut=30000&tag=one")
    assert_fails("DISCONNECTED", "", response, err)
    assert.equal('"one"', headers.etag)
    assert.equal(whole():sub(1, 30000), read(server:file "resumed"))
    local last
    response = assert(resume("resumed", "?tag=one", {
      headers = { ["If-Range"] = headers.etag }, on_progress = function(_, _, ...) last = { ... } end,
    }))
    assert.equal(206, response.status)
    assert.equal("30000-", response.headers["x-range"])
    assert.equal(whole(), read(server:file "resumed"))
    assert.same({ SIZE, SIZE }, last)
  end))

  it("begins anew where the server gives all of it", helper.async(function()
    for _, case in ipairs { { "?tag=two", '"one"' }, { "?whole" } } do
      server:write("anew", ("x"):rep(SIZE + 5))
      local response = assert(resume("anew", case[1], case[2] and { headers = { ["If-Range"] = case[2] } }))
      assert.equal(200, response.status)
      assert.equal(whole(), read(server:file "anew"))
    end
  end))

  it("takes no other part than the one it needs", helper.async(function()
    for _, range in ipairs {
      "bytes 29999-99999/100000", "bytes */100000", "lines 30000-99999/100000", "bytes 30000", "",
    } do
      server:write("other", whole():sub(1, 30000))
      local response, err, headers = resume("other", "?says=" .. range:gsub(" ", "+"))
      assert_fails("PROTOCOL", "another part of the file", response, err)
      assert.is_nil(headers)
      assert.equal(30000, #read(server:file "other"))
    end
  end))

  it("leaves the file alone when there is no such part, or no file", helper.async(function()
    server:write("whole", whole())
    assert.equal(416, assert(resume "whole").status)
    assert.equal(404, assert(resume("whole", "?status=404")).status)
    assert.equal(whole(), read(server:file "whole"))
  end))

  it("begins with a file that is empty, or not there, without a range", helper.async(function()
    server:write("empty", "")
    for _, name in ipairs { "empty", "new" } do
      local response = assert(resume(name))
      assert.equal(200, response.status)
      assert.equal("", response.headers["x-range"])
      assert.equal(whole(), read(server:file(name)))
    end
  end))

  it("is bounded by max_body as a whole", helper.async(function()
    server:write("bounded", whole():sub(1, 30000))
    assert_fails("LIMIT", "longer than 99999 bytes", resume("bounded", nil, { max_body = SIZE - 1 }))
  end))
end)

describe("large files", function()
  local SIZE = 200 << 20

  local function resident()
    local pages = read("/proc/self/statm"):match "^%d+ (%d+)"
    return tonumber(pages) * 4096
  end

  -- Calls core.http and returns its result and by how much memory grew meanwhile.
  local function watched(request)
    local before, most = resident(), 0
    request.on_progress = function() most = math.max(most, resident()) end
    local response, err = core.http(request)
    return assert(response, err), most - before
  end

  it("go up and down in constant memory", helper.async(function()
    local path = server:file "large"
    local file = assert(io.open(path, "wb"))
    file:seek("set", SIZE - 1)
    file:write "\0"
    file:close()
    local response, grown = watched { url = server:url("http", "/sink"), form = { { name = "file", path = path } } }
    assert.is_true(cjson.decode(response.body).received > SIZE)
    assert.is_true(grown < 16 << 20, "upload: memory grew by " .. grown)
    response, grown = watched { url = server:url("http", "/bytes/" .. SIZE), save_to = path }
    assert.is_nil(response.body)
    assert.is_true(grown < 16 << 20, "download: memory grew by " .. grown)
    file = assert(io.open(path))
    assert.equal(SIZE, file:seek "end")
    file:close()
    os.remove(path)
  end))
end)

describe("progress", function()
  it("is told before the end and ends at the totals", helper.async(function()
    local calls, finished = {}, false
    assert(get("/bytes/3000000", { on_progress = function(...)
      assert.is_false(finished)
      calls[#calls + 1] = { ... }
    end }))
    finished = true
    assert.is_true(#calls > 0)
    for i = 2, #calls do assert.is_true(calls[i][3] > calls[i - 1][3]) end
    assert.same({ 0, 0, 3000000, 3000000 }, calls[#calls])
  end))

  it("is complete when the call returns, however many transfers there are", helper.async(function()
    local functions = {}
    for i = 1, 50 do
      functions[i] = function()
        local last
        assert(get("/bytes/300000", { on_progress = function(_, _, received) last = received end }))
        assert.equal(300000, last)
      end
    end
    together(functions)
  end))

  it("may end who waits for the transfer, also at the very end", helper.async(function()
    local ended = 0
    for _ = 1, 50 do
      local waiting
      waiting = core.spawn(function()
        get("/bytes/300000", { on_progress = function(_, _, received, all)
          if received == all and core.cancel(waiting) then ended = ended + 1 end
        end })
        error "it was to be ended"
      end)
    end
    helper.eventually(function() return ended == 50 end)
    assert.equal(0, core.stats().transfers)
  end))

  it("counts what is sent", helper.async(function()
    local last
    assert(get("/sink", { body = ("x"):rep(2000000), on_progress = function(...) last = { ... } end }))
    assert.equal(2000000, last[1])
    assert.equal(2000000, last[2])
  end))

  it("costs only itself when its handler fails", helper.async(function()
    local response, err = get("/bytes/10", { on_progress = function() error "broken handler" end })
    assert.equal(10, #assert(response, err).body)
    assert.matches("broken handler", helper.reported_errors()[1], 1, true)
  end))

  it("survives a collection in the middle of the transfer", helper.async(function()
    local called = 0
    assert(get("/bytes/5000000", { on_progress = function()
      called = called + 1
      collectgarbage()
    end }))
    assert.is_true(called > 0)
  end))
end)

describe("a failed connection", function()
  it("is REFUSED where nothing listens, and names host and port only", helper.async(function()
    local url = "http://herald:hidden@127.0.0.1:1/path?token=hidden"
    local err = assert_fails("REFUSED", "127.0.0.1:1", core.http { url = url })
    assert.is_nil(tostring(err):find("hidden", 1, true))
    assert.is_true(err.retryable)
  end))

  it("is DNS for a name that does not exist", helper.async(function()
    assert_fails("DNS", "no-such-host.invalid", core.http { url = "http://no-such-host.invalid:81/?t=hidden" })
  end))

  it("is DISCONNECTED when the server closes without an answer or in the middle of it", helper.async(function()
    assert_fails("DISCONNECTED", "127.0.0.1:" .. server.http, get "/close")
    assert_fails("DISCONNECTED", "127.0.0.1:" .. server.http, get "/half/1000")
  end))

  it("is DISCONNECTED, not TLS, when the server hangs up in the TLS handshake", helper.async(function()
    for _, name in ipairs { "cut", "reset" } do
      local err = assert_fails("DISCONNECTED", "127.0.0.1:" .. server[name],
        core.http { url = ("https://127.0.0.1:%d/"):format(server[name]) })
      assert.is_true(err.retryable)
      assert_fails("DISCONNECTED", "127.0.0.1:" .. server[name], core.http { url = server:url(name) })
    end
  end))

  it("is PROTOCOL when the answer is not HTTP", helper.async(function()
    assert_fails("PROTOCOL", "127.0.0.1:" .. server.http, get "/garbage")
  end))

  for _, url in ipairs { "", "nonsense", "ftp://host/x", "file:///etc/passwd", "http://", "http://host:99999/",
    "http://ho st/", "http://host/a\nb" } do
    it(("is PROTOCOL for the URL %q"):format(url), helper.async(function()
      local err = assert_fails("PROTOCOL", "not an http or https URL", core.http { url = url })
      assert.is_nil(url ~= "" and err.message:find(url, 1, true) or nil)
    end))
  end
end)

describe("deadlines on the runtime's clock", function()
  -- The case's own deadline lies far in virtual time; core.close() at its end brings the real clock back.
  local function with_virtual_time(body)
    return function()
      core.virtual_time(true)
      helper.async(body, 1e6)()
    end
  end

  -- Start a request and return a function that tells whether it is over, and its error.
  local function start(request)
    local over, err = false, nil
    core.spawn(function()
      local _
      _, err = core.http(request)
      over = true
    end)
    return function() return over, err end
  end

  local function assert_times_out(seconds, text, request)
    local state = start(request)
    core.advance(seconds - 1)
    assert.is_false((state()))
    core.advance(2)
    local over, err = state()
    assert.is_true(over)
    assert_fails("TIMEOUT", text, nil, err)
  end

  it("idle_timeout: a server that accepts and says nothing", with_virtual_time(function()
    assert_times_out(30, "for 30 s", { url = server:url "silent" })
    assert_times_out(5, "127.0.0.1:" .. server.silent, { url = server:url "silent", idle_timeout = 5 })
    assert_times_out(7, "for 7 s", { url = server:url("http", "/silent"), body = "x", idle_timeout = 7 })
  end))

  it("connect_timeout: a server that does not finish the TLS handshake", with_virtual_time(function()
    local url = ("https://127.0.0.1:%d/"):format(server.silent)
    assert_times_out(30, "no connection to 127.0.0.1:" .. server.silent .. " within 30 s",
      { url = url, connect_timeout = 30 })
    assert_times_out(40, "within 40 s", { url = url, connect_timeout = 40 })
  end))

  it("timeout: the whole transfer, however lively it is", with_virtual_time(function()
    assert_times_out(20, "longer than 20 s", { url = server:url "silent", timeout = 20 })
  end))

  it("idle_timeout begins again with each byte", with_virtual_time(function()
    local received, response, err = 0, nil, nil
    local arrived = core.waiter()
    core.spawn(function()
      response, err = get("/step/6", { idle_timeout = 30, on_progress = function(_, _, count)
        received = count
        arrived:wake()
      end })
    end)
    for i = 1, 6 do
      core.advance(20)
      arrived = core.waiter()
      assert(get "/poke")
      arrived:wait()
      assert.equal(i, received)
    end
    core.advance(0)
    assert.equal("......", assert(response, err).body)
  end))
end)

describe("TLS", function()
  local function secure(name, tls, host)
    local url = server:url(name, "/echo")
    return core.http { url = host and url:gsub("localhost", host) or url, tls = tls }
  end

  it("trusts the authority in ca_file", helper.async(function()
    assert.equal(201, assert(secure("good", { ca_file = server:file "ca.pem" })).status)
  end))

  it("does not trust it without", helper.async(function()
    local err = assert_fails("TLS", "localhost:" .. server.good, secure "good")
    assert.matches("certificate", err.message)
    assert.is_false(err.retryable)
    assert_fails("TLS", "certificate", secure("good", {}))
    assert_fails("TLS", "certificate", secure("good", { verify = true }))
  end))

  it("refuses a certificate for another host", helper.async(function()
    local tls = { ca_file = server:file "ca.pem" }
    assert_fails("TLS", "TLS with localhost:" .. server.other .. " failed", secure("other", tls))
    assert_fails("TLS", "127.0.0.1", secure("good", tls, "127.0.0.1"))
  end))

  it("refuses an expired certificate", helper.async(function()
    assert_fails("TLS", "expired", secure("expired", { ca_file = server:file "ca.pem" }))
  end))

  it("looks at nothing with verify = false", helper.async(function()
    for _, name in ipairs { "good", "other", "expired" } do
      assert.equal(201, assert(secure(name, { verify = false })).status)
    end
  end))

  it("accepts the right pin only, verified or not", helper.async(function()
    local good, other = server:pin "good", server:pin "other"
    local ca_file = server:file "ca.pem"
    assert.equal(201, assert(secure("good", { ca_file = ca_file, pin = good })).status)
    assert.equal(201, assert(secure("good", { ca_file = ca_file, pin = other .. ";" .. good })).status)
    assert.equal(201, assert(secure("good", { verify = false, pin = good })).status)
    assert_fails("TLS", "pinned", secure("good", { ca_file = ca_file, pin = other }))
    assert_fails("TLS", "pinned", secure("good", { verify = false, pin = other }))
    assert_fails("TLS", "certificate", secure("good", { pin = good }))
  end))

  it("does not take a connection made under weaker rules", helper.async(function()
    assert(secure("good", { verify = false }))
    assert_fails("TLS", "certificate", secure "good")
  end))

  it("names a ca_file that cannot be read", helper.async(function()
    assert_fails("CONFIG", "ca_file: cannot read /nowhere/ca.pem", secure("good", { ca_file = "/nowhere/ca.pem" }))
  end))

  it("fails with TLS when the server does not speak it", helper.async(function()
    assert_fails("TLS", "127.0.0.1:" .. server.http, core.http { url = ("https://127.0.0.1:%d/"):format(server.http) })
  end))
end)

describe("a proxy", function()
  local function proxy(user) return ("http://%s127.0.0.1:%d"):format(user or "", server.proxy) end

  it("gets the plain requests", helper.async(function()
    local seen = json_of(core.http { url = "http://chat.test/x?y", proxy = proxy "me:pass@" })
    assert.equal("http://chat.test/x?y", seen.url)
    assert.equal("Basic bWU6cGFzcw==", seen.auth)
  end))

  it("is a tunnel for TLS, for loopback too, and its headers stay out of the answer", helper.async(function()
    local before = counters().tunnels
    local response, err = core.http {
      url = server:url("good", "/echo"), proxy = proxy(), tls = { ca_file = server:file "ca.pem" },
    }
    assert.equal(201, assert(response, err).status)
    assert.is_nil(response.headers["x-proxy"])
    assert.equal(before + 1, counters().tunnels)
  end))

  it("that refuses is HTTP with its status, and the password stays hidden", helper.async(function()
    local err = assert_fails("HTTP", "refuses the user name or password (407)",
      core.http { url = "https://no.test/", proxy = proxy "me:hidden@" })
    assert.equal(407, err.code)
    assert.is_nil(tostring(err):find("hidden", 1, true))
  end))

  it("that is not there is REFUSED", helper.async(function()
    assert_fails("REFUSED", "the proxy 127.0.0.1:1:", core.http { url = "http://chat.test/",
      proxy = "http://127.0.0.1:1" })
    assert_fails("REFUSED", "the proxy [::1]:1:", core.http { url = "http://chat.test/", proxy = "http://[::1]:1" })
  end))

  it("whose name does not exist is DNS", helper.async(function()
    assert_fails("DNS", "proxy", core.http { url = "http://chat.test/", proxy = "http://no-such-host.invalid:1" })
  end))

  local function with_environment(url)
    return server:in_process(("http_proxy=%s no_proxy="):format(proxy()), { url = url })
  end

  it("that was named is used whatever the environment says", function()
    local request = { url = "http://chat.test/", proxy = proxy() }
    assert.equal("200", server:in_process("no_proxy='*'", request))
  end)

  it("is taken from the environment", function()
    assert.equal("200", with_environment "http://chat.test/")
  end)

  it("is not taken from the environment for this machine", function()
    assert.equal("201", with_environment(server:url("http", "/echo")))
    assert.equal("201", with_environment((server:url("http", "/echo"):gsub("127.0.0.1", "localhost"))))
  end)
end)

-- In processes of their own, in which spec/support/c/names.c invents the names: many.test has three addresses, only
-- at the last of which something listens; slow.test is found when the gate opens; there are no others.
describe("a name", function()
  local function assert_prints(expected, script, environment)
    assert.equal(expected, server:among_names(script, environment))
  end

  it("is looked up in libuv's threads, never in one of curl's", function()
    assert_prints("201\n3 threads, then 3\n201", [[
      print(get "many.test")
      local before, slow = threads(), start "slow.test"
      step_until(function() return lookups():find "slow" end)
      print(("%d threads, then %d"):format(before, threads()))
      open_gate()
      step_until(function() return slow.answer end)
      print(slow.answer)
    ]], "UV_THREADPOOL_SIZE=2")
  end)

  it("of this machine and an address need no lookup, and no thread", function()
    assert_prints("201 201 201 1", [[
      print(table.concat({ get "localhost", get "a.localhost", get "127.0.0.1", threads() }, " "))
      assert(lookups() == "")
    ]])
  end)

  it("may have several addresses, of which the first ones refuse", function()
    assert_prints("201", "print(get 'many.test')")
  end)

  it("is found however it is written", function()
    assert_prints("201\n201\nMANY.test many.test.", "print(get 'MANY.test') print(get 'many.test.') print(lookups())")
  end)

  it("is not looked up for a connection that was kept", function()
    assert_prints("201\n201\nmany.test", "print(get 'many.test') print(get 'many.test') print(lookups())")
  end)

  it("that is not found is DNS, looked up once", function()
    assert_prints("DNS: cannot resolve the name of none.test\nnone.test",
      "print(get 'none.test') print(lookups())")
  end)

  it("of a proxy is looked up instead of the server's", function()
    local proxy = "http://many.test:" .. server.proxy
    assert_prints("200\nmany.test", ("print(get('chat.test', { proxy = %q })) print(lookups())"):format(proxy))
    assert_prints("200\nmany.test", "print(get 'chat.test') print(lookups())",
      "no_proxy= http_proxy=" .. proxy)
    assert_prints("201\nmany.test", "print(get 'many.test') print(lookups())",
      "no_proxy=many.test http_proxy=http://slow.test:1")
  end)

  it("of a proxy that is not found is DNS, and says whose", function()
    assert_prints("DNS: cannot resolve the name of the proxy none.test\nnone.test",
      "print(get('chat.test', { proxy = 'none.test' })) print(lookups())")
  end)

  it("behind a proxy with an address is the proxy's to find", function()
    local proxy = "http://127.0.0.1:" .. server.proxy
    assert_prints("200", ("print(get('chat.test', { proxy = %q })) print(lookups())"):format(proxy))
  end)

  it("that takes too long is TIMEOUT, and its answer finds nobody", function()
    assert_prints("TIMEOUT: no connection to slow.test:" .. server.http .. " within 0.5 s\n0 transfers\n201", [[
      print(get("slow.test", { connect_timeout = 0.5 }))
      print(core.stats().transfers .. " transfers")
      open_gate()
      print(get "slow.test")
    ]])
  end)

  it("that nobody waits for any more is given up", function()
    assert_prints("false\n0 transfers", [[
      local thread = core.spawn(function() get "slow.test" end)
      step_until(function() return lookups() ~= "" end)
      print((coroutine.resume(thread)))
      print(core.stats().transfers .. " transfers")
      open_gate()
    ]])
  end)

  it("does not keep core.close() from settling all who wait, for its lookup or for a thread", function()
    assert_prints("CLOSED\nCLOSED\nslow.test\n201", [[
      local first, second = start "slow.test", start "slow.test"
      step_until(function() return lookups() ~= "" end)
      open_gate(0.1)
      core.close()
      print(first.answer:match "%u+")
      print(second.answer:match "%u+")
      print(lookups())
      print(get "slow.test")
    ]], "UV_THREADPOOL_SIZE=1")
  end)
end)

describe("core.close", function()
  it("settles a transfer in flight with CLOSED and leaves no half file", function()
    local response, err
    core.spawn(function()
      response, err = core.http { url = server:url("http", "/silent"), save_to = server:file "closed" }
    end)
    for _ = 1, 20 do core.step() end
    assert.equal(1, core.stats().transfers)
    core.close()
    assert_fails("CLOSED", "closed", response, err)
    assert.same({}, server:list "^closed")
    assert.equal(0, core.stats().transfers or 0)
  end)

  it("can be followed by new transfers", function()
    assert.equal(201, get("/echo").status)
    core.close()
    assert.equal(201, get("/echo").status)
    core.close()
  end)

  it("gives up a transfer whose name is being looked up", function()
    core.spawn(function() core.http { url = "http://no-such-host.invalid/" } end)
    core.step()
    core.close()
    assert.equal(0, core.stats().pending)
  end)

  it("a transfer whose coroutine somebody else resumes is given up", function()
    local thread = core.spawn(function() core.http { url = server:url "silent" } end)
    for _ = 1, 5 do core.step() end
    assert.equal(1, core.stats().transfers)
    local ok, message = coroutine.resume(thread)
    assert.is_false(ok)
    assert.matches("resumed while waiting for an HTTP response", message, 1, true)
    assert.equal(0, core.stats().transfers)
    core.close()
  end)
end)

describe("misuse", function()
  local cases = {
    { "no table", "http://x/", "table expected, got string" },
    { "no url", {}, "option 'url': string expected, got nil" },
    { "a url of a wrong type", { url = 7 }, "option 'url': string expected, got number" },
    { "a url with a zero byte", { url = "http://x/\0" }, "option 'url': it contains a zero byte" },
    { "an unknown option", { url = "", colour = 1 }, "unknown option 'colour'" },
    { "an option without a name", { url = "", 1 }, "unknown option '1'" },
    { "a method that is none", { url = "", method = "GET /" }, "option 'method': 'GET /' is not an HTTP method" },
    { "a body of a wrong type", { url = "", body = {} }, "option 'body': string expected, got table" },
    { "headers of a wrong type", { url = "", headers = "A: b" }, "option 'headers': table expected, got string" },
    { "a header without a name", { url = "", headers = { "A: b" } }, "names must be strings, got number" },
    { "a bad header name", { url = "", headers = { ["A b"] = "" } }, "'A b' cannot be a header name" },
    { "a header name that ends a line", { url = "", headers = { ["A\r\nB"] = "" } }, "cannot be a header name" },
    { "a header of a wrong type", { url = "", headers = { A = 1 } },
      "option 'headers': A: string expected, got number" },
    { "a header with CR and LF", { url = "", headers = { A = "b\r\nC: d" } }, "A: it contains a control character" },
    { "a header with a zero byte", { url = "", headers = { A = "b\0" } }, "A: it contains a control character" },
    { "a form of a wrong type", { url = "", form = 1 }, "option 'form': table expected, got number" },
    { "an empty form", { url = "", form = {} }, "option 'form': at least one part expected" },
    { "a form beside a body", { url = "", body = "", form = { { name = "a", data = "" } } },
      "not together with 'body'" },
    { "a part that is no table", { url = "", form = { 1 } }, "parts must be tables, got number" },
    { "a part without a name", { url = "", form = { { data = "" } } },
      "form part field 'name': string expected, got nil" },
    { "a part without contents", { url = "", form = { { name = "a" } } }, "'a': either 'data' or 'path' expected" },
    { "a part with two contents", { url = "", form = { { name = "a", data = "", path = "x" } } },
      "either 'data' or 'path'" },
    { "an unknown part field", { url = "", form = { { name = "a", file = "x" } } }, "unknown form part field 'file'" },
    { "a type with CR and LF", { url = "", form = { { name = "a", data = "", type = "a\r\nb" } } },
      "form part field 'type': it contains a control character" },
    { "an empty save_to", { url = "", save_to = "" }, "option 'save_to': it is empty" },
    { "resume of a wrong type", { url = "", resume = 1 }, "option 'resume': boolean expected, got number" },
    { "resume without a file", { url = "", resume = true }, "option 'resume': only together with 'save_to'" },
    { "on_progress of a wrong type", { url = "", on_progress = 1 },
      "option 'on_progress': function expected, got number" },
    { "a timeout of a wrong type", { url = "", timeout = "1" }, "option 'timeout': number expected, got string" },
    { "a timeout of nothing", { url = "", idle_timeout = 0 },
      "option 'idle_timeout': 0.001 to 10000000 expected, got 0" },
    { "a timeout that is not a number", { url = "", connect_timeout = 0 / 0 },
      "option 'connect_timeout': 0.001 to 10000000 expected, got " },
    { "max_body of a wrong type", { url = "", max_body = 1.5 }, "option 'max_body': integer expected, got number" },
    { "max_body of nothing", { url = "", max_body = 0 }, "option 'max_body': 1 or more expected, got 0" },
    { "tls of a wrong type", { url = "", tls = true }, "option 'tls': table expected, got boolean" },
    { "an unknown tls option", { url = "", tls = { insecure = true } }, "unknown option 'tls.insecure'" },
    { "a tls option without a name", { url = "", tls = { "x" } }, "unknown option 'tls.1'" },
    { "verify of a wrong type", { url = "", tls = { verify = 0 } },
      "option 'tls.verify': boolean expected, got number" },
    { "ca_file of a wrong type", { url = "", tls = { ca_file = 1 } }, "option 'tls.ca_file': string expected" },
    { "an empty ca_file", { url = "", tls = { ca_file = "" } }, "option 'tls.ca_file': it is empty" },
    { "a pin that is none", { url = "", tls = { pin = "sha256//abc" } },
      "option 'tls.pin': \"sha256//\" and 44 characters" },
    { "a proxy of a wrong type", { url = "", proxy = false }, "option 'proxy': string expected, got boolean" },
  }
  for _, case in ipairs(cases) do
    it("is refused: " .. case[1], function()
      local ok, message = pcall(function() return (core.http(case[2])) end)
      assert.is_false(ok)
      assert.matches(case[3], message, 1, true)
      assert.matches("core/http_spec.lua:", message, 1, true)
      assert.equal(0, core.stats().pending)
    end)
  end

  it("is refused on the main thread while the loop runs, and starts nothing", helper.async(function()
    assert(get("/bytes/1000", { on_progress = function() get "/echo" end }))
    assert.matches("cannot wait for an HTTP response here", helper.reported_errors()[1], 1, true)
  end))
end)
