-- SPDX-License-Identifier: MIT
-- A bot is ended in the middle of its work and started again, several times: by SIGKILL, and it has
-- handled every message; by SIGTERM, and it has handled every message once.

local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = 20                        -- seconds any single step may take
local PEOPLE = { "mira", "jonas", "edda", "tilo" }
local EACH = 50                         -- messages of each person
local AT_ONCE = 5                       -- said by each while the bot starts; so 20 lines at least will come
local ENDS = { 15, 1, 18, 9, 12, 4, 14 } -- the bot is ended when it has written so many lines

-- A Bridge in this process, the bot's file, and who says what.
local World = {}
World.__index = World

local function world()
  local self = setmetatable({ said = 0, messages = {} }, World)
  self.server = system.start_bridge { accounts = { herald = "4711" } }
  self.directory = system.directory()
  self.path = self.directory:file "numbers"
  self.chats = {}
  for place, login in ipairs(PEOPLE) do self.chats[place] = self.server:person(login):chat_with "herald" end
  return self
end

function World:__close()
  if self.child then self.child:__close() end
  self.server:stop(true)
  self.directory:__close()
end

-- Everybody says the next `count` numbers, by turns.
function World:say(count)
  for _ = 1, count do
    if self.said == EACH then return end
    self.said = self.said + 1
    for place, login in ipairs(PEOPLE) do
      local text = login .. " " .. self.said
      self.messages[text] = self.chats[place]:say(text)
    end
  end
end

function World:start_bot()
  self.child = system.launch_lua("spec/support/numbers_bot.lua", {
    environment = {
      TRUECONF_URL = self.server:url(), TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "4711",
      NUMBERS_FILE = self.path, TRUECONF_LOG = "warn",
    },
  })
end

function World:lines()
  return system.lines(self.path)
end

function World:wait_lines(count)
  helper.eventually(function() return #self:lines() >= count end, LIMIT)
end

-- End the bot; afterwards everything it has sent has been taken.
function World:end_bot(signal)
  local status = self.child:kill(signal)
  helper.eventually(function() return self.server:connections "herald" == 0 end, LIMIT)
  local log = self.child:log()
  self.child:__close()
  self.child = nil
  return status, log
end

function World:wait_all_read()
  helper.eventually(function() return #self.server:unread "herald" == 0 end, LIMIT)
end

-- What the bot has acknowledged, as a set of texts.
function World:acknowledged()
  local set = {}
  for text, message in pairs(self.messages) do set[text] = message:is_read_by "herald" or nil end
  return set
end

-- Start the bot, end it in the middle, over and over; then let it finish. `after_end` is told
-- where in the file the next bot begins.
local function run_with_ends(w, signal, after_end)
  for _, count in ipairs(ENDS) do
    local before = #w:lines()
    w:start_bot()
    w:say(AT_ONCE)
    w:wait_lines(before + count)
    local status, log = w:end_bot(signal)
    assert.equal("", log)
    assert.equal(signal == "KILL" and 137 or 0, status)
    after_end(#w:lines())
  end
  w:start_bot()
  w:say(EACH)
  w:wait_all_read()
  assert.equal(0, (w:end_bot "TERM"))
end

-- The numbers of each person in the order in which they were first written down.
local function first_handlings(lines)
  local seen, order = {}, {}
  for _, login in ipairs(PEOPLE) do order[login] = {} end
  for _, line in ipairs(lines) do
    local login, number = line:match "^(%a+) (%d+)$"
    assert(login, "a damaged line: " .. line)
    if not seen[line] then table.insert(order[login], tonumber(number)) end
    seen[line] = true
  end
  return order
end

local function all_in_order()
  local order = {}
  for _, login in ipairs(PEOPLE) do
    order[login] = {}
    for number = 1, EACH do order[login][number] = number end
  end
  return order
end

describe("a bot ended in the middle of its work", function()
  it("by SIGKILL has handled every message, in order, and none it had acknowledged again", helper.async(function()
    local w <close> = world()
    local ends = {}
    run_with_ends(w, "KILL", function(place)
      ends[#ends + 1] = { place = place, acknowledged = w:acknowledged() }
    end)
    local lines = w:lines()
    assert.same(all_in_order(), first_handlings(lines))
    for _, kill in ipairs(ends) do
      assert.is_not_nil(next(kill.acknowledged))
      for place = kill.place + 1, #lines do
        assert.is_nil(kill.acknowledged[lines[place]], lines[place] .. " was handled again")
      end
    end
  end, 60))

  it("by SIGTERM has handled every message once", helper.async(function()
    local w <close> = world()
    local ends = 0
    run_with_ends(w, "TERM", function(place)
      ends = ends + 1
      local acknowledged, count = w:acknowledged(), 0
      for _ in pairs(acknowledged) do count = count + 1 end
      assert.equal(place, count)        -- what was begun was finished and acknowledged
    end)
    local lines = w:lines()
    assert.equal(#ENDS, ends)
    assert.equal(#PEOPLE * EACH, #lines)
    assert.same(all_in_order(), first_handlings(lines))
  end, 60))
end)
