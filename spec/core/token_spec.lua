-- SPDX-License-Identifier: MIT
-- Where a session's token comes from, how long it is good, and the file it is kept in.

local core = require "trueconf.core"
local faulty = require "spec.support.faulty"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"

local async, eventually = helper.async, helper.eventually

describe("the token", function()
  local server, directory

  setup(function()
    server = faulty.start()
    directory = os.tmpname()
    os.remove(directory)
    assert(os.execute("mkdir -m 700 " .. directory))
  end)

  teardown(function()
    server:stop()
    os.execute("rm -rf " .. directory)
  end)

  local OK = { "accept", "auth", "echo" }

  -- A session with a password at a token endpoint that runs `scripts`.
  local function session_at(scripts, options)
    local token_url, tokens = server:http(table.unpack(scripts))
    local given = { token = false, username = "herald", password = "4711", url = server:ws(OK), token_url = token_url }
    for name, value in pairs(options or {}) do given[name] = value end
    local session, record = faulty.session(given)
    session:start()
    return session, record, tokens
  end

  local function visits(name)
    return #server:log(name, "visit")
  end

  describe("of the password grant", function()
    local function comes_after(script, options)
      local session, record, tokens = session_at({ script, { { "token", {} } } }, options)
      assert(session:wait_ready(10))
      session:stop()
      assert.equal("token backoff token connecting authorizing ready closing closed", faulty.path(record))
      assert.equal(2, visits(tokens))
      return faulty.reason(record, "backoff")
    end

    for _, status in ipairs { 200, 201 } do
      it(("is taken from an answer %d"):format(status), async(function()
        local session, record = session_at({ { { "respond", status, '{"access_token":"a\\u002eb\\n"}' } } })
        assert(session:wait_ready(5))
        session:stop()
        assert.equal("token connecting authorizing ready closing closed", faulty.path(record))
      end))
    end

    it("is sent as it was given, the password as a JSON string whatever is in it", async(function()
      local url, name = server:ws(OK)
      local session, _, tokens = session_at({ { { "respond", 201, '{"access_token":"a\\"\\u00e9"}' } } },
        { url = url, username = "o\"neil", password = "12\\3\té" })
      assert(session:wait_ready(5))
      session:stop()
      local body = json.decode(server:log(tokens, "visit")[1].body)
      assert.equal("o\"neil", body.username)
      assert.equal("12\\3\té", body.password)
      assert.equal("a\"é", server:log(name, "frame")[1].frame.payload.token)
    end))

    for what, answer in pairs {
      ["400 invalid_grant"] = { 400, '{"error":"invalid_grant","error_description":"Invalid username or password"}' },
      ["401 invalid_grant"] = { 401, '{"error":"invalid_grant","error_description":"Invalid username or password"}' },
      ["401 without JSON"] = { 401, "no" },
      ["403 auth_method_disabled"] = { 403, '{"error":"auth_method_disabled"}' },
      ["403 of a web server"] = { 403, "<html>Forbidden</html>", "text/html" },
    } do
      it("is asked for three times while the answer is " .. what, async(function()
        local session, record, tokens = session_at { { { "respond", table.unpack(answer) } } }
        local ok, err = session:wait_ready(5)
        assert.is_nil(ok)
        assert.equal("token backoff token backoff token failed", faulty.path(record))
        assert.equal(3, visits(tokens))
        assert.equal("AUTH_FAILED", err.name)
        assert.equal(answer[1], err.code)
        assert.matches(answer[2]:match '"error":"([%a_]+)"' or tostring(answer[1]), err.message)
      end))
    end

    for _, name in ipairs { "invalid_request", "invalid_client", "unsupported_grant_type" } do
      it("is not asked for again after 400 " .. name, async(function()
        local session, record, tokens = session_at { { { "respond", 400, ('{"error":"%s"}'):format(name) } } }
        local _, err = session:wait_ready(5)
        assert.equal("token failed", faulty.path(record))
        assert.equal(1, visits(tokens))
        assert.matches(name, err.message)
        assert.equal(400, err.code)
      end))
    end

    for what, answer in pairs {
      ["404"] = { 404 },
      ["500 with HTML"] = { 500, "<html>Bridge is down</html>", "text/html" },
      ["503"] = { 503, "" },
      ["400 that is not of Bridge"] = { 400, "<html>Bad Request</html>", "text/html" },
      ["302"] = { 302, "" },
    } do
      it("is asked for again after " .. what, async(function()
        local err = comes_after { { "respond", table.unpack(answer) } }
        assert.equal("HTTP", err.name)
        assert.equal(answer[1], err.code)
      end))
    end

    for what, body in pairs {
      ["an empty body"] = "",
      ["a body that is not JSON"] = "<html></html>",
      ["an array"] = '["access_token"]',
      ["JSON without access_token"] = '{"token_type":"JWT"}',
      ["an access_token that is a number"] = '{"access_token":1}',
      ["an access_token that is empty"] = '{"access_token":""}',
      ["an access_token with a broken escape"] = '{"access_token":"\\u12"}',
    } do
      it("is asked for again after " .. what, async(function()
        local err = comes_after { { "respond", 201, body } }
        assert.equal("PROTOCOL", err.name)
        assert.matches("access_token", err.message)
      end))
    end

    it("is asked for again after an answer that has no end", async(function()
      assert.equal("LIMIT", comes_after({ { "respond", 201, ("x"):rep(70000) } }).name)
    end))

    for what, case in pairs {
      ["before the answer"] = { "DISCONNECTED", "close" },
      ["within the headers"] = { "PROTOCOL", "cut_headers", "close" },
      ["after the headers"] = { "DISCONNECTED", "headers_only", "close" },
      ["within the body"] = { "DISCONNECTED", "cut_body", "close" },
      ["by a reset"] = { "DISCONNECTED", "reset" },
    } do
      it("is asked for again when the connection ends " .. what, async(function()
        assert.equal(case[1], comes_after({ table.unpack(case, 2) }).name)
      end))
    end

    it("is asked for again when no answer comes in time", async(function()
      assert.equal("TIMEOUT", comes_after({ "mute" }, { token_timeout = 0.1 }).name)
      assert.equal("TIMEOUT", comes_after({ "cut_body", "mute" }, { token_timeout = 0.1 }).name)
    end))

    it("is asked for again when nothing listens", async(function()
      local session, record = session_at({}, { token_url = "http://127.0.0.1:1/" })
      eventually(function() return faulty.path(record):match "^token backoff token" end)
      session:stop()
      assert.equal("REFUSED", faulty.reason(record, "backoff").name)
    end))

    it("does not go through the environment's proxy", function()
      local script = [[
        local core = require "trueconf.core"
        local session = core.session {
          url = %q, token_url = %q, username = "u", password = "p", backoff_min = 30,
          on_state = function(new, _, err) if new == "backoff" then io.write(tostring(err)) os.exit(1) end end,
        }
        session:start()
        assert(session:wait_ready(10))
        session:stop()
      ]]
      local ws, http
      async(function() ws, http = server:ws(OK), server:http { { "token", {} } } end)()
      local path = directory .. "/proxied.lua"
      local file = assert(io.open(path, "w"))
      file:write(("package.cpath = %q\n"):format(package.cpath), script:format(ws, http))
      file:close()
      local proxies = ("http_proxy=%s HTTP_PROXY=%s ALL_PROXY=%s no_proxy="):gsub("%%s", "http://127.0.0.1:1")
      assert.is_true(os.execute(("%s timeout 20 '%s' '%s'"):format(proxies, os.getenv "LUA" or "lua5.4", path)))
    end)
  end)

  describe("is good", function()
    local function jwt(claims)
      return ("h.%s.s"):format(core.base64url_encode(claims))
    end

    -- How often the token is asked for while the connection is made twice.
    local function times_asked(fields)
      local session, record, tokens = session_at { { { "token", fields } } }
      assert(session:wait_ready(5))
      session:drop()
      eventually(function() return faulty.path(record):match "ready.*ready" end)
      session:stop()
      return visits(tokens)
    end

    local LATER, SOON, BEFORE = os.time() + 3600, os.time() + 3, os.time() - 10

    for what, case in pairs {
      ["until expires_at"] = { { expires_at = LATER }, 1 },
      ["not within some seconds of expires_at"] = { { expires_at = SOON }, 2 },
      ["not after expires_at"] = { { expires_at = BEFORE }, 2 },
      ["until expires_at in milliseconds"] = { { expires_at = LATER * 1000 }, 1 },
      ["not after expires_at in milliseconds"] = { { expires_at = BEFORE * 1000 }, 2 },
      ["until its own claim exp"] = { { token = jwt(('{"exp":%d}'):format(LATER)) }, 1 },
      ["not after its own claim exp"] = { { token = jwt(('{"exp":%d}'):format(BEFORE)) }, 2 },
      ["until expires_at, whatever its claim says"] = {
        { token = jwt(('{"exp":%d}'):format(BEFORE)), expires_at = LATER }, 1,
      },
      ["not after expires_at, whatever its claim says"] = {
        { token = jwt(('{"exp":%d}'):format(LATER)), expires_at = BEFORE }, 2,
      },
      ["whatever expires_in says in seconds"] = { { expires_in = 1 }, 1 },
      ["until expires_in that is a point in time"] = { { expires_in = LATER * 1000 }, 1 },
      ["not after expires_in that is a point in time"] = { { expires_in = BEFORE * 1000 }, 2 },
      ["until expires_at, however far away"] = { { expires_at = 1e300 }, 1 },
      ["not after a time long ago in its claims"] = { { token = jwt '{"exp":1}' }, 2 },
      ["when expires_at cannot be read"] = { { expires_at = "tomorrow" }, 1 },
      ["when its claims cannot be read"] = { { token = "h.!!!.s" }, 1 },
      ["when its claims have no exp"] = { { token = jwt "{}" }, 1 },
      ["when its claims are not an object"] = { { token = jwt "[1]" }, 1 },
      ["when it has two parts"] = { { token = "h.e30" }, 1 },
    } do
      it(what, async(function() assert.equal(case[2], times_asked(case[1])) end))
    end

    it("when it is a ready one, as long as the server says", async(function()
      local url, name = server:ws(OK)
      local session, record = faulty.session { url = url, token = jwt(('{"exp":%d}'):format(BEFORE)) }
      session:start()
      assert(session:wait_ready(5))
      session:drop()
      eventually(function() return faulty.path(record):match "ready.*ready" end)
      session:stop()
      assert.equal(2, #server:log(name, "frame"))
    end))
  end)

  describe("in a file", function()
    local files = 0

    local function new_path()
      files = files + 1
      return ("%s/token%d"):format(directory, files)
    end

    local function read(path)
      local file = assert(io.open(path))
      local text = file:read "a"
      file:close()
      return text
    end

    local function write(path, text, mode)
      local file = assert(io.open(path, "w"))
      file:write(text)
      file:close()
      assert(os.execute(("chmod %s '%s'"):format(mode or "600", path)))
    end

    local function output(command)
      local pipe = io.popen(command)
      local text = pipe:read "a"
      pipe:close()
      return (text:gsub("%s+$", ""))
    end

    -- Start a session that keeps its token in the file, wait until it is ready, and stop it.
    local function pass(options)
      local session, record, tokens = session_at({ { { "token", { token = "fresh" } } } }, options)
      assert(session:wait_ready(5))
      session:stop()
      return visits(tokens), faulty.path(record), session
    end

    -- A file with a token, and the address it belongs to.
    local function kept(changes)
      local path, token_url, name = new_path(), server:http { { "token", { token = "fresh" } } }
      local fields = { token_url = token_url, username = "herald", access_token = "kept",
        expires = (os.time() + 3600) * 1000 }
      for key, value in pairs(changes or {}) do fields[key] = value end
      write(path, json.encode(fields))
      return path, token_url, name
    end

    -- How often the token is asked for although there is a file.
    local function times_asked(path, token_url, name)
      pass { token_file = path, token_url = token_url }
      return visits(name)
    end

    it("is written with mode 0600, and nothing beside it", async(function()
      local path = new_path()
      assert.equal(1, (pass { token_file = path }))
      assert.equal("600", output("stat -c %a " .. path))
      local fields = json.decode(read(path))
      assert.equal("fresh", fields.access_token)
      assert.equal("herald", fields.username)
      local month = (os.time() + 30 * 86400) * 1000
      assert.is_true(math.abs(fields.expires - month) < 20000)
      assert.equal(path, output(("ls -d %s*"):format(path)))
      assert.is_nil(read(path):find("4711", 1, true))
    end))

    it("is used by the next session, which does not ask", async(function()
      local path, token_url, name = kept()
      local url, log = server:ws(OK)
      local session, record = faulty.session {
        url = url, token = false, username = "herald", password = "4711", token_url = token_url, token_file = path,
      }
      session:start()
      assert(session:wait_ready(5))
      session:stop()
      eventually(function() return faulty.path(record):match "closed$" end)
      assert.equal("token connecting authorizing ready closing closed", faulty.path(record))
      assert.equal(0, visits(name))
      assert.equal("kept", server:log(log, "frame")[1].frame.payload.token)
    end))

    it("is replaced when it is not good any more", async(function()
      local path, token_url, name = kept { expires = (os.time() - 1) * 1000 }
      assert.equal(1, times_asked(path, token_url, name))
      assert.equal("fresh", json.decode(read(path)).access_token)
    end))

    for what, changes in pairs {
      ["of another user"] = { username = "mira" },
      ["of another server"] = { token_url = "http://127.0.0.1:1/" },
      ["without a token"] = { access_token = "" },
      ["without an expiry"] = { expires = "soon" },
    } do
      it("is ignored when it is " .. what, async(function() assert.equal(1, times_asked(kept(changes))) end))
    end

    for what, mode in pairs { ["by the group"] = "640", ["by everybody"] = "604" } do
      it("is ignored when it can be read " .. what .. ", and replaced by one that cannot", async(function()
        local path, token_url, name = kept()
        assert(os.execute(("chmod %s '%s'"):format(mode, path)))
        assert.equal(1, times_asked(path, token_url, name))
        assert.equal("600", output("stat -c %a " .. path))
      end))
    end

    for what, text in pairs {
      ["empty"] = "", ["cut"] = '{"token_url":"http', ["not JSON"] = "hello", ["too large"] = ("x"):rep(70000),
    } do
      it("is ignored when it is " .. what, async(function()
        local path, token_url, name = kept()
        write(path, text)
        assert.equal(1, times_asked(path, token_url, name))
        assert.equal("fresh", json.decode(read(path)).access_token)
      end))
    end

    it("may be a link, which stays when the token is renewed", async(function()
      local path, token_url, name = kept()
      local link = new_path()
      assert(os.execute(("ln -s '%s' '%s'"):format(path, link)))
      assert.equal(0, times_asked(link, token_url, name))
      write(path, "{}")
      assert.equal(1, times_asked(link, token_url, name))
      assert.equal("fresh", json.decode(read(path)).access_token)
      assert.equal(path, output("readlink " .. link))
    end))

    it("is a plain file, or nothing is read and written", async(function()
      local _, token_url, name = kept()
      local fifo = new_path()
      assert(os.execute(("mkfifo -m 600 '%s'"):format(fifo)))
      assert.equal(1, times_asked(fifo, token_url, name))
      assert.equal("fifo", output("stat -c %F " .. fifo))
    end))

    it("need not be writable", async(function()
      assert.equal(1, (pass { token_file = directory .. "/none/token" }))
      assert.equal(1, (pass { token_file = directory }))
      assert.equal("", output(("ls -A '%s' | grep part"):format(directory)))
    end))

    it("is told once that it cannot be written, and again after it could", async(function()
      local folder, told = new_path(), {}
      local expired = { "accept", { "auth", { errorCode = 203 } }, "silent" }
      local session, _, tokens = session_at({ { { "token", { token = "fresh" } } } }, {
        url = server:ws(OK, expired, OK, expired, OK, expired, OK), token_file = folder .. "/token",
        on_unsaved = function(err) told[#told + 1] = err end,
      })
      local function renew(count)
        session:drop()
        eventually(function() return visits(tokens) == count and session:state() == "ready" end)
      end
      assert(session:wait_ready(5))
      renew(2)
      assert.equal(1, #told)
      assert.equal("IO", told[1].name)
      assert.matches("cannot write " .. folder .. "/token: No such file", told[1].message, 1, true)
      assert(os.execute("mkdir " .. folder))
      renew(3)
      assert.equal("fresh", json.decode(read(folder .. "/token")).access_token)
      assert(os.execute("rm -r " .. folder))
      renew(4)
      session:stop()
      assert.equal(2, #told)
    end))

    it("is not used again when the server does not accept it", async(function()
      local path, token_url, name = kept()
      local url, log = server:ws({ "accept", { "auth", { errorCode = 201 } }, "silent" }, OK)
      local _, states = pass { token_file = path, token_url = token_url, url = url }
      assert.equal("token connecting authorizing backoff token connecting authorizing ready closing closed", states)
      assert.equal(1, visits(name))
      assert.equal("fresh", server:log(log, "frame")[2].frame.payload.token)
      assert.equal("fresh", json.decode(read(path)).access_token)
    end))

    it("is renewed when the server says it has expired", async(function()
      local path, token_url, name = kept()
      local url = server:ws({ "accept", { "auth", { errorCode = 203 } }, "silent" }, OK)
      local _, states = pass { token_file = path, token_url = token_url, url = url }
      assert.equal("token connecting authorizing token connecting authorizing ready closing closed", states)
      assert.equal(1, visits(name))
      assert.equal("fresh", json.decode(read(path)).access_token)
    end))

    it("has nothing to do with a ready token", async(function()
      local path = kept()
      local url, log = server:ws(OK)
      pass { token = "ready", token_file = path, url = url }
      assert.equal("ready", server:log(log, "frame")[1].frame.payload.token)
      assert.equal("kept", json.decode(read(path)).access_token)
    end))

    it("also keeps what a function brought", async(function()
      local path, calls = new_path(), 0
      local function source()
        calls = calls + 1
        return "sourced", (os.time() + 3600) * 1000
      end
      for _ = 1, 2 do
        local session = faulty.session { url = server:ws(OK), token = false, token_source = source, token_file = path }
        session:start()
        assert(session:wait_ready(5))
        session:stop()
      end
      assert.equal(1, calls)
      assert.equal("sourced", json.decode(read(path)).access_token)
    end))
  end)

  describe("of a function", function()
    -- A session whose token comes from a function; the function gets the number of its run.
    local function with_source(fn, options)
      local given, runs = { token = false, url = server:ws(OK) }, 0
      for name, value in pairs(options or {}) do given[name] = value end
      given.token_source = function()
        runs = runs + 1
        return fn(runs)
      end
      local session, record = faulty.session(given)
      session:start()
      return session, record, function() return runs end
    end

    local function comes_after(fn, options)
      local session, record = with_source(function(run)
        if run == 1 then return fn() end
        return "t"
      end, options)
      assert(session:wait_ready(5))
      session:stop()
      assert.equal("token backoff token connecting authorizing ready closing closed", faulty.path(record))
      return faulty.reason(record, "backoff")
    end

    it("may be waited for", async(function()
      local url, name = server:ws(OK)
      local session = with_source(function()
        core.sleep(0.01)
        return "waited"
      end, { url = url })
      assert(session:wait_ready(5))
      session:stop()
      assert.equal("waited", server:log(name, "frame")[1].frame.payload.token)
    end))

    for what, case in pairs {
      ["is kept until the time the function gave"] = { (os.time() + 3600) * 1000, 1 },
      ["is kept until the time the function gave as a float"] = { (os.time() + 3600) * 1000.0, 1 },
      ["is asked for again after that time"] = { (os.time() - 1) * 1000, 2 },
      ["is asked for again after that time as a float"] = { (os.time() - 1) * 1000.0, 2 },
      ["is kept for ever"] = { math.huge, 1 },
      ["is asked for again when the time is nonsense"] = { -1, 2 },
      ["is kept for a month without a time"] = { nil, 1 },
    } do
      it(what, async(function()
        local session, record, runs = with_source(function() return "t", case[1] end)
        assert(session:wait_ready(5))
        session:drop()
        eventually(function() return faulty.path(record):match "ready.*ready" end)
        session:stop()
        assert.equal(case[2], runs())
      end))
    end

    it("is asked for again when the function returns nil and an error", async(function()
      local err = comes_after(function() return nil, "the vault is sealed" end)
      assert.matches("the vault is sealed", err.message)
      err = comes_after(function() return nil, core.error("HTTP", "the vault is down", { code = 503 }) end)
      assert.same({ "HTTP", 503, "the vault is down", true }, { err.name, err.code, err.message, err.retryable })
      for name, message in pairs { CHAT_NOT_FOUND = "x", NONE = "x", HTTP = false } do
        local odd = { name = name, message = message }
        assert.equal("CANCELLED", comes_after(function() return nil, odd end).name)
      end
    end))

    it("is asked for again when the function returns nothing, or no string", async(function()
      assert.matches("returned nil", comes_after(function() end).message)
      comes_after(function() return 4711 end)
      comes_after(function() return false end)
    end))

    it("is asked for again when the function raises an error", async(function()
      assert.matches("oops", comes_after(function() error "oops" end).message)
      assert.matches("oops", comes_after(function()
        core.sleep(0)
        error "oops"
      end).message)
      assert.same({}, helper.reported_errors())
    end))

    it("is asked for again when the function does not return in time; then it is too late", async(function()
      local url, name = server:ws(OK)
      local late, over = core.waiter(), false
      local err = comes_after(function()
        late:wait()
        over = true
        return "late"
      end, { token_timeout = 0.02, url = url })
      assert.equal("TIMEOUT", err.name)
      late:wake()
      eventually(function() return over end)
      assert.equal("t", server:log(name, "frame")[1].frame.payload.token)
    end))

    it("is refused three times by AUTH_FAILED", async(function()
      local session, record, runs = with_source(function()
        return nil, core.error("AUTH_FAILED", "no such application")
      end)
      local _, err = session:wait_ready(5)
      assert.equal("token backoff token backoff token failed", faulty.path(record))
      assert.equal(3, runs())
      assert.equal("AUTH_FAILED", err.name)
      assert.matches("no such application", err.message)
    end))

    it("is not asked for again after CONFIG", async(function()
      local session, record, runs = with_source(function()
        return nil, core.error("CONFIG", "no key for the vault")
      end)
      local _, err = session:wait_ready(5)
      assert.equal("token failed", faulty.path(record))
      assert.equal(1, runs())
      assert.same({ "CONFIG", "no key for the vault" }, { err.name, err.message })
    end))

    it("is asked for again when the server says it has expired", async(function()
      local url, name = server:ws({ "accept", "auth", "read", "close" },
        { "accept", { "auth", { errorCode = 203 } }, "silent" }, OK)
      local session, record = with_source(function(run) return "t" .. run end, { url = url })
      assert(session:wait_ready(5))
      session:request("bye", "{}")
      eventually(function() return faulty.path(record):match "ready.*ready" end)
      session:stop()
      local tokens = {}
      for _, entry in ipairs(server:log(name, "frame")) do tokens[#tokens + 1] = entry.frame.payload.token end
      assert.same({ "t1", "t1", "t2" }, tokens)
    end))

    it("does not hold up stop", async(function()
      local hold = core.waiter()
      local session, record = with_source(function()
        hold:wait()
        return "t"
      end)
      core.sleep(0.01)
      session:stop()
      assert.equal("closed", session:state())
      hold:wake()
      core.sleep(0.01)
      assert.equal("token closed", faulty.path(record))
      assert.equal("closed", session:state())
    end))

    it("may stop its own session", async(function()
      local session, record
      session, record = faulty.session { token = false, url = server:ws(OK), token_source = function()
        session:stop()
        return "t"
      end }
      session:start()
      eventually(function() return faulty.path(record) == "token closed" end)
    end))
  end)
end)
