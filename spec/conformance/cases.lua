-- SPDX-License-Identifier: MIT
-- The cases: each row at each end it is for. A row that is not kept is marked in open.lua. Its case fails when it is
-- kept after all, unless the mark begins with "at times".

local helper = require "spec.support.helper"
local runner = require "spec.conformance.runner"
local tables = require "spec.conformance.tables"

local Part = {}
Part.__index = Part

---Run the rows.
function Part:run()
  helper.async(function() self.verdicts = runner.run(self.kind, self.rows, self.at) end, runner.LIMIT)()
end

---Raise what is wrong with a row, or with its mark.
function Part:check(row)
  local wrong, why = assert(self.verdicts, "the rows did not run")[row], row.open[self.at]
  if why and not wrong and not why:find "^at times" then error("it is kept now: run make conformance MARKS=1", 0) end
  if wrong and not why then error(wrong, 0) end
end

---The rows of a group, those of a table at an end in one part.
---@param group "frames"|"handshake"|"http"
---@return { title: string, rows: table[], run: fun(self), check: fun(self, row: table) }[]
local function parts(group)
  local list = {}
  for _, name in ipairs(tables.groups[group]) do
    local loaded = tables.load(name)
    for _, at in ipairs(tables.ends(loaded)) do
      list[#list + 1] = setmetatable({
        title = ("%s, %s:"):format(loaded.title, at), kind = loaded.kind, at = at, rows = tables.rows(loaded, at),
      }, Part)
    end
  end
  return list
end

return parts
