-- SPDX-License-Identifier: MIT
-- Texts of frames as a careless or hostile other side sends them: valid ones made from the schema, ones with one
-- mistake, damaged bytes, and what is no frame at all. The same seed gives the same frames.

local generate = require "spec.support.generate"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"

local REQUEST, RESPONSE = protocol.enums.FrameType.REQUEST, protocol.enums.FrameType.RESPONSE
local MAX_ID = protocol.limits.MAX_ID

local BAD_IDS = { "-1", "1.5", "4294967296", '"1"', "null", "{}", "[]", "true", "1e300", "18446744073709551617" }
local BAD_TYPES = { "0", "3", "-1", '"1"', "null", "1.5", "[]", "4294967297" }
local BAD_METHODS = {
  "null", "17", "{}", "[]", '""', '"noSuchMethod"', '"sendMessage\\u0000"', '"' .. ("m"):rep(3000) .. '"',
}
local BAD_PAYLOADS = {
  "null", "[]", "[1]", '"text"', "17", "true", '{"chatId":null}', '{"":""}', '{"chatId":{"chatId":{"chatId":[]}}}',
  ("["):rep(90) .. ("]"):rep(90), ('{"content":'):rep(90) .. "1" .. ("}"):rep(90), '{"x":"' .. ("y"):rep(20000) .. '"}',
}
local NO_FRAMES = {
  "", " ", "hello", "{", "}", "[]", "[1]", "17", "null", "true", '"text"', '{"type":1', "\xEF\xBB\xBF{}", "\0",
  '{"type":1,"id":1,"method":"getChats","payload":', "{}{}", "{\"a\":\"\xff\xfe\"}", ("["):rep(3000),
  ('{"a":'):rep(3000), ('{"a":'):rep(200) .. "1" .. ("}"):rep(200), ("x"):rep(100000), '{"type":01,"id":1}',
}
-- Not those that are about the login: a client acts on them, as it must.
local ERROR_CODES = { "0", "2", "100", "300", "304", "312", "399", "408", "9999", "-1", "1.5", '"304"', "null", "{}" }

---@class spec.Frames
---@field some spec.Generator
---@field private last_id integer
local Frames = {}
Frames.__index = Frames

---@param seed integer
---@param first_id? integer of the frames that have one of their own
---@return spec.Frames
local function new(seed, first_id)
  return setmetatable({ some = generate.new(seed), last_id = (first_id or 1) - 1 }, Frames)
end

---The kind of a frame for its recipient (protocol: frame object, odd input).
---@param text string
---@return "request"|"response"|nil kind nil: a frame to be ignored
---@return integer? id
---@return any method of a request
local function read(text)
  local frame = json.decode(text)
  if type(frame) ~= "table" or json.is_array(frame) then return nil end
  local id = frame.id
  if math.type(id) ~= "integer" or id < 0 or id > MAX_ID then return nil end
  if frame.type == REQUEST then return "request", id, frame.method end
  if frame.type == RESPONSE then return "response", id end
end

function Frames:next_id()
  self.last_id = self.last_id + 1
  return self.last_id
end

-- JSON text, and each time the same: the order of a table's keys is not.
local function write(value)
  if type(value) ~= "table" then return assert(json.encode(value)) end
  local parts = {}
  if json.is_array(value) or value[1] ~= nil then
    for place, item in ipairs(value) do parts[place] = write(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for name, item in pairs(value) do parts[#parts + 1] = ("%s:%s"):format(json.encode(name), write(item)) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Requests, to either side ---------------------------------------------------------------------

---@param method string
---@param payload table
---@return string
function Frames:request(method, payload)
  return write { type = REQUEST, id = self:next_id(), method = method, payload = payload }
end

local function text_of(kind, id, method, payload)
  return ('{"type":%s,"id":%s,"method":%s,"payload":%s}'):format(kind, id, method, payload)
end

-- A frame with something wrong around its payload.
function Frames:bad_head()
  local some, id = self.some, self:next_id()
  local method = ('"%s"'):format(some:method_name())
  local what = some:number(5)
  if what == 1 then return text_of("1", some:pick(BAD_IDS), method, "{}") end
  if what == 2 then return text_of(some:pick(BAD_TYPES), id, method, "{}") end
  if what == 3 then return text_of("1", id, some:pick(BAD_METHODS), "{}") end
  if what == 4 then return text_of("1", id, method, some:pick(BAD_PAYLOADS)) end
  return ('{"type":1,"id":%d,"method":%s}'):format(id, method)
end

function Frames:no_frame()
  return self.some:pick(NO_FRAMES)
end

-- An answer to somebody or nobody.
function Frames:response(most_id)
  local some = self.some
  local id = some:chance(6) and some:pick(BAD_IDS) or some:number(0, most_id)
  local what = some:number(4)
  if what == 1 then return ('{"type":2,"id":%s}'):format(id) end
  if what == 2 then return ('{"type":2,"id":%s,"payload":%s}'):format(id, some:pick(BAD_PAYLOADS)) end
  if what == 3 then return ('{"type":2,"id":%s,"payload":{"errorCode":%s}}'):format(id, some:pick(ERROR_CODES)) end
  local payload = some:valid(some:method_name(), "response")
  return ('{"type":2,"id":%s,"payload":%s}'):format(id, write(payload))
end

-- Damage ---------------------------------------------------------------------------------------

function Frames:bytes(count)
  local out = {}
  for place = 1, count do out[place] = string.char(self.some:number(0, 255)) end
  return table.concat(out)
end

---Spoil some bytes of a text.
function Frames:damaged(text)
  local some = self.some
  local from = some:number(1, #text)
  local to = math.min(from + some:number(0, 8), #text)
  local what = some:number(5)
  if what == 1 then return text:sub(1, from) end
  if what == 2 then return text:sub(1, from - 1) .. self:bytes(1) .. text:sub(from + 1) end
  if what == 3 then return text:sub(1, from) .. self:bytes(some:number(6)) .. text:sub(from + 1) end
  if what == 4 then return text:sub(1, to) .. text:sub(from) end
  return text:sub(1, from - 1) .. text:sub(to + 1)
end

-- To a Bridge ------------------------------------------------------------------------------------

local FILLED = { "chatId", "fileId", "messageId", "token", "userId" }

-- Ids of what is there, so that a request does something. To write an answer, chat and message must fit: rare.
local function fill(self, payload, there)
  if not self.some:chance(4) then payload.replyMessageId = nil end
  for _, name in ipairs(FILLED) do
    local ids = there[name]
    if payload[name] ~= nil and ids[1] and not self.some:chance(4) then payload[name] = self.some:pick(ids) end
  end
  return payload
end

local function valid_request(self, there)
  local method = self.some:method_name()
  return self:request(method, fill(self, self.some:valid(method), there))
end

local function broken_request(self, there)
  local method = self.some:method_name()
  return self:request(method, self.some:broken(method) or fill(self, self.some:valid(method), there))
end

local TO_BRIDGE = {
  valid_request, valid_request, valid_request, valid_request, broken_request, broken_request, broken_request,
  function(self, there) return self:damaged(valid_request(self, there)) end,
  Frames.bad_head,
  Frames.no_frame,
  function(self) return self:response(200) end,
}

---A frame for a Bridge.
---@param there table<string, string[]> ids of what is there, by the name of the field
---@return string
function Frames:to_bridge(there)
  return self.some:pick(TO_BRIDGE)(self, there)
end

-- To a client --------------------------------------------------------------------------------------

local function valid_notification(self)
  local name = self.some:notification_name()
  return self:request(name, self.some:valid(name, "notification"))
end

local function broken_notification(self)
  local name = self.some:notification_name()
  return self:request(name, (self.some:broken(name, "notification")))
end

local TO_CLIENT = {
  valid_notification, valid_notification, valid_notification, broken_notification, broken_notification,
  broken_notification,
  function(self) return self:damaged(valid_notification(self)) end,
  Frames.bad_head,
  Frames.no_frame,
  function(self, most_id) return self:response(most_id) end,
}

---A frame for a client whose requests have ids up to `most_id`.
---@param most_id integer
---@return string
function Frames:to_client(most_id)
  return self.some:pick(TO_CLIENT)(self, most_id)
end

return { new = new, read = read }
