-- SPDX-License-Identifier: MIT
-- The stores of a bot: one in memory and one in a file, which behave the same.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local store = require "trueconf.store"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local async = helper.async

local function ids(list)
  local found = {}
  for place, item in ipairs(list) do found[place] = item.id end
  return table.concat(found, " ")
end

for kind, open in pairs { memory = store.memory, file = function(path) return assert(store.open(path)) end } do
  describe("a store (" .. kind .. ")", function()
    local directory, kept

    before_each(function()
      directory = system.directory()
      kept = open(directory:file "bot.db")
    end)
    after_each(function()
      kept:close()
      directory:__close()
    end)

    it("gives back what was put in, by collection and id", function()
      local value = { text = "Grüße \"'", list = { 1, 2.5, true }, deep = { at = 1 << 53 } }
      kept:put("notes", "one", value)
      kept:put("others", "one", { n = 2 })
      assert.same(value, kept:get("notes", "one"))
      assert.same({ n = 2 }, kept:get("others", "one"))
      assert.is_nil(kept:get("notes", "two"))
      assert.is_nil(kept:get("none", "one"))
      assert.is_true(kept:commit())
    end)

    it("gives back numbers as they were, whole or not", function()
      local numbers = {
        1234567890123456789, math.maxinteger, math.mininteger, (1 << 53) + 1, 3.0, 2.0 ^ 53, 2.0 ^ 63, 1e15, -1e16,
        12345678901234568.0, 1796047384023, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 0.0, -0.0, 7,
      }
      kept:put("notes", "numbers", { list = numbers })
      kept:commit()
      local back = kept:get("notes", "numbers").list
      for place, number in ipairs(numbers) do
        assert.same({ number, math.type(number), 1 / number }, { back[place], math.type(back[place]), 1 / back[place] })
      end
    end)

    it("keeps copies", function()
      local value = { n = 1 }
      kept:put("notes", "one", value)
      value.n = 2
      assert.same({ n = 1 }, kept:get("notes", "one"))
      kept:get("notes", "one").n = 3
      assert.same({ n = 1 }, kept:get("notes", "one"))
    end)

    it("lists in the order things came, wherever they are changed", function()
      for _, id in ipairs { "b", "a", "c" } do kept:put("notes", id, { id = id }) end
      kept:put("notes", "b", { id = "b", changed = true })
      assert.equal("b a c", ids(kept:list "notes"))
      assert.is_true(kept:list("notes")[1].value.changed)
      kept:remove("notes", "a")
      kept:put("notes", "a", {})
      assert.equal("b c a", ids(kept:list "notes"))
      assert.same({}, kept:list "none")
      kept:remove("notes", "none")
    end)

    it("counts, whether or not it was written, changed or is there", function()
      assert.equal(0, kept:count "notes")
      for _, id in ipairs { "a", "b", "c" } do kept:put("notes", id, { id = id }) end
      kept:put("others", "a", {})
      assert.equal(3, kept:count "notes")
      kept:commit()
      assert.equal(3, kept:count "notes")
      kept:put("notes", "b", { changed = true })
      kept:remove("notes", "none")
      kept:remove("notes", "a")
      kept:remove("notes", "a")
      assert.equal(2, kept:count "notes")
      kept:put("notes", "a", {})
      kept:put("notes", "d", {})
      kept:remove("notes", "d")
      assert.equal(3, kept:count "notes")
      kept:commit()
      assert.equal(3, kept:count "notes")
    end)

    it("drops the oldest, whether or not they were written", function()
      for n = 1, 6 do kept:put("notes", tostring(n), { n = n }) end
      kept:put("others", "1", {})
      kept:commit()
      kept:remove("notes", "2")
      kept:remove("notes", "1")
      kept:put("notes", "1", {})        -- now the newest
      kept:put("notes", "7", {})
      assert.equal(0, kept:drop_oldest("notes", 6))
      assert.equal(2, kept:drop_oldest("notes", 4))
      assert.equal("5 6 1 7", ids(kept:list "notes"))
      assert.equal(3, kept:drop_oldest("notes", 1))
      assert.equal("7", ids(kept:list "notes"))
      assert.equal(1, kept:drop_oldest("notes", 0))
      assert.equal(0, kept:count "notes")
      kept:commit()
      assert.same({}, kept:list "notes")
      assert.equal(1, kept:count "others")
    end)

    it("counts and drops without a look at the values", function()
      for n = 1, 100 do kept:put("notes", tostring(n), { n = n }) end
      kept:commit()
      local decode, decoded = json.decode_exact, 0
      local _ <close> = setmetatable({}, { __close = function() json.decode_exact = decode end })
      json.decode_exact = function(...)
        decoded = decoded + 1
        return decode(...)
      end
      assert.equal(40, kept:drop_oldest("notes", 60))
      assert.equal(60, kept:count "notes")
      assert.equal(0, decoded)
      assert.equal(60, #kept:list "notes")
      assert.equal(60, decoded)
    end)

    it("says what cannot be kept", function()
      for message, value in pairs {
        ["cannot encode 'f': a function has no form"] = { f = print },
        ["cannot encode 'a.b': .*nan is not a JSON number"] = { a = { b = 0 / 0 } },
        ["cannot encode 'a%[2%]': a null would be lost"] = { a = { 1, json.null } },
        ["cannot encode 'a%[7%]': a key must be a string, got a number"] = { a = { x = 1, [7] = 1 } },
      } do
        local ok, err = pcall(kept.put, kept, "notes", "one", value)
        assert.is_false(ok)
        assert.matches(message, err)
      end
      assert.is_nil(kept:get("notes", "one"))
    end)
  end)
end

describe("a store in a file", function()
  local directory, path

  before_each(function()
    directory = system.directory()
    path = directory:file "bot.db"
  end)
  after_each(function() directory:__close() end)

  it("outlives its closing, in order", async(function()
    local kept = assert(store.open(path))
    for _, id in ipairs { "b", "a" } do kept:put("notes", id, {}) end
    core.sleep(0)
    kept:close()
    kept = assert(store.open(path))
    kept:put("notes", "0", {})
    assert.equal("b a 0", ids(kept:list "notes"))
    kept:close()
  end))

  it("is a plain file for its owner alone, also where a link leads to it", async(function()
    local kept = assert(store.open(path))
    kept:put("notes", "one", {})
    core.sleep(0)
    for _, name in ipairs { path, path .. "-wal" } do assert.equal("600", system.output("stat -c %%a '%s'", name)) end
    kept:close()
    local link = directory:file "link.db"
    system.output("ln -s bot.db '%s'", link)
    store.open(link):close()
    system.output("chmod 644 '%s'", path)
    for _, name in ipairs { path, link } do
      local none, err = store.open(name)
      assert.is_nil(none)
      assert.equal("IO", err.name)
      assert.equal(("will not use %s: others may read it; run chmod 600"):format(name), err.message)
    end
    os.remove(path)
    local none, err = store.open(link)
    assert.is_nil(none)
    assert.matches("cannot write through the link .*link%.db: No such file", err.message)
    local fifo = directory:file "fifo"
    system.output("mkfifo -m 600 '%s'", fifo)
    none, err = store.open(fifo)
    assert.is_nil(none)
    assert.matches("fifo: it is a FIFO, not a plain file$", err.message)
    assert.equal("fifo", system.output("stat -c %%F '%s'", fifo))
  end))

  it("writes at the end of the turn, and only what has changed", async(function()
    local kept = assert(store.open(path))
    local function changes() return kept.db:value "SELECT total_changes()" end
    kept:put("notes", "one", { n = 1 })
    core.sleep(0)
    local before = changes()
    kept:put("notes", "one", { n = 1 })
    core.sleep(0)
    assert.equal(before, changes())
    kept:put("notes", "one", { n = 2 })
    core.sleep(0)
    assert.equal(before + 1, changes())
    kept:close()
  end))

  it("tells once when it cannot be written, and writes what it has kept when it can", async(function()
    local kept, failures, tries = assert(store.open(path)), {}, {}
    kept.on_failure = function(err) failures[#failures + 1] = err end
    kept:watch(tries, function(err) tries[#tries + 1] = err or false end)
    for _, id in ipairs { "one", "two", "three" } do kept:put("notes", id, { n = 1 }) end
    assert.is_true(kept:commit())
    kept.db:rows "PRAGMA max_page_count = 10"
    for n = 1, 50 do kept:put("notes", "long" .. n, { text = ("x"):rep(1000) }) end
    kept:remove("notes", "one")
    kept:put("notes", "one", { n = 2 })
    kept:put("notes", "two", { n = 2 })
    kept:remove("notes", "three")
    kept:put("notes", "four", {})
    kept:remove("notes", "four")
    local ok, err = kept:commit()
    assert.is_nil(ok)
    assert.matches("bot%.db: database or disk is full", err.message)
    assert.same({ "IO", 53 }, { kept.failing.name, kept.unwritten })
    kept:put("notes", "five", { n = 5 })
    core.sleep(0)
    assert.equal(1, #failures)
    assert.same({ false, err }, tries)
    local function is_current(place)
      local list = place:list "notes"
      assert.equal(53, #list)
      assert.same({ "two", "long1", "long2" }, { list[1].id, list[2].id, list[3].id })
      assert.same({ "long50", "one", "five" }, { list[51].id, list[52].id, list[53].id })
      for id, n in pairs { one = 2, two = 2, five = 5 } do assert.same({ n = n }, place:get("notes", id)) end
      assert.is_nil(place:get("notes", "three"))
      assert.is_nil(place:get("notes", "four"))
    end
    is_current(kept)
    kept.db:rows "PRAGMA max_page_count = 1000"
    assert.is_true(kept:commit())
    assert.same({ nil, 0, false }, { kept.failing, kept.unwritten, tries[3] })
    is_current(kept)
    assert.is_true(kept:close())
    kept = assert(store.open(path))
    is_current(kept)
    kept:close()
  end))

  it("tries again by itself with what is put in a second later, and when it is closed", async(function()
    local kept = assert(store.open(path))
    kept.db:rows "PRAGMA max_page_count = 10"
    kept:put("notes", "long", { text = ("x"):rep(100000) })
    core.sleep(0)
    assert.equal("IO", kept.failing.name)
    kept.db:rows "PRAGMA max_page_count = 1000"
    core.sleep(1.1)
    kept:put("notes", "one", {})
    core.sleep(0)
    assert.same({ nil, 0 }, { kept.failing, kept.unwritten })
    kept.db:rows "PRAGMA query_only = 1"
    kept:put("notes", "none", {})
    assert.is_nil((kept:commit()))
    kept:remove("notes", "none")
    assert.equal(0, kept.unwritten)
    assert.is_nil((kept:commit()))      -- it fails still, though nothing waits
    kept.db:rows "PRAGMA query_only = 0"
    assert.is_true(kept:commit())
    assert.is_nil(kept.failing)
    kept.db:rows "PRAGMA query_only = 1"
    kept:put("notes", "two", {})
    assert.is_nil((kept:commit()))
    kept.db:rows "PRAGMA query_only = 0"
    assert.is_true(kept:close())
    kept = assert(store.open(path))
    assert.equal("long one two", ids(kept:list "notes"))
    kept:put("notes", "three", {})
    kept.db:rows "PRAGMA query_only = 1"
    assert.equal("IO", select(2, kept:close()).name)
  end))

  it("keeps so much that cannot be written, and no more", async(function()
    local kept = assert(store.open(path))
    kept.db:rows "PRAGMA query_only = 1"
    for n = 1, 100000 do assert(kept:put("notes", "n" .. n, {})) end
    local ok, err = kept:put("notes", "more", {})
    assert.same({ nil, "LIMIT" }, { ok, err.name })
    assert.is_true(kept:put("notes", "n1", { n = 1 }))
    kept:close()
  end))

  it("is not opened twice, nor when it is damaged, nor without a path", async(function()
    local kept = assert(store.open(path))
    local other, err = store.open(path)
    assert.is_nil(other)
    assert.matches("bot%.db: another process has it open", err.message)
    kept:close()
    system.write(path, ("rubbish "):rep(2000))
    other, err = store.open(path)
    assert.is_nil(other)
    assert.matches("bot%.db: file is not a database", err.message)
    assert.error_matches(function() store.open(nil) end, "store: a path expected, got nil")
  end))
end)
