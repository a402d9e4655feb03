-- SPDX-License-Identifier: MIT

local json = require "trueconf.base.json"
local support = require "spec.support.bridge"

describe("auth", function()
  local server

  before_each(function() server = support.server() end)

  local function auth(client, payload)
    return (client:request("auth", payload))
  end

  it("answers 200 to everything else before it and stays open", function()
    local client = support.connect(server)
    for _, method in ipairs { "sendMessage", "createP2PChat", "getUserDisplayName", "noSuchMethod" } do
      assert.same({ errorCode = 200 }, (client:request(method, {})))
    end
    assert.is_nil(client.closed)
    assert.is_string(auth(client, { token = server:mint_token "herald", tokenType = "JWT" }).userId)
  end)

  it("names the user with an instance of this connection, and the connection", function()
    local _, _, first = support.login(server, "herald")
    local _, _, second = support.login(server, "herald")
    assert.matches("^herald@chat%.acme%.test/%x+$", first.userId)
    assert.matches("^herald@chat%.acme%.test/%x+$", second.userId)
    assert.not_equal(first.userId, second.userId)
    assert.not_equal(first.connectionId, second.connectionId)
    assert.is_string(first.connectionId)
  end)

  it("refuses a bad token with 201, an expired one with 203", function()
    local client = support.connect(server)
    assert.same({ errorCode = 201 }, auth(client, { token = "old", tokenType = "JWT" }))
    local expired = server:mint_token("herald", { expires_in = -1 })
    assert.same({ errorCode = 203 }, auth(client, { token = expired, tokenType = "JWT" }))
    local foreign = support.server():mint_token "herald"
    assert.same({ errorCode = 201 }, auth(client, { token = foreign, tokenType = "JWT" }))
  end)

  it("refuses a disabled account with 202", function()
    local token = server:mint_token "herald"
    server:disable "herald"
    assert.same({ errorCode = 202 }, auth(support.connect(server), { token = token, tokenType = "JWT" }))
  end)

  it("refuses another kind of token with 204", function()
    local payload = { token = server:mint_token "herald", tokenType = "Bearer" }
    assert.same({ errorCode = 204 }, auth(support.connect(server), payload))
  end)

  it("wants its fields", function()
    local client = support.connect(server)
    local token = server:mint_token "herald"
    for _, payload in ipairs {
      {}, { token = token }, { tokenType = "JWT" }, { token = 17, tokenType = "JWT" },
      { token = json.null, tokenType = "JWT" }, { token = token, tokenType = "JWT", receiveUnread = "yes" },
    } do
      assert.equal(399, auth(client, payload).errorCode)
    end
  end)

  it("takes null for an optional field and fields nobody knows", function()
    local payload = { token = server:mint_token "herald", tokenType = "JWT", receiveUnread = json.null, extra = 1 }
    assert.is_string(auth(support.connect(server), payload).userId)
  end)

  it("closes with 1008 after it has failed ten times", function()
    local client = support.connect(server)
    for _ = 1, 9 do auth(client, { token = "x", tokenType = "JWT" }) end
    assert.is_nil(client.closed)
    assert.same({ errorCode = 201 }, auth(client, { token = "x", tokenType = "JWT" }))
    assert.equal(1008, client.closed)
  end)

  it("may be repeated by the same user, not by another one", function()
    local client, _, first = support.login(server, "herald")
    local again = auth(client, { token = server:mint_token "herald", tokenType = "JWT" })
    assert.same(first, again)
    assert.equal(302, auth(client, { token = server:mint_token "mira", tokenType = "JWT" }).errorCode)
    assert.equal("herald", (client:request("getUserDisplayName", { userId = "herald@chat.acme.test" })).displayName)
  end)

  it("repeated does not make notifications come twice", function()
    local client = support.login(server, "herald")
    auth(client, { token = server:mint_token "herald", tokenType = "JWT" })
    server:person("mira"):chat_with("herald"):say "hi"
    local frames = client:take()
    assert.equal(2, #frames)
    assert.equal("createP2PChat", frames[1].method)
    assert.equal("sendMessage", frames[2].method)
  end)

  it("answers with the code of a fault", function()
    server.faults.auth_error = 203
    local payload = { token = server:mint_token "herald", tokenType = "JWT" }
    assert.same({ errorCode = 203 }, auth(support.connect(server), payload))
  end)
end)
