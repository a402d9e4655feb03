-- SPDX-License-Identifier: MIT
-- Lays out JSON texts and Lua values for people: the same way each time, on one line where it fits. Both are made a
-- tree first: a text, or { open =, close =, { key, tree }, ... } with keys as they are written.

local protocol = require "trueconf.protocol"
local sorted_keys = require "trueconf.base.sorted_keys"

local layout = {}

local WIDTH = 116

local function flat(tree)
  if type(tree) == "string" then return tree end
  if not tree[1] then return tree.open .. tree.close end
  local parts = {}
  for place, item in ipairs(tree) do parts[place] = item[1] .. flat(item[2]) end
  local space = tree.open == "{" and " " or ""
  return tree.open .. space .. table.concat(parts, ", ") .. space .. tree.close
end

local function lay_out(tree, room, indent)
  local line = flat(tree)
  if type(tree) == "string" or #line <= room then return line end
  local parts, deeper = {}, indent .. "  "
  for place, item in ipairs(tree) do
    parts[place] = deeper .. item[1] .. lay_out(item[2], WIDTH - #deeper - #item[1] - 1, deeper)
  end
  return tree.open .. "\n" .. table.concat(parts, ",\n") .. "\n" .. indent .. tree.close
end

-- Order of keys -----------------------------------------------------------------------------
-- The order of the schema; keys that it does not name come last.

local ranks, ranked, met = {}, 0, {}

local function visit_fields(fields)
  for _, field in ipairs(fields) do
    if not ranks[field.name] then ranks[field.name], ranked = ranked, ranked + 1 end
  end
end

local function visit(kind)
  kind = kind:match "^%[(.*)%]$" or kind
  local object = protocol.objects[kind]
  if not object or met[kind] then return end
  met[kind] = true
  visit_fields(object.fields)
  for _, field in ipairs(object.fields) do visit(field.type) end
end

local function visit_payload(payload)
  if type(payload) == "string" then return visit(payload) end
  visit_fields(payload)
  for _, field in ipairs(payload) do visit(field.type) end
end

for _, name in ipairs(protocol.notification_order) do visit_payload(protocol.notifications[name].payload) end
for _, name in ipairs(protocol.method_order) do
  visit_payload(protocol.methods[name].response)
  visit_payload(protocol.methods[name].request)
end

local OF_FRAME = { type = 1, id = 2, method = 3, payload = 4 }

local function sort_items(tree, order)
  table.sort(tree, function(one, other)
    local a, b = one[1]:match '^"(.*)": $', other[1]:match '^"(.*)": $'
    local rank_a, rank_b = order[a] or math.huge, order[b] or math.huge
    if rank_a ~= rank_b then return rank_a < rank_b end
    return a < b
  end)
end

-- JSON --------------------------------------------------------------------------------------
-- Numbers and strings stay as they are on the wire, null stays, only "\/" is written without need.

local read

local function string_end(text, at)
  repeat
    at = text:find('["\\]', at + 1)
    local escaped = text:sub(at, at) == "\\"
    if escaped then at = at + 1 end
  until not escaped
  return at
end

local function read_leaf(text, at)
  local last = text:sub(at, at) == '"' and string_end(text, at) or text:find("[,%]}%s]", at) - 1
  local leaf = text:sub(at, last):gsub("\\(.)", function(sign) return sign == "/" and "/" or nil end)
  return leaf, last + 1
end

local function read_items(text, at, tree)
  at = text:find("%S", at + 1)
  while text:sub(at, at) ~= tree.close do
    local key = ""
    if tree.close == "}" then
      key, at = read_leaf(text, at)
      key, at = key .. ": ", text:find(":", at, true) + 1
    end
    local item
    item, at = read(text, at)
    tree[#tree + 1] = { key, item }
    at = text:match("^%s*,?%s*()", at)
  end
  return tree, at + 1
end

local CLOSE = { ["{"] = "}", ["["] = "]" }

function read(text, at, order)
  at = text:find("%S", at)
  local open = text:sub(at, at)
  if not CLOSE[open] then return read_leaf(text, at) end
  local tree, last = read_items(text, at, { open = open, close = CLOSE[open] })
  if open == "{" then sort_items(tree, order or ranks) end
  return tree, last
end

---@param text string a valid JSON text
---@param is_frame? boolean it is a frame of the WebSocket
---@return string
function layout.json(text, is_frame)
  return lay_out(read(text .. "\n", 1, is_frame and OF_FRAME or nil), WIDTH, "")
end

-- Lua values --------------------------------------------------------------------------------

-- The shown fields of objects that make their fields on first access.
local VIEWS = {
  ["trueconf.SentMessage"] = { "id", "chat_id", "timestamp", "file_id", "caption_message_id" },
  ["trueconf.Message"] = {
    "id", "chat_id", "chat", "author", "timestamp", "type", "text", "is_edited", "is_system", "reply_to",
    "reply_message", "forwarded", "file", "survey",
  },
  ["trueconf.Error"] = { "name", "code", "method", "outcome", "message" },
}

local function name_of_class(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__name
end

local function tree_of(value, fields, clean)
  if type(value) == "string" then return (("%q"):format(clean(value)):gsub("\\\n", "\\n")) end
  if type(value) ~= "table" then return tostring(value) end
  local tree = { open = "{", close = "}" }
  if value[1] ~= nil then
    for place, item in ipairs(value) do tree[place] = { "", tree_of(item, nil, clean) } end
    return tree
  end
  for _, key in ipairs(fields or VIEWS[name_of_class(value)] or sorted_keys(value)) do
    if value[key] ~= nil then tree[#tree + 1] = { key .. " = ", tree_of(value[key], nil, clean) } end
  end
  return tree
end

---@param name string of the variable
---@param value any
---@param fields string[]? shown fields; nil: all
---@param clean fun(text: string): string masks the secrets in a string
---@return string
function layout.assignment(name, value, fields, clean)
  return name .. " = " .. lay_out(tree_of(value, fields, clean), WIDTH - #name - 3, "")
end

return layout
