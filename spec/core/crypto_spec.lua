-- SPDX-License-Identifier: MIT
-- The primitives for tokens: csrc/base/crypto.c.

local core = require "trueconf.core"

local function hex(data)
  return (data:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

describe("hmac_sha256", function()
  -- RFC 4231, test cases 1, 2, 3 and 6
  local vectors = {
    { ("\x0b"):rep(20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
    { "Jefe", "what do ya want for nothing?",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
    { ("\xaa"):rep(20), ("\xdd"):rep(50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
    { ("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
  }
  for i, vector in ipairs(vectors) do
    it("agrees with RFC 4231, vector " .. i, function()
      local digest = core.hmac_sha256(vector[1], vector[2])
      assert.equal(32, #digest)
      assert.equal(vector[3], hex(digest))
    end)
  end

  it("takes an empty key and empty data", function()
    assert.equal("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", hex(core.hmac_sha256("", "")))
  end)

  it("refuses what is not a string", function()
    assert.has_error(function() core.hmac_sha256("key") end)
    assert.has_error(function() core.hmac_sha256({}, "data") end)
  end)
end)

describe("base64url", function()
  -- RFC 4648, section 10, without the padding
  local vectors = {
    [""] = "", f = "Zg", fo = "Zm8", foo = "Zm9v", foob = "Zm9vYg", fooba = "Zm9vYmE", foobar = "Zm9vYmFy",
    ["\xff\xef\xfe"] = "_-_-", ["\0\0"] = "AAA",
  }
  for data, text in pairs(vectors) do
    it(("knows %q"):format(text), function()
      assert.equal(text, core.base64url_encode(data))
      assert.equal(data, core.base64url_decode(text))
    end)
  end

  it("comes back the same for every length and byte", function()
    local bytes = {}
    for i = 0, 299 do
      local data = table.concat(bytes)
      assert.equal(data, core.base64url_decode(core.base64url_encode(data)))
      bytes[#bytes + 1] = string.char(i * 7 % 256)
    end
  end)

  local bad = {
    ["one character too many"] = "Zm9vY", ["padding"] = "Zg==", ["the other alphabet"] = "+/+/",
    ["white space"] = "Zm9v\n", ["a zero byte"] = "Zm9v\0AAA", ["bits left over after one byte"] = "Zh",
    ["bits left over after two bytes"] = "Zm9", ["bytes past ASCII"] = "Zm\xd0\xb0",
  }
  for what, text in pairs(bad) do
    it("refuses " .. what, function() assert.is_nil(core.base64url_decode(text)) end)
  end
end)

describe("equal", function()
  it("compares byte by byte", function()
    assert.is_true(core.equal("", ""))
    assert.is_true(core.equal("a\0b", "a\0b"))
    assert.is_false(core.equal("a\0b", "a\0c"))
    assert.is_false(core.equal("xbc", "abc"))
    assert.is_false(core.equal("abc", "ab"))
    assert.is_false(core.equal("", "a"))
  end)

  it("refuses what is not a string", function()
    assert.has_error(function() core.equal("a") end)
    assert.has_error(function() core.equal(nil, "a") end)
  end)
end)
