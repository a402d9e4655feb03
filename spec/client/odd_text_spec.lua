-- SPDX-License-Identifier: MIT
-- Text that no UTF-8 can hold, as servers pass it on: half surrogate pairs, and bytes that are not UTF-8. It comes with
-- U+FFFD in place of what cannot be shown; on the way out it is refused.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local scripted = require "spec.support.scripted"
local support = require "spec.support.bridge"

local behind = require("trueconf.base.hooks").behind

local R = "\u{fffd}"
-- Texts in the JSON of a frame, and as a handler gets them.
local TEXTS = {
  { [[tea \ud83d]], "tea " .. R }, { [[\ude00 tea]], R .. " tea" }, { [[\ud83d\ud83d\ude00]], R .. "😀" },
  { "tea \xff", "tea " .. R }, { "\xcf\xf0\xe8\xe2\xe5\xf2", R:rep(6) }, { "caf\xe9 \xe2\x82", "caf" .. R .. " " .. R },
  { "\xed\xa0\xbd", R:rep(3) }, { [[a\u0000b]], "a\0b" }, { "чай 🍵", "чай 🍵" },
}

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local ENVELOPE = '{"chatId":"c1","messageId":"m%d","type":200,"timestamp":%d,"box":{"id":%d,"position":"0"},'
  .. '"author":{"id":"%s@test","type":1},"content":{"text":"%s","parseMode":"text"},"x%s":"%s"}'

-- The odd text is in a value, in a name and in a key.
local function envelope(number, text)
  return ENVELOPE:format(number, number, number, "mira" .. text, text, text, text)
end

local function with_server(body)
  return helper.async(function()
    local server <close> = setmetatable({ it = scripted.start() }, { __close = function(self) self.it:stop() end })
    body(server.it)
  end)
end

describe("text that is not UTF-8", function()
  it("reaches a handler, and is acknowledged", with_server(function(server)
    local steps, seen, errors = {}, {}, {}
    for number, text in ipairs(TEXTS) do
      local frame = ('{"type":1,"id":%d,"method":"sendMessage","payload":%s}'):format(number, envelope(number, text[1]))
      steps[number] = { "push_bytes", hex(frame) }
    end
    steps[#steps + 1] = "silent"
    local all = core.waiter()
    local bot, name = server:bot(steps, { before = function(made)
      made:on_error(function(err) errors[#errors + 1] = tostring(err) end)
      made:on_message(function(msg)
        seen[#seen + 1] = { msg.text, msg.author }
        if #seen == #TEXTS then all:wake(true) end
      end)
    end })
    assert(all:wait(20))
    for number, text in ipairs(TEXTS) do
      assert.same({ text[2], "mira" .. text[2] .. "@test" }, seen[number])
    end
    helper.eventually(function() return #server:frames(name) == #TEXTS end, 20)
    for number, frame in ipairs(server:frames(name)) do assert.same({ type = 2, id = number }, frame) end
    assert.same({}, errors)
    assert.equal(1, behind(bot).client.session:stats().connects)
    bot:stop()
  end))

  it("does not stop a walk through the history", with_server(function(server)
    local page, expected, texts = {}, {}, {}
    for number, text in ipairs(TEXTS) do
      page[number] = envelope(number, text[1])
      table.insert(expected, 1, text[2])
    end
    local client = server:client {
      { "take" }, { "answer_bytes", 1, hex(('{"count":%d,"messages":[%s]}'):format(#page, table.concat(page, ","))) },
      { "take" }, { "answer", 2, { count = 0, messages = {} } }, "silent",
    }
    for found in client:history "c1" do texts[#texts + 1] = found.text end
    assert.same(expected, texts)
    client:stop()
  end))

  it("is told in the description of an error", with_server(function(server)
    local client = server:client {
      { "take" }, { "answer_bytes", 1, hex '{"errorCode":304,"errorDescription":"no \xff chat \\ud83d"}' }, "silent",
    }
    local _, err = client:get_chat_by_id("c1", { timeout = 5 })
    assert.equal("CHAT_NOT_FOUND", err.name)
    assert.matches("no " .. R .. " chat " .. R, err.message, 1, true)
    client:stop()
  end))

  it("is refused on the way out, with the place", with_server(function(server)
    local client, name = server:client { "silent" }
    local sent, err = client:send_message("c1", "tea \xff")
    assert.is_nil(sent)
    assert.same({ "PROTOCOL", "not_sent" }, { err.name, err.outcome })
    assert.matches("'content.text': not UTF-8 at byte 5", err.message, 1, true)
    assert.same({}, server:frames(name))
    client:stop()
  end))

  it("is read by the Bridge as far as it is JSON", function()
    local bridge = support.server()
    local client = support.login(bridge, "herald")
    local chat = client:request("createP2PChat", { userId = "mira@chat.acme.test" })
    client:raw(([[{"type":1,"id":900,"method":"sendMessage","payload":{"chatId":"%s","content":{"text":"tea \ud83d",]]
      .. [["parseMode":"text"}}}]]):format(chat.chatId))
    local answer = client:take()[1]
    assert.equal(900, answer.id)
    assert.is_string(answer.payload.messageId)
    local history = client:request("getChatHistory", { chatId = chat.chatId, count = 1 })
    assert.equal("tea " .. R, history.messages[1].content.text)
  end)
end)
