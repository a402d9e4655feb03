-- SPDX-License-Identifier: MIT
-- A Bridge that spoils what it sends: each field of a payload left out, null, or of each other type, and the payload
-- as a whole. Each spoiled payload is a real one, so that everything else in it is right.

local json = require "trueconf.base.json"

local spoiled = {}

---@class spec.Way one way to spoil a payload
---@field name string for people
---@field frame fun(payload: table, id: integer, method: string?): string the frame that is sent

local NOTHING = setmetatable({}, { __tostring = function() return "left out" end })
local MOST = 3                          -- fields deep

-- Other values in place of one.
local OTHERS = { json.null, "x", 7, -1.5, 1e300, true, { a = 1 }, json.array { 1 }, json.array { "x" }, json.array() }

local function kind_of(value)
  if value == json.null or type(value) == "table" then return json.is_array(value) and "array" or type(value) end
  return math.type(value) or type(value)
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local made = {}
  for key, inner in pairs(value) do made[key] = copy(inner) end
  return json.is_array(value) and json.array(made) or made
end

local function told(value)
  return value == NOTHING and "left out" or (json.encode(value))
end

local function head(id, method)
  return method and ('{"type":1,"method":"%s","id":%d'):format(method, id) or ('{"type":2,"id":%d'):format(id)
end

local function frame_of(value, id, method)
  if value == NOTHING then return head(id, method) .. "}" end
  return ('%s,"payload":%s}'):format(head(id, method), assert(json.encode(value)))
end

local function add(ways, path, value)
  ways[#ways + 1] = {
    name = ("%s %s"):format(#path == 0 and "payload" or table.concat(path, "."), told(value)), path = path,
    frame = function(payload, id, method)
      if #path == 0 then return frame_of(value, id, method) end
      local whole = copy(payload)
      local holder = whole
      for step = 1, #path - 1 do
        holder = holder[path[step]]
        if type(holder) ~= "table" then return frame_of(whole, id, method) end -- it is not there this time
      end
      if value == NOTHING then holder[path[#path]] = nil else holder[path[#path]] = copy(value) end
      return frame_of(whole, id, method)
    end,
  }
end

local function walk(ways, path, value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(one, other) return tostring(one) < tostring(other) end)
  for _, key in ipairs(keys) do
    local inner, here = value[key], { table.unpack(path) }
    here[#here + 1] = key
    if key == 1 or math.type(key) == nil then -- of a list the first item will do
      if math.type(key) == nil then add(ways, here, NOTHING) end
      for _, other in ipairs(OTHERS) do
        if kind_of(other) ~= kind_of(inner) or other == json.null then add(ways, here, other) end
      end
      if type(inner) == "table" and #here < MOST then walk(ways, here, inner) end
    end
  end
end

-- The payload as `choose` has left it.
spoiled.as_it_is = { name = "as it is", frame = frame_of }

---Every way to spoil a payload.
---@param payload table
---@return spec.Way[]
function spoiled.ways(payload)
  local ways = {}
  add(ways, {}, NOTHING)
  for _, other in ipairs(OTHERS) do add(ways, {}, other) end
  add(ways, {}, {})
  walk(ways, {}, payload)
  return ways
end

---Let a function look at every payload that a Bridge sends.
---@param server trueconf.bridge.Server
---@param choose fun(method: string, payload: any, request: table?): spec.Way? `request` is the payload that is
---answered; none: a notification
function spoiled.watch(server, choose)
  local asked = {}                      -- by transport and id
  local take, fault_injector = server.on_frame, server.fault_injector
  local send = fault_injector.send
  function server.on_frame(bridge, transport, data, binary)
    local frame = json.decode(data)
    if type(frame) == "table" and frame.type == 1 then
      asked[transport] = asked[transport] or {}
      asked[transport][frame.id] = frame
    end
    return take(bridge, transport, data, binary)
  end
  function fault_injector.send(self, transport, text, is_notification)
    local frame = assert(json.decode(text))
    local request = frame.type == 2 and asked[transport] and asked[transport][frame.id]
    local method = request and request.method or frame.method
    local failed = frame.type == 2 and frame.payload.errorCode
    local is_told = method and method ~= "auth" and not failed
    local way = is_told and choose(method, frame.payload, request and request.payload)
    return send(self, transport, way and way.frame(frame.payload, frame.id, frame.method) or text, is_notification)
  end
end

return spoiled
