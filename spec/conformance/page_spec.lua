-- SPDX-License-Identifier: MIT
-- The tables of rows themselves: each row has a name of its own, docs/conformance.md has all, open.lua no others.

local open = require "spec.conformance.open"
local tables = require "spec.conformance.tables"

local function each_row(fn)
  for _, group in ipairs(tables.order) do
    for _, name in ipairs(tables.groups[group]) do
      for _, row in ipairs(tables.load(name).rows) do fn(row) end
    end
  end
end

describe("the rows of the RFCs", function()
  it("have names of their own", function()
    local known = {}
    each_row(function(row)
      assert.is_nil(known[row.name], row.name)
      known[row.name] = true
    end)
  end)

  it("are what open.lua marks, at ends they are for", function()
    local marked = {}
    for name, places in pairs(open) do
      for at in pairs(places) do marked[name .. " at " .. at] = true end
    end
    each_row(function(row)
      for _, at in ipairs(row.ends) do marked[row.name .. " at " .. at] = nil end
    end)
    assert.same({}, marked)
  end)

  it("are those of docs/conformance.md", function()
    local file <close> = assert(io.open "docs/conformance.md")
    local page, rows = file:read "a", 0
    each_row(function(row)
      rows = rows + 1
      local start = ("| %s | %s | %s |"):format(row.section, (row.rule:gsub("|", "\\|")), table.concat(row.ends, ", "))
      assert.is_truthy(page:find(start, 1, true), "make doc: the page does not have " .. row.name)
    end)
    assert.equal(rows, select(2, page:gsub("\n| %d", "")))
  end)
end)
