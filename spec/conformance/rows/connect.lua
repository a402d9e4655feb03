-- SPDX-License-Identifier: MIT
-- RFC 6455, 4.1 and 11.3, with what RFC 9110 and 9112 say of responses: the handshake of a client.

local bytes = require "spec.conformance.bytes"

local answer, head = bytes.answer, bytes.head

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = section, rule
  rows[#rows + 1] = fields
end

local function taken(section, rule, reply, more)
  local fields = { reply = reply, opens = true }
  for name, value in pairs(more or {}) do fields[name] = value end
  row(section, rule, fields)
end

local function refused(section, rule, reply, more)
  local fields = { reply = reply, err = { "PROTOCOL", "DISCONNECTED" } }
  for name, value in pairs(more or {}) do fields[name] = value end
  row(section, rule, fields)
end

-- The request.
local function asks(section, rule, ...)
  row(section, rule, { opens = true, asks = { ... } })
end
asks("6455, 4.1", "The request is a GET in HTTP/1.1 with the path of the URL in origin form",
  "^GET /[%w?=]+ HTTP/1%.1\r\n")
asks("6455, 4.1", "It has Host, with the port if it is not the usual one", "\r\n[Hh]ost: localhost:%d+\r\n")
asks("6455, 4.1", "It has Upgrade: websocket", "\r\n[Uu]pgrade: [Ww]eb[Ss]ocket\r\n")
asks("6455, 4.1", "It has Connection with the option Upgrade", "\r\n[Cc]onnection: [^\r]*[Uu]pgrade")
asks("6455, 4.1", "It has a key of 16 bytes in base64",
  "\r\nSec%-WebSocket%-Key: [%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/]"
  .. "[%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][%w+/][AQgw]==\r\n")
asks("6455, 4.1", "It has the version 13", "\r\nSec%-WebSocket%-Version: 13\r\n")
asks("6455, 4.1", "It offers the subprotocols it was told", "\r\nSec%-WebSocket%-Protocol: json%.v1\r\n")
row("6455, 4.1", "It has no field twice that may come once", { opens = true, asks_not = {
  "\r\nHost:.*\r\nHost:", "\r\nUpgrade:.*\r\nUpgrade:", "%-Key:.*%-Key:", "%-Version:.*%-Version:" } })
row("6455, 4.1", "It offers no extension, as it knows none", { opens = true,
  asks_not = { "[Ss]ec%-[Ww]eb[Ss]ocket%-[Ee]xtensions:" } })
row("9112, 2.2", "It has no bare CR or LF, no NUL and no folded line",
  { opens = true, asks_not = { "\r[^\n]", "[^\r]\n", "%z", "\n[ \t]" } })
row("9112, 5.1", "No blank stands between a name and its colon", { opens = true, asks_not = { "\n[%w-]+[ \t]+:" } })
row("9110, 4.2.4", "It has no user information and no fragment", { opens = true, asks_not = { "^GET [^\r]*[@#]" } })
row("6455, 10.6", "It has no length and no body", { opens = true,
  asks_not = { "\n[Cc]ontent%-[Ll]ength", "\n[Tt]ransfer" } })

-- Handshakes that a client must accept.
taken("6455, 4.1", "A 101 with the right Accept opens", answer(), { tls = true })
taken("6455, 4.1", "A 101 that comes byte by byte opens", answer(), { tls = true, chop = 1 })
taken("9110, 5.1", "Names of fields may be in any case", (answer():gsub("\n[%w-]+:", string.upper)))
taken("6455, 4.1", "The value of Upgrade may be in any case", answer { Upgrade = "Upgrade: WebSocket" })
taken("6455, 4.1", "The value of Connection may be in any case", answer { Connection = "Connection: upgrade" })
taken("6455, 4.1", "Connection may have several options", answer { Connection = "Connection: keep-alive, Upgrade" })
taken("9110, 5.3", "Connection may come in two fields",
  answer { Connection = "Connection: keep-alive\r\nConnection: Upgrade" })
taken("9110, 5.6.1", "A list may have empty elements", answer { Connection = "Connection: , Upgrade ,," })
taken("9110, 5.3", "The fields may come in another order", head("HTTP/1.1 101 Switching Protocols",
  "Sec-WebSocket-Accept: {accept}", "Connection: Upgrade", "Upgrade: websocket"))
taken("6455, 4.1", "Blanks around values do not count", answer { Upgrade = "Upgrade: \t websocket \t",
  ["Sec-WebSocket-Accept"] = "Sec-WebSocket-Accept:   {accept}  ", Connection = "Connection:Upgrade" })
taken("9110, 5.1", "Fields that are unknown are passed over", answer({}, "Server: x", "Date: now", "Set-Cookie: a=b",
  "X-Empty:", "Vary: *"))
taken("9112, 4", "The reason may be missing", answer { HTTP = "HTTP/1.1 101 " })
taken("9112, 4", "The reason does not count", answer { HTTP = "HTTP/1.1 101 Not Found at all" })
taken("9112, 5.2", "A field that is folded is read as one line", answer({}, "X-Folded: one", "  two"))
taken("9110, 15.2", "A 100 before the 101 is passed over", head "HTTP/1.1 100 Continue" .. answer(), { tls = true })
taken("9110, 15.2", "A 103 with fields before the 101 is passed over",
  head("HTTP/1.1 103 Early Hints", "Link: </a>; rel=preload") .. answer())
taken("9110, 15.2", "Two 1xx before the 101 are passed over",
  head "HTTP/1.1 100 Continue" .. head "HTTP/1.1 102 Processing" .. answer())
taken("6455, 4.1", "The subprotocol that was offered is chosen", answer({}, "Sec-WebSocket-Protocol: json.v1"))
taken("6455, 4.1", "One of several subprotocols that were offered is chosen",
  answer({}, "Sec-WebSocket-Protocol: two"), { options = { subprotocol = "one, two" } })
taken("6455, 4.1", "No subprotocol is chosen", answer())
taken("9110, 5.4", "A head of 8000 bytes is read", answer({}, "X-Long: " .. ("x"):rep(7800)))
for _, name in ipairs { "U", "Up", "Upgr", "Co", "Connect", "Sec", "Sec-WebSocket", "Sec-WebSocket-Acc", "Set", "Ac",
  "Access", "X-Auth", "Proxy", "L", "WWW" } do
  taken("9110, 5.1", ("A field whose name is the beginning of another is passed over: %s"):format(name),
    (answer():gsub("\r\n", "\r\n" .. name .. ": x\r\n", 1)))
end

-- Handshakes that a client must refuse.
refused("6455, 4.1", "A 101 without Accept is refused", answer { ["Sec-WebSocket-Accept"] = false }, { tls = true })
refused("6455, 4.1", "An empty Accept is refused", answer { ["Sec-WebSocket-Accept"] = "Sec-WebSocket-Accept:" })
refused("6455, 4.1", "The Accept of another key is refused",
  answer { ["Sec-WebSocket-Accept"] = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" }, { tls = true })
refused("6455, 4.1", "An Accept with something behind it is refused",
  answer { ["Sec-WebSocket-Accept"] = "Sec-WebSocket-Accept: {accept}x" })
refused("6455, 4.1", "An Accept in another case is refused",
  answer { ["Sec-WebSocket-Accept"] = "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=" })
refused("6455, 11.3.3", "Two Accepts are refused", answer({}, "Sec-WebSocket-Accept: {accept}"))
refused("6455, 4.1", "A 101 without Upgrade is refused", answer { Upgrade = false })
refused("6455, 4.1", "A 101 for another protocol is refused", answer { Upgrade = "Upgrade: tea" })
refused("6455, 4.1", "An Upgrade that begins with websocket is refused", answer { Upgrade = "Upgrade: websockets" })
refused("6455, 4.1", "A 101 without Connection is refused", answer { Connection = false })
refused("6455, 4.1", "A Connection without the option Upgrade is refused",
  answer { Connection = "Connection: keep-alive" })
refused("6455, 4.1", "A Connection whose option only begins with Upgrade is refused",
  answer { Connection = "Connection: Upgraded" })
refused("6455, 4.1", "An extension that was not offered is refused",
  answer({}, "Sec-WebSocket-Extensions: permessage-deflate"), { tls = true })
refused("6455, 4.1", "A subprotocol that was not offered is refused", answer({}, "Sec-WebSocket-Protocol: xml.v3"),
  { tls = true })
refused("6455, 4.1", "A subprotocol is refused when none was offered", answer({}, "Sec-WebSocket-Protocol: json.v1"),
  { options = { subprotocol = false } })
refused("6455, 4.1", "A subprotocol in another case is refused", answer({}, "Sec-WebSocket-Protocol: JSON.v1"))
refused("6455, 11.3.4", "Two subprotocols in one field are refused",
  answer({}, "Sec-WebSocket-Protocol: one, two"), { options = { subprotocol = "one, two" } })
refused("6455, 11.3.4", "Two fields of subprotocols are refused",
  answer({}, "Sec-WebSocket-Protocol: one", "Sec-WebSocket-Protocol: two"), { options = { subprotocol = "one, two" } })
refused("9110, 15.2.2", "A 101 in HTTP/1.0 is refused", answer { HTTP = "HTTP/1.0 101 Switching Protocols" })
for _, line in ipairs { "HTTP/2.0 101 OK", "HTTP/1.1 1O1 OK", "HTTP/1.1 0101 OK", "HTTP/1.1 10 OK", "HTTP/1.1",
  "HTTP/1.1101 OK", "ICY 101 OK", "http/1.1 101 OK", "HTTP/11 101 OK" } do
  refused("9112, 4", ("A status line that is none is refused: %s"):format(line), answer { HTTP = line })
end
refused("9112, 5", "A line without a colon in the answer is refused", answer({}, "no colon"))
refused("9110, 5.5", "NUL in a value is refused", answer({}, "X-Odd: a\0b"))
refused("9112, 2.2", "A bare CR in a value is refused", answer({}, "X-Odd: a\rSec-WebSocket-Protocol: json.v1"))
refused("9110, 5.6.2", "A name with a blank in it is refused", answer({}, "X Odd: a"))

-- Other statuses.
for _, status in ipairs { 200, 204, 400, 401, 403, 404, 407, 426, 429, 500, 502, 503 } do
  row("6455, 4.1", ("The status %d is told"):format(status), { err = "HTTP", code = status,
    tls = status == 403, reply = answer({ HTTP = ("HTTP/1.1 %d Status"):format(status) }, "Content-Length: 0") })
end
for _, status in ipairs { 300, 301, 302, 303, 307, 308 } do
  row("6455, 4.1", ("A redirect by %d is told, it is not followed"):format(status), { err = "HTTP", code = status,
    tls = status == 302,
    reply = head(("HTTP/1.1 %d Elsewhere"):format(status), "Location: /elsewhere", "Content-Length: 0") })
end
row("6455, 4.1", "A redirect with a body is told", { err = "HTTP", code = 302,
  reply = head("HTTP/1.1 302 Found", "Location: http://127.0.0.1:1/", "Content-Length: 5") .. "there" })
row("9112, 6.3", "A refusal with a chunked body is told", { err = "HTTP", code = 403,
  reply = head("HTTP/1.1 403 No", "Transfer-Encoding: chunked") .. "5\r\nthere\r\n0\r\n\r\n" })
row("9112, 6.3", "A refusal whose body ends with the connection is told", { err = "HTTP", code = 503,
  reply = head("HTTP/1.0 503 No") .. "<html></html>" })
refused("9110, 15.2", "A 1xx that is not followed by anything is no answer", head "HTTP/1.1 100 Continue",
  { err = { "PROTOCOL", "DISCONNECTED", "TIMEOUT" }, options = { connect_timeout = 1 } })

return { kind = "response", at = { "client" }, title = "The handshake of a client", rows = rows }
