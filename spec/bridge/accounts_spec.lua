-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local support = require "spec.support.bridge"

describe("an account of a Bridge", function()
  local server

  before_each(function()
    server = support.server {
      accounts = { Herald = "4711", mira = { password = "x", display_name = "Mira M." }, gone = { disabled = true } },
    }
  end)

  it("has a TrueConf ID and a display name, by default its login", function()
    local herald = server.accounts:by_login "herald"
    assert.equal("Herald@chat.acme.test", herald.id)
    assert.equal("Herald", herald.display_name)
    assert.equal("Mira M.", server.accounts:by_login("mira").display_name)
  end)

  it("is found by login in any case", function()
    assert.equal(server.accounts:by_login "herald", server.accounts:by_login "HERALD")
    assert.is_nil(server.accounts:by_login "nobody")
  end)

  it("is found by its TrueConf ID, with or without an instance", function()
    local mira = server.accounts:by_login "mira"
    assert.equal(mira, server.accounts:by_id "mira@chat.acme.test")
    assert.equal(mira, server.accounts:by_id "MIRA@Chat.Acme.Test")
    assert.equal(mira, server.accounts:by_id "mira@chat.acme.test/9f31c2")
  end)

  it("is not found by a short login or with another server", function()
    for _, id in ipairs {
      "mira", "mira@other.test", "mira@", "@chat.acme.test", "", "mira@chat.acme.test.evil", "mira@chat.acme.test@x",
      "mira/x@chat.acme.test", "mira@/chat.acme.test",
    } do
      assert.is_nil(server.accounts:by_id(id), id)
    end
  end)

  it("logs in with its password, by short or full name", function()
    local herald = server.accounts:by_login "herald"
    assert.equal(herald, server.accounts:authenticate("herald", "4711"))
    assert.equal(herald, server.accounts:authenticate("HERALD", "4711"))
    assert.equal(herald, server.accounts:authenticate("herald@chat.acme.test", "4711"))
  end)

  it("does not log in otherwise", function()
    server:add_account("nopass")
    server:disable "mira"
    for _, pair in ipairs {
      { "herald", "4712" }, { "herald", "" }, { "nobody", "4711" }, { "herald@other.test", "4711" }, { "", "" },
      { "nopass", "" }, { "mira", "x" },
    } do
      assert.is_nil(server.accounts:authenticate(pair[1], pair[2]), pair[1])
    end
  end)

  it("keeps no password", function()
    local function search(value, seen)
      if type(value) == "string" then return value:find("very secret", 1, true) end
      if type(value) ~= "table" or seen[value] then return nil end
      seen[value] = true
      for _, inner in pairs(value) do if search(inner, seen) then return true end end
    end
    server:add_account("new", { password = "very secret" })
    assert.is_truthy(server.accounts:authenticate("new", "very secret"))
    assert.is_nil(search(server:state(), {}))
  end)

  it("keeps a hash of crypt(3), of the cost asked for", function()
    assert.matches("^%$y%$j75%$[./%w]+%$[./%w]+$", server.accounts:by_login("herald").password_hash)
    local costly = support.server { password_cost = 2, accounts = { herald = "4711" } }
    assert.matches("^%$y%$j85%$", costly.accounts:by_login("herald").password_hash)
  end)

  it("can be given the hash in place of the password", function()
    local hash = core.crypt_hash("4711", 1)
    server:add_account("new", { password_hash = hash })
    assert.equal(hash, server.accounts:by_login("new").password_hash)
    assert.is_truthy(server.accounts:authenticate("new", "4711"))
    assert.is_nil(server.accounts:authenticate("new", hash))
  end)

  it("is changed by naming it again, only in what is named", function()
    server:add_account("MIRA", { display_name = "M." })
    assert.equal("M.", server.accounts:by_login("mira").display_name)
    assert.equal("mira@chat.acme.test", server.accounts:by_login("mira").id)
    assert.is_truthy(server.accounts:authenticate("mira", "x"))
    server:add_account("gone", { password = "y", disabled = false })
    assert.is_truthy(server.accounts:authenticate("gone", "y"))
  end)

  it("is refused when described wrongly, naming the field", function()
    local function refused(message, ...)
      local args = { ... }
      assert.error_matches(function() server:add_account(args[1], args[2]) end, message)
    end
    refused("login must be text without '@', '/' and spaces, got a@b", "a@b", {})
    refused("login must be text", "", {})
    refused("login must be text", 17, {})
    refused("account 'a' must be a password or a table, got number", "a", 4711)
    refused("password of account 'a' must be a string, got number", "a", { password = 4711 })
    refused("disabled of account 'a' must be a boolean, got string", "a", { disabled = "yes" })
    refused("login must be text", ("x"):rep(256), {})
    refused("password of account 'a' must be shorter than 512 bytes", "a", { password = ("x"):rep(512) })
    refused("password of account 'a' must be shorter than 512 bytes and without NUL", "a", "x\0y")
    refused("password_hash of account 'a' must be a yescrypt hash", "a", { password_hash = "4711" })
    refused("account 'a' has an unknown field 'pasword'", "a", { pasword = "x" })
    assert.error_matches(function() support.server { accounts = { a = 1 } } end, "accounts: account 'a' must be")
    assert.error_matches(function() server:disable "nobody" end, "there is no account 'nobody'")
  end)
end)
