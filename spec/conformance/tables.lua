-- SPDX-License-Identifier: MIT
-- All tables of rows, and which rows are not kept today (open.lua).

local open = require "spec.conformance.open"

local tables = {}

-- The groups, as the specs have them.
tables.groups = {
  frames = { "framing", "fragments", "utf8", "closing" },
  handshake = { "upgrade", "connect" },
  http = { "messages", "semantics", "downloads", "fields" },
}
tables.order = { "frames", "handshake", "http" }

local function name_of(row) return row.section .. ": " .. row.rule end

local function ends_of(table_, row)
  local names = {}
  for _, name in ipairs(row.at or table_.at) do
    names[#names + 1] = name
    if row.tls and name ~= "bridge" then names[#names + 1] = name .. "-tls" end
  end
  return names
end

---@class spec.conformance.Table
---@field kind "frames"|"request"|"response"|"http"
---@field title string
---@field rows table[] each with section, rule, name, ends and open: what is not kept, by end

---@param name string
---@return spec.conformance.Table
function tables.load(name)
  local loaded = require("spec.conformance.rows." .. name)
  for _, row in ipairs(loaded.rows) do
    row.name, row.ends, row.open = name_of(row), ends_of(loaded, row), open[name_of(row)] or {}
  end
  return loaded
end

---The ends that a table has rows for.
---@param loaded spec.conformance.Table
---@return string[]
function tables.ends(loaded)
  local names, known = {}, {}
  for _, row in ipairs(loaded.rows) do
    for _, name in ipairs(row.ends) do
      if not known[name] then names[#names + 1], known[name] = name, true end
    end
  end
  return names
end

---The rows of a table that are for an end.
---@param loaded spec.conformance.Table
---@param wanted string
---@return table[]
function tables.rows(loaded, wanted)
  local rows = {}
  for _, row in ipairs(loaded.rows) do
    for _, name in ipairs(row.ends) do
      if name == wanted then rows[#rows + 1] = row end
    end
  end
  return rows
end

return tables
