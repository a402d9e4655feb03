-- SPDX-License-Identifier: MIT
-- Failures of the test kit: errors at the line of the test, not at a line of the kit.

local failure = {}

-- The files of the kit: this one's folder, and the file beside it of the same name.
local FOLDER = debug.getinfo(1, "S").source:gsub("failure%.lua$", "")
local FRONT = FOLDER:gsub("/$", ".lua")

local function is_ours(source)
  return source == FRONT or source:sub(1, #FOLDER) == FOLDER
end

-- "spec/bot/bot_spec.lua:12: " of the first caller outside of the kit.
local function source()
  local level = 2
  local info = debug.getinfo(level, "Sl")
  while info and (info.what == "C" or is_ours(info.source)) do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  return info and ("%s:%d: "):format(info.short_src, info.currentline) or ""
end

---Raise an error at the line of the test.
---@param text string
---@param ... any values for a format
function failure.raise(text, ...)
  if select("#", ...) > 0 then text = text:format(...) end
  error(source() .. text, 0)
end

---A text in quotes, as a failure shows it.
---@param text string
---@return string
function failure.quoted(text)
  return '"' .. text:gsub("\n", "\\n") .. '"'
end

return failure
