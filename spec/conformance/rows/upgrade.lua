-- SPDX-License-Identifier: MIT
-- RFC 6455, 4.2 to 4.4 and 11.3: the handshake at a server.

local bytes = require "spec.conformance.bytes"

local handshake = bytes.handshake

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = section, rule
  rows[#rows + 1] = fields
end

local function taken(section, rule, send, more)
  local fields = { send = send, status = 101, opens = true }
  for name, value in pairs(more or {}) do fields[name] = value end
  row("6455, " .. section, rule, fields)
end

local function refused(section, rule, send, more)
  local fields = { send = send, status = 400 }
  for name, value in pairs(more or {}) do fields[name] = value end
  row("6455, " .. section, rule, fields)
end

-- 4.2.2: the answer
taken("4.2.2", "A handshake is answered with 101, Upgrade, Connection and the Accept that its key demands", handshake(),
  { tls = true, has = { upgrade = "^[Ww]eb[Ss]ocket$", connection = "^[Uu]pgrade$",
    ["sec-websocket-accept"] = "^s3pPLMBiTxaQ9kYGzzhZRbK%+xOo=$" } })
taken("4.2.2", "The Accept of another key is another one",
  handshake { ["Sec-WebSocket-Key"] = "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==" },
  { has = { ["sec-websocket-accept"] = "^C/0nmHhBztSRGR1CwL6Tf4ZjwpY=$" } })
taken("4.2.2", "Without an offer of subprotocols the answer has none", handshake(),
  { lacks = { "sec-websocket-protocol" } })
taken("4.2.2", "An answer names no extension, as none was offered", handshake(),
  { lacks = { "sec-websocket-extensions" } })
row("9110, 6.6.1", "A 101 has no body and no length", { send = handshake(), status = 101, opens = true,
  lacks = { "content-length", "transfer-encoding" } })

-- 4.2.1: what a server has to take
taken("4.2.1", "Names of fields may be in any case", (handshake():gsub("\n[%w-]+:", string.lower)))
taken("4.2.1", "The value of Upgrade may be in any case", handshake { Upgrade = "Upgrade: WEBsocket" })
taken("4.2.1", "The value of Connection may be in any case", handshake { Connection = "Connection: uPGRADE" })
taken("4.2.1", "Connection may have several options, as browsers send them",
  handshake { Connection = "Connection: keep-alive, Upgrade" }, { tls = true })
taken("4.2.1", "Connection may come in two fields",
  handshake { Connection = "Connection: keep-alive\r\nConnection: Upgrade" })
taken("4.2.1", "Connection may have empty elements", handshake { Connection = "Connection: ,Upgrade, ," })
taken("4.2.1", "The fields may come in another order", bytes.head("GET /ws HTTP/1.1",
  "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Connection: Upgrade",
  "Upgrade: websocket", "Host: localhost"))
taken("4.2.1", "Blanks around values do not count", handshake { Upgrade = "Upgrade: \t websocket \t",
  Connection = "Connection:Upgrade", ["Sec-WebSocket-Version"] = "Sec-WebSocket-Version:   13 ",
  ["Sec-WebSocket-Key"] = "Sec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ==  " })
taken("4.2.1", "Fields that are unknown are passed over", handshake({}, "X-Some: thing", "Origin: http://localhost",
  "User-Agent: x"))
taken("4.2.1", "A query behind the path does no harm", handshake { GET = "GET /ws?a=b HTTP/1.1" },
  { at = { "server" } })
taken("4.2.1", "A handshake that comes byte by byte is read", handshake(), { chop = 1, tls = true })
taken("4.2.1", "The key may be any 16 bytes", handshake {
  ["Sec-WebSocket-Key"] = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==" })
taken("4.2.1", "The target may be in absolute form", handshake { GET = "GET http://localhost/ws HTTP/1.1" },
  { at = { "server" } })
row("9110, 7.8", "Upgrade may offer other protocols beside websocket", { status = 101, opens = true,
  send = handshake { Upgrade = "Upgrade: tea, websocket" } })
row("9110, 7.8", "Upgrade may come in two fields", { status = 101, opens = true,
  send = handshake { Upgrade = "Upgrade: tea\r\nUpgrade: websocket" } })

-- 4.2.1: what it has to refuse
refused("4.2.1", "A handshake without a key is refused", handshake { ["Sec-WebSocket-Key"] = false }, { tls = true })
refused("4.2.1", "An empty key is refused", handshake { ["Sec-WebSocket-Key"] = "Sec-WebSocket-Key:" })
for _, case in ipairs {
  { "of 15 bytes", "AAAAAAAAAAAAAAAAAAAA" }, { "of 17 bytes", "AAAAAAAAAAAAAAAAAAAAAAA=" },
  { "without its padding", "dGhlIHNhbXBsZSBub25jZQ" }, { "with one sign of padding", "dGhlIHNhbXBsZSBub25jZQ=" },
  { "with a sign that is not base64", "dGhlIHNhbXBsZSBub25j!Q==" },
  { "with a blank in it", "dGhlIHNhbX BsZSBub25jZQ==" },
  { "of 100 bytes", ("A"):rep(134) .. "==" },
} do
  refused("4.2.1", ("A key %s is refused"):format(case[1]), handshake { ["Sec-WebSocket-Key"] =
    "Sec-WebSocket-Key: " .. case[2] })
end
refused("11.3.1", "Two keys are refused", handshake({}, "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA=="))
refused("4.2.1", "A handshake without Connection is refused", handshake { Connection = false },
  { status = { 400, 426 } })
refused("4.2.1", "A Connection without the option Upgrade is refused",
  handshake { Connection = "Connection: keep-alive" }, { status = { 400, 426 } })
refused("4.2.1", "An option of Connection that only begins with Upgrade is refused",
  handshake { Connection = "Connection: Upgraded" }, { status = { 400, 426 } })
refused("4.2.1", "A handshake without Upgrade is not upgraded", handshake { Upgrade = false }, { status = "[24]%d%d" })
refused("4.2.1", "A handshake for another protocol is not upgraded", handshake { Upgrade = "Upgrade: tea" },
  { status = "[24]%d%d" })
refused("4.2.1", "An Upgrade that only begins with websocket is not upgraded",
  handshake { Upgrade = "Upgrade: websockets" }, { status = "[24]%d%d" })
refused("4.2.1", "A handshake without Host is refused", handshake { Host = false }, { tls = true })
refused("4.2.1", "A handshake with two Hosts is refused", handshake({}, "Host: elsewhere"))
refused("4.2.1", "A handshake in HTTP/1.0 is not upgraded", handshake { GET = "GET /ws HTTP/1.0" },
  { status = "[245]%d%d" })
refused("4.2.1", "A handshake with POST is refused", handshake { GET = "POST /ws HTTP/1.1" }, { status = { 400, 405 },
  at = { "server" } })
refused("4.2.1", "A handshake with HEAD is refused", handshake { GET = "HEAD /ws HTTP/1.1" }, { status = { 400, 405 },
  at = { "server" }, heads = { 0 } })

-- 4.4: versions
for _, version in ipairs { "", "0", "7", "8", "12", "14", "99", "113", "13a", "-13", "013", "1 3" } do
  refused("4.4", ("The version %q is refused with 426 or 400 and the version that is spoken"):format(version),
    handshake { ["Sec-WebSocket-Version"] = "Sec-WebSocket-Version: " .. version },
    { status = { 426, 400 }, has = { ["sec-websocket-version"] = "^13$" }, tls = version == "8" })
end
refused("4.4", "A handshake without a version is refused and told the one that is spoken",
  handshake { ["Sec-WebSocket-Version"] = false }, { status = { 426, 400 } })
refused("11.3.5", "Two versions in two fields are refused", handshake({}, "Sec-WebSocket-Version: 8"),
  { status = { 426, 400 } })
row("9110, 15.5.22", "A 426 has the field Upgrade", { send = handshake { ["Sec-WebSocket-Version"] =
  "Sec-WebSocket-Version: 8" }, status = 426, has = { upgrade = "websocket" } })

-- 4.2.2 and 11.3.4: subprotocols
local function offer(...) return handshake({}, ...) end
local CHOSEN = { has = { ["sec-websocket-protocol"] = "^json%.v1$" } }
taken("4.2.2", "A subprotocol that was offered is chosen", offer "Sec-WebSocket-Protocol: json.v1",
  { has = CHOSEN.has, tls = true })
taken("4.2.2", "Of several that were offered one is chosen, and only one",
  offer "Sec-WebSocket-Protocol: chat, json.v1, superchat", CHOSEN)
taken("11.3.4", "Subprotocols may be offered in two fields",
  offer("Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: json.v1"), CHOSEN)
taken("11.3.4", "A list of subprotocols may have empty elements", offer "Sec-WebSocket-Protocol: ,json.v1,, ,", CHOSEN)
taken("11.3.4", "A list of subprotocols may have no blanks", offer "Sec-WebSocket-Protocol: chat,json.v1", CHOSEN)
taken("11.3.4", "A list of two hundred subprotocols is read",
  offer("Sec-WebSocket-Protocol: " .. ("chat, "):rep(200) .. "json.v1"), CHOSEN)
row("6455, 4.2.2", "A subprotocol in another case is not the one that is known: it is not chosen", {
  send = offer "Sec-WebSocket-Protocol: JSON.v1", status = { 101, 400 }, lacks = { "sec-websocket-protocol" } })
row("6455, 4.2.2", "A subprotocol that is not known is never chosen", { status = { 101, 400 },
  send = offer "Sec-WebSocket-Protocol: chat, superchat", lacks = { "sec-websocket-protocol" } })

-- 9.1 and 11.3.2: extensions
for _, case in ipairs {
  { "permessage-deflate", "permessage-deflate; client_max_window_bits" },
  { "two of them", "permessage-deflate, x-webkit-deflate-frame" },
  { "with a parameter in quotes", 'foo; bar="baz"' },
  { "of 255 bytes", ("x"):rep(255) }, { "of 1000 bytes", "x; " .. ("y"):rep(997) },
} do
  taken("9.1", ("Extensions that are not known are passed over, the answer has none: %s"):format(case[1]),
    handshake({}, "Sec-WebSocket-Extensions: " .. case[2]), { lacks = { "sec-websocket-extensions" } })
end
taken("11.3.2", "Extensions may be offered in two fields", handshake({}, "Sec-WebSocket-Extensions: a",
  "Sec-WebSocket-Extensions: b"), { lacks = { "sec-websocket-extensions" } })

return { kind = "request", at = { "server", "bridge" }, title = "The handshake at a server", rows = rows }
