-- SPDX-License-Identifier: MIT
-- A message that was not sent leaves a trace in the log, whether the script looks at the error or not.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

-- A bot at a Bridge that notes what it logs of failures.
local function case(body, options)
  return helper.async(function()
    local server, lines = system.start_bridge(options), {}
    local bot = system.bot(server, { retries = 0, log = { level = "debug", sink = function(level, text)
      if text:find " failed: " then lines[#lines + 1] = level .. " " .. text end
    end } })
    bot:start()
    assert(bot:wait_ready(10))
    local ok, err = pcall(body, bot, lines, assert(bot:create_p2p_chat "mira@localhost"), server)
    bot:stop()
    server:stop()
    if not ok then error(err, 0) end
  end)
end

describe("a message that was not sent", function()
  it("is a warning once of each kind, and else a line for debugging", case(function(bot, lines, chat_id)
    assert.is_nil(bot:send_message("no-such-chat", "x"))
    assert.equal(1, #lines)
    assert.matches("^warn send_message failed: CHAT_NOT_FOUND.*logged at the level debug", lines[1])
    assert.is_nil(bot:chat("no-such-chat"):send "x")
    assert.matches("^debug send_message failed: CHAT_NOT_FOUND", lines[2])
    assert.is_nil(bot:send_message(chat_id, ("x"):rep(5000)))
    assert.matches("^warn send_message failed: LIMIT", lines[3])
    assert.is_nil(bot:send_message(chat_id, ""))
    assert.matches("^debug send_message failed: LIMIT", lines[4])
    assert.is_nil(bot:edit_message("no-such-message", "x"))
    assert.matches("^warn edit_message failed: MESSAGE_NOT_FOUND", lines[5])
    assert.is_nil(bot:forward_message(chat_id, "no-such-message"))
    assert.matches("^warn forward_message failed: ", lines[6])
    assert.is_nil(bot:send_file("no-such-chat", { data = "x", name = "x" }))
    assert.matches("^warn send_file failed: ", lines[7])
    assert.equal(7, #lines)
  end))

  it("of a reply that a handler does not look at, too", case(function(bot, lines, _, server)
    local done = core.waiter()
    bot:on_message(function(msg)
      msg:reply ""
      done:wake(true)
    end)
    assert(server:person("mira"):chat_with("herald"):say "hello")
    assert(done:wait(10))
    assert.matches("^warn send_message failed: LIMIT", lines[1])
  end))

  it("is none if a method only asks", case(function(bot, lines)
    assert.is_nil(bot:get_chat_by_id "no-such-chat")
    assert.is_nil(bot:get_user_display_name "nobody@localhost")
    assert.same({}, lines)
  end))
end)
