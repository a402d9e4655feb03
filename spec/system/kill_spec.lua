-- SPDX-License-Identifier: MIT
-- A bot is ended in the middle of its work and started again, several times: by SIGKILL, and it has
-- handled every message; by SIGTERM, and it has handled every message once.

local helper = require "spec.support.helper"
local mortal_bot = require "spec.support.mortal_bot"

local PEOPLE = { "mira", "jonas", "edda", "tilo" }
local EACH = 50                         -- messages of each person
local AT_ONCE = 5                       -- said by each while the bot starts; so 20 lines at least will come
local ENDS = { 15, 1, 18, 9, 12, 4, 14 } -- the bot is ended when it has written so many lines

-- Everybody says the next `count` numbers, by turns; w.said and w.messages keep them.
local function say(w, count)
  for _ = 1, count do
    if w.said == EACH then return end
    w.said = w.said + 1
    for place, login in ipairs(PEOPLE) do
      local text = login .. " " .. w.said
      w.messages[text] = w.chats[place]:say(text)
    end
  end
end

local function world()
  local w = mortal_bot.new("spec/support/numbers_bot.lua", PEOPLE, { NUMBERS_FILE = "numbers" }, "warn")
  w.said, w.messages = 0, {}
  return w
end

-- The messages that the bot has acknowledged, as a set of texts.
local function acknowledged_by(w)
  local set = {}
  for text, message in pairs(w.messages) do set[text] = message:is_read_by "herald" or nil end
  return set
end

-- Start the bot, end it in the middle, over and over; then let it finish. `after_end` is told
-- where in the file the next bot begins.
local function run_with_ends(w, signal, after_end)
  for _, count in ipairs(ENDS) do
    local before = #w:lines()
    w:start()
    say(w, AT_ONCE)
    w:wait_lines(before + count)
    assert.equal(signal == "KILL" and 137 or 0, w:stop(signal))
    after_end(#w:lines())
  end
  w:start()
  say(w, EACH)
  w:wait_all_read()
  assert.equal(0, w:stop "TERM")
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
      ends[#ends + 1] = { place = place, acknowledged = acknowledged_by(w) }
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
      local acknowledged, count = acknowledged_by(w), 0
      for _ in pairs(acknowledged) do count = count + 1 end
      assert.equal(place, count)        -- what was begun was finished and acknowledged
    end)
    local lines = w:lines()
    assert.equal(#ENDS, ends)
    assert.equal(#PEOPLE * EACH, #lines)
    assert.same(all_in_order(), first_handlings(lines))
  end, 60))
end)
