-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local support = require "spec.support.bridge"

local function parts(token)
  return token:match "^([^.]+)%.([^.]+)%.([^.]+)$"
end

local function claims_of(token)
  local _, claims = parts(token)
  return assert(json.decode(core.base64url_decode(claims)))
end

describe("a token", function()
  local server, account

  before_each(function()
    server = support.server()
    account = server.accounts:by_login "herald"
  end)

  after_each(function() core.virtual_time(false) end)

  it("has three parts, the first two JSON", function()
    local header, claims, signature = parts(server:mint_token "herald")
    assert.same({ alg = "HS256", typ = "JWT" }, json.decode(core.base64url_decode(header)))
    assert.equal("herald@chat.acme.test", json.decode(core.base64url_decode(claims)).sub)
    assert.equal(32, #core.base64url_decode(signature))
  end)

  it("is signed with HMAC-SHA256 over its first two parts", function()
    local token = server:mint_token "herald"
    local signed, signature = token:match "^(.*)%.(.-)$"
    local expected = core.base64url_encode(core.hmac_sha256(server.store.signing_key, signed))
    assert.equal(expected, signature)
  end)

  it("expires after 30 days", function()
    core.virtual_time(true, 1788000000000, 1)
    local token, expires_at = server:mint_token "herald"
    assert.equal(1788000000 + 30 * 86400, expires_at)
    assert.equal(expires_at, claims_of(token).exp)
    core.advance(30 * 86400 - 1)
    assert.equal(account, server.tokens:verify(token, server.accounts))
    core.advance(1)
    assert.same({ nil, "expired" }, { server.tokens:verify(token, server.accounts) })
  end)

  it("is a new one each time, and the older one stays good", function()
    local first, second = server:mint_token "herald", server:mint_token "herald"
    assert.not_equal(first, second)
    assert.equal(account, server.tokens:verify(first, server.accounts))
    assert.equal(account, server.tokens:verify(second, server.accounts))
  end)

  it("can be minted expired", function()
    local token = server:mint_token("herald", { expires_in = -1 })
    assert.same({ nil, "expired" }, { server.tokens:verify(token, server.accounts) })
  end)

  it("is refused when anything in it was altered", function()
    local header, claims, signature = parts(server:mint_token "herald")
    local altered = claims_of(server:mint_token "herald")
    altered.sub = "mira@chat.acme.test"
    local forged = core.base64url_encode(json.encode(altered))
    local none = core.base64url_encode '{"alg":"none","typ":"JWT"}'
    local flipped = (signature:sub(1, 1) == "A" and "B" or "A") .. signature:sub(2)
    for _, text in ipairs {
      header .. "." .. forged .. "." .. signature,
      none .. "." .. claims .. "." .. signature,
      none .. "." .. claims .. ".",
      header .. "." .. claims .. "." .. flipped,
      header .. "." .. claims .. "." .. signature:sub(1, -5),
      header .. "." .. claims,
      header .. "." .. claims .. "." .. signature .. "." .. signature,
      header .. "." .. claims .. "." .. signature .. " ",
      "", "..", "old", "h.p.s",
    } do
      assert.same({ nil, "invalid" }, { server.tokens:verify(text, server.accounts) }, text)
    end
  end)

  it("of another server is refused even when it has expired", function()
    local foreign = support.server():mint_token("herald", { expires_in = -1 })
    assert.same({ nil, "invalid" }, { server.tokens:verify(foreign, server.accounts) })
  end)

  it("can be expired, of one account or of all", function()
    local herald, mira = server:mint_token "herald", server:mint_token "mira"
    server:expire_tokens "HERALD"
    assert.same({ nil, "expired" }, { server.tokens:verify(herald, server.accounts) })
    assert.is_truthy(server.tokens:verify(mira, server.accounts))
    assert.is_truthy(server.tokens:verify(server:mint_token "herald", server.accounts))
    server:expire_tokens()
    assert.same({ nil, "expired" }, { server.tokens:verify(mira, server.accounts) })
  end)

  it("is good on the next Bridge with the same state, also after it was expired", function()
    local old = server:mint_token "herald"
    server:expire_tokens()
    local good = server:mint_token "herald"
    local again = support.server { state = server:state() }
    assert.is_truthy(again.tokens:verify(good, again.accounts))
    assert.same({ nil, "expired" }, { again.tokens:verify(old, again.accounts) })
  end)
end)
