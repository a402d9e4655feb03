-- SPDX-License-Identifier: MIT
-- Names on both sides: the wire's in camelCase, Lua's in snake_case, the second derived from
-- the first by rule. The way back is known for every name that was derived once.

local names = {}

local lua_names, wire_names = {}, {}

---The Lua-side name of a wire name: getChatByID is get_chat_by_id, createP2PChat create_p2p_chat.
---@param wire_name string
---@return string
function names.lua_name(wire_name)
  local name = lua_names[wire_name]
  if not name then
    name = wire_name:gsub("(%l)(%u)", "%1_%2"):gsub("(%u)(%u%l)", "%1_%2"):lower()
    lua_names[wire_name] = name
    wire_names[name] = wire_names[name] or wire_name
  end
  return name
end

---The wire name that a Lua-side name of the schema was derived from.
---@param lua_name string
---@return string? wire_name nil: the schema has no such name
function names.wire_name(lua_name)
  return wire_names[lua_name]
end

return names
