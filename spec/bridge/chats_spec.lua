-- SPDX-License-Identifier: MIT

local support = require "spec.support.bridge"

describe("a personal chat", function()
  local server, herald, mira

  before_each(function()
    server = support.server()
    herald, mira = support.login(server, "herald"), support.login(server, "mira")
  end)

  local function open(client, user_id)
    return client:request("createP2PChat", { userId = user_id })
  end

  it("is told to both sides, each reading the name of the other", function()
    local chat, frames = open(herald, "mira@chat.acme.test")
    assert.matches("^%x+$", chat.chatId)
    assert.equal(40, #chat.chatId)
    local expected = {
      method = "createP2PChat", type = 1, id = 2,
      payload = { chatId = chat.chatId, title = "mira@chat.acme.test", chatType = 1, unreadMessages = 0 },
    }
    assert.same({ expected }, frames)
    assert.is_truthy(mira.sent[1]:find('"lastMessage":null', 1, true))
    expected.payload.title = "herald@chat.acme.test"
    assert.same({ expected }, mira:take())
  end)

  it("is the same one whoever opens it again, and not told again", function()
    local chat = open(herald, "mira@chat.acme.test")
    mira:take()
    local again, frames = open(herald, "MIRA@chat.acme.test/9f31c2")
    assert.same(chat, again)
    assert.same({}, frames)
    assert.same(chat, (open(mira, "herald@chat.acme.test")))
    assert.same({}, mira:take())
  end)

  it("is refused with oneself and with nobody", function()
    for _, id in ipairs { "herald@chat.acme.test", "nobody@chat.acme.test", "mira@other.test", "mira", "" } do
      assert.equal(302, open(herald, id).errorCode, id)
    end
    assert.same({}, mira:take())
  end)
end)

describe("getUserDisplayName", function()
  it("gives the name of a known user", function()
    local server = support.server { accounts = { herald = "1", mira = { display_name = "Mira Müller" } } }
    local herald = support.login(server, "herald")
    local response = herald:request("getUserDisplayName", { userId = "mira@chat.acme.test" })
    assert.same({ displayName = "Mira Müller" }, response)
    response = herald:request("getUserDisplayName", { userId = "nobody@chat.acme.test" })
    assert.equal(302, response.errorCode)
    assert.matches("nobody@chat%.acme%.test", response.errorDescription)
  end)
end)
