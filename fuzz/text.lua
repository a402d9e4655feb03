-- SPDX-License-Identifier: MIT
-- Texts of people: what is escaped comes back, the parts of a long text fit, and none of the readers raises.
local text = require "trueconf.text"
local words = require "trueconf.bot.command.words"

local LIMIT = 40

local function check_mode(content, mode)
  text.plain(content, mode)
  text.command_text(content, mode)
  text.strip_quote(content, mode)
  text.mentions(content, mode)
  text.contact(content, mode)
  local cut = text.cut(content, LIMIT, mode)
  assert(text.visible_length(cut, mode) <= LIMIT, "the cut text is too long")
  for _, part in ipairs(text.split(content, { limit = LIMIT, parse_mode = mode })) do
    assert(text.visible_length(part, mode) <= LIMIT, "a part is too long: " .. part)
    assert(utf8.len(part), "a part is not UTF-8")
  end
end

-- Html has one kind of space and one of line break; hard spaces keep runs of them.
local function soft(content)
  return (content:gsub("\r\n?", "\n"):gsub("[\t\v\f]", " "):gsub("\u{a0}", " "))
end

return function(content)
  if not utf8.len(content) then return end
  words.split(content, {})
  for _, mode in ipairs { "text", "markdown", "html" } do check_mode(content, mode) end
  for _, mode in ipairs { "markdown", "html" } do
    local plain = text.plain(text.escape(content, mode), mode)
    assert(soft(plain) == soft(content), ("%s: %q came back as %q"):format(mode, content, plain))
  end
end
