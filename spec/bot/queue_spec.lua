-- SPDX-License-Identifier: MIT

local queue = require "trueconf.bot.queue"
local Error = require "trueconf.base.error"

local function message(id)
  return { id = id }
end

describe("queue", function()
  local q

  before_each(function() q = queue.new { limit = 3, max_waiting = 5 } end)

  local function enqueue(chat, ...)
    for _, id in ipairs { ... } do assert.equal("queued", (q:enqueue(chat, id, message(id)))) end
  end

  -- Claim, check the order, acknowledge.
  local function handle(chat, ...)
    for _, id in ipairs { ... } do
      local item = q:claim(chat)
      assert.equal(id, item and item.id)
      assert.is_true(q:ack(chat, item))
    end
  end

  local function empty()
    assert.same({ 0, 0, 0 }, { q:counts() })
    assert.is_nil(next(q.chats))
    assert.is_nil(next(q.pending))
    assert.is_nil(next(q.released))
  end

  it("hands out the messages of a chat in order", function()
    enqueue("a", "1", "2", "3")
    handle("a", "1", "2", "3")
    assert.is_nil(q:claim("a"))
    empty()
  end)

  it("shows what is next without handing it out", function()
    assert.is_nil(q:peek("a"))
    enqueue("a", "1", "2")
    assert.equal("1", q:peek("a").id)
    assert.equal("1", q:peek("a").id)
    local first = q:claim("a")
    assert.is_nil(q:peek("a"))
    q:ack("a", first)
    assert.equal("2", q:peek("a").id)
    handle("a", "2")
    empty()
  end)

  it("remembers and takes so many, unless told otherwise", function()
    local usual = queue.new()
    assert.same({ 10000, 10000 }, { usual.limit, usual.max_waiting })
  end)

  it("keeps the records of so many chats for the next ones, and none that has grown", function()
    q = queue.new()
    for n = 1, 65 do enqueue("chat" .. n, "m" .. n) end
    for n = 1, 65 do handle("chat" .. n, "m" .. n) end
    assert.equal(64, q.spares)
    enqueue("a", "x")
    assert.same({ 63, 63 }, { q.spares, #q.spare })
    handle("a", "x")
    local function fill(count)
      enqueue("a", "first")
      local first = q:claim "a"
      for n = 1, count do enqueue("a", "more" .. n) end
      q:ack("a", first)
      for n = 1, count do handle("a", "more" .. n) end
    end
    fill(32)                            -- 64 places
    assert.equal(64, q.spares)
    q.handled = {}
    fill(33)
    assert.equal(63, q.spares)
    empty()
  end)

  it("has nothing to claim in a chat it does not know", function()
    assert.is_nil(q:claim("nobody"))
    empty()
  end)

  it("lets one message of a chat be claimed at a time", function()
    enqueue("a", "1", "2")
    local first = q:claim("a")
    assert.is_nil(q:claim("a"))
    assert.same({ 1, 1, 0 }, { q:counts() })
    q:ack("a", first)
    assert.equal("2", q:claim("a").id)
  end)

  it("tells in which chats messages wait", function()
    enqueue("a", "1", "2")
    enqueue("b", "3")
    q:claim "b"
    assert.same({ "a" }, q:lanes())
    handle("a", "1", "2")
    assert.same({}, q:lanes())
  end)

  it("keeps chats beside each other", function()
    enqueue("a", "1", "2")
    enqueue("b", "3")
    local a, b = q:claim("a"), q:claim("b")
    assert.equal("1", a.id)
    assert.equal("3", b.id)
    assert.is_true(q:ack("b", b))
    assert.is_nil(q:claim("a"))
    assert.is_true(q:ack("a", a))
    handle("a", "2")
    empty()
  end)

  it("knows a message that is waiting, claimed or released, and returns it", function()
    enqueue("a", "1")
    local function duplicate() return table.pack(q:enqueue("a", "1", message "again")) end
    local waiting = duplicate()
    local claimed_item = q:claim("a")
    local claimed = duplicate()
    q:release("a", claimed_item)
    local released = duplicate()
    for _, answer in ipairs { waiting, claimed, released } do
      assert.equal("duplicate", answer[1])
      assert.equal(claimed_item, answer[2])
    end
    q:ack("a", claimed_item)
    assert.equal("handled", (q:enqueue("a", "1", message "again")))
    empty()
  end)

  it("tells of what it remembers, and is told what was handled before", function()
    local told = {}
    q = queue.new { limit = 2, on_remember = function(...) told[#told + 1] = { ... } end }
    assert.is_nil(q:remember "x")
    assert.equal("handled", (q:enqueue("a", "x", {})))
    for _, id in ipairs { "y", "z", 7 } do
      local item = {}
      q:enqueue("a", id, item)
      q:claim "a"
      q:ack("a", item)
    end
    assert.same({ { "y" }, { "z", "x" } }, told)
    assert.equal("queued", (q:enqueue("a", 7, {})))
    assert.equal("handled", (q:enqueue("a", "z", {})))
  end)

  it("remembers as many handled ids as it is told, the newest", function()
    for _, id in ipairs { "1", "2", "3", "4", "5" } do
      enqueue("a", id)
      handle("a", id)
    end
    for _, id in ipairs { "3", "4", "5" } do assert.equal("handled", (q:enqueue("a", id, message(id)))) end
    assert.equal("queued", (q:enqueue("a", "1", message "1")))
    assert.equal("queued", (q:enqueue("a", "2", message "2")))
    handle("a", "1")
    assert.equal("queued", (q:enqueue("a", "3", message "3")))
    assert.equal("handled", (q:enqueue("a", "4", message "4")))
    local handled = 0
    for _ in pairs(q.handled) do handled = handled + 1 end
    assert.equal(3, handled)
    assert.equal(3, #q.ring)
  end)

  it("refuses more than may wait, in all chats together", function()
    enqueue("a", "1", "2", "3")
    enqueue("b", "4", "5")
    local what, err = q:enqueue("c", "6", message "6")
    assert.is_nil(what)
    assert.is_true(Error.is(err))
    assert.equal("LIMIT", err.name)
    assert.is_nil(q.chats.c)
    assert.equal("duplicate", (q:enqueue("a", "1", message "1")))
    local item = q:claim("a")
    assert.equal("queued", (q:enqueue("c", "6", message "6")))
    q:ack("a", item)
  end)

  it("goes on with the chat while a released message is handled", function()
    enqueue("a", "1", "2")
    local first = q:claim("a")
    assert.is_true(q:release("a", first))
    assert.same({ 1, 0, 1 }, { q:counts() })
    handle("a", "2")
    assert.same({ 0, 0, 1 }, { q:counts() })
    assert.is_true(q:ack("a", first))
    assert.equal("handled", (q:enqueue("a", "1", first)))
    empty()
  end)

  it("ignores an ack or a release of what is not held", function()
    enqueue("a", "1", "2")
    enqueue("b", "3")
    local a, b = q:claim("a"), q:claim("b")
    assert.is_false(q:ack("a", b))
    assert.is_false(q:ack("nobody", a))
    assert.is_false(q:ack("a", message "1"))
    assert.is_false(q:release("a", b))
    assert.is_false(q:release("nobody", a))
    assert.is_true(q:release("b", b))
    assert.is_false(q:release("b", b))
    assert.is_false(q:ack("a", b))
    assert.is_true(q:ack("a", a))
    assert.is_false(q:ack("a", a))
    assert.is_false(q:release("a", nil))
    assert.same({ 1, 0, 1 }, { q:counts() })
  end)

  describe("reap", function()
    it("puts back what was claimed or released, in its old order", function()
      enqueue("a", "1", "2", "3", "4")
      enqueue("b", "5")
      q:release("a", q:claim "a")
      q:release("a", q:claim "a")
      local lost = q:claim("a")
      q:claim("b")
      assert.equal(4, q:reap())
      assert.same({ 5, 0, 0 }, { q:counts() })
      assert.is_false(q:ack("a", lost))
      assert.equal("duplicate", (q:enqueue("a", "3", message "3")))
      handle("a", "1", "2", "3", "4")
      handle("b", "5")
      empty()
    end)

    it("leaves what a living handler holds", function()
      enqueue("a", "1", "2")
      enqueue("b", "3")
      local released = q:claim "a"
      q:release("a", released)
      local a, b = q:claim "a", q:claim "b"
      local asked = {}
      assert.equal(1, q:reap(function(item, chat)
        asked[item.id] = chat
        return item ~= a
      end))
      assert.same({ ["1"] = "a", ["2"] = "a", ["3"] = "b" }, asked)
      assert.is_true(q:ack("a", released))
      assert.is_true(q:ack("b", b))
      handle("a", "2")
      empty()
    end)

    it("has nothing to do when nothing is held", function()
      assert.equal(0, q:reap())
      enqueue("a", "1")
      assert.equal(0, q:reap())
      handle("a", "1")
      empty()
    end)
  end)

  it("keeps its promises under a long random use", function()
    math.randomseed(7)
    q = queue.new { limit = 100000, max_waiting = 50 }
    local expected, held, released = {}, {}, {}
    local chats, sent, acked = { "a", "b", "c" }, 0, 0
    local function settle(list, chat, place)
      local item = table.remove(list[chat], place)
      assert.is_true(q:ack(chat, item))
      acked = acked + 1
    end
    for _, chat in ipairs(chats) do expected[chat], held[chat], released[chat] = {}, {}, {} end
    for _ = 1, 20000 do
      local chat, dice = chats[math.random(3)], math.random(10)
      if dice <= 4 then
        local id = tostring(sent + 1)
        if q:enqueue(chat, id, message(id)) then
          sent = sent + 1
          table.insert(expected[chat], id)
        end
      elseif dice <= 7 then
        local item = q:claim(chat)
        if #held[chat] > 0 or #expected[chat] == 0 then
          assert.is_nil(item)
        else
          assert.equal(table.remove(expected[chat], 1), item.id)
          table.insert(held[chat], item)
        end
      elseif dice == 8 and #released[chat] > 0 then
        settle(released, chat, math.random(#released[chat]))
      elseif #held[chat] > 0 then
        if dice == 9 then
          table.insert(released[chat], table.remove(held[chat]))
          assert.is_true(q:release(chat, released[chat][#released[chat]]))
        else
          settle(held, chat)
        end
      end
    end
    q:reap()
    for _, chat in ipairs(chats) do
      for item in function() return q:claim(chat) end do
        q:ack(chat, item)
        acked = acked + 1
      end
    end
    assert.equal(sent, acked)
    empty()
  end)

  it("leaves no memory behind for idle chats", function()
    q = queue.new { limit = 10 }
    local function round(from)
      for i = from, from + 999 do
        enqueue("chat " .. i, "id " .. i)
        handle("chat " .. i, "id " .. i)
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    round(0)
    local before = round(1000)
    for i = 2, 9 do round(i * 1000) end
    assert.is_true(round(10000) - before < 8)
    assert.is_true(#q.spare <= 64)
  end)

  it("does not keep the record of a chat that was flooded", function()
    q = queue.new()
    enqueue("small", "0")
    handle("small", "0")
    assert.equal(1, #q.spare)
    for i = 1, 1000 do enqueue("flooded", tostring(i)) end
    assert.equal(0, #q.spare)
    for i = 1, 1000 do handle("flooded", tostring(i)) end
    assert.equal(0, #q.spare)
    empty()
  end)
end)
