-- SPDX-License-Identifier: MIT

local unread = require "trueconf.bridge.store.unread"

local function ids(list)
  local found = {}
  for index, message in ipairs(list) do found[index] = message.id end
  return table.concat(found, " ")
end

local function filled(...)
  local set = unread.new()
  for _, id in ipairs { ... } do set:add { id = id, chat_id = "chat" } end
  return set
end

describe("the unread messages of an account", function()
  it("are listed in the order they came", function()
    assert.equal("a b c", ids(filled("a", "b", "c"):list()))
  end)

  it("lose the first, a middle and the last one", function()
    for id, left in pairs { a = "b c", b = "a c", c = "a b" } do
      local set = filled("a", "b", "c")
      assert.is_true(set:remove(id))
      assert.is_false(set:has(id))
      assert.equal(left, ids(set:list()))
      assert.equal(2, set.count)
    end
  end)

  it("can be emptied and filled again", function()
    local set = filled("a")
    set:remove "a"
    assert.equal("", ids(set:list()))
    set:add { id = "b", chat_id = "chat" }
    assert.equal("b", ids(set:list()))
  end)

  it("know what was never in", function()
    assert.is_false(filled("a"):remove "b")
    assert.is_false(filled("a"):has "b")
  end)

  it("hold a message once", function()
    local set = filled("a", "b", "a")
    assert.equal("a b", ids(set:list()))
    assert.equal(2, set.count)
  end)

  it("give the oldest ones first", function()
    assert.equal("a b", ids(filled("a", "b", "c"):list(2)))
    assert.equal("", ids(filled("a"):list(0)))
  end)

  it("tell the oldest", function()
    local set = filled("a", "b", "c")
    assert.equal("a", set:first().id)
    set:remove "a"
    assert.equal("b", set:first().id)
    assert.is_nil(unread.new():first())
  end)
end)
