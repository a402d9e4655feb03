-- SPDX-License-Identifier: MIT
-- Texts made of parts: strings are escaped, results of builders are taken as they are.

local core = require "trueconf.core"
local options = require "trueconf.base.options"
local escape = require "trueconf.text.escape"
local links = require "trueconf.text.link"
local plain = require "trueconf.text.plain"

---@class trueconf.Markup a piece of marked-up text; tostring() gives the text to send
---@field parse_mode "html"|"markdown"
---@field raw string
local Markup = { __name = "trueconf.Markup" }
Markup.__index = Markup

local function is_markup(value)
  return getmetatable(value) == Markup
end

-- marks are those within; head and tail the markdown mark it begins and ends with.
local function new(mode, raw, marks, head, tail)
  return setmetatable({ parse_mode = mode, raw = raw, marks = marks or {}, head = head, tail = tail }, Markup)
end

-- The text of a value in a mode.
local function written(mode, value, level)
  if is_markup(value) then
    if value.parse_mode ~= mode then
      error(("%s markup in %s"):format(value.parse_mode, mode), level + 1)
    end
    return value.raw
  end
  if type(value) ~= "string" and type(value) ~= "number" then
    error(("a text must be a string, a number or markup, got %s"):format(options.type_of(value)), level + 1)
  end
  return escape.text(tostring(value), mode)
end

-- "_a_" and "_b_" side by side are "_ab_": in "_a__b_" the middle would be another mark.
local function merge(out, raw, mark)
  out[#out] = out[#out]:sub(1, -1 - #mark)
  return raw:sub(1 + #mark)
end

local function join(mode, values, separator, level)
  local out, marks, head, tail = {}, {}, nil, nil
  for index = 1, values.n or #values do
    local value = values[index]
    local raw, markup = written(mode, value, level + 1), is_markup(value) and value or {}
    for mark in pairs(markup.marks or {}) do marks[mark] = true end
    if index > 1 and separator ~= "" then out[#out + 1], tail = separator, nil end
    if raw ~= "" then
      if not out[1] then head = markup.head end
      if tail and tail == markup.head then raw = merge(out, raw, tail) end
      out[#out + 1], tail = raw, markup.tail
    end
  end
  return new(mode, table.concat(out), marks, head, tail)
end

function Markup:__tostring()
  return self.raw
end

function Markup.__concat(a, b)
  local mode = is_markup(a) and a.parse_mode or b.parse_mode
  return (join(mode, { a, b }, "", 2)) -- no tail call: a mistake is reported at the caller's line
end

-- Marks in markdown stand next to a letter, never next to a space, and not within their like.
local function mark_markdown(mark, body)
  local space, inner = body.raw:match "^(%s*)(.*)$"
  local stop = inner:match "^.*%S()"
  if not stop or body.marks[mark] then return body end
  body.marks[mark] = true
  local raw = space .. mark .. inner:sub(1, stop - 1) .. mark .. inner:sub(stop)
  return new("markdown", raw, body.marks, space == "" and mark or nil, stop > #inner and mark or nil)
end

local function mark_html(tag, body)
  return new("html", ("<%s>%s</%s>"):format(tag, body.raw, tag))
end

local writers = {
  html = {
    mark = mark_html, marks = { bold = "b", italic = "i", strike = "s", underline = "u" },
    link = function(label, target) return ('<a href="%s">%s</a>'):format(escape.attribute(target), label) end,
    quote = function(quoted) return ('<quote class="reply">%s</quote><br><br>'):format(quoted) end,
  },
  markdown = {
    mark = mark_markdown, marks = { bold = "**", italic = "_", strike = "~~" },
    link = function(label, target) return ("[%s](%s)"):format(label, escape.target(target)) end,
    quote = function(quoted) return ">" .. quoted:gsub("\n", "\n>") .. "\n\n" end,
  },
}

local function checked(value, what, level)
  if type(value) ~= "string" or value == "" then
    error(("%s must be a string that is not empty, got %s"):format(what,
      value == "" and "an empty one" or options.type_of(value)), level + 1)
  end
  return value
end

-- A link as text, "label (address)", because a server would refuse the whole message for it.
local function spelled_out(mode, label, target)
  if label.raw == escape.text(target, mode) then return label end
  return join(mode, { label, " (", target, ")" }, "", 1)
end

local function link(mode, target, level, ...)
  if select("#", ...) == 0 then error("a link needs a label", level + 1) end
  local label = join(mode, table.pack(...), "", level + 1)
  -- A name may consist of invisible characters: take the ID then.
  if not core.fold(plain[mode](label.raw)):find "%S" then label = join(mode, { target }, "", 1) end
  if not links.is_allowed(target) then return spelled_out(mode, label, target) end
  return new(mode, writers[mode].link(label.raw, target), label.marks)
end

-- A name in one line; the login where the name shows nothing.
local function label_of(name, user_id)
  if type(name) == "string" then name = name:gsub("%s*[\r\n]+%s*", " ") end
  if name == nil or type(name) == "string" and not core.fold(name):find "%S" then return links.login_of(user_id) end
  return name
end

local function mention(mode, user_id, name, level)
  checked(user_id, "user_id", level + 1)
  return (link(mode, links.to_user(user_id), level + 1, label_of(name, user_id)))
end

local function add_marks(builder, mode)
  for name, mark in pairs(writers[mode].marks) do
    builder[name] = function(...) return writers[mode].mark(mark, join(mode, table.pack(...), "", 2)) end
  end
  if not builder.underline then
    builder.underline = function() error("markdown has no underline; html has", 2) end
  end
end

-- The builder of a mode.
local function make(mode)
  local builder = {}
  add_marks(builder, mode)
  function builder.link(target, ...)
    target = type(target) == "string" and links.tidy(target) or target
    return (link(mode, checked(target, "the target", 2), 2, ...))
  end
  function builder.mention(user_id, name) return (mention(mode, user_id, name, 2)) end
  function builder.raw(text) return new(mode, checked(text, "raw text", 2)) end
  function builder.join(values, separator)
    return (join(mode, values, separator and written(mode, separator, 2) or "", 2))
  end
  function builder.quote(quoted, ...)
    local body = written(mode, quoted, 2)
    if not body:find "%S" then error("a quote needs a text", 2) end
    return new(mode, writers[mode].quote(body) .. join(mode, table.pack(...), "", 2).raw)
  end
  return setmetatable(builder, { __call = function(_, ...) return (join(mode, table.pack(...), "", 2)) end })
end

return { make = make, mention = mention, label_of = label_of }
