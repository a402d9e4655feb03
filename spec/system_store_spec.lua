-- SPDX-License-Identifier: MIT
-- A bot with a store on disk is killed fifty times under a stream of a thousand messages: it handles every
-- one, none again that its store knows as handled, and each answer it has posted arrives once.

local core = require "trueconf.core"
local stores = require "trueconf.store"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = 30                        -- seconds any single step may take
local PEOPLE = { "mira", "jonas", "edda", "tilo" }
local MESSAGES, KILLS = 1000, 50

local World = {}
World.__index = World

local function world()
  local self = setmetatable({ said = 0 }, World)
  self.server = system.start_bridge { accounts = { herald = "4711" } }
  self.directory = system.directory()
  self.numbers, self.store = self.directory:file "numbers", self.directory:file "bot.db"
  self.chats = {}
  for place, login in ipairs(PEOPLE) do self.chats[place] = self.server:person(login):chat_with "herald" end
  return self
end

function World:__close()
  if self.child then self.child:__close() end
  self.server:stop(true)
  self.directory:__close()
end

function World:say(count)
  for _ = 1, math.min(count, MESSAGES - self.said) do
    self.said = self.said + 1
    assert(self.chats[self.said % #PEOPLE + 1]:say(tostring(self.said)))
  end
end

function World:start_bot()
  self.child = system.launch_lua("spec/support/posting_bot.lua", {
    environment = {
      TRUECONF_URL = self.server:url(), TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "4711",
      NUMBERS_FILE = self.numbers, STORE_FILE = self.store, TRUECONF_LOG = "error",
    },
  })
end

function World:end_bot(signal)
  local status = self.child:kill(signal)
  helper.eventually(function() return self.server:connections "herald" == 0 end, LIMIT)
  assert.equal("", self.child:log())
  self.child:__close()
  self.child = nil
  return status
end

function World:lines()
  return system.lines(self.numbers)
end

-- What the store of a bot that has ended knows as handled, as a set of ids.
function World:handled()
  local kept, set = assert(stores.open(self.store)), {}
  for _, item in ipairs(kept:list "handled") do set[item.id] = true end
  kept:close()
  return set
end

-- Kill the bot at a random moment of its work.
function World:kill_somewhere()
  local before = #self:lines()
  self:start_bot()
  self:say(MESSAGES // KILLS)
  helper.eventually(function() return #self:lines() > before end, LIMIT)
  core.sleep(core.random(1):byte() / 256 * 0.05)
  assert.equal(137, self:end_bot "KILL")
  return { place = #self:lines(), handled = self:handled() }
end

-- How often each answer is there, in the order of its chat.
local function answers(w)
  local count, order = {}, {}
  for place, chat in ipairs(w.chats) do
    order[place] = {}
    for _, message in ipairs(w.server:history(chat.id)) do
      local number = math.tointeger(message.text:match "^answer to (%d+)$")
      if number then
        count[number] = (count[number] or 0) + 1
        table.insert(order[place], number)
      end
    end
  end
  return count, order
end

describe("a bot with a store on disk, killed at fifty random moments", function()
  it("handles every message, none that it knows as handled again, and posts each answer once", helper.async(function()
    local w <close> = world()
    local kills = {}
    for round = 1, KILLS do kills[round] = w:kill_somewhere() end
    w:start_bot()
    helper.eventually(function() return w.server:connections "herald" == 1 end, LIMIT)
    helper.eventually(function() return #w.server:unread "herald" == 0 end, LIMIT)
    helper.eventually(function()
      local count = answers(w)
      return #count == MESSAGES
    end, LIMIT)
    assert.equal(0, w:end_bot "TERM")

    local lines, seen = w:lines(), {}
    for _, line in ipairs(lines) do seen[math.tointeger(line:match "^%d+")] = true end
    for number = 1, MESSAGES do assert.is_true(seen[number], "not handled: " .. number) end
    for _, kill in ipairs(kills) do
      for place = kill.place + 1, #lines do
        assert.is_nil(kill.handled[lines[place]:match "%S+$"], lines[place] .. " was handled again")
      end
    end
    local count, order = answers(w)
    for number = 1, MESSAGES do assert.equal(1, count[number], "answers to " .. number) end
    for _, numbers in ipairs(order) do
      for place = 2, #numbers do assert.is_true(numbers[place] > numbers[place - 1], "out of order") end
    end
  end, 110))
end)
