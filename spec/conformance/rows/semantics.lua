-- SPDX-License-Identifier: MIT
-- RFC 9110: what a server makes of requests, and the fields of its answers.

local bytes = require "spec.conformance.bytes"

local head = bytes.head

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = "9110, " .. section, rule
  rows[#rows + 1] = fields
end

local HOST = "Host: localhost"
local DATE = "^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$"

local function get(path, ...) return head(("GET %s HTTP/1.1"):format(path), HOST, ...) end
local function post(path, ...) return head(("POST %s HTTP/1.1"):format(path), HOST, ...) end

local function taken(section, rule, send, handled, more)
  local fields = { send = send, statuses = { 200 }, handled = { handled } }
  for name, value in pairs(more or {}) do fields[name] = value end
  row(section, rule, fields)
end

local function refused(section, rule, send, status, more)
  local fields = { send = send, statuses = { status }, closed = "may" }
  for name, value in pairs(more or {}) do fields[name] = value end
  row(section, rule, fields)
end

-- 5: fields
taken("5.1", "Names of fields of a request may be in any case",
  head("POST /a HTTP/1.1", "hOST: localhost", "CONTENT-length: 2") .. "ok", "POST /a ok")
taken("5.1", "Unknown fields of a request are passed over", get("/a", "X-One: 1", "X-Two: 2", "Foo: bar"), "GET /a ")
taken("5.3", "Fields may come in any order", head("POST /a HTTP/1.1", "Content-Length: 2", "X-One: 1", HOST) .. "ok",
  "POST /a ok")
refused("5.4", "A field of 100,000 bytes is refused with a status that says it is the client's fault",
  get("/a", "X-Long: " .. ("x"):rep(100000)), "4%d%d", { tls = true })
refused("5.4", "Five thousand fields are, too", get("/a", ("X-Many: y\r\n"):rep(4999) .. "X-Many: y"), "4%d%d")
refused("5.4", "A name of 100,000 bytes is, too", get("/a", ("x"):rep(100000) .. ": y"), "4%d%d")
taken("5.4", "A field of 4000 bytes is taken", get("/a", "Cookie: " .. ("x"):rep(4000)), "GET /a ")
taken("5.4", "A hundred fields are taken", get("/a", ("X-Many: y\r\n"):rep(99) .. "X-Many: y"), "GET /a ")
taken("5.5", "A value may have bytes above 127", get("/a", "X-Odd: \xe9\xff"), "GET /a ")
for _, case in ipairs { { "NUL", "\0" }, { "CR", "\r" } } do
  row("5.5", ("%s in a value is refused, or read as a blank"):format(case[1]), {
    send = get("/a", "X-Odd: a" .. case[2] .. "b"), statuses = { { 200, 400 } }, handled = { "GET /a " },
    closed = "may" })
  refused("5.5", ("%s in the value of Host is refused"):format(case[1]),
    head("GET /a HTTP/1.1", "Host: local" .. case[2] .. "host"), 400)
end
taken("5.6.1", "A list in a request may have empty elements",
  get("/a", "Connection: ,, keep-alive ,", "Accept: , */* ,"), "GET /a ")

-- 6.6.1: Date
for _, status in ipairs { 200, 201, 204, 301, 304, 400, 404 } do
  row("6.6.1", ("An answer with %d has Date"):format(status), {
    send = get("/status/" .. status), statuses = { status }, closed = "may", has = { date = DATE }, handled = false })
end
row("6.6.1", "An answer with 400 that no handler gave has Date", { send = head "GET /a HTTP/1.1", statuses = { 400 },
  closed = "may", has = { date = DATE }, at = { "server", "bridge" } })
row("6.6.1", "An answer with 413 has Date", { send = post("/a", "Content-Length: 100000"), statuses = { 413 },
  closed = "may", has = { date = DATE } })
row("6.6.1", "An answer with 414 has Date", { send = get("/" .. ("x"):rep(100000)), statuses = { 414 },
  closed = "may", has = { date = DATE } })
row("6.6.1", "A 404 to an upgrade has Date", { send = bytes.handshake { GET = "GET /nowhere HTTP/1.1" },
  statuses = { 404 }, closed = "may", has = { date = DATE } })

-- 7.6 to 7.8: connections and upgrades
taken("7.6.1", "Options of Connection that are unknown are passed over", get("/a", "Connection: X-One, foo"), "GET /a ")
taken("7.8", "Another protocol to upgrade to is passed over", get("/a", "Connection: Upgrade", "Upgrade: tea/1.0"),
  "GET /a ", { lacks = { "upgrade" } })
taken("7.8", "HTTP/2 to upgrade to is passed over", get("/a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
  "HTTP2-Settings: AAMAAABkAAQAAP__"), "GET /a ", { tls = true })
taken("7.8", "The option without Upgrade is passed over", get("/a", "Connection: Upgrade"), "GET /a ")
taken("7.8", "A request with a body that offers to upgrade has its body read",
  post("/a", "Connection: Upgrade", "Upgrade: tea", "Content-Length: 2") .. "ok", "POST /a ok")

-- 8.6: Content-Length in answers
for _, status in ipairs { 204, 304 } do
  row("8.6", ("An answer with %d has no body, and the next request is answered"):format(status), {
    send = get("/status/" .. status), statuses = { status }, handled = { ("GET /status/%d "):format(status) },
    lacks = { "transfer-encoding" } })
end
row("8.6", "An answer with 204 has no Content-Length", { send = get "/status/204", statuses = { 204 },
  lacks = { "content-length", "transfer-encoding" } })
taken("8.6", "An answer has the Content-Length of its body", get "/a", "GET /a ",
  { has = { ["content-length"] = "^7$" }, body = "GET /a ", tls = true })

-- 9: methods
for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } do
  taken("9.1", ("The method %s reaches the handler"):format(method), head(method .. " /a HTTP/1.1", HOST),
    method .. " /a ")
end
for _, method in ipairs { "BREW", "get", "Get", "GETS", "GE", "G", "PROPFIND", ("X"):rep(1000), "X!#$%&'*+-.^_`|~9" } do
  refused("9.1", ("The method %s is refused with 501"):format(#method > 20 and "of 1000 letters" or method),
    head(method .. " /a HTTP/1.1", HOST), { 501, 405 })
end
taken("9.3.2", "HEAD is answered as GET, without a body", head("HEAD /a HTTP/1.1", HOST), "HEAD /a ", { heads = { 0 },
  has = { ["content-length"] = "^8$" }, tls = true })
row("9.3.2", "An error for HEAD has no body", { send = head("HEAD /status/404 HTTP/1.1", HOST), statuses = { 404 },
  heads = { 0 } })
refused("9.3.2", "An error that no handler gave has no body for HEAD", head "HEAD /a HTTP/1.1", 400, { heads = { 0 },
  at = { "server", "bridge" } })
refused("9.3.8", "TRACE is refused: it would give back what is confidential",
  head("TRACE /a HTTP/1.1", HOST, "Cookie: secret"), { 405, 501 })

-- 10.1.1: Expect
local CONTINUE = "Expect: 100-continue"
taken("10.1.1", "A client that expects 100 gets it before its body",
  { post("/a", CONTINUE, "Content-Length: 2"), 1, "ok" }, "POST /a ok", { statuses = { 100, 200 }, tls = true })
taken("10.1.1", "The expectation may be in any case",
  { post("/a", "Expect: 100-Continue", "Content-Length: 2"), 1, "ok" }, "POST /a ok", { statuses = { 100, 200 } })
taken("10.1.1", "It gets it before a body in chunks, too", { post("/a", CONTINUE, "Transfer-Encoding: chunked"), 1,
  "2\r\nok\r\n0\r\n\r\n" }, "POST /a ok", { statuses = { 100, 200 } })
row("10.1.1", "HTTP/1.0 gets no 100", { send = head("POST /a HTTP/1.0", CONTINUE, "Content-Length: 2") .. "ok",
  statuses = { 200 }, closed = true, handled = { "POST /a ok" } })
refused("10.1.1", "A body that is not taken is refused at once, without a 100",
  post("/a", CONTINUE, "Content-Length: 100000"), 413)
row("10.1.1", "Another expectation is refused with 417, or passed over", { send = get("/a", "Expect: tea"),
  statuses = { { 200, 417 } }, closed = "may", handled = { "GET /a " } })
row("15.2", "A 100 has no length", { send = { post("/a", CONTINUE, "Content-Length: 2"), 1, "ok" },
  statuses = { 100, 200 }, lacks = { "content-length", "transfer-encoding" } })

-- 15.5: what the Bridge refuses
local TOKEN = "/bridge/api/client/v1/oauth/token"
local EXCHANGE = "/api/v4/oauth2/token"
local WRONG = '{"client_id":"none","grant_type":"password","username":"mira","password":"x"}'
row("15.5.2", "A 401 has WWW-Authenticate", { at = { "bridge" }, statuses = { 401 },
  send = post(EXCHANGE, "Content-Type: application/json", "Content-Length: " .. #WRONG) .. WRONG,
  has = { ["www-authenticate"] = "%a" } })
row("15.5.6", "A 405 has Allow", { at = { "bridge" }, send = get(TOKEN), statuses = { 405 }, has = { allow = "POST" } })
row("15.5.6", "A 405 to an upload has Allow", { at = { "bridge" }, statuses = { 405 },
  send = get "/bridge/api/client/v1/files", has = { allow = "POST" } })
row("15.5.6", "A 405 to a page of information has Allow", { at = { "bridge" }, statuses = { 405 },
  send = post("/api/v4/server", "Content-Length: 0"), has = { allow = "GET" } })
row("9.1", "HEAD is answered where GET is: information", { at = { "bridge" }, statuses = { 200 }, heads = { 0 },
  send = head("HEAD /api/v4/server HTTP/1.1", HOST) })
row("15.5.5", "A path that is not there is 404", { at = { "bridge" }, send = get "/nowhere", statuses = { 404 } })

return { kind = "http", at = { "server" }, title = "HTTP semantics", rows = rows }
