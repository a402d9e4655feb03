-- SPDX-License-Identifier: MIT
-- RFC 6455, 5.4 and 5.5: fragments, and the control frames among them.

local bytes = require "spec.conformance.bytes"

local text, binary, rest, ping, pong = bytes.text, bytes.binary, bytes.rest, bytes.ping, bytes.pong

local PROTOCOL_ERROR = 1002

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = "6455, " .. section, rule
  rows[#rows + 1] = fields
end

local function first(payload) return text(payload, { fin = false }) end
local function middle(payload) return rest(payload, { fin = false }) end

-- 5.4: fragments
row("5.4", "A text in two fragments is delivered as one", { send = { bytes.fragments(1, "one", "two") },
  messages = { "onetwo" }, tls = true })
row("5.4", "A binary message in two fragments is delivered as one", { send = { bytes.fragments(2, "\xff\0", "\xfe") },
  messages = { "\xff\0\xfe" } })
row("5.4", "A text in three fragments, all empty, is delivered as an empty one",
  { send = { bytes.fragments(1, "", "", "") }, messages = { "" } })
row("5.4", "Only the middle one of three fragments has bytes", { send = { bytes.fragments(1, "", "middle", "") },
  messages = { "middle" } })
row("5.4", "Fragments that come byte by byte are delivered as one", { send = { bytes.fragments(1, "one", "two") },
  chop = 1, messages = { "onetwo" } })
row("5.4", "A character may be cut between fragments", { send = { bytes.fragments(1, "\xce", "\xba\xe1\xbd", "\xb9") },
  messages = { "\u{3ba}\u{1f79}" } })
for _, size in ipairs { 1, 64, 1300 } do
  local payload, list = ("0123456789"):rep(size == 1 and 100 or 6553), {}
  for place = 1, #payload, size do list[#list + 1] = payload:sub(place, place + size - 1) end
  row("5.4", ("A text of %d bytes in fragments of %d is delivered as one"):format(#payload, size),
    { send = { bytes.fragments(1, table.unpack(list)) }, messages = { payload } })
end
row("5.4", "A message in fragments may follow another", { send = { first "a", rest "b", binary("c", { fin = false }),
  rest "d", text "e" }, messages = { "ab", "cd", "e" } })
row("5.4", "A message whose last fragment never comes is not delivered", { send = { first "one", middle "two" } })
for _, case in ipairs { { "with FIN", rest "x" }, { "without FIN", middle "x" }, { "empty, with FIN", rest "" },
  { "empty, without FIN", middle "" } } do
  local what, frame = case[1], case[2]
  row("5.4", ("A continuation of nothing (%s) closes the connection"):format(what),
    { send = { frame, text "behind" }, fails = PROTOCOL_ERROR, tls = what == "with FIN" })
  row("5.4", ("A continuation (%s) behind a whole message closes the connection"):format(what),
    { send = { text "whole", frame }, messages = { "whole" }, fails = PROTOCOL_ERROR })
  row("5.4", ("A continuation (%s) behind a message in fragments closes the connection"):format(what),
    { send = { first "a", rest "b", frame }, messages = { "ab" }, fails = PROTOCOL_ERROR })
end
row("5.4", "A text within a message closes the connection", { send = { first "one", text "two" },
  fails = PROTOCOL_ERROR, tls = true })
row("5.4", "A binary frame within a message closes the connection", { send = { first "one", binary "two" },
  fails = PROTOCOL_ERROR })
row("5.4", "A first fragment within a message closes the connection", { send = { first "one", first "two", rest "x" },
  fails = PROTOCOL_ERROR })
row("5.4", "The same byte by byte", { send = { first "one", text "two" }, chop = 1, fails = PROTOCOL_ERROR })
do
  local list = { first "" }
  for _ = 1, 200 do list[#list + 1] = middle "" end
  list[#list + 1] = rest "end"
  row("5.4", "A text may have two hundred empty fragments",
    { send = list, messages = { "end" } })
end

-- 5.5: control frames
row("5.5", "A PING in fragments closes the connection", { send = { ping("x", { fin = false }), rest "y" },
  fails = PROTOCOL_ERROR, tls = true })
row("5.5", "A PONG in fragments closes the connection", { send = { pong("x", { fin = false }), rest "y" },
  fails = PROTOCOL_ERROR })
row("5.5", "A close frame without FIN closes the connection with 1002",
  { send = { bytes.close(1000, "", { fin = false }) }, fails = PROTOCOL_ERROR })
for _, case in ipairs { { "PING", ping }, { "PONG", pong } } do
  local name, make = case[1], case[2]
  row("5.5", ("A %s of 126 bytes closes the connection"):format(name), { send = { make(("x"):rep(126)) },
    fails = PROTOCOL_ERROR, tls = true })
  row("5.5", ("A %s of 65536 bytes closes the connection"):format(name), { send = { make(("x"):rep(65536)) },
    fails = PROTOCOL_ERROR })
  row("5.5", ("A %s that only says it is 126 bytes long closes the connection"):format(name),
    { send = { make("", { length = 126 }) }, fails = PROTOCOL_ERROR })
end
row("5.5", "A close frame of 126 bytes closes the connection with 1002",
  { send = { bytes.close(1000, ("x"):rep(124)) }, fails = PROTOCOL_ERROR })
row("5.5", "A PING whose length takes more bits than it needs closes the connection",
  { send = { ping("x", { bits = 16 }) }, fails = PROTOCOL_ERROR })

-- 5.5.2 and 5.5.3: PING and PONG
for _, case in ipairs { { "no payload", "" }, { "a payload", "Hello, world!" }, { "125 bytes", ("*"):rep(125) },
  { "bytes that are no UTF-8", "\0\xff\xfe\xfd\xfc\xfb\0\xff" } } do
  local what, payload = case[1], case[2]
  row("5.5.2", ("A PING with %s is answered with the same"):format(what), { send = { ping(payload) },
    pongs = { payload }, tls = what == "a payload" })
  row("5.5.2", ("A PING with %s that comes byte by byte is answered"):format(what), { send = { ping(payload) },
    chop = 1, pongs = { payload } })
end
do
  local list, payloads = {}, {}
  for number = 1, 10 do
    payloads[number] = ("payload-%d"):format(number)
    list[number] = ping(payloads[number])
  end
  row("5.5.3", "Of ten PINGs in one segment the newest is answered", { send = list, pongs = payloads, tls = true })
  row("5.5.3", "Of ten PINGs that come byte by byte the newest is answered", { send = list, chop = 1,
    pongs = payloads })
  list = table.move(list, 1, 10, 2, { text "before" })
  list[#list + 1] = text "behind"
  row("5.5.3", "Of ten PINGs between texts the newest is answered, and the texts are delivered",
    { send = list, pongs = payloads, messages = { "before", "behind" } })
  list, payloads = {}, {}
  for number = 1, 5000 do
    payloads[number] = ("%d"):format(number)
    list[number] = ping(payloads[number])
  end
  row("5.5.3", "Of five thousand PINGs the newest is answered", { send = list, pongs = payloads })
end
row("5.5.2", "A PING between two fragments is answered before the message has ended",
  { send = { first "one", ping "between", rest "two" }, pongs = { "between" }, messages = { "onetwo" }, tls = true })
row("5.5.2", "A PING between two fragments is answered though the message never ends",
  { send = { first "one", ping "between" }, pongs = { "between" } })
row("5.5.2", "PINGs between fragments that come byte by byte are answered",
  { send = { first "one", ping "a", middle "two", ping "b", rest "three" }, chop = 1, pongs = { "a", "b" },
    messages = { "onetwothree" } })
row("5.5.2", "A PING in one segment with the handshake is answered", { send = { ping "early" }, early = true,
  pongs = { "early" }, tls = true })
row("5.5.2", "Bytes of a PING do not go into the message around it",
  { send = { first "a", ping "X", pong "Y", middle "b", ping "Z", rest "c" }, pongs = { "X", "Z" },
    messages = { "abc" } })
row("5.5.3", "A PONG without a PING is passed over", { send = { pong "" } })
row("5.5.3", "A PONG with a payload and without a PING is passed over", { send = { pong "unasked" } })
row("5.5.3", "A PONG without a PING, and then a PING: only that is answered", { send = { pong "unasked", ping "asked" },
  pongs = { "asked" } })
row("5.5.3", "PONGs between fragments are passed over", { send = { first "a", pong "x", rest "b" },
  messages = { "ab" } })

return { kind = "frames", at = { "server", "client", "bridge" }, title = "Fragments and control frames", rows = rows }
