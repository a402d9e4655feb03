-- SPDX-License-Identifier: MIT
-- The promises of a bot's queue, by its verbs alone: the same cases for each engine of it.

local assert = require "luassert"
local core = require "trueconf.core"
local helper = require "spec.support.helper"

local LIMIT = 5                         -- seconds; generous

-- A queue in the hand of a spec: items by their ids.
---@class trueconf.spec.QueueHand
---@field queue trueconf.Queue
local Hand = {}
Hand.__index = Hand

local function copy(list)
  return table.move(list, 1, #list, 1, {})
end

---Take items of a key in.
---@return trueconf.Outcome[]
function Hand:take(key, ...)
  local batch = {}
  for index, id in ipairs { ... } do
    batch[index] = { key = key, id = id, payload = { text = "text " .. id }, tries = 0 }
  end
  return table.move(self.queue:take(batch), 1, #batch, 1, {})
end

---@return trueconf.Item[]
function Hand:claims(n, urgent)
  return copy(self.queue:claim(n, urgent))
end

---@return trueconf.Item? claim
function Hand:claim(expected)
  local claim = self.queue:claim(1)[1]
  assert.equal(expected, claim and claim.id)
  return claim
end

---Claim one after the other and settle them.
function Hand:handle(...)
  for _, id in ipairs { ... } do assert.is_true(self.queue:settle(self:claim(id))) end
end

function Hand:expect(waiting, claimed, released)
  assert.same({ waiting, claimed, released }, { self.queue:counts() })
end

function Hand:expect_empty()
  assert.same({}, self:claims(100))
  self:expect(0, 0, 0)
end

local function ids(claims)
  local list = {}
  for index, claim in ipairs(claims) do list[index] = claim.id end
  return list
end

---@param it fun(name: string, body: fun()) busted's, which required modules do not see
---@param make fun(options: trueconf.QueueOptions?, store: trueconf.Store?): trueconf.Queue, trueconf.Store
return function(it, make)
  local queue, store, hand

  -- A case on an empty queue.
  local function case(name, body, options)
    it(name, helper.async(function()
      queue, store = make(options or { limit = 3, max_waiting = 5 })
      hand = setmetatable({ queue = queue }, Hand)
      body()
    end))
  end

  case("hands out the items of a key in order", function()
    assert.same({ "queued", "queued", "queued" }, hand:take("a", "1", "2", "3"))
    hand:handle("1", "2", "3")
    hand:expect_empty()
  end)

  case("hands an item out as it was taken in", function()
    queue:take { { key = "a", id = "1", chat_id = "a", method = "command", payload = { n = { 1, 2 } }, tries = 2 } }
    local claim = hand:claim "1"
    assert.same({ "a", "a", "command", { n = { 1, 2 } }, 2 },
      { claim.key, claim.chat_id, claim.method, claim.payload, claim.tries })
    queue:settle(claim)
  end)

  case("lets one item of a key be claimed at a time, and those of other keys beside it", function()
    hand:take("a", "1", "2")
    hand:take("b", "3")
    local claims = hand:claims(10)
    assert.same({ "1", "3" }, ids(claims))
    hand:expect(1, 2, 0)
    assert.same({}, hand:claims(10))
    assert.is_true(queue:settle(claims[2]))
    assert.same({}, hand:claims(10))
    assert.is_true(queue:settle(claims[1]))
    hand:handle "2"
    hand:expect_empty()
  end)

  case("hands out no more than asked for, the longest ready first", function()
    for _, key in ipairs { "a", "b", "c", "d" } do hand:take(key, key) end
    assert.same({}, hand:claims(0))
    assert.same({ "a", "b" }, ids(hand:claims(2)))
    assert.same({ "c", "d" }, ids(hand:claims(5)))
  end)

  local function is_marked(item) return item.payload.text:find "!" ~= nil end

  case("hands out urgent items before the others, and so many beyond that", function()
    queue.is_urgent = is_marked
    hand:take("a", "1", "2!")
    hand:take("b", "3")
    hand:take("c", "4!")
    hand:take("d", "5!")
    assert.same({}, hand:claims(0))
    assert.same({ "5!" }, ids(hand:claims(0, 1)))
    assert.same({ "4!" }, ids(hand:claims(0, 2)))
    local first = hand:claim "1"
    assert.same({}, hand:claims(0, 1))
    queue:settle(first)
    assert.same({ "2!" }, ids(hand:claims(1, 1)))
    assert.same({ "3" }, ids(hand:claims(1, 1)))
  end)

  case("hands out no more than asked for, also when urgent items and others are ready", function()
    queue.is_urgent = is_marked
    hand:take("a", "1!")
    hand:take("b", "2!")
    hand:take("c", "3")
    assert.same({ "2!" }, ids(hand:claims(1)))
    assert.same({ "1!", "3" }, ids(hand:claims(2)))
    hand:expect(0, 3, 0)
  end)

  case("hands out what is urgent no longer in its turn", function()
    queue.is_urgent = is_marked
    hand:take("a", "1")
    hand:take("b", "2!")
    hand:take("c", "3!")
    queue.is_urgent = function(item) return item.id == "2!" end
    assert.same({ "2!" }, ids(hand:claims(0, 5)))
    queue.is_urgent = function() return false end
    assert.same({}, hand:claims(0, 5))
    assert.same({ "1", "3!" }, ids(hand:claims(5)))
    hand:expect(0, 3, 0)
  end)

  case("hands out what cannot be said to be urgent in its turn", function()
    queue.is_urgent = function() error "not enough memory" end
    hand:take("a", "1", "2")
    assert.same({}, hand:claims(0, 1))
    hand:handle("1", "2")
    hand:expect_empty()
  end)

  case("knows an item that waits, is claimed, put off or released, and one that was settled", function()
    local function again() return hand:take("a", "1")[1] end
    hand:take("a", "1")
    assert.equal("duplicate", again())
    local claim = hand:claim "1"
    assert.equal("duplicate", again())
    queue:later(claim, math.huge)
    assert.equal("duplicate", again())
    queue:hurry()
    claim = hand:claim "1"
    queue:release(claim)
    assert.equal("duplicate", again())
    queue:settle(claim)
    assert.equal("handled", again())
    hand:expect_empty()
  end)

  case("says of each item of a batch what becomes of it", function()
    assert.same({ "queued", "queued", "duplicate", "queued" }, hand:take("a", "1", "2", "1", "3"))
    assert.same({ "queued", "queued", "full", "duplicate" }, hand:take("b", "4", "5", "6", "1"))
    hand:expect(5, 0, 0)
    hand:claim "1"
    assert.same({ "queued" }, hand:take("c", "6"))
  end)

  case("remembers the newest settled ids, and no numbers", function()
    for id = 1, 5 do
      hand:take("a", tostring(id))
      hand:handle(tostring(id))
    end
    assert.same({ "handled", "handled", "handled" }, hand:take("a", "3", "4", "5"))
    assert.same({ "queued", "queued" }, hand:take("a", "1", "2"))
    hand:handle "1"
    assert.same({ "queued", "handled" }, hand:take("a", "3", "4"))
    hand:handle("2", "3")
    hand:take("a", 7)
    hand:handle(7)
    assert.same({ "queued" }, hand:take("a", 7))
  end)

  case("does nothing with what is not claimed", function()
    hand:take("a", "1", "2")
    hand:take("b", "3")
    local a, b = table.unpack(hand:claims(2))
    assert.is_false(queue:settle { key = "a", id = "1", payload = {}, tries = 0 })
    assert.is_true(queue:settle(b))
    for _, verb in ipairs { "settle", "release", "later" } do assert.is_false(queue[verb](queue, b, 0)) end
    assert.is_true(queue:release(a))
    assert.is_false(queue:release(a))
    assert.is_false(queue:later(a, 0))
    assert.is_true(queue:settle(a))
    assert.is_false(queue:settle(a))
    hand:handle "2"
    hand:expect_empty()
  end)

  case("settle writes the effects of a handler with the id, or nothing", function()
    hand:take("a", "1")
    local claim = hand:claim "1"
    store:put("sessions", "old", { n = 1 })
    local effects = {
      { collection = "sessions", id = "user mira", value = { n = 2 } }, { collection = "sessions", id = "old" },
      { collection = "dead_letters", id = "1", value = { error = "oh" }, keep = 1 },
    }
    store:put("dead_letters", "0", {})
    assert.is_true(queue:settle(claim, effects))
    assert.same({ n = 2 }, store:get("sessions", "user mira"))
    assert.is_nil(store:get("sessions", "old"))
    assert.same({ { id = "1", value = { error = "oh" } } }, store:list "dead_letters")
    assert.equal("1", store:list("handled")[1].id)
    assert.is_false(queue:settle(claim, { { collection = "sessions", id = "late", value = {} } }))
    assert.is_nil(store:get("sessions", "late"))
  end)

  case("settle may hold the key for a handler that goes on, until it is released", function()
    hand:take("a", "1", "2")
    local claim = hand:claim "1"
    assert.is_true(queue:settle(claim, nil, true))
    assert.equal("handled", hand:take("a", "1")[1])
    assert.same({}, hand:claims(10))
    assert.is_false(queue:settle(claim))
    assert.is_true(queue:release(claim))
    hand:handle "2"
    hand:expect_empty()
  end)

  case("goes on with the key of a released claim", function()
    hand:take("a", "1", "2")
    local claim = hand:claim "1"
    assert.is_true(queue:release(claim))
    hand:expect(1, 0, 1)
    hand:handle "2"
    assert.is_true(queue:settle(claim))
    hand:expect_empty()
  end)

  case("later hands the item out again before those that came after it, when it is due", function()
    local due = core.waiter()
    queue.on_ready = function() due:wake(true) end
    hand:take("a", "1", "2")
    hand:take("b", "3")
    local claim = hand:claim "1"
    claim.tries = 1
    assert.is_true(queue:later(claim, 0.05))
    hand:expect(3, 0, 0)
    hand:handle "3"
    assert.same({}, hand:claims(10))
    assert(due:wait(LIMIT))
    claim = hand:claim "1"
    assert.equal(1, claim.tries)
    queue:settle(claim)
    hand:handle "2"
    hand:expect_empty()
  end)

  case("later keeps the order of what comes meanwhile", function()
    hand:take("a", "1")
    queue:later(hand:claim "1", math.huge)
    hand:take("a", "2")
    assert.same({}, hand:claims(10))
    queue:hurry()
    hand:handle("1", "2")
    hand:expect_empty()
  end)

  case("later ends with hurry, whenever it was due", function()
    for _, key in ipairs { "a", "b" } do hand:take(key, key) end
    local claims = hand:claims(2)
    queue:later(claims[1], 3600)
    queue:later(claims[2], math.huge)
    queue:hurry()
    queue:hurry()
    claims = hand:claims(5)
    table.sort(claims, function(a, b) return a.id < b.id end)
    assert.same({ "a", "b" }, ids(claims))
  end)

  case("reap puts back what was claimed or released, in its old order", function()
    hand:take("a", "1", "2", "3")
    hand:take("b", "5")
    queue:release(hand:claim "1")
    hand:handle "5"
    queue:release(hand:claim "2")
    local lost = hand:claim "3"
    assert.equal(3, queue:reap())
    hand:expect(3, 0, 0)
    assert.is_false(queue:settle { key = "a", id = "3", payload = {}, tries = 0 })
    assert.equal("duplicate", hand:take("a", lost.id)[1])
    hand:handle("1", "2", "3")
    hand:expect_empty()
  end)

  case("reap leaves what a living handler holds", function()
    hand:take("a", "1", "2")
    hand:take("b", "3")
    local released = hand:claim "1"
    queue:release(released)
    local b, a = table.unpack(hand:claims(2))
    local asked = {}
    assert.equal(1, queue:reap(function(claim)
      asked[claim.id] = true
      return claim ~= a
    end))
    assert.same({ ["1"] = true, ["2"] = true, ["3"] = true }, asked)
    assert.is_true(queue:settle(released))
    assert.is_true(queue:settle(b))
    hand:handle "2"
    hand:expect_empty()
  end)

  case("reap puts back what was released before the claim of a living handler, and into an idle key", function()
    hand:take("a", "1", "2")
    hand:take("b", "3")
    local a, b = table.unpack(hand:claims(2))
    queue:release(a)
    queue:release(b)
    local living = hand:claim "2"
    assert.equal(2, queue:reap(function(claim) return claim == living end))
    hand:handle "3"
    assert.same({}, hand:claims(10))
    queue:settle(living)
    hand:handle "1"
    hand:expect_empty()
  end)

  case("reap waits with what is put off, and forgets what was settled", function()
    hand:take("a", "1", "2")
    local claim = hand:claim "1"
    queue:release(claim)
    queue:later(hand:claim "2", math.huge)
    hand:take("b", "3")
    queue:settle(hand:claim "3", nil, true)
    assert.equal(2, queue:reap())
    assert.same({}, hand:claims(10))
    queue:hurry()
    hand:handle("1", "2")
    hand:expect_empty()
  end)

  case("knows what was settled before it began", function()
    hand:take("a", "1", "2", "3")
    hand:handle("1", "2", "3")
    hand:take("a", "4")
    hand:handle "4"
    queue:use(nil, false)
    local next_queue = make({ limit = 2 }, store)
    assert.same({ "queued", "queued", "handled", "handled" },
      copy(next_queue:take {
        { key = "a", id = "1", payload = {}, tries = 0 }, { key = "a", id = "2", payload = {}, tries = 0 },
        { key = "a", id = "3", payload = {}, tries = 0 }, { key = "a", id = "4", payload = {}, tries = 0 },
      }))
  end)

  case("knows what was settled when its store is used again", function()
    local function is_known(...)
      for _, outcome in ipairs(hand:take("a", ...)) do assert.equal("handled", outcome) end
    end
    hand:take("a", "1", "2", "3", "4")
    hand:handle("1", "2", "3", "4")
    for _ = 1, 3 do
      queue:use(nil, false)
      queue:use(store, true)
      is_known("1", "2", "3", "4")
    end
    hand:take("a", "5", "6")
    hand:handle("5", "6")
    is_known("2", "3", "4", "5", "6")
    assert.same({ "queued" }, hand:take("a", "1"))
  end, { limit = 5, max_waiting = 5 })

  case("keeps its promises under a long random use", function()
    math.randomseed(7)
    local keys, sent, expected, held = { "a", "b", "c" }, 0, { a = {}, b = {}, c = {} }, {}
    local state = {}                    -- of a key: the id that is claimed, or "put off"
    local released = {}
    local function drop(list, place) return table.remove(list, place or math.random(#list)) end
    for _ = 1, 20000 do
      local dice = math.random(12)
      local claim = dice > 7 and held[1] and drop(held)
      if dice <= 4 then
        local key, id = keys[math.random(3)], tostring(sent + 1)
        if hand:take(key, id)[1] == "queued" then
          sent = sent + 1
          table.insert(expected[key], id)
        end
      elseif dice <= 7 then
        for _, new in ipairs(hand:claims(math.random(0, 2))) do
          assert.is_nil(state[new.key])
          assert.equal(table.remove(expected[new.key], 1), new.id)
          state[new.key] = new.id
          held[#held + 1] = new
        end
      elseif claim then
        state[claim.key] = nil
        if dice <= 9 then assert.is_true(queue:settle(claim))
        elseif dice == 10 then
          assert.is_true(queue:release(claim))
          released[#released + 1] = claim
        elseif dice == 11 then
          assert.is_true(queue:later(claim, math.huge))
          table.insert(expected[claim.key], 1, claim.id)
          state[claim.key] = "put off"
        else
          assert.equal(1, queue:reap(function(other) return other ~= claim end))
          table.insert(expected[claim.key], 1, claim.id)
        end
      elseif released[1] then
        assert.is_true(queue:settle(drop(released)))
      else
        queue:hurry()
        for key, what in pairs(state) do
          if what == "put off" then state[key] = nil end
        end
      end
    end
    queue:reap()
    queue:hurry()
    repeat
      local claims = hand:claims(10)
      for _, claim in ipairs(claims) do assert.is_true(queue:settle(claim)) end
    until not claims[1]
    hand:expect_empty()
    for id = 1, sent do assert.equal("handled", hand:take("a", tostring(id))[1]) end
  end, { limit = 100000, max_waiting = 50 })
end
