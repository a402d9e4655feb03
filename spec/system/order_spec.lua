-- SPDX-License-Identifier: MIT
-- Fifty chats with eighty messages each and handlers that take their time: the order of each chat holds, and
-- no chat waits for another one. Under virtual time, so that the time is that of the handlers alone.

local core = require "trueconf.core"
local testing = require "trueconf.testing"
local trueconf = require "trueconf"

local CHATS, MESSAGES = 50, 80
local LONGEST = 2                       -- seconds of one handler

describe("handlers that take their time", function()
  it("keep the order of each chat, beside each other", function()
    local spent, seen, done, ends = {}, {}, 0, nil
    local t <close> = testing.start {
      seed = 7,
      bot = function(options)
        options.max_handlers = CHATS
        local bot = trueconf.bot(options)
        bot:on_message(function(msg)
          local seconds = core.random(1):byte() / 255 * LONGEST
          trueconf.sleep(seconds)
          spent[msg.author] = (spent[msg.author] or 0) + seconds
          seen[msg.author] = seen[msg.author] or {}
          table.insert(seen[msg.author], msg.text)
          done = done + 1
          ends = core.monotonic()
        end)
        return bot
      end,
    }
    local expected, begun = {}, core.monotonic()
    for number = 1, MESSAGES do expected[number] = tostring(number) end
    for place = 1, CHATS do
      local user = t:user("user" .. place)
      for number = 1, MESSAGES do user:says(tostring(number)) end
    end
    t:advance(MESSAGES * LONGEST)
    assert.equal(CHATS * MESSAGES, done)
    local ideal, authors = 0, 0
    for author, seconds in pairs(spent) do
      authors, ideal = authors + 1, math.max(ideal, seconds)
      assert.same(expected, seen[author])
    end
    assert.equal(CHATS, authors)
    assert.is_true(ends - begun <= 1.3 * ideal, ("%g s, ideal %g s"):format(ends - begun, ideal))
  end)
end)
