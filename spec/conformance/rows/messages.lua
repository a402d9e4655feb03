-- SPDX-License-Identifier: MIT
-- RFC 9112: the messages of HTTP/1.1 as a server reads them. Where a body ends decides what the next request is: a
-- row that is not understood shows a request that nobody has sent.

local bytes = require "spec.conformance.bytes"

local head = bytes.head

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = "9112, " .. section, rule
  rows[#rows + 1] = fields
end

local HOST = "Host: localhost"
local SMUGGLED = head("GET /smuggled HTTP/1.1", HOST)

local function get(path, ...) return head(("GET %s HTTP/1.1"):format(path), HOST, ...) end
local function post(path, ...) return head(("POST %s HTTP/1.1"):format(path), HOST, ...) end

-- The request is answered, what the handler has seen is this, and the connection goes on.
local function taken(section, rule, send, handled, more)
  local fields = { send = send, statuses = { 200 }, handled = { handled } }
  for name, value in pairs(more or {}) do fields[name] = value end
  row(section, rule, fields)
end

-- It is refused with one of these statuses; no handler sees anything of it.
local function refused(section, rule, send, status, more)
  local fields = { send = send, statuses = { status }, closed = "may" }
  for name, value in pairs(more or {}) do fields[name] = value end
  row(section, rule, fields)
end

-- RFC and common sense leave the choice: read it in the one way that is allowed, or refuse it.
local function either(section, rule, send, handled, more)
  local fields = { send = send, statuses = { { 200, 400 } }, handled = { handled }, closed = "may" }
  for name, value in pairs(more or {}) do fields[name] = value end
  row(section, rule, fields)
end

-- 2.2: lines
taken("2.2", "An empty line before a request is passed over", "\r\n" .. get "/a", "GET /a ", { tls = true })
taken("2.2", "An empty line behind a body is passed over",
  { post("/a", "Content-Length: 2") .. "ok\r\n", 1, get "/b" }, nil, { statuses = { 200, 200 },
    handled = { "POST /a ok", "GET /b " } })
either("2.2", "Lines may end with LF alone, or be refused", "GET /a HTTP/1.1\nHost: localhost\n\n", "GET /a ")
either("2.2", "A bare CR in a value is refused, or read as a blank",
  get("/a", "X-Odd: a\rb"), "GET /a ")
either("2.2", "A bare CR does not end a line: what stands behind it is no field",
  get("/a", "X-Odd: a\rContent-Length: 30"), "GET /a ")
refused("2.2", "A bare CR in the request line is refused", "GET /a\rb HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)
either("2.2", "A line that begins with a blank, before the first field, is refused or passed over",
  head("POST /a HTTP/1.1", " Content-Length: 5", HOST), "POST /a ")
refused("2.2", "Bytes that are no HTTP are refused and the connection ends", "hello there\r\n\r\n", 400,
  { closed = true, tls = true })
refused("2.2", "Bytes that are no text are refused", "\0\1\2\3\r\n\r\n", 400, { closed = true })

-- 2.3: versions
row("2.3", "A request in HTTP/1.0 is answered in HTTP/1.1, and the connection ends", {
  send = head("GET /a HTTP/1.0", HOST), statuses = { 200 }, handled = { "GET /a " }, closed = true, tls = true })
taken("2.3", "HTTP/1.2 is read as HTTP/1.1", head("GET /a HTTP/1.2", HOST), "GET /a ")
for _, version in ipairs { "http/1.1", "HTTP/1", "HTTP/1.", "HTTP/1.1.1", "HTTP/11", "HTTP/1.10", "HTTP/01.1",
  "HTTP/a.b", "HTTP/-1.1", "HTTP", "HTTPS/1.1", "1.1" } do
  refused("2.3", ("The version %q is refused"):format(version), head("GET /a " .. version, HOST), { 400, 505 })
end
for _, version in ipairs { "HTTP/2.0", "HTTP/0.9", "HTTP/3.0" } do
  refused("2.3", ("The version %q is refused with 505"):format(version), head("GET /a " .. version, HOST), { 505, 400 })
end

-- 3: the request line
either("3", "Two blanks in the request line are read as one, or refused", head("GET  /a  HTTP/1.1", HOST), "GET /a ")
either("3", "A tab in the request line is read as a blank, or refused", head("GET\t/a HTTP/1.1", HOST), "GET /a ")
either("3", "A blank behind the version is passed over, or refused", head("GET /a HTTP/1.1 ", HOST), "GET /a ")
refused("3", "A request line without a version is refused", head("GET /a", HOST), 400)
refused("3", "A request line of a method alone is refused", head("GET", HOST), 400)
refused("3", "A method that is no token is refused", head("G(T /a HTTP/1.1", HOST), 400)
refused("3", "An empty method is refused", head(" /a HTTP/1.1", HOST), 400)
refused("3.2", "A blank in the target is refused", head("GET /a b HTTP/1.1", HOST), 400)
for _, case in ipairs { { "NUL", "/a\0b" }, { "a control character", "/a\1b" }, { "a byte above 127", "/\xc3\xa9" },
  { "'<'", "/<a>" }, { "'\"'", '/"a"' }, { "a broken escape", "/%zz" }, { "half an escape", "/%4" },
  { "a fragment", "/a#b" }, { "no slash", "a" }, { "'\\'", "/a\\b" }, { "'{'", "/{a}" }, { "'^'", "/^" } } do
  refused("3.2", ("A target with %s is refused"):format(case[1]), head(("GET %s HTTP/1.1"):format(case[2]), HOST), 400)
end
taken("3", "A target of 7900 bytes is taken", get("/" .. ("x"):rep(7900)), "GET /" .. ("x"):rep(7900) .. " ")
refused("3", "A target of 100,000 bytes is refused with 414", get("/" .. ("x"):rep(100000)), 414, { tls = true })
refused("3", "The same in HTTP/1.0", head("GET /" .. ("x"):rep(100000) .. " HTTP/1.0"), 414)

-- 3.2: Host
refused("3.2", "A request without Host is refused", head "GET /a HTTP/1.1", 400, { tls = true })
refused("3.2", "Two fields Host are refused", get("/a", "Host: elsewhere"), 400, { tls = true })
refused("3.2", "Two fields Host are refused, also the same", get("/a", HOST), 400)
refused("3.2", "Two fields Host are refused in HTTP/1.0", head("GET /a HTTP/1.0", HOST, HOST), 400)
for _, host in ipairs { "a b", "a/b", "user@host", "host:port", "host:80:80", "[::1", "::1", "a?b", "a#b", "ho\tst",
  "http://localhost", "host:-1", "h\xc3\xa9", "a%zz", "[::g]" } do
  refused("3.2", ("The Host %q is refused"):format(host), head("GET /a HTTP/1.1", "Host: " .. host), 400)
end
for _, host in ipairs { "", "localhost", "localhost:80", "localhost:", "127.0.0.1:8080", "[::1]", "[::1]:80",
  "EXAMPLE.org", "a-b.c_d", "a,b", "h%C3%A9" } do
  taken("3.2", ("The Host %q is taken"):format(host), head("GET /a HTTP/1.1", "Host: " .. host), "GET /a ")
end
row("3.2", "HTTP/1.0 does without Host", { send = head "GET /a HTTP/1.0", statuses = { 200 }, handled = { "GET /a " },
  closed = true })

-- 3.2: the forms of a target
taken("3.2.1", "The origin form has a path and a query", get "/a/b?c=d/e?f", "GET /a/b ")
taken("3.2.2", "The absolute form is taken", head("GET http://localhost/a HTTP/1.1", HOST), "GET /a ", { tls = true })
taken("3.2.2", "The absolute form may have a port and a query", head("GET http://localhost:80/a?b=c HTTP/1.1", HOST),
  "GET /a ")
taken("3.2.2", "The absolute form may have an empty path", head("GET http://localhost HTTP/1.1", HOST), "GET / ")
taken("3.2.2", "The scheme of the absolute form may be in any case", head("GET HTTP://localhost/a HTTP/1.1", HOST),
  "GET /a ")
taken("3.2.2", "The host of the absolute form counts, not that of the field",
  head("GET http://example.org/a HTTP/1.1", "Host: elsewhere"), "GET /a ", { host = "example.org" })
refused("3.2.2", "The absolute form without the field Host is refused", head "GET http://localhost/a HTTP/1.1", 400)
refused("3.2.2", "An absolute form without a host is refused", head("GET http:///a HTTP/1.1", HOST), 400)
refused("3.2.3", "The authority form is for CONNECT alone", head("GET localhost:80 HTTP/1.1", HOST), 400)
refused("3.2.3", "CONNECT is refused by a server that is no proxy", head("CONNECT localhost:80 HTTP/1.1",
  "Host: localhost:80"), { 400, 405, 501 })
refused("3.2.3", "CONNECT to an empty port is refused", head("CONNECT localhost: HTTP/1.1", HOST), { 400, 405, 501 })
row("3.2.4", "OPTIONS * is understood", { send = head("OPTIONS * HTTP/1.1", HOST),
  statuses = { { 200, 204, 404, 405 } } })
refused("3.2.4", "The asterisk form is for OPTIONS alone", head("GET * HTTP/1.1", HOST), 400)

-- 5: fields
for _, case in ipairs { { "Content-Length", "Content-Length : 41" },
  { "Content-Length, with a tab", "Content-Length\t: 41" }, { "Transfer-Encoding", "Transfer-Encoding : chunked" },
  { "any", "X-Odd : y" }, { "Connection", "Connection : close" } } do
  refused("5.1", ("A blank before the colon is refused: %s"):format(case[1]), post("/a", case[2]) .. SMUGGLED, 400,
    { tls = case[1] == "Content-Length" })
end
refused("5.1", "A blank before the colon of Host is refused", head("GET /a HTTP/1.1", "Host : localhost"), 400)
for _, case in ipairs { { "without a colon", "no colon" }, { "without a name", ": x" }, { "of one word", "x" },
  { "whose name has a blank", "X Y: z" }, { "whose name has a bracket", "X(Y): z" }, { "whose name has NUL", "X\0: z" },
  { "whose name has a byte above 127", "X\xe9: z" }, { "whose name has a quote", '"X": z' } } do
  refused("5", ("A line %s is refused"):format(case[1]), get("/a", case[2]), 400)
end
taken("5.1", "Blanks around a value do not count", post("/a", "Content-Length: \t 2 \t") .. "ok", "POST /a ok")
taken("5.1", "A value may follow the colon at once", post("/a", "Content-Length:2") .. "ok", "POST /a ok")
taken("5.1", "A value may be empty", get("/a", "X-Empty:"), "GET /a ")
either("5.2", "A folded field is refused, or read as one line", get("/a", "X-Folded: one", " two"), "GET /a ")
either("5.2", "A folded Content-Length is refused, or read as one line",
  post("/a", "Content-Length:", " 2") .. "ok", "POST /a ok")
either("5.2", "A folded Transfer-Encoding is refused, or read as one line",
  post("/a", "Transfer-Encoding:", "\tchunked") .. "2\r\nok\r\n0\r\n\r\n", "POST /a ok")
either("5.2", "A fold does not begin a field", get("/a", "X-Folded: one", " Content-Length: 41"), "GET /a ")

-- 6.1: Transfer-Encoding
local CHUNKED = "Transfer-Encoding: chunked"
local OK = "2\r\nok\r\n0\r\n\r\n"
taken("6.1", "A body in chunks is read", post("/a", CHUNKED) .. OK, "POST /a ok", { tls = true })
taken("6.1", "The name of a coding may be in any case", post("/a", "Transfer-Encoding: CHUNKED") .. OK, "POST /a ok")
taken("6.1", "A list of codings may have empty elements", post("/a", "Transfer-Encoding: , chunked ,") .. OK,
  "POST /a ok")
for _, coding in ipairs { "gzip, chunked", "xchunked", "identity", "chunked2", "chun ked", "\"chunked\"" } do
  refused("6.1", ("The coding %q is refused"):format(coding), post("/a", "Transfer-Encoding: " .. coding) .. OK,
    { 501, 400 })
end
for _, coding in ipairs { "chunked, gzip", "chunked, identity", "chunked, chunked", "gzip" } do
  refused("6.3", ("A body whose last coding is not chunked, or is twice, is refused, and the connection ends: %q")
    :format(coding), post("/a", "Transfer-Encoding: " .. coding) .. OK, { 400, 501 }, { closed = true })
end
refused("6.3", "The same in two fields", post("/a", CHUNKED, "Transfer-Encoding: gzip") .. OK, { 400, 501 },
  { closed = true })
either("6.3", "With both kinds of length the connection ends: the chunks count, or it is refused",
  post("/a", "Content-Length: 4", CHUNKED) .. OK, "POST /a ok", { closed = true, tls = true })
either("6.3", "The same, the other way round", post("/a", CHUNKED, "Content-Length: 41") .. "0\r\n\r\n" .. SMUGGLED,
  "POST /a ", { closed = true })
row("6.1", "Chunks in HTTP/1.0 are not to be trusted: the connection ends", {
  send = head("POST /a HTTP/1.0", HOST, CHUNKED) .. OK .. SMUGGLED, statuses = { "[245]%d%d" }, closed = true })

-- 6.3: Content-Length
taken("6.3", "A body has as many bytes as Content-Length says",
  { post("/a", "Content-Length: 5") .. "hello", 1, get "/b" }, nil,
  { statuses = { 200, 200 }, handled = { "POST /a hello", "GET /b " }, tls = true })
taken("6.3", "A request without either has no body", post "/a", "POST /a ")
taken("6.3", "A GET may have a body, which is read", { get("/a", "Content-Length: 5") .. "hello", 1, get "/b" }, nil,
  { statuses = { 200, 200 }, handled = { "GET /a hello", "GET /b " } })
taken("6.3", "A body that comes byte by byte is read", post("/a", "Content-Length: 5") .. "hello", "POST /a hello",
  { chop = 1, tls = true })
taken("6.3", "Content-Length may have zeros in front", post("/a", "Content-Length: 005") .. "hello", "POST /a hello")
for _, length in ipairs { "-5", "+5", "5 5", "0x5", "5a", "5.0", "1e1", "5,6", "5;", "", "\xd9\xa5", "'5'", "five",
  "5\0" } do
  refused("6.3", ("The Content-Length %q is refused, and the connection ends"):format(length),
    post("/a", "Content-Length: " .. length) .. "hello", 400, { closed = true })
end
for _, length in ipairs { "18446744073709551621", "4294967301", "9223372036854775813", ("9"):rep(50) } do
  refused("6.3", ("The Content-Length %s does not overflow"):format(length),
    post("/a", "Content-Length: " .. length) .. "hello", { 400, 413 }, { closed = true })
end
refused("6.3", "Two different fields Content-Length are refused, and the connection ends",
  post("/a", "Content-Length: 5", "Content-Length: 6") .. "hello", 400, { closed = true, tls = true })
either("6.3", "Two fields Content-Length that are the same count as one, or are refused",
  post("/a", "Content-Length: 5", "Content-Length: 5") .. "hello", "POST /a hello")
either("6.3", "The Content-Length \"5, 5\" counts as 5, or is refused", post("/a", "Content-Length: 5, 5") .. "hello",
  "POST /a hello")
refused("6.3", "A body longer than is taken is refused", post("/a", "Content-Length: 100000"), 413)

-- 7.1: chunks
taken("7.1", "Sizes are hexadecimal, in any case, with zeros in front",
  post("/a", CHUNKED) .. "a\r\n0123456789\r\n00A\r\n0123456789\r\n000\r\n\r\n", "POST /a 01234567890123456789")
taken("7.1", "Chunks that come byte by byte are read", post("/a", CHUNKED) .. "3\r\nabc\r\n" .. OK, "POST /a abcok",
  { chop = 1, tls = true })
taken("7.1", "Bytes of a chunk may look like its end", post("/a", CHUNKED) .. "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
  "POST /a \r\n0\r\n\r\n")
taken("7.1", "An empty body in chunks is read", post("/a", CHUNKED) .. "0\r\n\r\n", "POST /a ")
taken("7.1.1", "Extensions of chunks are passed over",
  post("/a", CHUNKED) .. "2;a;b=c;d=\"e;f\"\r\nok\r\n0;last\r\n\r\n", "POST /a ok")
taken("7.1.2", "Trailers are passed over, and do not become fields", post("/a", CHUNKED) ..
  "2\r\nok\r\n0\r\nContent-Length: 41\r\nHost: elsewhere\r\nX-Trailer: x\r\n\r\n", "POST /a ok", { host = "localhost" })
for _, size in ipairs { "5x", "-5", "+5", "0x5", "", "g", ";a", "5,", "5 5", "\0" } do
  refused("7.1", ("A chunk of the size %q is refused, and the connection ends"):format(size),
    post("/a", CHUNKED) .. size .. "\r\nhello\r\n0\r\n\r\n", 400, { closed = true })
end
for _, size in ipairs { "ffffffffffffffff", "10000000000000005", "fffffffffffffffffffffffff", "8000000000000000",
  "100000005" } do
  refused("7.1", ("A chunk of the size %s does not overflow"):format(size),
    post("/a", CHUNKED) .. size .. "\r\nhello\r\n0\r\n\r\n", { 400, 413 }, { closed = true })
end
refused("7.1", "A chunk that is longer than its size is refused", post("/a", CHUNKED) .. "2\r\nlong\r\n0\r\n\r\n", 400,
  { closed = true })
refused("7.1", "A chunk without CR LF behind it is refused", post("/a", CHUNKED) .. "2\r\nok0\r\n\r\n" .. SMUGGLED, 400,
  { closed = true })
refused("7.1", "Chunks that are more than is taken are refused",
  post("/a", CHUNKED) .. ("2000\r\n" .. ("x"):rep(8192) .. "\r\n"):rep(9) .. "0\r\n\r\n", 413, { closed = true })

-- 8: what is cut off
local FINISH = { "finish" }
for _, case in ipairs {
  { "a head", "GET /a HTTP/1.1\r\nHost: loc" }, { "a body", post("/a", "Content-Length: 10") .. "hello" },
  { "a chunk", post("/a", CHUNKED) .. "5\r\nhel" },
  { "a body without its last chunk", post("/a", CHUNKED) .. "5\r\nhello\r\n" },
  { "the last chunk without its end", post("/a", CHUNKED) .. "5\r\nhello\r\n0\r\n" },
} do
  row("8", ("When %s is cut off no handler sees the request, and the connection ends"):format(case[1]),
    { send = { case[2], FINISH }, statuses = { { 400, 408 } }, maybe = true, closed = true, handled = {} })
end

-- 9: connections
taken("9.3", "A connection goes on after an answer", { get "/a", 1, get "/b", 2, get "/c" }, nil,
  { statuses = { 200, 200, 200 }, handled = { "GET /a ", "GET /b ", "GET /c " }, tls = true })
row("9.3", "A whole request is answered though the client has ended its half of the connection",
  { send = { get "/a", FINISH }, statuses = { 200 }, closed = true, handled = { "GET /a " } })
row("9.3", "Two whole requests are, too", { send = { get "/a" .. get "/b", FINISH }, statuses = { 200, 200 },
  closed = true, handled = { "GET /a ", "GET /b " } })
for _, case in ipairs { { "close", "close" }, { "CLOSE", "CLOSE" }, { "keep-alive, close", "keep-alive, close" },
  { "', close ,'", ", close ,", }, { "x, close in two fields", "x\r\nConnection: close" },
  { "x,close,y", "x,close,y" } } do
  row("9.6", ("The connection ends after a request with the option close, the next is not read: %s"):format(case[1]),
    { send = get("/a", "Connection: " .. case[2]) .. get "/b", statuses = { 200 }, closed = true,
      handled = { "GET /a " }, has = { connection = "close" }, tls = case[1] == "close" })
end
taken("9.6", "An option that only begins with close is another one", get("/a", "Connection: closed"), "GET /a ")
taken("9.6", "A field Close is no option", get("/a", "Close: close"), "GET /a ")
row("9.3", "HTTP/1.0 with keep-alive may go on", { send = head("GET /a HTTP/1.0", "Connection: keep-alive"),
  statuses = { 200 }, closed = "may", handled = { "GET /a " } })
row("9.3", "HTTP/1.0 with keep-alive and close ends", { send = head("GET /a HTTP/1.0", "Connection: keep-alive, close"),
  statuses = { 200 }, closed = true, handled = { "GET /a " } })

-- 9.3.2: pipelining
local function pipelined(rule, send, handled, more)
  local statuses = {}
  for place in ipairs(handled) do statuses[place] = 200 end
  local fields = { send = send, statuses = statuses, handled = handled }
  for name, value in pairs(more or {}) do fields[name] = value end
  row("9.3.2", rule, fields)
end
pipelined("Three requests in one segment are answered in order", get "/a" .. get "/b" .. get "/c",
  { "GET /a ", "GET /b ", "GET /c " }, { tls = true })
pipelined("A request with a body, and one behind it", post("/a", "Content-Length: 2") .. "ok" .. get "/b",
  { "POST /a ok", "GET /b " })
pipelined("A request in chunks, and one behind it", post("/a", CHUNKED) .. OK .. get "/b", { "POST /a ok", "GET /b " })
pipelined("Requests in one segment with bodies of both kinds", get "/a" .. post("/b", CHUNKED) .. OK ..
  post("/c", "Content-Length: 3") .. "yes" .. get "/d", { "GET /a ", "POST /b ok", "POST /c yes", "GET /d " })
pipelined("Requests behind each other, byte by byte", get "/a" .. post("/b", "Content-Length: 2") .. "ok" .. get "/c",
  { "GET /a ", "POST /b ok", "GET /c " }, { chop = 1 })
pipelined("A HEAD among them has no body", get "/a" .. head("HEAD /b HTTP/1.1", HOST) .. get "/c",
  { "GET /a ", "HEAD /b ", "GET /c " }, { heads = { 1 } })
do
  local send, handled = {}, {}
  for number = 1, 20 do
    send[number], handled[number] = get("/" .. number), ("GET /%d "):format(number)
  end
  pipelined("Twenty of them", table.concat(send), handled)
end
row("9.3.2", "What follows a request that was refused is not read as a request", { closed = true,
  send = get "/a" .. "no request\r\n\r\n" .. get "/b", statuses = { 200, 400 }, handled = { "GET /a " } })

return { kind = "http", at = { "server" }, title = "HTTP/1.1 messages", rows = rows }
