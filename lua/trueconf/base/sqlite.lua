-- SPDX-License-Identifier: MIT
-- A SQLite file for data that must outlive a process: opened by one process at a time, in WAL mode, with a versioned
-- schema. It uses lua-dbi, which the first open() loads, so that bots without a file do not need it.
--
-- lua-dbi reads an INTEGER column as 32 bits: columns of numbers are declared REAL, which is exact up to
-- 2^53, and whole numbers come back as Lua integers. To it a text ends at its first NUL: in the file a NUL is
-- \1 0, and \1 is \1 1.
--
-- A commit survives every end of the process (SIGKILL too). A power failure may lose the last moments, but the file
-- stays consistent.

local core = require "trueconf.core"

local NEEDS = "SQLite files need lua-dbi: the Debian package lua-dbi-sqlite3, or luarocks install luadbi-sqlite3"

---@class trueconf.Sqlite
---@field path string
---@field private connection any
---@field private statements table<string, any> prepared ones, by their text
---@field on_settled fun(err: trueconf.Error?)? called when the changes of write() are kept, or all of them undone
---@field private in_transaction boolean
---@field private written boolean? write() was called since the last settle()
---@field private broken trueconf.Error? why it cannot be kept
local Sqlite = {}
Sqlite.__index = Sqlite

-- A message of lua-dbi without its first part, which names the operation.
local function plain(message)
  local text = tostring(message):gsub("^Execute failed ", ""):gsub("^Error preparing statement handle: ", "")
  if text:find "locked" then return "another process has it open" end
  return text
end

function Sqlite:failure(message)
  return core.error("IO", ("%s: %s"):format(self.path, plain(message)))
end

-- Statements -------------------------------------------------------------------------------

function Sqlite:prepare(sql)
  local statement = self.statements[sql]
  if statement then return statement end
  if not self.connection then error(core.error("CLOSED", self.path .. " is closed"), 0) end
  local err
  statement, err = self.connection:prepare(sql)
  if not statement then error(self:failure(err), 0) end
  self.statements[sql] = statement
  return statement
end

-- lua-dbi cannot use a statement again that has failed.
function Sqlite:forget(sql)
  self.statements[sql]:close()
  self.statements[sql] = nil
end

function Sqlite:forget_all()
  for _, statement in pairs(self.statements) do statement:close() end
  self.statements = {}
end

local INTO_FILE = { ["\0"] = "\0010", ["\1"] = "\0011" }
local FROM_FILE = { ["\0010"] = "\0", ["\0011"] = "\1" }

-- Values as they can be in the file. Whole numbers are written as REAL: lua-dbi 0.7.4 would write INTEGER, of which it
-- reads 32 bits.
local function bound(count, value, ...)
  if count == 0 then return end
  if math.type(value) == "integer" then value = value + 0.0 end
  if type(value) == "string" and value:find "[\0\1]" then value = value:gsub("[\0\1]", INTO_FILE) end
  return value, bound(count - 1, ...)
end

---Carry out a statement. Raises an error of the kind IO when it fails.
---@param sql string with a `?` for each value; the same text is prepared once
---@param ... string|number|boolean|nil
function Sqlite:run(sql, ...)
  local ok, err = self:prepare(sql):execute(bound(select("#", ...), ...))
  if ok then return end
  self:forget(sql)
  error(self:failure(err), 0)
end

local function read(row, count)
  for column = 1, count do
    local value = row[column]
    if math.type(value) == "float" then
      row[column] = math.tointeger(value) or value
    elseif type(value) == "string" and value:find("\1", 1, true) then
      row[column] = value:gsub("\1[01]", FROM_FILE)
    end
  end
  return row
end

---All rows of a query. Raises an error of the kind IO when it fails.
---@param sql string
---@param ... string|number|boolean|nil
---@return any[][] rows values in the order of the columns
function Sqlite:rows(sql, ...)
  self:run(sql, ...)
  local statement, rows = self:prepare(sql), {}
  local count = #statement:columns()
  for row in function() return statement:fetch() end do rows[#rows + 1] = read(row, count) end
  return rows
end

---The first column of the only row.
---@param sql string
---@param ... string|number|boolean|nil
---@return any
function Sqlite:value(sql, ...)
  local row = self:rows(sql, ...)[1]
  return row and row[1]
end

-- Transactions -----------------------------------------------------------------------------

---Begin a transaction, if none is under way.
function Sqlite:begin()
  if self.in_transaction then return end
  self.in_transaction = true            -- first: to roll back too much does no harm
  self:run "BEGIN IMMEDIATE"
end

---Commit the transaction of begin().
---@return true? ok
---@return trueconf.Error? err IO: nothing of it was done
function Sqlite:commit()
  if not self.in_transaction then return true end
  local ok, err = pcall(self.run, self, "COMMIT")
  if ok then
    self.in_transaction = false
    return true
  end
  self:rollback()
  return nil, err
end

---Undo what was done since begin().
function Sqlite:rollback()
  self.in_transaction = false
  pcall(self.run, self, "ROLLBACK")     -- SQLite may have done it by itself
end

---Call fn() in a transaction of its own: all of it is done, or nothing. A transaction of write() ends before it.
---@param fn fun()
---@return true? ok
---@return any err IO, or what fn has raised
function Sqlite:transaction(fn)
  self:settle()
  local ok, err = pcall(self.begin, self)
  if ok then ok, err = pcall(fn) end
  if ok then return self:commit() end
  self:rollback()
  return nil, err
end

-- One transaction for each turn of the loop ------------------------------------------------

---Write in a transaction that ends with this turn of the loop, before any frame of the turn is sent. settle() returns a
---failure, and on_settled gets it.
---@param sql string
---@param ... string|number|boolean|nil
function Sqlite:write(sql, ...)
  if not self.connection then return end -- changes after close() are dropped
  if not self.written then              -- in this order: a coroutine may be ended at any place, or memory
    core.before_flush(function() self:settle() end)
    self.written = true
  end
  if self.broken then return end
  local ok, err = pcall(self.begin, self)
  if ok then ok, err = pcall(self.run, self, sql, ...) end
  if not ok then self.broken = err end
end

---End the transaction of write() now.
---@return true? ok
---@return trueconf.Error? err IO: nothing of it was kept
function Sqlite:settle()
  if not self.written then return true end
  local err, _ = self.broken, nil
  self.written, self.broken = false, nil
  if err then self:rollback() else _, err = self:commit() end
  if self.on_settled then self.on_settled(err) end
  return not err or nil, err
end

-- Opening ----------------------------------------------------------------------------------

local function check_version(db, schema)
  local application, version = db:value "PRAGMA application_id", db:value "PRAGMA user_version"
  if version > 0 and application ~= schema.application_id then
    error(core.error("IO", ("%s: it was not made by %s"):format(db.path, schema.name)), 0)
  end
  if version > #schema.versions then
    error(core.error("IO", ("%s: it is of version %d, made by a newer %s; this one knows versions up to %d"):format(
      db.path, version, schema.name, #schema.versions)), 0)
  end
  return version
end

local function migrate(db, schema)
  for version = check_version(db, schema) + 1, #schema.versions do
    assert(db:transaction(function()
      for statement in schema.versions[version]:gmatch "[^;]+" do
        if statement:find "%S" then db:run(statement) end
      end
      db:run(("PRAGMA application_id = %d"):format(schema.application_id))
      db:run(("PRAGMA user_version = %d"):format(version))
    end))
  end
end

local function check_whole(db)
  local complaint = db:value "PRAGMA quick_check(1)"
  if complaint ~= "ok" then error(core.error("IO", ("%s is damaged: %s"):format(db.path, complaint)), 0) end
end

-- The lock of the file is taken by the first transaction and kept to the end.
local function set_up(db, schema)
  db:rows "PRAGMA locking_mode = EXCLUSIVE"
  db:rows "PRAGMA journal_mode = WAL"
  db:run "PRAGMA synchronous = NORMAL"
  db:run "PRAGMA foreign_keys = OFF"
  db:begin()
  db:rollback()
  check_whole(db)
  migrate(db, schema)
  db:forget_all()                       -- the statements of the opening are not needed again
end

-- Make the file before SQLite opens it, so that only its owner may read it; the files beside it get the same mode.
local function connect(path)
  local found, dbi = pcall(require, "DBI")
  local driver = found and pcall(require, "dbd.sqlite3")
  if not driver then return nil, core.error("UNSUPPORTED", NEEDS) end
  local ok, err = core.private_file(path)
  if not ok then return nil, err end
  local connection
  connection, err = dbi.Connect("SQLite3", path)
  if not connection then return nil, core.error("IO", ("%s: %s"):format(path, plain(err))) end
  connection:autocommit(true)           -- transactions are begun here, not by lua-dbi
  return connection
end

---@class trueconf.SqliteSchema
---@field name string of the program, for messages
---@field application_id integer tells its files from others
---@field versions string[] statements, separated by `;`, that lead from one version to the next

---Open a file; it is made when it is missing, and brought to the newest version of the schema.
---@param path string in a folder that nobody else may write to
---@param schema trueconf.SqliteSchema
---@return trueconf.Sqlite? db
---@return trueconf.Error? err IO: not readable, damaged, in use, of a newer version; UNSUPPORTED: lua-dbi is missing
local function open(path, schema)
  local connection, err = connect(path)
  if not connection then return nil, err end
  local db = setmetatable({ path = path, connection = connection, statements = {}, in_transaction = false }, Sqlite)
  local ok, failure = pcall(set_up, db, schema)
  if ok then return db end
  db:close()
  return nil, failure
end

---Close the file: a transaction of begin() is undone, the transaction of write() is committed.
function Sqlite:close()
  if not self.connection then return end
  self:settle()
  self:forget_all()
  self.connection:close()
  self.connection = nil
end

return { open = open }
