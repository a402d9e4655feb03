-- SPDX-License-Identifier: MIT
-- Writes lua/trueconf/meta/protocol.lua, from which the language server knows every method, argument and object, from
-- the schema in lua/trueconf/protocol/.
local protocol = require "trueconf.protocol"
local sorted_keys = require "trueconf.base.sorted_keys"

local PAGE = "lua/trueconf/meta/protocol.lua"
local SPACE = "trueconf."

local out = {}

local function write(line, ...)
  out[#out + 1] = select("#", ...) > 0 and line:format(...) or line
end

-- Types -------------------------------------------------------------------------------------

local PRIMITIVES = { string = true, integer = true, number = true, boolean = true }

-- Objects that have methods of their own on the Lua side, under the name of their class there.
local MADE_BY_HAND = {
  SentMessage = "SentMessage", SentFile = "SentMessage", Envelope = "Message", AnsweredMessage = "Message",
  LastMessage = "Message", CommandMessage = "Message",
}

local function annotated(kind)
  local item = kind:match "^%[(.*)%]$"
  if item then return annotated(item) .. "[]" end
  if PRIMITIVES[kind] then return kind end
  return kind == "object" and "table" or SPACE .. (MADE_BY_HAND[kind] or kind)
end

-- Names of classes and aliases in the files that are written by hand.
local function hand_written_types()
  local pipe <close> = assert(io.popen "find lua -name '*.lua' ! -path '*/meta/*' | LC_ALL=C sort | xargs cat")
  local names = {}
  for line in pipe:lines() do
    local name = line:match "^%-%-%-@class[ exact()]* trueconf%.(%u%a*)" or line:match "^%-%-%-@alias trueconf%.(%u%a*)"
    if name then names[name] = true end
  end
  return names
end

local known_types = hand_written_types()

local function pascal(name)
  return (name:gsub("^%l", string.upper))
end

local function write_field(field, optional, note)
  write("---@field %s%s %s %s%s", field.lua_name, optional and "?" or "", annotated(field.type), field.doc, note or "")
end

local function since_note(field)
  return field.since and " (since " .. field.since .. ")" or ""
end

local function is_optional(field)
  return field.optional or field.nullable or field.default ~= nil
end

-- Enums and objects -------------------------------------------------------------------------

local function write_enum(enum)
  if known_types[enum.name] then return end
  write("---%s", enum.doc)
  write("---@alias %s%s", SPACE, enum.name)
  for _, value in ipairs(enum.values) do
    if enum.base == "integer" then
      write("---| %d # %s", value, enum.names[value])
    else
      write('---| "%s"', value)
    end
  end
  write ""
end

local function write_union(union)
  local names, seen = {}, {}
  for _, key in ipairs(sorted_keys(union.of)) do
    local name = SPACE .. union.of[key]
    if not seen[name] then names[#names + 1], seen[name] = name, true end
  end
  write("---%s", union.doc)
  write("---@alias %s%s %s", SPACE, union.name, table.concat(names, "|"))
  write ""
end

-- A field of some variants only; the language server cannot tell them apart.
local function write_variants(object)
  local kinds, fields, order = {}, {}, {}
  for _, kind in ipairs(sorted_keys(object.variants)) do
    for _, field in ipairs(object.variants[kind]) do
      if not kinds[field.name] then
        kinds[field.name], fields[field.name], order[#order + 1] = {}, field, field.name
      end
      table.insert(kinds[field.name], kind)
    end
  end
  for _, name in ipairs(order) do
    write_field(fields[name], true, " (" .. table.concat(kinds[name], ", ") .. ")")
  end
end

local function write_object(object)
  if MADE_BY_HAND[object.name] or known_types[object.name] then return end
  write("---%s%s", object.doc, object.since and " Since " .. object.since .. "." or "")
  write("---@class %s%s", SPACE, object.name)
  for _, field in ipairs(object.fields) do write_field(field, is_optional(field), since_note(field)) end
  if object.variants then write_variants(object) end
  for _, field in ipairs(object.fields) do
    if field.name == "chatType" then write '---@field kind? string its type in a word, as in "group"' end
  end
  write ""
end

-- Events ------------------------------------------------------------------------------------

local function write_notification(news)
  if type(news.payload) == "string" then return end
  write("---%s", news.doc)
  write("---@class %s%sEvent", SPACE, pascal(news.name))
  for _, field in ipairs(news.payload) do write_field(field, is_optional(field), since_note(field)) end
  write ""
end

-- Methods -----------------------------------------------------------------------------------

-- Arguments in their Lua form: those of `content` stand beside the others.
local function arguments_of(fields, into)
  for _, field in ipairs(fields) do
    if field.inline then
      arguments_of(protocol.objects[field.type].fields, into)
    else
      into[#into + 1] = field
    end
  end
  return into
end

local function argument_type(field)
  return annotated(field.type) .. (field.short and "|string" or "")
end

local function argument_note(field)
  if field.default == nil then return since_note(field) end
  return (" (default %s)"):format(tostring(field.default)) .. since_note(field)
end

local function write_argument(field)
  local mark = is_optional(field) and "?" or ""
  local function line(name, note)
    write("---@field %s%s %s %s%s", name, mark, argument_type(field), field.doc, note)
  end
  line(field.lua_name, argument_note(field))
  if field.also then line(field.also, ", under another name") end
end

local function write_arguments(method, arguments)
  write("---Arguments of `%s`.", method.lua_name)
  write("---@class (exact) %s%sArguments", SPACE, pascal(method.name))
  for _, field in ipairs(arguments) do write_argument(field) end
  write "---@field timeout? number seconds; default the option call_timeout"
  write ""
end

-- Type and name of what a method returns.
local function result_of(method)
  if method.response == "Empty" then return "true", "done" end
  if not method.returns then return annotated(method.response), "result" end
  for _, field in ipairs(protocol.objects[method.response].fields) do
    if field.name == method.returns then return annotated(field.type), field.lua_name end
  end
end

local function summary_of(method)
  local parts = { method.doc, ("(protocol %s, %s)"):format(method.section, method.name) }
  if method.since ~= protocol.versions.OLDEST then parts[#parts + 1] = "Since " .. method.since .. "." end
  if method.note then parts[#parts + 1] = method.note end
  return table.concat(parts, " ")
end

local function write_parameters(method, by_name)
  for _, name in ipairs(method.params) do
    local field = by_name[name]
    local mark = is_optional(field) and "?" or ""
    write("---@param %s%s %s %s%s", name, mark, argument_type(field), field.doc, argument_note(field))
  end
end

local function write_method(method)
  local arguments, by_name = arguments_of(method.request, {}), {}
  for _, field in ipairs(arguments) do by_name[field.lua_name] = field end
  write_arguments(method, arguments)
  local class, result, result_name = SPACE .. pascal(method.name) .. "Arguments", result_of(method)
  write("---%s", summary_of(method))
  if method.deprecated then write("---@deprecated use %s", protocol.lua_name(method.deprecated)) end
  write "---@async"
  write_parameters(method, by_name)
  write("---@param more? %s further arguments by name", class)
  write("---@return %s? %s", result, result_name)
  write("---@return trueconf.Error? err%s%s", #method.errors > 0 and " " or "", table.concat(method.errors, ", "))
  write("---@overload fun(self: trueconf.Client, arguments: %s): %s?, trueconf.Error?", class, result)
  local names = table.concat(method.params, ", ")
  write("function Client:%s(%s) end\n", method.lua_name, names == "" and "more" or names .. ", more")
end

-- Methods that client.lua writes by hand have their annotations there.
local function written_by_hand()
  local file <close> = assert(io.open "lua/trueconf/client/init.lua")
  local names = {}
  for name in file:read("a"):gmatch "\nfunction Client:([%w_]+)" do names[name] = true end
  return names
end

-- The page ----------------------------------------------------------------------------------

write [[
---@meta trueconf.api

-- Generated by `make doc` from the schema in lua/trueconf/protocol/. Never required: it tells the language server of
-- every method, argument and object. Names are those on the Lua side.
-- SPDX-License-Identifier: MIT

-- Enums and objects -------------------------------------------------------------------------
]]
for _, name in ipairs(sorted_keys(protocol.enums)) do write_enum(protocol.enums[name]) end
for _, name in ipairs(sorted_keys(protocol.unions)) do write_union(protocol.unions[name]) end
for _, name in ipairs(sorted_keys(protocol.objects)) do write_object(protocol.objects[name]) end
write "-- Events ------------------------------------------------------------------------------------\n"
for _, name in ipairs(protocol.notification_order) do write_notification(protocol.notifications[name]) end
write "-- Methods -----------------------------------------------------------------------------------\n"
write "---@class trueconf.Client\nlocal Client = {}\n"
local by_hand = written_by_hand()
for _, name in ipairs(protocol.method_order) do
  local method = protocol.methods[name]
  if not method.before_auth and not by_hand[method.lua_name] then write_method(method) end
end

local file <close> = assert(io.open(PAGE, "w"))
assert(file:write((table.concat(out, "\n"):gsub("\n*$", "\n"))))
