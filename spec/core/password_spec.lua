-- SPDX-License-Identifier: MIT
-- Passwords as crypt(3) keeps them: csrc/system/password.c, on the threads of csrc/loop/offload.c.

local core = require "trueconf.core"
local helper = require "spec.support.helper"

local async = helper.async
local CHEAP = 1
-- Long enough for time to move meanwhile; under valgrind a cheap one is, and the clock waits 0.2 s at most.
local SLOW = (os.getenv "WRAP" or "") == "" and 6 or 2

describe("crypt_hash", function()
  it("gives a salted yescrypt hash, another one each time", async(function()
    local first, second = core.crypt_hash("4711", CHEAP), core.crypt_hash("4711", CHEAP)
    assert.matches("^%$y%$j75%$[./%w]+%$[./%w]+$", first)
    assert.not_equal(first, second)
    assert.is_nil(first:find("4711", 1, true))
  end))

  it("costs more when told so, and by default what libcrypt means", async(function()
    assert.matches("^%$y%$j85%$", core.crypt_hash("4711", 2))
    assert.matches("^%$y%$j9T%$", core.crypt_hash("4711"))
  end))

  it("waits outside of a coroutine too", function()
    assert.is_true(core.crypt_verify("4711", core.crypt_hash("4711", CHEAP)))
  end)

  it("refuses a password that crypt(3) would cut", async(function()
    for _, password in ipairs { ("x"):rep(512), "47\0" .. "11" } do
      local hash, err = core.crypt_hash(password, CHEAP)
      assert.is_nil(hash)
      assert.equal("LIMIT", err.name)
    end
    local longest = ("x"):rep(511)
    assert.is_true(core.crypt_verify(longest, core.crypt_hash(longest, CHEAP)))
  end))

  it("refuses misuse", function()
    assert.error_matches(function() core.crypt_hash("x", 12) end, "a cost from 1 to 11 expected")
    assert.error_matches(function() core.crypt_hash("x", 0) end, "a cost from 1 to 11 expected")
    assert.has_error(function() core.crypt_hash() end)
    assert.error_matches(function() core.crypt_verify("x", ("x"):rep(400)) end, "not a hash")
  end)
end)

describe("crypt_verify", function()
  it("tells the right password from others", async(function()
    local hash = core.crypt_hash("пароль", CHEAP)
    assert.is_true(core.crypt_verify("пароль", hash))
    for _, other in ipairs { "", "парол", "пароль ", "Пароль", "пароль\0", "пароль\0x", ("x"):rep(600), hash } do
      assert.is_false(core.crypt_verify(other, hash))
    end
  end))

  it("knows hashes that another program made", async(function()
    local mkpasswd = "$y$j75$k2XAnEHBqQ1Ct2aMXFKN..$rniWxOMLLJomrPmHJSWG2zxIxf3F8svJzB9WF5K6CK5"
    assert.is_true(core.crypt_verify("4711", mkpasswd))
  end))

  it("is false for a salt and for what is no hash", async(function()
    for _, hash in ipairs { core.crypt_salt(CHEAP), "", "*0", "*1", "4711", "$y$", "$y$j75$" } do
      assert.is_false(core.crypt_verify("4711", hash), hash)
      assert.is_false(core.crypt_verify("", hash), hash)
    end
  end))

  it("leaves the loop to others meanwhile", async(function()
    local turns, over = 0, false
    core.spawn(function()
      while not over do
        turns = turns + 1
        core.sleep(0)
      end
    end)
    core.crypt_hash("4711", 6)
    over = true
    assert.is_true(turns > 3)
  end))

  it("settles with CLOSED when the runtime closes, begun or waiting for a thread", function()
    local errors, begun = {}, 0
    for index = 1, 12 do
      core.spawn(function()
        begun = begun + 1
        local _, err = core.crypt_hash("4711", 5)
        errors[index] = err and err.name or "done"
      end)
    end
    while begun < 12 do core.step() end
    core.close()
    for index = 1, 12 do assert.is_truthy(errors[index], index) end
    assert.equal("CLOSED", errors[12])
  end)

  it("survives a coroutine that is closed while it waits", async(function()
    local thread = core.spawn(function() core.crypt_hash("4711", CHEAP) end)
    while core.stats().pending < 2 do
      if coroutine.status(thread) == "dead" then return end
      core.sleep(0)
    end
    coroutine.close(thread)
    core.crypt_hash("4711", 5)
  end))

  it("holds virtual time still", function()
    core.virtual_time(true, 1788000000000, 1)
    local order = {}
    core.spawn(function()
      core.crypt_hash("4711", SLOW)
      order[#order + 1] = "hash"
    end)
    core.spawn(function()
      core.sleep(1)
      order[#order + 1] = "second"
    end)
    core.advance(2)
    core.virtual_time(false)
    core.close()
    assert.same({ "hash", "second" }, order)
  end)

  it("makes the same salt again from the same seed", function()
    local function salt()
      core.virtual_time(true, 1788000000000, 7)
      local made = core.crypt_salt(CHEAP)
      core.virtual_time(false)
      return made
    end
    assert.equal(salt(), salt())
    assert.not_equal(core.crypt_salt(CHEAP), core.crypt_salt(CHEAP))
  end)
end)
