-- SPDX-License-Identifier: MIT
-- RFC 6455, 5.1 to 5.3 and 10: frames, their lengths, masks, reserved bits and opcodes; sizes that an end takes.

local bytes = require "spec.conformance.bytes"
local ends = require "spec.conformance.ends"

local frame, text, binary, rest, ping = bytes.frame, bytes.text, bytes.binary, bytes.rest, bytes.ping

local PROTOCOL_ERROR, TOO_BIG = 1002, 1009

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = "6455, " .. section, rule
  rows[#rows + 1] = fields
end

-- 5.1: who masks
row("5.1", "A frame that its sender must mask, and has not, closes the connection (at a server); a frame that it must "
  .. "not mask, and has masked, closes it (at a client): text", { send = { text("Hello", { wrong_mask = true }) },
  fails = PROTOCOL_ERROR, tls = true })
row("5.1", "The same for an empty text", { send = { text("", { wrong_mask = true }) }, fails = PROTOCOL_ERROR })
row("5.1", "The same for a PING, which is not answered", { send = { ping("x", { wrong_mask = true }) },
  fails = PROTOCOL_ERROR })
row("5.1", "The same for a close frame, whose code is not taken over",
  { send = { bytes.close(1000, "", { wrong_mask = true }) }, fails = PROTOCOL_ERROR })
row("5.1", "The same for the second fragment of a message, which is not delivered",
  { send = { text("one", { fin = false }), rest("two", { wrong_mask = true }) }, fails = PROTOCOL_ERROR })
row("5.1", "A good message before a frame with the wrong mask is delivered, none behind it is",
  { send = { text "good", text("bad", { wrong_mask = true }), text "behind" }, messages = { "good" },
    fails = PROTOCOL_ERROR })
row("5.3", "Every frame of a client is masked with a key of its own, no frame of a server is masked: ten PONGs and a "
  .. "close frame", { send = { ping "1" }, pongs = { "1" } })

-- 5.2: lengths
for _, length in ipairs { 0, 1, 125, 126, 127, 128, 65535, 65536, 65537, ends.MAX_FRAME - 1, ends.MAX_FRAME } do
  local payload = ("*"):rep(length)
  row("5.2", ("A text of %d bytes is delivered whole"):format(length), { send = { text(payload) },
    messages = { payload }, tls = length == 65536 })
  payload = ("\xfe"):rep(length)
  row("5.2", ("A binary message of %d bytes is delivered whole"):format(length), { send = { binary(payload) },
    messages = { payload } })
end
for _, length in ipairs { 0, 125, 126, 300 } do
  local payload = ("*"):rep(length)
  row("5.2", ("A text of %d bytes that comes byte by byte is delivered whole"):format(length),
    { send = { text(payload) }, chop = 1, messages = { payload }, tls = length == 126 })
end
for _, size in ipairs { 997, 4096 } do
  local payload = ("0123456789"):rep(7000)
  row("5.2", ("A text of %d bytes that comes in pieces of %d is delivered whole"):format(#payload, size),
    { send = { text(payload) }, chop = size, messages = { payload } })
end
row("5.2", "Frames in one segment with the handshake are read", { send = { text "a", text "b" }, early = true,
  messages = { "a", "b" }, tls = true })
do
  local send, messages = {}, {}
  for number = 1, 500 do
    messages[number] = ("message %d"):format(number)
    send[number] = text(messages[number])
  end
  row("5.2", "Five hundred messages in one segment are delivered in order", { send = send, messages = messages,
    tls = true })
  row("5.2", "The same in pieces of 7 bytes", { send = table.move(send, 1, 100, 1, {}), chop = 7,
    messages = table.move(messages, 1, 100, 1, {}) })
end
row("5.2", "A length of 64 bits whose first bit is set closes the connection",
  { send = { text("x", { length = math.mininteger }) }, fails = { PROTOCOL_ERROR, TOO_BIG }, tls = true })
row("5.2", "A length of 2^64-1 closes the connection", { send = { text("x", { length = -1 }) },
  fails = { PROTOCOL_ERROR, TOO_BIG } })
for _, case in ipairs { { 125, 16 }, { 0, 16 }, { 125, 64 }, { 126, 64 }, { 65535, 64 } } do
  row("5.2", ("A length of %d in %d bits, more than it takes, closes the connection"):format(case[1], case[2]),
    { send = { text(("*"):rep(case[1]), { bits = case[2] }) }, fails = PROTOCOL_ERROR })
end

-- 5.2: reserved bits
for rsv = 1, 7 do
  row("5.2", ("Reserved bits %d, which no extension has defined, close the connection"):format(rsv),
    { send = { text("Hello", { rsv = rsv }) }, fails = PROTOCOL_ERROR, tls = rsv == 4 })
end
row("5.2", "A reserved bit in an empty text closes the connection", { send = { text("", { rsv = 4 }) },
  fails = PROTOCOL_ERROR })
row("5.2", "A reserved bit in a binary frame closes the connection", { send = { binary("x", { rsv = 4 }) },
  fails = PROTOCOL_ERROR })
row("5.2", "A reserved bit in a PING closes the connection", { send = { ping("x", { rsv = 4 }) },
  fails = PROTOCOL_ERROR })
row("5.2", "A reserved bit in a PONG closes the connection", { send = { bytes.pong("x", { rsv = 2 }) },
  fails = PROTOCOL_ERROR })
row("5.2", "A reserved bit in a close frame closes the connection with 1002",
  { send = { bytes.close(1000, "", { rsv = 1 }) }, fails = PROTOCOL_ERROR })
row("5.2", "A reserved bit in a continuation closes the connection",
  { send = { text("one", { fin = false }), rest("two", { rsv = 4 }) }, fails = PROTOCOL_ERROR })
row("5.2", "A message before a reserved bit is delivered, PINGs behind it are not answered",
  { send = { text "good", text("bad", { rsv = 1 }), ping "late" }, messages = { "good" }, fails = PROTOCOL_ERROR })
row("5.2", "A reserved bit is seen when the frame comes byte by byte", { send = { text("Hello", { rsv = 4 }) },
  chop = 1, fails = PROTOCOL_ERROR })

-- 5.2: opcodes
for _, opcode in ipairs { 3, 4, 5, 6, 7, 11, 12, 13, 14, 15 } do
  row("5.2", ("The reserved opcode 0x%X closes the connection"):format(opcode), { send = { frame(opcode) },
    fails = PROTOCOL_ERROR, tls = opcode == 3 or opcode == 11 })
  row("5.2", ("The reserved opcode 0x%X with a payload, behind a text, closes the connection"):format(opcode),
    { send = { text "good", frame(opcode, "payload"), ping "late" }, messages = { "good" }, fails = PROTOCOL_ERROR })
end
row("5.2", "A reserved opcode within a message closes the connection",
  { send = { text("one", { fin = false }), frame(3, "x"), rest "two" }, fails = PROTOCOL_ERROR })

-- 10.4: what is too big
row("10.4", "A text of more than the end takes is refused with 1009",
  { send = { text(("*"):rep(ends.MAX_FRAME + 1)) }, fails = TOO_BIG })
row("10.4", "A text of more than the end takes, in fragments, is refused with 1009",
  { send = { bytes.fragments(1, ("*"):rep(ends.MAX_FRAME), "*") }, fails = TOO_BIG })
row("10.4", "A length of 2^62 is refused before the bytes come",
  { send = { text("x", { length = 1 << 62 }) }, fails = TOO_BIG, tls = true })
row("10.4", "A length of 2^32 is refused before the bytes come", { send = { binary("x", { length = 1 << 32 }) },
  fails = TOO_BIG })
row("10.4", "A continuation of 2^63-1 behind a fragment does not overflow",
  { send = { text("one", { fin = false }), rest("x", { length = math.maxinteger }) }, fails = TOO_BIG })

return { kind = "frames", at = { "server", "client", "bridge" }, title = "Frames", rows = rows }
