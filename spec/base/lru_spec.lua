-- SPDX-License-Identifier: MIT
-- A table with a limit: what stays, what goes.

local lru = require "trueconf.base.lru"

-- How many of these keys are there.
local function count(map, first, last)
  local found = 0
  for key = first, last do
    if map:get(key) ~= nil then found = found + 1 end
  end
  return found
end

describe("a bounded table", function()
  it("keeps what is put into it, and what is put over it", function()
    local map = lru.new(10)
    map:put("a", 1)
    map:put("b", false)
    map:put("a", 2)
    assert.equal(2, map:get "a")
    assert.is_false(map:get "b")
    assert.is_nil(map:get "c")
  end)

  it("never holds more than its limit, and the newest half at least", function()
    local map = lru.new(10)
    for key = 1, 1000 do
      map:put(key, key)
      assert.equal(math.min(key, 5), count(map, math.max(1, key - 4), key))
    end
    assert.is_true(count(map, 1, 1000) <= 10)
  end)

  it("keeps what is asked for again and again", function()
    local map = lru.new(10)
    map:put("dear", 1)
    for key = 1, 1000 do
      map:put(key, key)
      assert.equal(1, map:get "dear")
    end
  end)

  it("forgets what is removed, in either generation", function()
    local map = lru.new(4)
    for key = 1, 3 do map:put(key, key) end
    for key = 1, 3 do map:remove(key) end
    map:remove "never there"
    assert.equal(0, count(map, 1, 3))
    for key = 1, 2 do map:put(key, key) end
    assert.equal(2, count(map, 1, 2))
    map:clear()
    assert.equal(0, count(map, 1, 2))
  end)
end)
