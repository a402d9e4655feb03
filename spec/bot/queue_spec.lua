-- SPDX-License-Identifier: MIT

local queues = require "trueconf.bot.queue"
local stores = require "trueconf.store"
local describe_queue = require "spec.support.queue_cases"
local system = require "spec.support.system"

describe("the queue in process, with a store in memory,", function()
  describe_queue(it, function(options, given)
    local store, queue = given or stores.memory(), queues.new(options)
    queue:use(store, true)
    return queue, store
  end)
end)

describe("the queue in process, with a store in a file,", function()
  local directory, opened

  after_each(function()
    opened:close()
    directory:__close()
  end)

  describe_queue(it, function(options, given)
    local queue = queues.new(options)
    if not given then
      directory = system.directory()
      opened = assert(stores.open(directory:file "bot.db"))
    end
    queue:use(given or opened, true)
    return queue, given or opened
  end)
end)

describe("the queue in process", function()
  local queue

  before_each(function() queue = queues.new { limit = 3, max_waiting = 5000 } end)

  local function take(key, id)
    assert.equal("queued", queue:take({ { key = key, id = id, payload = {}, tries = 0 } })[1])
  end

  local function handle(id)
    local claim = queue:claim(1)[1]
    assert.equal(id, claim.id)
    assert.is_true(queue:settle(claim))
  end

  it("remembers and takes so many, unless told otherwise", function()
    local usual = queues.new()
    assert.same({ 10000, 10000 }, { usual.limit, usual.max_waiting })
  end)

  it("keeps nothing of idle keys but some records", function()
    take("a", "1")
    handle "1"
    for _, kept in ipairs { "keys", "pending", "released" } do assert.is_nil(next(queue[kept])) end
    assert.equal(0, queue.ready:count())
    local function round(from)
      for n = from, from + 999 do
        take("key " .. n, "id " .. n)
        handle("id " .. n)
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    round(0)
    local before = round(1000)
    for n = 2, 9 do round(n * 1000) end
    assert.is_true(round(10000) - before < 8)
    assert.is_true(#queue.spare <= 64)
  end)

  it("keeps the records of so many keys for the next ones, and none that has grown", function()
    for n = 1, 65 do take("key" .. n, "m" .. n) end
    for n = 1, 65 do handle("m" .. n) end
    assert.equal(64, queue.spares)
    take("a", "x")
    assert.same({ 63, 63 }, { queue.spares, #queue.spare })
    handle "x"
    local function fill(count)
      take("a", "first")
      local first = queue:claim(1)[1]
      for n = 1, count do take("a", "more" .. n) end
      queue:settle(first)
      for n = 1, count do handle("more" .. n) end
    end
    fill(64)
    assert.equal(64, queue.spares)
    queue.handled = {}
    fill(65)
    assert.equal(63, queue.spares)
  end)
end)
