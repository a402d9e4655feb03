-- SPDX-License-Identifier: MIT
-- A bot with a store on disk is killed fifty times under a stream of a thousand messages: it handles every
-- one, none again that its store knows as handled, and each answer it has posted arrives once.

local core = require "trueconf.core"
local stores = require "trueconf.store"
local helper = require "spec.support.helper"
local mortal_bot = require "spec.support.mortal_bot"

local LIMIT = 30                        -- seconds any single step may take
local PEOPLE = { "mira", "jonas", "edda", "tilo" }
local MESSAGES, KILLS = 1000, 50
local FILES = { NUMBERS_FILE = "numbers", STORE_FILE = "bot.db" }

-- The next `count` numbers, by everybody in turn; w.said is the last.
local function say(w, count)
  for _ = 1, math.min(count, MESSAGES - w.said) do
    w.said = w.said + 1
    assert(w.chats[w.said % #PEOPLE + 1]:say(tostring(w.said)))
  end
end

-- The ids of handled messages in the store of a bot that has ended, as a set.
local function handled_by(w)
  local kept, set = assert(stores.open(w.files.STORE_FILE)), {}
  for _, item in ipairs(kept:list "handled") do set[item.id] = true end
  kept:close()
  return set
end

-- Kill the bot at a random moment of its work.
local function kill_somewhere(w)
  local before = #w:lines()
  w:start()
  say(w, MESSAGES // KILLS)
  w:wait_lines(before + 1)
  core.sleep(core.random(1):byte() / 256 * 0.05)
  assert.equal(137, w:stop "KILL")
  return { place = #w:lines(), handled = handled_by(w) }
end

-- How often each answer is there, in the order of its chat.
local function answers(w)
  local count, order, different = {}, {}, 0
  for place, chat in ipairs(w.chats) do
    order[place] = {}
    for _, message in ipairs(w.server:history(chat.id)) do
      local number = math.tointeger(message.text:match "^answer to (%d+)$")
      if number then
        if not count[number] then different = different + 1 end
        count[number] = (count[number] or 0) + 1
        table.insert(order[place], number)
      end
    end
  end
  return count, order, different
end

describe("a bot with a store on disk, killed at fifty random moments", function()
  it("handles every message, none that it knows as handled again, and posts each answer once", helper.async(function()
    local w <close> = mortal_bot.new("spec/support/posting_bot.lua", PEOPLE, FILES, "error")
    w.said = 0
    local kills = {}
    for round = 1, KILLS do kills[round] = kill_somewhere(w) end
    w:start()
    helper.eventually(function() return w.server:connections "herald" == 1 end, LIMIT)
    w:wait_all_read()
    helper.eventually(function()
      local _, _, different = answers(w)
      return different == MESSAGES
    end, LIMIT)
    assert.equal(0, w:stop "TERM")

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
