-- SPDX-License-Identifier: MIT
-- Odd input from a server: a missing or wrong field of a notification or answer costs only the object that holds it,
-- for every field of every notification and answer.

local events = require "trueconf.api.events"
local field_notation = require "trueconf.protocol.field"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local message = require "trueconf.bot.message"
local protocol = require "trueconf.protocol"
local scripted = require "spec.support.scripted"

local WRONG = { "text", 7, -1.5, true, json.array {}, json.array { 1, "x" }, {}, { a = 1 } }

local example_of

local function example_of_fields(fields, depth)
  local made = {}
  for _, field in ipairs(fields) do made[field.name] = example_of(field.type, depth, made) end
  return made
end

local PRIMITIVES = { string = "text", integer = 3, number = 1.5, boolean = true, object = {} }

-- A value of a type of the schema, with everything in it.
function example_of(kind, depth, holder)
  local item = field_notation.item_type(kind)
  if item then return json.array { depth < 6 and example_of(item, depth + 1) or nil } end
  if PRIMITIVES[kind] ~= nil then return PRIMITIVES[kind] end
  if protocol.enums[kind] then return protocol.enums[kind].values[kind == "EnvelopeType" and 7 or 1] end
  local union = protocol.unions[kind]
  if union then kind = union.of[holder[union.by]] or "TextContent" end
  return depth < 6 and example_of_fields(protocol.objects[kind].fields, depth + 1) or {}
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local made = {}
  for key, inner in pairs(value) do made[key] = copy(inner) end
  return json.is_array(value) and json.array(made) or made
end

-- Call visit(payload, place) for the payload with each of its values, at any depth, wrong in each way.
local function each_damage(payload, visit)
  local function walk(path, value)
    for key, inner in pairs(value) do
      local here = { table.unpack(path) }
      here[#here + 1] = key
      for wrong = 0, #WRONG do
        local damaged = copy(payload)
        local target = damaged
        for step = 1, #here - 1 do target = target[here[step]] end
        target[key] = copy(WRONG[wrong])
        visit(damaged, table.concat(here, "."))
      end
      if type(inner) == "table" and #here < 4 then walk(here, inner) end
    end
  end
  walk({}, payload)
end

local function payload_of(name)
  local declared = protocol.notifications[name].payload
  if type(declared) == "string" then return example_of(declared, 0) end
  return example_of_fields(declared, 0)
end

local FIELDS = {
  "text", "author", "content", "envelope", "type", "timestamp", "chat", "in_group", "parse_mode", "reply_to",
  "reply_message", "is_edited", "is_system", "mentions", "mentions_me", "file", "photo", "video", "audio", "voice",
  "sticker", "document", "location", "survey", "contact", "forwarded", "box",
}

local bot = { user_id = function() return "herald@chat.acme.test" end }

describe("a client", function()
  for name in pairs(protocol.notifications) do
    if name ~= "sendMessage" then
      it("survives any " .. name, function()
        local count = 0
        each_damage(payload_of(name), function(damaged, place)
          local ok, event, why = pcall(events.read, bot, name, damaged)
          assert.is_true(ok, place .. ": " .. tostring(event))
          assert.is_true(type(event) == "table" or type(why) == "string", place)
          count = count + 1
        end)
        assert.is_true(count >= #WRONG)
      end)
    end
  end

  for kind, type_name in pairs(protocol.enums.EnvelopeType.names) do
    it("survives any message of type " .. type_name, function()
      local payload = example_of("Envelope", 0)
      payload.type, payload.content = kind, example_of("Content", 0, { type = kind })
      each_damage(payload, function(damaged, place)
        damaged.messageId, damaged.chatId = "m1", "c1"
        local msg = message.new(bot, { payload = damaged, chat_id = "c1" })
        for _, name in ipairs(FIELDS) do
          local ok, err = pcall(function() return msg[name] end)
          assert.is_true(ok, ("%s, with %s wrong: %s"):format(name, place, err))
        end
        assert.same({ "string", "string", "string" }, { type(msg.text), type(msg.author), type(tostring(msg)) })
      end)
    end)
  end

  it("goes on after any answer", helper.async(function()
    local server = scripted.start()
    local steps, calls = {}, 0
    for _, wrong in ipairs(WRONG) do
      steps[#steps + 1], steps[#steps + 2] = scripted.answer(#steps // 2 + 1, wrong)
    end
    steps[#steps + 1] = "silent"
    local client = server:client(steps)
    for _ in ipairs(WRONG) do
      local ok, answer, err = pcall(client.get_chat_by_id, client, "c1", { timeout = 5 })
      assert.is_true(ok, tostring(answer))
      assert.is_true(answer ~= nil or err ~= nil)
      assert.is_true(err == nil or err.name == "PROTOCOL", tostring(err))
      calls = calls + 1
    end
    assert.equal(#WRONG, calls)
    assert.equal("ready", client:state())
    client:stop()
    server:stop()
  end))
end)
