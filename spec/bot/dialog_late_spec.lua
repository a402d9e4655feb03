-- SPDX-License-Identifier: MIT
-- Questions whose answers were given in time and come late: over real connections that are lost.

local core = require "trueconf.core"
local bots = require "spec.support.bots"
local helper = require "spec.support.helper"

local behind = require("trueconf.base.hooks").behind

describe("a dialog whose answer comes late to the bot, though it was given in time", function()
  local function prepare(bot)
    bot:on_text("^ask", function(msg)
      local answer, err = msg:ask("well?", { timeout = 1 })
      assert(msg:answer(answer and "you said " .. answer.text or err.name))
    end)
    bot:on_message(function(msg) assert(msg:answer("plain: " .. msg.text)) end)
  end

  -- A second after this, the question times out.
  local function asked(body)
    return bots.virtual_case(prepare, function(case)
      assert.equal("well?", bots.ask(case, "ask"))
      core.advance(0.001)
      assert.equal(0, behind(case.bot).dispatch.at_work) -- it knows that it has asked
      body(case)
    end)
  end

  it("gets it when the process has slept", bots.case(prepare, function(case)
    assert.equal("well?", bots.ask(case, "ask"))
    helper.eventually(function() return behind(case.bot).dispatch.at_work == 0 end)
    case.server:drop()
    assert(case.chat:say "tea")
    local wakes = core.monotonic() + 4  -- before it, nothing is read
    repeat until core.monotonic() > wakes
    assert.equal("you said tea", bots.hear(case.mira))
  end))

  it("gets it when the connection was lost", asked(function(case)
    case.server:fault { refuse_upgrades = true }
    case.server:drop()
    assert(case.chat:say "tea")
    core.advance(60)
    case.server:fault()
    core.advance(1)
    assert.equal("you said tea", bots.hear(case.mira))
  end))

  it("times out when there was none in five seconds of a new connection", asked(function(case)
    case.server:drop()
    core.advance(4.9)
    assert.equal(2, #case.server:history(case.chat.id))
    core.advance(0.9)
    assert.equal("TIMEOUT", bots.hear(case.mira))
    assert.equal("plain: tea", bots.ask(case, "tea"))
  end))

  it("times out in time when the bot is let in no more", asked(function(case)
    case.server:disable "herald"
    case.server:drop()
    core.advance(0.9)
    assert.equal(1, behind(case.bot).dialogs.waits.count)
    core.advance(0.2)
    assert.equal("failed", case.bot:state())
    assert.equal(0, behind(case.bot).dialogs.waits.count)
  end))

  it("times out in time on a connection that has stood", asked(function(case)
    core.advance(0.9)
    assert.equal(2, #case.server:history(case.chat.id))
    core.advance(0.2)
    assert.equal("TIMEOUT", bots.hear(case.mira))
  end))
end)
