-- SPDX-License-Identifier: MIT
-- RFC 6455, 5.5.1 and 7: close frames, their codes and reasons, and the end of the connection.

local bytes = require "spec.conformance.bytes"

local text, rest, ping, close = bytes.text, bytes.rest, bytes.ping, bytes.close

local PROTOCOL_ERROR, NOT_UTF8, NO_CODE = 1002, 1007, 1005

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = "6455, " .. section, rule
  rows[#rows + 1] = fields
end

-- 5.5.1: the answer
row("5.5.1", "A close frame is answered with one, and the connection ends", { send = { close(1000) }, replies = 1000,
  told = 1000, tls = true })
row("5.5.1", "A close frame that comes byte by byte is answered", { send = { close(1000, "bye") }, chop = 1,
  replies = 1000, told = 1000, reason = "bye" })
row("5.5.1", "An empty close frame is answered with an empty one or with 1000", { send = { close() },
  replies = { false, 1000 }, told = NO_CODE })
row("5.5.1", "A close frame with a reason is answered, Lua is told the reason", { send = { close(1000, "Auf \u{fc}") },
  replies = 1000, told = 1000, reason = "Auf \u{fc}" })
row("5.5.1", "A close frame may have a reason of 123 bytes", { send = { close(1000, ("r"):rep(123)) }, replies = 1000,
  told = 1000, reason = ("r"):rep(100) })
row("5.5.1", "A message before the close frame is delivered", { send = { text "last", close(1000) },
  messages = { "last" }, replies = 1000, tls = true })
row("5.5.1", "Of two close frames the first is answered, once", { send = { close(1000, "one"), close(1001, "two") },
  replies = 1000, told = 1000 })
row("5.5.1", "A text behind a close frame is not delivered", { send = { close(1000), text "late" }, replies = 1000 })
row("5.5.1", "A PING behind a close frame is not answered", { send = { close(1000), ping "late" }, replies = 1000 })
row("5.5.1", "What is no frame behind a close frame is not looked at", { send = { close(1000), "\xff\xff\xff" },
  replies = 1000, told = 1000 })
row("5.5.1", "A close frame within a message ends the connection, the message is not delivered",
  { send = { text("one", { fin = false }), close(1000), rest "two" }, replies = 1000 })
row("5.5.1", "A close frame in one segment with the handshake is answered", { send = { close(1000) }, early = true,
  replies = 1000, told = 1000, tls = true })
row("5.5.1", "A close frame behind a text of 256 KiB is answered", { send = { text(("x"):rep(1 << 18)), close(1000) },
  messages = { ("x"):rep(1 << 18) }, replies = 1000 })

-- 5.5.1: what is wrong with the body
row("5.5.1", "A close frame of one byte closes the connection with 1002", { send = { bytes.frame(8, "\3") },
  fails = PROTOCOL_ERROR, tls = true })
for _, case in ipairs { { "an overlong slash", "\xc0\xaf" }, { "a surrogate", "\xed\xa0\x80" },
  { "a character cut off", "bye \xe1\xbd" }, { "FF", "\xff" }, { "letters around FE", "a\xfeb" } } do
  local what, reason = case[1], case[2]
  row("8.1", ("A reason that is not UTF-8 closes the connection, and Lua is not told it: %s"):format(what),
    { send = { close(1000, reason) }, fails = NOT_UTF8, tls = what == "FF" })
end

-- 7.4: codes
for _, code in ipairs { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
  4999 } do
  row("7.4", ("The code %d is taken, answered, and told to Lua"):format(code), { send = { close(code, "why") },
    replies = { code, 1000 }, told = code })
end
for _, code in ipairs { 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535 } do
  row("7.4", ("The code %d must not be in a close frame: the answer is 1002"):format(code),
    { send = { close(code) }, fails = PROTOCOL_ERROR, tls = code == 1006 })
  row("7.4", ("The code %d with a reason must not be in a close frame"):format(code),
    { send = { close(code, "why") }, fails = PROTOCOL_ERROR })
end

return { kind = "frames", at = { "server", "client", "bridge" }, title = "Closing", rows = rows }
