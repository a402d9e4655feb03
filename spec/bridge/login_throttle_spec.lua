-- SPDX-License-Identifier: MIT

local core = require "trueconf.core"
local login_throttle = require "trueconf.bridge.accounts.login_throttle"
local helper = require "spec.support.helper"
local logins = require "trueconf.bridge.accounts.logins"
local support = require "spec.support.bridge"

describe("failures by key", function()
  before_each(function() core.virtual_time(true, 1788000000000, 1) end)
  after_each(function() core.virtual_time(false) end)

  it("ask for a pause from the limit on, until the time since the first one is over", function()
    local counted = login_throttle.new(2, 10)
    assert.is_nil(counted:pause "a")
    counted:add "a"
    core.advance(4)
    assert.is_nil(counted:pause "a")
    counted:add "a"
    assert.near(6, counted:pause "a", 1e-6)
    assert.is_nil(counted:pause "b")
    core.advance(6)
    assert.is_nil(counted:pause "a")
  end)

  it("count anew when the time is over", function()
    local counted = login_throttle.new(2, 10)
    counted:add "a"
    core.advance(10)
    counted:add "a"
    assert.is_nil(counted:pause "a")
    counted:add "a"
    assert.near(10, counted:pause "a", 1e-6)
  end)

  it("can be cleared, and count again", function()
    local counted = login_throttle.new(1, 10)
    counted:add "a"
    core.advance(5)
    counted:clear "a"
    assert.is_nil(counted:pause "a")
    counted:add "a"
    assert.near(10, counted:pause "a", 1e-6)
    core.advance(6)
    counted:add "b"                     -- the first entry of `a` is over by now, the second is not
    assert.near(4, counted:pause "a", 1e-6)
  end)

  it("take no more than so much memory", function()
    local counted = login_throttle.new(1, 1e6)
    for index = 1, 30000 do counted:add("k" .. index) end
    for index = 1, 30000 do
      counted:add "same"
      counted:clear "same"
      if index % 10000 == 0 then counted:add "same" end
    end
    local entries = 0
    for _ in pairs(counted.entries) do entries = entries + 1 end
    assert.is_true(entries <= 10000)
    local order = 0
    for key in pairs(counted.order) do order = order + (math.tointeger(key) and 1 or 0) end
    assert.is_true(order <= 10000)
    counted = login_throttle.new(1, 1e6)
    for index = 1, 10001 do counted:add("k" .. index) end
    assert.is_nil(counted:pause "k1")
    assert.is_truthy(counted:pause "k2")
    assert.is_truthy(counted:pause "k10001")
  end)

  it("are not counted without a limit", function()
    local counted = login_throttle.new(0, 10)
    for _ = 1, 100 do counted:add "a" end
    assert.is_nil(counted:pause "a")
    assert.is_nil(next(counted.entries))
  end)
end)

describe("checks of passwords", function()
  it("are made in turn, and a turn is not lost with who waits for it or has just got it", helper.async(function()
    local checks = logins.new(support.server().accounts, { login_failures = 9, address_failures = 9, login_window = 9 })
    local function try(behind)
      local account = checks:try("mira", "x", "192.0.2.1")
      if behind then behind() end
      return account
    end
    for _ = 1, 4 do
      local first, cancelled = core.waiter(), 0
      local waiting = {}
      local function cancel(place)
        if core.cancel(waiting[place]) then cancelled = cancelled + 1 end
      end
      -- Two are checked at once. Whichever ends first hands its turn to the second in line, which is cancelled with it.
      local ended = false
      local function behind()
        if ended then return end
        ended = true
        cancel(2)
        first:wake()
      end
      for _ = 1, 2 do core.spawn(try, behind) end
      -- All of them stand in line before the first check comes back from its thread.
      local begun = core.waiter()
      waiting[1] = core.spawn(try)
      waiting[2] = core.spawn(function()
        begun:wake()
        try()
      end)
      begun:wait(20)
      cancel(1)
      first:wait(20)
      assert.equal(2, cancelled)
    end
    for _ = 1, 3 do assert.is_truthy((try())) end
  end))
end)
