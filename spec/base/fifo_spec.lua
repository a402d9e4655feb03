-- SPDX-License-Identifier: MIT
-- The queue of lua/trueconf/base/fifo.lua, and the pauses of backoff.lua.

local backoff = require "trueconf.base.backoff"
local fifo = require "trueconf.base.fifo"

describe("a queue", function()
  it("gives back what came first, and holds nothing it has given back", function()
    local queue = fifo.new()
    assert.is_nil(queue:pop())
    assert.is_nil(queue:peek())
    for n = 1, 1000 do
      queue:push(n)
      queue:push(-n)
      if n % 2 == 0 then assert.equal(queue:peek(), queue:pop()) end
    end
    assert.equal(1500, queue:count())
    for _ = 1, 1500 do assert.is_truthy(queue:pop()) end
    assert.equal(0, queue:count())
    assert.is_nil(queue:pop())
    for key in pairs(queue) do assert.is_nil(math.tointeger(key)) end
    queue:push "again"
    assert.equal("again", queue:pop())
  end)

  it("with a limit drops the oldest, and tells which", function()
    local queue = fifo.new(3)
    for n = 1, 3 do assert.is_nil(queue:push(n)) end
    assert.equal(1, queue:push(4))
    assert.equal(2, queue:push(5))
    assert.equal(3, queue:count())
    assert.equal(3, queue:pop())
    assert.is_nil(queue:push(6))
    assert.same({ 4, 5, 6 }, { queue:pop(), queue:pop(), queue:pop() })
  end)
end)

describe("backoff", function()
  it("doubles up to its limit, however often it is tried", function()
    local pauses = {}
    for tries = 1, 6 do pauses[tries] = backoff.pause(tries, 0.5, 8) end
    assert.same({ 0.5, 1.0, 2.0, 4.0, 8.0, 8 }, pauses)
    assert.equal(60, backoff.pause(100000, 1, 60))
  end)

  it("is spread by a quarter to both sides", function()
    local least, most = math.huge, 0
    for _ = 1, 2000 do
      local pause = backoff.jittered(8)
      least, most = math.min(least, pause), math.max(most, pause)
    end
    assert.is_true(least >= 6 and least < 6.5, least)
    assert.is_true(most > 9.5 and most < 10, most)
  end)
end)
