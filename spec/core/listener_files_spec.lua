-- SPDX-License-Identifier: MIT
-- Files through the server of the core: csrc/server/upload.c, served_file.c, and what request_body.c
-- and answer.c do with them.
-- The multipart format itself is tested in core/multipart_spec.lua.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local raw_client = require "spec.support.raw_client"
local statuses = raw_client.statuses

local MIB = 1 << 20
-- Tools that watch every access take too long for files of the full size, and need memory of their own.
local WATCHED = (os.getenv "WRAP" or "") ~= "" or (os.getenv "LD_PRELOAD" or "") ~= ""
local LARGE = (WATCHED and 32 or 512) * MIB

local directory

local function output(command, ...)
  local pipe = assert(io.popen(("unset LD_PRELOAD; { %s; } 2>&1"):format(command:format(...))))
  local text = pipe:read "a"
  assert(pipe:close(), text)
  return (text:gsub("%s+$", ""))
end

local function at(name) return directory .. "/" .. name end

local function write(name, data)
  local file = assert(io.open(at(name), "wb"))
  file:write(data)
  file:close()
  return at(name)
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local data = file:read "a"
  file:close()
  return data
end

local function remove(name)
  os.remove(at(name))
  return at(name)
end

setup(function()
  directory = output "mktemp -d"
  output([[cd '%s' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout one.key \
    -out one.pem -days 2 -subj '/CN=localhost' -addext 'subjectAltName=DNS:localhost']], directory)
end)
teardown(function() output("rm -rf '%s'", directory) end)

local function raw(listener, ...) return raw_client.run(listener:port(), ...) end

local function url(listener, path, scheme)
  return ("%s://localhost:%d%s"):format(scheme or "http", listener:port(), path or "/")
end

local function fetch(listener, options)
  local request = { url = url(listener) }
  for key, value in pairs(options or {}) do request[key] = value end
  return core.http(request)
end

local function post(listener, body, headers)
  return assert(fetch(listener, { method = "POST", body = body, headers = headers }))
end

-- A listener that does with bodies as told, and hands each request to `on_http`.
local function receiver(decision, on_http, options)
  options = options or {}
  options.on_head = function() return decision end
  options.on_http = function(request)
    if on_http then on_http(request) end
    request:respond(200, {}, "taken")
  end
  return assert(core.listen(options))
end

-- A listener that answers each request with `body`, which may be a function.
local function server(body, options)
  options = options or {}
  options.on_http = function(request)
    local given = body
    if type(body) == "function" then given = body(request) end
    assert(request:respond(200, {}, given))
  end
  return assert(core.listen(options))
end

-- Are files below the directory open in this process?
local function holds_files()
  local list = output("ls -l /proc/$PPID/fd 2>/dev/null || true")
  return list:find(directory, 1, true) ~= nil
end

local function resident()
  for line in io.lines "/proc/self/status" do
    local value = line:match "^VmRSS:%s*(%d+) kB"
    if value then return math.tointeger(value) * 1024 end
  end
end

describe("on_head", function()
  it("is asked before the body is read", helper.async(function()
    local head, body
    local listener = assert(core.listen {
      on_head = function(given) head = given end,
      on_http = function(request)
        body = request.body
        request:respond(200, {}, tostring(request.content_length))
      end,
    })
    local response = assert(core.http { url = url(listener, "/a%20b?x=1"), method = "PUT", body = "hello",
                                        headers = { ["Upload-Task-Id"] = "77" } })
    assert.equal("5", response.body)
    assert.equal("hello", body)
    assert.equal("PUT", head.method)
    assert.equal("/a b", head.path)
    assert.same({ x = "1" }, head.query)
    assert.equal("77", head.headers["upload-task-id"])
    assert.equal(5, head.content_length)
    assert.equal("127.0.0.1", head.peer)
    listener:close()
  end))

  it("is not asked about a request without a body", helper.async(function()
    local asked = 0
    local listener = assert(core.listen { on_head = function() asked = asked + 1 end,
                                          on_http = function(request) request:respond(200, {}, request.body) end })
    assert.equal("", assert(fetch(listener)).body)
    assert.equal("", post(listener, "").body)
    assert.equal("x", post(listener, "x").body)
    assert.equal(1, asked)
    listener:close()
  end))

  it("may widen or narrow max_body", helper.async(function()
    local decision = {}
    local listener = assert(core.listen { max_body = 10, on_head = function() return decision end,
                                          on_http = function(request) request:respond(200, {}, request.body) end })
    assert.equal(200, post(listener, ("x"):rep(10)).status)
    assert.equal(413, post(listener, ("x"):rep(11)).status)
    decision.max_body = 200000
    assert.equal(200000, #post(listener, ("x"):rep(200000)).body)
    assert.equal(413, post(listener, ("x"):rep(200001)).status)
    decision.max_body = 0
    assert.equal(413, post(listener, "x").status)
    listener:close()
  end))

  it("may have the body thrown away", helper.async(function()
    local bodies = {}
    local listener = receiver({ ignore_body = true }, function(request) bodies[#bodies + 1] = request.body end,
                              { max_body = 10 })
    assert.equal("taken", post(listener, "short").body)
    assert.equal("taken", post(listener, ("x"):rep(3 * MIB)).body)
    local text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n]], "until taken",
                     "repeat 1000000 x", "read")
    assert.equal("200", statuses(text))
    assert.same({ "", "", "" }, bodies)
    listener:close()
  end))

  it("may have the body read slowly, so that the client waits", helper.async(function()
    local data = ("0123456789abcdef"):rep(25000)
    for _, headers in ipairs { {}, { ["Transfer-Encoding"] = "chunked" } } do
      local came
      local listener = receiver({ rate = 1000000, max_body = #data }, function(request) came = request.body end)
      local began = core.monotonic()
      assert.equal("taken", post(listener, data, headers).body)
      assert.is_true(core.monotonic() - began > 0.3)
      assert.is_true(came == data)
      listener:close()
    end
  end))

  it("may have the body cut, of which the client has not sent much more", helper.async(function()
    local sent, called = 0, false
    local listener = receiver({ save_to = remove "body", rate = 16 * MIB, cut_after = 4 * MIB, max_body = 64 * MIB },
      function() called = true end)
    local began = core.monotonic()
    local response, err = fetch(listener, {
      method = "POST", body = ("x"):rep(64 * MIB), on_progress = function(bytes) sent = math.max(sent, bytes) end,
    })
    assert.is_nil(response)
    assert.equal("DISCONNECTED", err.name)
    assert.is_true(core.monotonic() - began > 0.2)
    assert.is_true(sent > 0 and sent < 40 * MIB, tostring(sent))
    assert.is_false(called)
    assert.is_nil(read(at "body"))
    listener:close()
  end))

  it("ends its pause with the client or the listener", helper.async(function()
    for _, abrupt in ipairs { true, false } do
      local listener = receiver { rate = 1000, max_body = MIB }
      local waiter = core.waiter()
      core.spawn(function() waiter:wake(select(2, fetch(listener, { method = "POST", body = ("x"):rep(MIB) }))) end)
      local text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n]],
        "repeat 100000 x")
      assert.equal("", text)
      listener:close(abrupt)
      assert.matches("^%u+$", waiter:wait(20).name)
    end
  end))

  it("must not fail, wait, or answer nonsense", helper.async(function()
    local answer
    local listener = assert(core.listen { on_head = function() return answer() end,
                                          on_http = function(request) request:respond(200, {}) end })
    local function assert_reported(text, fn)
      answer = fn
      assert.equal(500, post(listener, ("x"):rep(100000)).status)
      local errors = helper.reported_errors()
      assert.equal(1, #errors)
      assert.matches(text, errors[1], 1, true)
    end
    assert_reported("on purpose", function() error "on purpose" end)
    assert_reported("cannot wait", function() core.sleep(1) end)
    assert_reported("on_head: a table or nil expected, got number", function() return 5 end)
    local wrong = {
      ["unknown on_head field 'save'"] = { save = "x" },
      ["'save_to': a path expected, got number"] = { save_to = 5 },
      ["'save_to': the path is empty"] = { save_to = "" },
      ["'save_to' and 'form' exclude each other"] = { save_to = "x", form = {} },
      ["'form': a table expected, got string"] = { form = "x" },
      ["'form': a path expected, got boolean"] = { form = { file = true } },
      ["'form': names of parts expected, got a key of type number"] = { form = { "x" } },
      ["'max_body': 0 or more expected, got -5"] = { save_to = "x", max_body = -5 },
      ["'max_body': integer expected, got string"] = { max_body = "5" },
      ["'rate': 1 or more expected, got 0"] = { rate = 0 },
      ["'cut_after': 0 or more expected, got -1"] = { cut_after = -1 },
      ["'ignore_body' excludes"] = { save_to = "x", ignore_body = true },
    }
    for text, decision in pairs(wrong) do assert_reported(text, function() return decision end) end
    local many = {}
    for i = 1, 17 do many["part" .. i] = "x" end
    assert_reported("'form': at most 16 parts", function() return { form = many } end)
    assert.has_error(function() core.listen { on_head = true } end)
    listener:close()
  end))

  it("may close the listener", helper.async(function()
    local listener, closed
    listener = assert(core.listen { on_head = function()
      closed = core.waiter()
      core.spawn(function() listener:close(true) closed:wake() end)
      return { save_to = at "never" }
    end })
    assert.is_nil((fetch(listener, { method = "POST", body = "x" })))
    closed:wait()
    assert.is_nil(read(at "never"))
  end))
end)

describe("a body saved to a file", function()
  it("is there when the handler runs, and is its own", helper.async(function()
    local data = ("0123456789\0\r\n"):rep(100000)
    local seen = {}
    local listener = receiver({ save_to = remove "body", max_body = #data }, function(request)
      seen = { request.body_file, request.body, request.parts, read(request.body_file) }
    end)
    assert.equal("taken", post(listener, data).body)
    assert.equal(at "body", seen[1])
    assert.equal("", seen[2])
    assert.is_nil(seen[3])
    assert.is_true(seen[4] == data)
    assert.is_true(read(at "body") == data)
    assert.is_false(holds_files())
    listener:close()
  end))

  it("may come in any pieces, chunked, and after an invitation", helper.async(function()
    local listener = receiver { save_to = at "body" }
    local text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nab]], "pause 0.05",
                     "send cdef",
                     "until taken", "send POST / HTTP/1.1\\r\\nHost: x\\r\\n" ..
                     [[Connection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n]],
                     [[until 100 Continue\r\n\r\n]], "send xyz", "read")
    assert.equal("200 100 200", statuses(text))
    assert.equal("xyz", read(at "body"))
    text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n]] ..
               [[Transfer-Encoding: chunked\r\n\r\n5\r\nhel]], "pause 0.05",
               [[send lo\r\n6\r\n, body\r\n0\r\n\r\n]], "read")
    assert.equal("200", statuses(text))
    assert.equal("hello, body", read(at "body"))
    text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n]] ..
               [[Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n]], "read")
    assert.equal("200", statuses(text))
    assert.equal("hi", read(at "body"))
    listener:close()
  end))

  it("gets 413 above max_body, and leaves nothing", helper.async(function()
    local called = false
    local listener = receiver({ save_to = remove "body", max_body = 100000 }, function() called = true end)
    assert.equal(413, post(listener, ("x"):rep(100001)).status)
    assert.is_nil(read(at "body"))
    local text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n186A1\r\n]],
                     "repeat 100001 x", [[send \r\n0\r\n\r\n]], "read")
    assert.equal("413", statuses(text))
    assert.is_nil(read(at "body"))
    assert.is_false(called)
    listener:close()
  end))

  it("is removed when the client leaves in the middle", helper.async(function()
    local listener = receiver({ save_to = remove "body" }, function() error "called" end)
    local begun
    core.spawn(function()
      helper.eventually(function() return read(at "body") == "half" end)
      begun = true
    end)
    raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf]], "pause 0.3")
    helper.eventually(function() return not read(at "body") end)
    assert.is_true(begun)
    assert.is_false(holds_files())
    listener:close()
  end))

  it("is removed when the listener or the runtime closes", function()
    helper.async(function()
      local listener = receiver({ save_to = remove "body" })
      local left = core.waiter()
      core.spawn(function()
        raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf]], "read")
        left:wake()
      end)
      helper.eventually(function() return read(at "body") end)
      listener:close()
      assert.is_nil(read(at "body"))
      left:wait()
    end)()
    local listener = receiver({ save_to = remove "body" })
    core.spawn(raw, listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf]], "read")
    while not read(at "body") do core.sleep(0.01) end
    core.close()
    assert.is_nil(read(at "body"))
    assert.is_false(holds_files())
  end)

  it("is removed when nobody handles the request", helper.async(function()
    local listener = assert(core.listen { on_head = function() return { save_to = at "body" } end })
    assert.equal(404, post(listener, "x").status)
    helper.eventually(function() return not read(at "body") end)
    listener:close()
  end))

  it("is refused where it cannot be written", helper.async(function()
    local decision = { save_to = at "nowhere/body" }
    local listener = receiver(decision, function() error "called" end)
    assert.equal(500, post(listener, "x").status)
    decision.save_to = directory
    assert.equal(500, post(listener, "x").status)
    decision.save_to = "/dev/full"
    assert.equal(507, post(listener, ("x"):rep(MIB)).status)
    assert.is_truthy(io.open "/dev/full")
    listener:close()
  end))
end)

local function part(name, data, more)
  return ("--b\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n"):format(name, more or "", data)
end

local FORM = { ["Content-Type"] = "multipart/form-data; boundary=b" }

describe("a form", function()
  local function form(on_http, more)
    local decision = { form = { file = remove "file", preview = remove "preview" }, max_body = 10 * MIB }
    for key, value in pairs(more or {}) do decision[key] = value end
    return receiver(decision, on_http)
  end

  it("has its parts in files", helper.async(function()
    local parts
    local listener = form(function(request) parts = request.parts end)
    local data = ("\r\n--x\r\n"):rep(100000)
    local response = assert(fetch(listener, { form = {
      { name = "preview", data = "small", filename = "p.webp", type = "image/webp" },
      { name = "file", data = data, filename = "\u{43e}\u{442}\u{447}\u{451}\u{442} '1'.txt", type = "text/plain" },
    } }))
    assert.equal("taken", response.body)
    assert.same({
      file = { path = at "file", size = #data, type = "text/plain",
               filename = "\u{43e}\u{442}\u{447}\u{451}\u{442} '1'.txt" },
      preview = { path = at "preview", size = 5, type = "image/webp", filename = "p.webp" },
    }, parts)
    assert.is_true(read(at "file") == data)
    assert.equal("small", read(at "preview"))
    assert.is_false(holds_files())
    listener:close()
  end))

  it("may lack parts, and bring unknown ones or the same twice", helper.async(function()
    local parts, seen
    local listener = form(function(request)
      parts, seen = request.parts, read(at "file")
    end)
    post(listener, part("other", "dropped") .. part("file", "first") .. part("file", "second") .. "--b--", FORM)
    assert.same({ file = { path = at "file", size = 5 } }, parts)
    assert.equal("first", seen)
    assert.is_nil(read(at "preview"))
    post(listener, "--b--", FORM)
    assert.same({}, parts)
    listener:close()
  end))

  it("has file names that are text, never a path", helper.async(function()
    local names = {}
    local listener = form(function(request) names[#names + 1] = request.parts.file.filename end)
    for _, name in ipairs { "../../evil", "/etc/passwd", "a\0b", "\xff\xfe", "C:\\x", "a\\\"b", "a%22b", "" } do
      post(listener, part("file", "x", ("; filename=\"%s\""):format(name)) .. "--b--", FORM)
    end
    assert.same({ "../../evil", "/etc/passwd", "a\0b", "\xff\xfe", "C:\\x", "a\"b", "a%22b", "" }, names)
    assert.is_nil(read(at "../evil"))
    listener:close()
  end))

  local broken = {
    ["the last boundary is missing"] = { 400, part("file", "x") },
    ["it breaks off in a boundary"] = { 400, part("file", "x") .. "--b-" },
    ["it has no boundary"] = { 400, ("x"):rep(100000) },
    ["the headers of a part are too long"] = { 400,
      part("preview", "x") .. part("file", "x", "\r\nX: " .. ("y"):rep(10000)) .. "--b--" },
    ["it is none"] = { 415, "{}", { ["Content-Type"] = "application/json" } },
    ["it names no boundary"] = { 415, "--b--", { ["Content-Type"] = "multipart/form-data" } },
    ["it has no type"] = { 415, "--b--", {} },
    ["it is too long"] = { 413, part("file", ("x"):rep(10 * MIB)) .. "--b--" },
  }
  for name, case in pairs(broken) do
    it("is refused if " .. name, helper.async(function()
      local listener = form(function() error "called" end)
      assert.equal(case[1], post(listener, case[2], case[3] or FORM).status)
      assert.is_nil(read(at "file"))
      assert.is_nil(read(at "preview"))
      listener:close()
    end))
  end

  it("refused early lets the client read why, though it sends on", helper.async(function()
    local listener = form(function() error "called" end)
    local text = raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n]],
      "repeat 9000000 x", "read")
    assert.equal("415", statuses(text))
    assert.matches("Unsupported Media Type$", text)
    listener:close()
  end))

  it("is refused if a part cannot be written", helper.async(function()
    local listener = form(nil, { form = { file = at "file", preview = at "nowhere/preview" } })
    assert.equal(500, post(listener, part("file", "x") .. part("preview", "y") .. "--b--", FORM).status)
    assert.is_nil(read(at "file"))
    listener:close()
    listener = form(nil, { form = { file = "/dev/full" } })
    assert.equal(507, post(listener, part("file", ("x"):rep(MIB)) .. "--b--", FORM).status)
    listener:close()
  end))

  it("leaves nothing when the client leaves in the middle", helper.async(function()
    local listener = form(function() error "called" end)
    local steps = part("file", "x", "; filename=a"):gsub("\r\n", "\\r\\n")
    raw(listener, [[send POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n]] ..
      [[Content-Length: 5000\r\n\r\n]] .. steps, "pause 0.1")
    helper.eventually(function() return not read(at "file") end)
    assert.is_false(holds_files())
    listener:close()
  end))

  it("survives random bodies", helper.async(function()
    local taken, refused = 0, 0
    local listener = form()
    local good = part("file", ("data\r\n"):rep(20)) .. part("preview", "p", "; filename=x") .. "--b--"
    local state = 1
    local function random(n)
      state = (state * 1103515245 + 12345) % (1 << 31)
      return (state >> 8) % n + 1
    end
    for _ = 1, 60 do
      local cut = random(#good)
      local body = good:sub(1, cut - 1) .. string.char(random(256) - 1) .. good:sub(cut + random(3), random(2 * #good))
      local status = post(listener, body, FORM).status
      if status == 200 then
        taken = taken + 1
      else
        assert.equal(400, status)
        refused = refused + 1
        assert.is_nil(read(at "file"))
      end
      os.remove(at "file")
      os.remove(at "preview")
    end
    assert.is_true(taken > 5 and refused > 5)
    listener:close()
  end))
end)

describe("a file as an answer", function()
  local data = ("0123456789abcdef"):rep(100000)

  it("arrives whole, or a range of it", helper.async(function()
    local path = write("served", data)
    local body
    local listener = server(function() return body end)
    local function got(options)
      options.path = path
      body = options
      local response = assert(fetch(listener))
      assert.equal(#response.body, math.tointeger(response.headers["content-length"]))
      return response.body
    end
    assert.is_true(got {} == data)
    assert.is_true(got { offset = 5 } == data:sub(6))
    assert.equal("6789", got { offset = 6, length = 4 })
    assert.equal("0123456789abcdef", got { offset = #data - 16 })
    assert.equal("", got { offset = #data })
    assert.equal("", got { length = 0 })
    assert.is_false(holds_files())
    path = write("empty", "")
    assert.equal("", got {})
    listener:close()
  end))

  it("has no body with HEAD, 204 and 304", helper.async(function()
    local path = write("served", data)
    local listener = assert(core.listen { on_http = function(request)
      request:respond(math.tointeger(request.query.status) or 200, {}, { path = path })
      assert.is_false(holds_files())
    end })
    local text = raw(listener, [[send HEAD / HTTP/1.1\r\nHost: x\r\n\r\n]], [[until \r\n\r\n]], "pause 0.05",
      [[send GET /?status=204 HTTP/1.1\r\nHost: x\r\n\r\n]], "until 204", "pause 0.05",
      [[send GET /?status=304 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n]], "read")
    assert.equal("200 204 304", statuses(text))
    assert.equal(1, select(2, text:gsub("Content%-Length: 1600000\r\n", "")))
    assert.is_nil(text:find("0123", 1, true))
    listener:close()
  end))

  it("leaves the request unanswered if it cannot be read", helper.async(function()
    local path = write("served", "four")
    local problems = {}
    local listener = assert(core.listen { on_http = function(request)
      for _, body in ipairs { { path = at "none" }, { path = directory }, { path = path, offset = 5 },
                              { path = path, length = 5 }, { path = path, offset = 3, length = 2 },
                              { path = "/dev/zero" } } do
        local ok, err = request:respond(200, {}, body)
        assert.is_nil(ok)
        assert.equal("IO", err.name)
        problems[#problems + 1] = err.message
      end
      request:respond(404, {}, "not here")
    end })
    local response = assert(fetch(listener))
    assert.equal(404, response.status)
    assert.equal("not here", response.body)
    assert.matches("none: No such file", problems[1], 1, true)
    assert.matches("not a file", problems[2])
    assert.matches("it has 4 bytes, less than", problems[3])
    listener:close()
  end))

  it("names what is wrong with it", helper.async(function()
    local path = write("served", "four")
    local wrong = {
      ["unknown body field 'file'"] = { file = path },
      ["body field 'path': string expected, got nil"] = {},
      ["body field 'path': it is empty"] = { path = "" },
      ["body field 'offset': integer expected, got string"] = { path = path, offset = "1" },
      ["body field 'offset': 0 or more expected, got -1"] = { path = path, offset = -1 },
      ["body field 'length': 0 or more"] = { path = path, length = -1 },
      ["body field 'rate': 1 or more"] = { path = path, rate = 0 },
      ["body field 'cut_after': integer expected"] = { path = path, cut_after = 1.5 },
    }
    local listener = assert(core.listen { on_http = function(request)
      for text, body in pairs(wrong) do
        local ok, problem = pcall(request.respond, request, 200, {}, body)
        assert.is_false(ok)
        assert.matches(text, problem, 1, true)
      end
      request:respond(200, {}, { path = path })
      local ok, problem = pcall(request.respond, request, 200, {}, { path = path })
      assert.is_false(ok)
      assert.matches("answered already", problem)
    end })
    assert.equal("four", assert(fetch(listener)).body)
    listener:close()
  end))

  it("is closed when the client leaves in the middle", helper.async(function()
    output("truncate -s %d '%s'", 64 * MIB, at "sparse")
    local opened = 0
    local listener = assert(core.listen { on_http = function(request)
      assert(request:respond(200, {}, { path = at "sparse" }))
      opened = opened + 1
      assert.is_true(holds_files())
    end })
    for _ = 1, 3 do raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n\r\n]], "until 200 OK", "pause 0.05") end
    helper.eventually(function() return not holds_files() end)
    assert.equal(3, opened)
    raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n\r\n]], "until 200 OK", "pause 0.05")
    listener:close()
    assert.is_false(holds_files())
  end))

  it("arrives at a slow reader, and another request follows", helper.async(function()
    local text_data = ("0123456789abcdef"):rep(1 << 19)
    local listener = server { path = write("served", text_data) }
    local text = raw(listener, [[send GET /1 HTTP/1.1\r\nHost: x\r\n\r\n]], "pause 0.1",
      [[send GET /2 HTTP/1.1\r\nHost: x\r\n]],
      "pause 0.2", "until f0123456789abcdef0", [[send Connection: close\r\n\r\n]], "read")
    local first, second = text:match "\r\n\r\n([^\r]*)HTTP.*\r\n\r\n([^\r]*)$"
    assert.equal("200 200", statuses(text))
    assert.is_true(first == text_data and second == text_data)
    listener:close()
  end))

  it("ends the connection if it shrinks meanwhile", helper.async(function()
    local listener = server { path = write("served", ("x"):rep(MIB)), rate = 2 * MIB }
    local result = core.waiter()
    core.spawn(function() result:wake(fetch(listener)) end)
    helper.eventually(holds_files)
    write("served", "short")
    local response, err = result:wait()
    assert.is_nil(response)
    assert.equal("DISCONNECTED", err.name)
    assert.is_false(holds_files())
    listener:close()
  end))

  it("may be cut", helper.async(function()
    local options = { path = write("served", data) }
    local listener = server(options)
    for _, cut in ipairs { 0, 1, 1000, 300000 } do
      options.cut_after = cut
      local text = raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n\r\n]], "read")
      assert.matches("Content%-Length: 1600000\r\n", text)
      assert.equal(cut, #text:match "\r\n\r\n(.*)$")
      assert.equal("DISCONNECTED", select(2, fetch(listener)).name)
    end
    options.cut_after = #data
    assert.is_true(assert(fetch(listener)).body == data)
    assert.is_false(holds_files())
    listener:close()
  end))

  it("may be held to a rate", function()
    core.virtual_time(true)
    helper.async(function()
      local listener = server { path = write("served", ("x"):rep(1000)), rate = 5000 }
      local response, received = nil, 0
      core.spawn(function()
        response = assert(fetch(listener, { on_progress = function(_, _, now) received = now end }))
      end)
      core.advance(0.12)
      assert.is_nil(response)
      assert.is_true(received <= 600, received)
      core.advance(0.1)
      assert.equal(("x"):rep(1000), response.body)
      listener:close()
    end)()
    core.virtual_time(false)
  end)

  it("held to a rate is given up with the client or the listener", helper.async(function()
    local listener = server { path = write("served", data), rate = 10 }
    raw(listener, [[send GET / HTTP/1.1\r\nHost: x\r\n\r\n]], "until 200 OK")
    local left = core.waiter()
    core.spawn(function() left:wake(fetch(listener)) end)
    helper.eventually(holds_files)
    listener:close(true)
    assert.is_nil((left:wait()))
    assert.is_false(holds_files())
  end))

  it("is waited for when the listener closes", helper.async(function()
    local begun = core.waiter()
    local path = write("served", data)
    local listener = server(function()
      begun:wake()
      return { path = path }
    end)
    local response = core.waiter()
    core.spawn(function() response:wake(fetch(listener)) end)
    begun:wait()
    listener:close()
    assert.is_true(assert(response:wait()).body == data)
  end))
end)

describe("files over TLS", function()
  it("go both ways", helper.async(function()
    local data = ("0123456789abcdef"):rep(100000)
    local path = remove "secret"
    local listener = assert(core.listen {
      tls = { cert_file = at "one.pem", key_file = at "one.key" },
      on_head = function() return { save_to = path, max_body = 10 * MIB } end,
      on_http = function(request) request:respond(200, {}, { path = request.body_file }) end,
    })
    local response = assert(core.http { url = url(listener, "/", "https"), method = "POST", body = data,
                                        tls = { ca_file = at "one.pem" } })
    assert.is_true(response.body == data)
    listener:close()
  end))
end)

describe("a large file", function()
  -- Freed memory stays with a sanitizer for a while.
  local BOUND = (WATCHED and 256 or 12) * MIB

  local function assert_constant_memory(fn)
    collectgarbage()
    local before, most = resident(), 0
    local over = false
    core.spawn(function()
      repeat
        most = math.max(most, resident())
        core.sleep(0.02)
      until over
    end)
    fn()
    over = true
    assert.is_true(most - before < BOUND, ("%d MiB more"):format((most - before) // MIB))
  end

  local function size_of(path)
    local file = assert(io.open(path, "rb"))
    local size = file:seek "end"
    file:close()
    return size
  end

  setup(function() output("truncate -s %d '%s'", LARGE, at "large") end)

  it("comes in with constant memory", helper.async(function()
    local size
    local listener = receiver({ form = { file = remove "copy" }, max_body = LARGE + MIB },
                              function(request) size = request.parts.file.size end)
    assert_constant_memory(function()
      local response = assert(fetch(listener, { form = { { name = "file", path = at "large", filename = "a" } } }))
      assert.equal(200, response.status)
    end)
    assert.equal(LARGE, size)
    assert.equal(LARGE, size_of(at "copy"))
    remove "copy"
    listener:close()
  end))

  it("goes out with constant memory", helper.async(function()
    local listener = server { path = at "large" }
    assert_constant_memory(function() assert(fetch(listener, { save_to = at "copy" })) end)
    assert.equal(LARGE, size_of(at "copy"))
    remove "copy"
    listener:close()
  end))
end)
