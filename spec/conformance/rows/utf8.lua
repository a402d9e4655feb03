-- SPDX-License-Identifier: MIT
-- RFC 6455, 8.1 and 5.6: texts are UTF-8 (RFC 3629), whole messages of them, however they are cut.

local bytes = require "spec.conformance.bytes"

local text = bytes.text

local NOT_UTF8 = 1007

local rows = {}

local function row(section, rule, fields)
  fields.section, fields.rule = section, rule
  rows[#rows + 1] = fields
end

local function each_byte(payload)
  local list = {}
  for place = 1, #payload do list[place] = payload:sub(place, place) end
  return bytes.fragments(1, table.unpack(list))
end

local VALID = {
  { "Greek letters", "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}" },
  { "U+0000", "\0" }, { "U+007F", "\u{7f}" }, { "U+0080", "\u{80}" }, { "U+07FF", "\u{7ff}" },
  { "U+0800", "\u{800}" }, { "U+D7FF", "\u{d7ff}" }, { "U+E000", "\u{e000}" }, { "U+FFFD", "\u{fffd}" },
  { "U+FFFE", "\u{fffe}" }, { "U+FFFF", "\u{ffff}" }, { "U+10000", "\u{10000}" }, { "U+1FFFF", "\u{1ffff}" },
  { "U+10FFFF", "\u{10ffff}" }, { "a byte order mark", "\u{feff}text" },
}
for _, case in ipairs(VALID) do
  row("3629, 3", "Text is delivered: " .. case[1], { send = { text(case[2]) }, messages = { case[2] } })
  if #case[2] > 1 then
    row("6455, 5.6", "Text in fragments of one byte is delivered: " .. case[1], { send = { each_byte(case[2]) },
      messages = { case[2] } })
  end
end

local INVALID = {
  { "a continuation byte alone", "\x80" },
  { "the last continuation byte", "\xbf" },
  { "two continuation bytes", "\x80\xbf" },
  { "six continuation bytes", "\x80\xbf\x80\xbf\x80\xbf" },
  { "a lead byte of two before a space", "\xc3 " },
  { "a lead byte of three before a space", "\xe1\x80 " },
  { "a lead byte of four before a space", "\xf1\x80\x80 " },
  { "two bytes, cut off", "\xc3" },
  { "three bytes, one of them there", "\xe1" },
  { "three bytes, cut off", "\xe1\x80" },
  { "four bytes, one of them there", "\xf1" },
  { "four bytes, cut off", "\xf1\x80\x80" },
  { "an overlong slash of two bytes", "\xc0\xaf" },
  { "an overlong slash of three bytes", "\xe0\x80\xaf" },
  { "an overlong slash of four bytes", "\xf0\x80\x80\xaf" },
  { "an overlong slash of five bytes", "\xf8\x80\x80\x80\xaf" },
  { "an overlong slash of six bytes", "\xfc\x80\x80\x80\x80\xaf" },
  { "an overlong U+0000", "\xc0\x80" },
  { "the greatest overlong one of two bytes", "\xc1\xbf" },
  { "the greatest overlong one of three bytes", "\xe0\x9f\xbf" },
  { "the greatest overlong one of four bytes", "\xf0\x8f\xbf\xbf" },
  { "the surrogate U+D800", "\xed\xa0\x80" },
  { "the surrogate U+DB7F", "\xed\xad\xbf" },
  { "the surrogate U+DC00", "\xed\xb0\x80" },
  { "the surrogate U+DFFF", "\xed\xbf\xbf" },
  { "a pair of surrogates", "\xed\xa0\x80\xed\xb0\x80" },
  { "U+110000", "\xf4\x90\x80\x80" },
  { "the lead byte F5", "\xf5\x80\x80\x80" },
  { "five bytes", "\xf8\x88\x80\x80\x80" },
  { "six bytes", "\xfc\x84\x80\x80\x80\x80" },
  { "the byte FE", "\xfe" },
  { "the byte FF", "\xff" },
  { "FE FE FF FF", "\xfe\xfe\xff\xff" },
  { "a surrogate among Greek letters", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited" },
}
for _, case in ipairs(INVALID) do
  local name, payload = case[1], case[2]
  row("6455, 8.1", ("A text that is not UTF-8 closes the connection, it is not delivered: %s"):format(name),
    { send = { text(payload), text "behind" }, fails = NOT_UTF8, tls = name == "the surrogate U+D800" })
  row("6455, 8.1", ("The same between letters: %s"):format(name), { send = { text("before" .. payload .. "behind") },
    fails = NOT_UTF8 })
  if #payload > 1 then
    row("6455, 8.1", ("The same cut over fragments of one byte: %s"):format(name), { send = { each_byte(payload) },
      fails = NOT_UTF8 })
  end
end
row("6455, 8.1", "What is not UTF-8 in the second fragment closes the connection",
  { send = { bytes.fragments(1, "good", "\xff") }, fails = NOT_UTF8 })
row("6455, 8.1", "A character that is cut off by the end of the last fragment closes the connection",
  { send = { bytes.fragments(1, "good", "\xe1\xbd") }, fails = NOT_UTF8, tls = true })
row("6455, 8.1", "A character that begins in a fragment and is not gone on with closes the connection",
  { send = { bytes.fragments(1, "\xe1\xbd", "x") }, fails = NOT_UTF8 })
row("6455, 8.1", "What is not UTF-8 closes the connection when it comes byte by byte",
  { send = { text "good and \xed\xa0\x80 bad" }, chop = 1, fails = NOT_UTF8 })
row("6455, 8.1", "A message before one that is not UTF-8 is delivered", { send = { text "good", text "\xff" },
  messages = { "good" }, fails = NOT_UTF8 })
row("6455, 8.1", "What is not UTF-8 at the end of a long text closes the connection",
  { send = { text(("x"):rep(70000) .. "\xc3") }, fails = NOT_UTF8 })
row("6455, 5.6", "A binary message may have any bytes", { send = { bytes.binary "\xff\xfe\xed\xa0\x80" },
  messages = { "\xff\xfe\xed\xa0\x80" } })
row("6455, 5.6", "A binary message in fragments may have any bytes", { send = { bytes.fragments(2, "\xff", "\xed") },
  messages = { "\xff\xed" } })

return { kind = "frames", at = { "server", "client" }, title = "UTF-8", rows = rows }
