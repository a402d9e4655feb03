-- SPDX-License-Identifier: MIT
-- Writes docs/protocol.md, the reference of methods, notifications, objects and limits, from the schema in
-- lua/trueconf/protocol/.
local core = require "trueconf.core"
local protocol = require "trueconf.protocol"
local sorted_keys = require "trueconf.base.sorted_keys"

local out = {}

local function write(line, ...)
  out[#out + 1] = select("#", ...) > 0 and line:format(...) or line
end

local function code(text)
  return "`" .. text .. "`"
end

local function codes(words)
  local list = {}
  for place, word in ipairs(words) do list[place] = code(word) end
  return table.concat(list, ", ")
end

-- Where something of this page is told. GitHub makes an anchor of a heading by lower case.
local function link(name)
  return ("[%s](#%s)"):format(name, name:lower())
end

-- Types -------------------------------------------------------------------------------------

local function type_link(kind)
  local item = kind:match "^%[(.*)%]$"
  if item then return "array of " .. type_link(item) end
  local known = protocol.enums[kind] or protocol.objects[kind] or protocol.unions[kind]
  return known and link(kind) or kind
end

local function range_of(field)
  local measure = field.type:find "^%[" and (field.measure or "items") or field.measure or "characters"
  if field.type == "integer" then return ("at least %d"):format(field.min) end
  if not field.max then return ("at least %d %s"):format(field.min, measure) end
  return ("%s%d %s"):format(field.min and field.min .. " to " or "up to ", field.max, measure)
end

local function needed(field)
  if field.optional then return field.nullable and "may be missing or null" or "may be missing" end
  return field.nullable and "may be null" or ""
end

local function details_of(field)
  local parts = { field.doc }
  if field.min or field.max then parts[#parts + 1] = range_of(field) end
  if field.schemes then parts[#parts + 1] = "begins with " .. table.concat(field.schemes, ", ") end
  if field.inline then parts[#parts + 1] = "in Lua its fields stand beside the others" end
  if field.default ~= nil then
    parts[#parts + 1] = ("the client sends `%s` by itself"):format(tostring(field.default))
  end
  if field.alias then parts[#parts + 1] = "also taken as " .. code(field.alias) end
  return table.concat(parts, "; ")
end

local function write_fields(fields, more)
  write "| field | in Lua | type | | since | meaning |\n|---|---|---|---|---|---|"
  local function row(field, note)
    write("| `%s` | `%s` | %s | %s | %s | %s%s |", field.name, field.lua_name, type_link(field.type), needed(field),
      field.since or "", details_of(field), note or "")
  end
  for _, field in ipairs(fields) do row(field) end
  for _, kind in ipairs(sorted_keys(more or {})) do
    for _, field in ipairs(more[kind]) do row(field, "; only with type " .. code(kind)) end
  end
  write ""
end

local function write_payload(title, payload)
  if type(payload) == "string" then
    write("%s: %s\n", title, type_link(payload))
  elseif #payload == 0 then
    write("%s: `{}`\n", title)
  else
    write("%s:\n", title)
    write_fields(payload)
  end
end

-- Methods -----------------------------------------------------------------------------------

local function names_of(fields)
  local list = {}
  for place, field in ipairs(fields) do
    list[place] = code(field.name .. ((field.optional or field.nullable) and "?" or ""))
  end
  return #list > 0 and table.concat(list, ", ") or "`{}`"
end

local function method_table()
  write "| method | in Lua | since | kind | request | response |\n|---|---|---|---|---|---|"
  for _, name in ipairs(protocol.method_order) do
    local method = protocol.methods[name]
    local kind = method.read and "read" or "write"
    write("| %s | `%s` | %s | %s | %s | %s |", link(name), method.lua_name, method.since, kind,
      names_of(method.request), type_link(method.response))
  end
  write ""
end

local function call_of(method)
  return ("`bot:%s(%s)`"):format(method.lua_name, table.concat(method.params, ", "))
end

local function errors_of(method)
  local list = {}
  for place, name in ipairs(method.errors) do
    local number = protocol.codes[name]
    list[place] = ("%d `%s`"):format(number, name)
  end
  return #list > 0 and table.concat(list, ", ") or "only those that any method may meet"
end

local function write_method(method)
  write("### %s\n", method.name)
  write("%s %s", method.doc, method.note or "")
  if method.deprecated then write("Deprecated: %s says more.", link(method.deprecated)) end
  write ""
  if not method.before_auth then write("In Lua: %s\n", call_of(method)) end
  write_payload("Request", method.request)
  write_payload("Response", method.response)
  write("Errors: %s.\n", errors_of(method))
  write("Example: [a conversation](conversations.md#%s).\n", method.name:lower())
end

local function write_methods()
  write [[
## Methods

Calls of the client. A question mark follows a field that may be missing or null. The client repeats a reading method by
itself when the connection was lost before the answer came.
]]
  method_table()
  local common = {}
  for place, name in ipairs(protocol.errors_of "createFavoritesChat") do
    common[place] = ("%d `%s`"):format(protocol.codes[name], name)
  end
  write("Any method may answer with %s.\n", table.concat(common, ", "))
  for _, name in ipairs(protocol.method_order) do write_method(protocol.methods[name]) end
end

-- Notifications -----------------------------------------------------------------------------

local function write_notifications()
  write "## Notifications\n\nRequests of the server. Each wants an ack; the names repeat those of methods.\n"
  write "| method | since | when | recipients |\n|---|---|---|---|"
  for _, name in ipairs(protocol.notification_order) do
    local news = protocol.notifications[name]
    write("| [%s](#%s-notification) | %s | %s | %s |", name, name:lower(), news.since, news.doc, news.receivers)
  end
  write ""
  for _, name in ipairs(protocol.notification_order) do
    local news = protocol.notifications[name]
    write("### %s notification\n\n%s\n", name, news.doc)
    write_payload("Payload", news.payload)
  end
end

-- Objects and enums -------------------------------------------------------------------------

local function write_object(object)
  write("### %s\n\n%s%s\n", object.name, object.doc, object.since and " Since " .. object.since .. "." or "")
  if #object.fields > 0 then write_fields(object.fields, object.variants) end
end

local function write_union(union)
  write("### %s\n\n%s\n", union.name, union.doc)
  write("| `%s` | object |\n|---|---|", union.by)
  for _, value in ipairs(sorted_keys(union.of)) do
    write("| %d %s | %s |", value, protocol.enums.EnvelopeType.names[value], link(union.of[value]))
  end
  write ""
end

local function write_objects()
  write "## Objects\n"
  for _, name in ipairs(sorted_keys(protocol.objects)) do write_object(protocol.objects[name]) end
  for _, name in ipairs(sorted_keys(protocol.unions)) do write_union(protocol.unions[name]) end
end

local function write_enum(enum)
  write("### %s\n\n%s\n", enum.name, enum.doc)
  if enum.base == "string" then return write("%s\n", codes(enum.values)) end
  local words = {}
  for place, value in ipairs(enum.values) do words[place] = ("%d `%s`"):format(value, enum.names[value]) end
  write("%s\n", table.concat(words, ", "))
end

local function write_enums()
  write "## Enums\n"
  for _, name in ipairs(sorted_keys(protocol.enums)) do write_enum(protocol.enums[name]) end
end

-- Rights, limits, versions, codes -----------------------------------------------------------

local function write_rights()
  write "## Rights\n\nThe rights of a role in a group. In a channel `user` only reads; a personal chat has no roles.\n"
  local roles = protocol.enums.Role.values
  write("| | %s |\n|---|%s", table.concat(roles, " | "), ("---|"):rep(#roles))
  for _, action in ipairs(sorted_keys(protocol.rights.TABLE)) do
    local row = {}
    for place, role in ipairs(roles) do row[place] = protocol.rights.may(role, action) and "yes" or "" end
    write("| %s | %s |", action:gsub("_", " "), table.concat(row, " | "))
  end
  write ""
end

local function write_versions()
  write "## Versions\n\n| server | adds |\n|---|---|"
  for _, row in ipairs(protocol.versions.MATRIX) do write("| %s | %s |", row.version, row.adds) end
  write ""
end

local function write_codes()
  write "## Error codes\n\n| code | name | since | class | meaning |\n|---|---|---|---|---|"
  for _, entry in ipairs(core.error_table()) do
    if entry.code then
      write("| %d | `%s` | %s | %s | %s |", entry.code, entry.name, protocol.code_since(entry.code), entry.class,
        entry.meaning)
    end
  end
  write ""
end

write [[
# Protocol

Generated by `make doc` from the schema in `lua/trueconf/protocol/`: the frames of the WebSocket, under the names of the
wire and of Lua. The client's methods and the checks of both sides come from the same schema. Frames as they are on the
wire are in [conversations](conversations.md).
]]
write_methods()
write_notifications()
write_objects()
write_enums()
write_rights()
write_versions()
write_codes()

local file <close> = assert(io.open("docs/protocol.md", "w"))
assert(file:write((table.concat(out, "\n"):gsub(" *\n", "\n"):gsub("\n\n\n+", "\n\n"):gsub("\n*$", "\n"))))
