-- SPDX-License-Identifier: MIT
-- The SQLite files that keep what must outlive a process.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local sqlite = require "trueconf.base.sqlite"
local system = require "spec.support.system"

local NOTES = {
  name = "notes", application_id = 0x6e6f7465,
  versions = { "CREATE TABLE notes (id REAL PRIMARY KEY, text TEXT)" },
}

describe("a SQLite file", function()
  local directory, path

  before_each(function()
    directory = system.directory()
    path = directory:file "notes.db"
  end)
  after_each(function() directory:__close() end)

  local function open(schema)
    return sqlite.open(path, schema or NOTES)
  end

  local function refused(message, schema)
    local db, err = open(schema)
    assert.is_nil(db)
    assert.equal("IO", err.name)
    assert.is_truthy(err.message:find(message, 1, true), err.message)
  end

  it("is made with its schema, readable by its owner alone", function()
    local db = assert(open())
    assert.equal("600", system.output("stat -c %%a '%s'", path))
    db:begin()
    db:run("INSERT INTO notes VALUES (?, ?)", 1, "one")
    assert.equal("600", system.output("stat -c %%a '%s-wal'", path))
    assert.is_true(db:commit())
    db:close()
    db = assert(open())
    assert.same({ { 1, "one" } }, db:rows "SELECT id, text FROM notes")
    db:close()
  end)

  it("gives back whole numbers up to 2^53, fractions, text and nothing", function()
    local db = assert(open())
    local values = { 1 << 53, -(1 << 53), 1764000000123, 1.5 }
    for place, value in ipairs(values) do
      db:run("INSERT INTO notes VALUES (?, ?)", value, place)
      local back = db:value("SELECT id FROM notes WHERE text = ?", place .. ".0")
      assert.equal(value, back)
      assert.equal(math.type(value), math.type(back))
    end
    db:run("INSERT INTO notes VALUES (?, ?)", 7, nil)
    assert.same({ { 7 } }, db:rows("SELECT id, text FROM notes WHERE id = ?", 7))
    db:run("INSERT INTO notes VALUES (?, ?)", 8, "Grüße, \"'; DROP TABLE notes")
    assert.equal("Grüße, \"'; DROP TABLE notes", db:value("SELECT text FROM notes WHERE id = ?", 8))
    db:close()
  end)

  it("keeps texts whole, whatever characters are in them", function()
    local db = assert(open())
    local texts = { "a\0b", "a\0c", "\0", "\0\0", "a\0010b", "a\1b", "\1", "\0011", "", "a" }
    for place, text in ipairs(texts) do db:run("INSERT INTO notes VALUES (?, ?)", place, text) end
    for place, text in ipairs(texts) do
      assert.equal(text, db:value("SELECT text FROM notes WHERE id = ?", place))
      assert.same({ { place } }, db:rows("SELECT id FROM notes WHERE text = ?", text))
    end
    db:close()
  end)

  it("keeps what was committed and nothing else", function()
    local db = assert(open())
    db:begin()
    db:run("INSERT INTO notes VALUES (?, ?)", 1, "kept")
    db:commit()
    db:begin()
    db:run("INSERT INTO notes VALUES (?, ?)", 2, "lost")
    db:close()
    db = assert(open())
    assert.same({ { "kept" } }, db:rows "SELECT text FROM notes")
    db:close()
  end)

  it("undoes a transaction that fails in the middle", function()
    local db = assert(open())
    local ok, err = db:transaction(function()
      db:run("INSERT INTO notes VALUES (?, ?)", 1, "one")
      db:run("INSERT INTO notes VALUES (?, ?)", 1, "again")
    end)
    assert.is_nil(ok)
    assert.matches("notes%.db: UNIQUE constraint failed", err.message)
    assert.equal(0, db:value "SELECT count(*) FROM notes")
    assert.is_true(db:transaction(function() db:run("INSERT INTO notes VALUES (?, ?)", 1, "one") end))
    db:close()
  end)

  it("keeps what was written in this turn when a transaction of its own fails", function()
    local db = assert(open())
    local told
    db.on_settled = function(err) told = { err } end
    db:write("INSERT INTO notes VALUES (?, ?)", 1, "one")
    assert.is_nil(db:transaction(function() error "no" end))
    assert.same({}, told)
    assert.is_true(db:settle())
    assert.same({ { "one" } }, db:rows "SELECT text FROM notes")
    db:close()
  end)

  it("keeps what is written after a coroutine was ended in the middle of it, wherever that was", helper.async(function()
    local db, steps = assert(open()), 0
    repeat
      local ended = false
      local thread = coroutine.create(function() db:write("INSERT INTO notes VALUES (?, ?)", steps, "x") end)
      steps = steps + 1
      debug.sethook(thread, function()
        debug.sethook(thread)
        ended = true
        error("ended here", 0)
      end, "", steps)
      coroutine.resume(thread)
      core.sleep(0)
      local id = -steps
      db:write("INSERT INTO notes VALUES (?, ?)", id, "kept")
      core.sleep(0)
      db:rollback()                     -- of what was not settled with its turn
      assert.equal("kept", db:value("SELECT text FROM notes WHERE id = ?", id), "step " .. steps)
    until not ended
    assert.is_true(steps > 20)
    db:close()
  end))

  it("is open in one place only", function()
    local db = assert(open())
    refused "notes.db: another process has it open"
    db:close()
    assert(open()):close()
  end)

  it("is brought to a newer version, with all that is in it", function()
    local db = assert(open())
    db:run("INSERT INTO notes VALUES (?, ?)", 1, "one")
    db:close()
    local newer = { name = "notes", application_id = NOTES.application_id, versions = {
      NOTES.versions[1], "ALTER TABLE notes ADD COLUMN title TEXT; UPDATE notes SET title = 'old'",
    } }
    db = assert(open(newer))
    assert.same({ { "one", "old" } }, db:rows "SELECT text, title FROM notes")
    db:close()
    refused "notes.db: it is of version 2, made by a newer notes; this one knows versions up to 1"
  end)

  it("is left as it is when it is somebody else's", function()
    assert(open { name = "others", application_id = 1, versions = NOTES.versions }):close()
    refused "notes.db: it was not made by notes"
    system.write(path, ("no database at all\n"):rep(100))
    refused "notes.db: file is not a database"
    assert.equal(("no database at all\n"):rep(100), system.read(path))
  end)

  it("is refused when it is damaged", function()
    local db = assert(open())
    db:transaction(function()
      for id = 1, 2000 do db:run("INSERT INTO notes VALUES (?, ?)", id, ("text "):rep(20)) end
    end)
    db:close()
    local bytes = system.read(path)
    local half = #bytes // 2
    system.write(path, bytes:sub(1, half) .. ("\xa5"):rep(8192) .. bytes:sub(half + 8193))
    refused "notes.db is damaged: "
  end)

  it("tells of a full disk, and loses nothing", function()
    local db = assert(open())
    db:run("INSERT INTO notes VALUES (?, ?)", 1, "kept")
    db:rows "PRAGMA max_page_count = 20"
    local ok, err = db:transaction(function()
      for id = 2, 2000 do db:run("INSERT INTO notes VALUES (?, ?)", id, ("x"):rep(500)) end
    end)
    assert.is_nil(ok)
    assert.equal("IO", err.name)
    assert.matches("notes%.db: database or disk is full$", err.message)
    assert.same({ { "kept" } }, db:rows "SELECT text FROM notes")
    db:rows "PRAGMA max_page_count = 2000"
    assert.is_true(db:transaction(function() db:run("INSERT INTO notes VALUES (?, ?)", 2, "again") end))
    db:close()
  end)

  it("needs a folder", function()
    path = directory:file "missing/notes.db"
    refused "notes.db"
  end)
end)
