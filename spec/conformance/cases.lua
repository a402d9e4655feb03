-- SPDX-License-Identifier: MIT
-- The cases: each row at each end it is for. A row that is not kept is marked in open.lua. Its case fails when it is
-- kept after all, unless the mark begins with "at times".

local helper = require "spec.support.helper"
local runner = require "spec.conformance.runner"
local tables = require "spec.conformance.tables"

local Group = {}
Group.__index = Group

---Run the rows of a table, at all ends at once: most of the time they wait.
function Group:run()
  helper.async(function() self.verdicts = runner.run(self.table) end, runner.LIMIT)()
end

---Raise what is wrong with a row at an end, or with its mark.
function Group:check(row, at)
  local wrong, why = assert(self.verdicts, "the rows did not run")[at][row], row.open[at]
  if why and not wrong and not why:find "^at times" then error("it is kept now: run make conformance MARKS=1", 0) end
  if wrong and not why then error(wrong, 0) end
end

---The tables of a group.
---@param name "frames"|"handshake"|"http"
---@return { title: string, rows: table[], run: fun(self), check: fun(self, row: table, at: string) }[]
local function groups(name)
  local list = {}
  for place, of in ipairs(tables.groups[name]) do
    local loaded = tables.load(of)
    list[place] = setmetatable({ title = loaded.title, table = loaded, rows = loaded.rows }, Group)
  end
  return list
end

return groups
