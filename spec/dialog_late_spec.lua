-- SPDX-License-Identifier: MIT
-- Questions whose answers were given in time and come late: in real time, over real connections that are lost.

local core = require "trueconf.core"
local bots = require "spec.support.bots"
local helper = require "spec.support.helper"

describe("a dialog whose answer comes late to the bot, though it was given in time", function()
  local function asks(body)
    return bots.case(function(bot)
      bot:on_text("^ask", function(msg)
        local answer, err = msg:ask("well?", { timeout = 1 })
        assert(msg:answer(answer and "you said " .. answer.text or err.name))
      end)
      bot:on_message(function(msg) assert(msg:answer("plain: " .. msg.text)) end)
    end, function(case)
      assert.equal("well?", bots.ask(case, "ask"))
      helper.eventually(function() return case.bot.at_work == 0 end) -- it knows that it has asked
      body(case)
    end)
  end

  it("gets it when the process has slept", asks(function(case)
    case.server:drop()
    assert(case.chat:say "tea")
    local wakes = core.monotonic() + 4  -- before it, nothing is read
    repeat until core.monotonic() > wakes
    assert.equal("you said tea", bots.hear(case.mira))
  end))

  it("gets it when the connection was lost", asks(function(case)
    case.server:fault { refuse_upgrades = true }
    case.server:drop()
    assert(case.chat:say "tea")
    core.sleep(1.5)
    case.server:fault()
    assert.equal("you said tea", bots.hear(case.mira))
  end))

  it("times out when there was none", asks(function(case)
    case.server:drop()
    assert.equal("TIMEOUT", bots.hear(case.mira))
    assert.equal("plain: tea", bots.ask(case, "tea"))
  end))

  it("times out in time on a connection that has stood", asks(function(case)
    local asked = core.monotonic()
    assert.equal("TIMEOUT", bots.hear(case.mira))
    assert.is_true(core.monotonic() - asked < 4)
  end))
end)
