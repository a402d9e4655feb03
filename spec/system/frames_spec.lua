-- SPDX-License-Identifier: MIT
-- Thousands of generated frames, valid and broken, over real sockets: to a Bridge, and to a bot. Nothing crashes,
-- stalls or grows, each request is answered or acknowledged once, and afterwards all goes on as before.
--
--   CONFORMANCE_FRAMES=200000 make test SPEC=spec/system/frames_spec.lua         default: 20000 to each

local core = require "trueconf.core"
local events = require "trueconf.api.events"
local frames = require "spec.support.frames"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local scripted = require "spec.support.scripted"
local system = require "spec.support.system"

local behind = require("trueconf.base.hooks").behind

-- With a collector that never rests a frame costs a hundred times as much.
local SHARE = os.getenv "TORTURE" == "1" and 20 or 1
local PER_RUN, PER_CONNECTION, BATCH = 2000 // SHARE, 500 // SHARE, 25
local TOTAL = math.tointeger(os.getenv "CONFORMANCE_FRAMES") or 20000 // SHARE // SHARE
local RUNS = math.max(TOTAL // PER_RUN, 1)
local PATIENCE = 20                     -- seconds for the answers to a batch
local LIMIT = 100                       -- seconds for one case

-- The Bridge ---------------------------------------------------------------------------------------

local MOST_AUTH_FAILURES = 8            -- of ten, at which the connection is closed
local MOST_KNOWN = 8                    -- ids of a kind
local MOST_GROWTH = 4096                -- KiB of resident memory for one run; a tenth of it is usual
local PROBE = { userId = "mira@chat.acme.test" }

local Visitor = {}
Visitor.__index = Visitor

local function count(counts, id)
  counts[id] = (counts[id] or 0) + 1
end

local function visitor(told, stream)
  local socket = assert(core.socket { url = told.url .. "/websocket/chat_bot/", ping_interval = 0 })
  return setmetatable({
    socket = socket, token = told.token, stream = stream, auth_failures = 0,
    expected = {}, answered = {}, texts = {}, missing = 0,
    there = {
      chatId = {}, messageId = {}, fileId = {}, token = { told.token },
      userId = { "mira@chat.acme.test", "noah@chat.acme.test", "herald@chat.acme.test" },
    },
  }, Visitor)
end

-- Learn ids from an answer.
function Visitor:learn(payload)
  for name, ids in pairs(self.there) do
    local id = payload[name]
    if type(id) == "string" and name ~= "userId" then table.insert(ids, 1, id) end
    ids[MOST_KNOWN + 1] = nil
  end
end

function Visitor:take_answer(frame)
  count(self.answered, frame.id)
  local payload = frame.payload
  assert(type(payload) == "table", "an answer without a payload")
  assert(payload.errorCode == nil or math.type(payload.errorCode) == "integer", "an errorCode that is no integer")
  if (self.expected[frame.id] or 0) < self.answered[frame.id] then
    error(("request %d was answered once too often: %s"):format(frame.id, tostring(self.texts[frame.id])), 0)
  end
  self.missing = self.missing - 1
  self:learn(payload)
end

-- Acknowledge a notification, or do not.
function Visitor:take_notification(frame)
  local some = self.stream.some
  assert(type(frame.method) == "string" and type(frame.payload) == "table", "a notification without its parts")
  if some:chance(3) then return end
  self.socket:send(('{"type":2,"id":%d%s}'):format(frame.id, some:pick { "", ',"payload":{}', ',"payload":7' }))
end

function Visitor:take()
  local text, err = self.socket:receive(PATIENCE)
  if not text then error(("no answer to %s: %s"):format(self:unanswered(), tostring(err)), 0) end
  local frame = assert(json.decode(text))
  if frame.type == 2 then return self:take_answer(frame) end
  self:take_notification(frame)
end

-- The first request that has no answer.
function Visitor:unanswered()
  for id, times in pairs(self.expected) do
    if (self.answered[id] or 0) < times then return self.texts[id] end
  end
  return "nothing"
end

function Visitor:settle()
  while self.missing > 0 do self:take() end
end

local function in_fragments(socket, text)
  local middle = #text // 2
  assert(socket:send(text:sub(1, middle), "fragment"))
  assert(socket:send("between", "ping"))
  assert(socket:send(text:sub(middle + 1), "end"))
end

function Visitor:send(text)
  local kind, id = frames.read(text)
  if kind == "request" then
    count(self.expected, id)
    self.texts[id], self.missing = text:sub(1, 300), self.missing + 1
  end
  local some = self.stream.some
  if #text > 1 and some:chance(10) and utf8.len(text) then return in_fragments(self.socket, text) end
  -- A text frame of other bytes ends the connection (RFC 6455, 8.1): see core/wire_spec.lua.
  assert(self.socket:send(text, (some:chance(10) or not utf8.len(text)) and "binary" or "text"))
end

function Visitor:request(method, payload)
  self:send(self.stream:request(method, payload))
  self:settle()
end

function Visitor:enter()
  self:request("auth", { token = self.token, tokenType = "JWT" })
  self:request("createP2PChat", { userId = "mira@chat.acme.test" })
  self:request("createGroupChat", { title = "odd" })
  self:request("createChannel", { title = "odd" })
end

-- The next frame; few are `auth`, since the Bridge closes after ten that failed.
function Visitor:next_frame()
  local text = self.stream:to_bridge(self.there)
  if not text:find('"auth"', 1, true) then return text end
  self.auth_failures = self.auth_failures + 1
  return self.auth_failures <= MOST_AUTH_FAILURES and text or self:next_frame()
end

function Visitor:flood()
  for _ = 1, PER_CONNECTION // BATCH do
    for _ = 1, BATCH do self:send(self:next_frame()) end
    self:settle()
    self:request("getUserDisplayName", PROBE) -- shows what was answered once too often
  end
end

function Visitor:requests()
  local sum = 0
  for _, times in pairs(self.expected) do sum = sum + times end
  return sum
end

local function resident(child)          -- KiB
  local status = assert(system.read(("/proc/%s/status"):format(child.pid)))
  return tonumber(status:match "VmRSS:%s*(%d+) kB")
end

describe("a Bridge that gets anything", function()
  local bridge, told

  setup(helper.async(function()
    bridge = system.launch_lua "spec/support/conformance_bridge.lua"
    told = json.decode(helper.eventually(function()
      assert(not bridge:status(), bridge:log())
      return bridge:log():match "^(%b{})\n"
    end))
  end))

  teardown(helper.async(function()
    bridge:kill()
    bridge:__close()
  end))

  for seed = 1, RUNS do
    it(("answers each request once: %d frames from seed %d"):format(PER_RUN, seed), helper.async(function()
      local stream, requests = frames.new(seed), 0
      local before = resident(bridge)
      for _ = 1, PER_RUN // PER_CONNECTION do
        local guest = visitor(told, stream)
        guest:enter()
        guest:flood()
        requests = requests + guest:requests()
        guest.socket:close()
      end
      assert.is_true(requests > PER_RUN // 2, "too few of the frames were requests")
      assert.is_nil(bridge:status())
      -- A sanitizer has memory of its own.
      local grown = resident(bridge) - before
      assert.is_true(grown < MOST_GROWTH or os.getenv "LD_PRELOAD" ~= nil, grown .. " KiB more than before")
    end, LIMIT))
  end

  it("has found no fault of its own meanwhile, and stops when told to", helper.async(function()
    assert.equal(0, bridge:kill "TERM")
    assert.equal(1, select(2, bridge:log():gsub("\n", "\n")), bridge:log())
  end))
end)

-- A client -----------------------------------------------------------------------------------------

local CALLS = 20                        -- requests in flight meanwhile
local OWN_IDS = 2 * CALLS               -- of the client, or close to it
local FIRST_ID = 1000                   -- of the server
local LAST = "that was all"             -- method of what is sent when all that is over
local LAST_ID = 4000000000

-- A step of the faulty server that sends a text, in bytes if JSON cannot carry it.
local function step_of(some, text)
  if not utf8.len(text) then
    local length = #text < 126 and string.char(#text) or "\x7e" .. string.pack(">I2", #text)
    local digits = ("\x81" .. length .. text):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
    return { "raw", digits }
  end
  if some:chance(10) then return { "binary", text } end
  local middle = utf8.offset(text, utf8.len(text) // 2 + 1)
  if #text > 1 and some:chance(10) then return { "fragments", text:sub(1, middle - 1), text:sub(middle) } end
  return { "text", text }
end

-- Note the acks that a frame makes due. Two kinds may be acknowledged or ignored: a request without a method, and one
-- that is no JSON after its head.
local function expect_ack(due, text)
  local kind, id, method = frames.read(text)
  if kind == "request" then
    count(due.most, id)
    if type(method) == "string" and not text:find "%c" then count(due.least, id) end
  elseif not json.decode(text) then
    for digits in text:gmatch '"id"%s*:%s*(%d+)' do
      id = math.tointeger(digits)
      if id then count(due.most, id) end
    end
  end
  due.texts[id or 0] = text:sub(1, 500)
end

local function odd_steps(stream, due)
  local steps = {}
  for place = 1, PER_RUN do
    local text = stream:to_client(OWN_IDS)
    expect_ack(due, text)
    steps[place] = step_of(stream.some, text)
  end
  return steps
end

-- KiB of Lua's memory that are in use.
local function in_use()
  for _ = 1, 3 do collectgarbage() end
  return collectgarbage "count"
end

-- Look at everything there is in what a handler gets.
local function look(subject)
  for _, name in ipairs { "text", "author", "chat", "file", "document", "forwarded", "mentions_me", "reply_message" } do
    local _ = subject[name]
  end
  return tostring(subject)
end

local function listen(bot, seen)
  local function handler(subject)
    look(subject)
    seen.handled = seen.handled + 1
  end
  for _, name in ipairs(protocol.notification_order) do bot:on(events.name_of(name), handler) end
  bot:on_unknown(function(method, payload)
    handler(payload)
    if method == LAST then seen.last:wake(true) end
  end)
  bot:on_error(function(err) seen.errors[#seen.errors + 1] = tostring(err) end)
end

-- Requests that are under way while all that comes; how often each has settled.
local function begin_calls(bot)
  local calls = {}
  for place = 1, CALLS do
    calls[place] = system.begin(function() return behind(bot).client.session:request("getChats", "{}", PATIENCE) end)
  end
  return calls
end

-- The difference between the acks that the client has sent so far and the acks that are due; nil: none.
local function difference(server, name, due)
  local found, wrong = {}, {}
  for _, frame in ipairs(server:frames(name)) do
    if frame.type == 2 then count(found, frame.id) end
  end
  for id, times in pairs(due.least) do
    if (found[id] or 0) < times then wrong[#wrong + 1] = "no ack of " .. due.texts[id] end
  end
  for id, times in pairs(found) do
    if times > (due.most[id] or 0) then
      wrong[#wrong + 1] = ("an ack too many of %d: %s"):format(id, tostring(due.texts[id]))
    end
  end
  return wrong[1] and table.concat(wrong, "\n")
end

describe("a bot that gets anything", function()
  for seed = 1, RUNS do
    it(("acknowledges each request once: %d frames from seed %d"):format(PER_RUN, seed), helper.async(function()
      local due = { least = {}, most = {}, texts = {} }
      local steps = odd_steps(frames.new(seed, FIRST_ID), due)
      local seen = { handled = 0, errors = {}, last = core.waiter() }
      local before = in_use()
      table.insert(steps, 1, { "take", CALLS })
      table.move({ "answer_all", scripted.push(LAST_ID, LAST, {}), "echo" }, 1, 3, #steps + 1, steps)
      count(due.most, LAST_ID)
      local server <close> = setmetatable({ it = scripted.start() }, { __close = function(self) self.it:stop() end })
      local bot, name = server.it:bot(steps, { before = function(made) listen(made, seen) end })
      local calls = begin_calls(bot)
      for _, call in ipairs(calls) do call:wait(PATIENCE) end
      assert(seen.last:wait(PATIENCE))
      local answer = assert(behind(bot).client.session:request("probe", '{"a":1}', PATIENCE))
      assert.same({ method = "probe", payload = { a = 1 } }, answer)
      for _, call in ipairs(calls) do assert.equal(1, #call.outcomes) end
      local wrong
      pcall(helper.eventually, function()
        wrong = difference(server.it, name, due)
        return not wrong
      end, 5)
      assert.is_nil(wrong)
      local grown = in_use() - before
      assert.is_true(grown < MOST_GROWTH // 4, grown .. " KiB more than before")
      assert.equal(1, behind(bot).client.session:stats().connects)
      assert.same({}, seen.errors)
      assert.is_true(seen.handled > PER_RUN // 10, "few of the notifications were handled: " .. seen.handled)
      bot:stop()
    end, LIMIT))
  end
end)
