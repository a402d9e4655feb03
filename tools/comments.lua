-- SPDX-License-Identifier: MIT
-- Finds sentences in comments that begin with a clause in place of a noun, such as "What waits goes on" or "Who clicks
-- sees it". A comment must name the thing: "Waiting messages go on". Questions are allowed.
--
--   lua5.4 tools/comments.lua FILE...    prints each such sentence, exit code 1 if there are any

local WORDS = { "What", "Whatever", "Who", "Whoever", "Whom", "Whose", "Which", "Whether", "Those", "That which" }

-- The signs that begin a comment, by the extension of the file; scripts without an extension begin with "#!".
local MARKS = {
  lua = { "%-%-+" }, c = { "/%*+", "%*+" }, h = { "/%*+", "%*+" }, py = { "#+" }, sh = { "#+" }, mk = { "#+" },
}

---The signs for a file, or nil for a file without comments, such as data.
---@param path string
---@param first_line string
---@return string[]?
local function marks_of(path, first_line)
  local name = path:match "[^/]*$"
  local extension = name:match "%.(%w+)$"
  if extension or name == "Makefile" then return MARKS[extension or "mk"] end
  return first_line:find "^#!" and (first_line:find "lua" and MARKS.lua or MARKS.sh) or nil
end

---The comment in a line; nil: there is none.
---@param line string
---@param marks string[]
---@return string?
local function comment_of(line, marks)
  for _, mark in ipairs(marks) do
    local text = line:match("^%s*" .. mark .. "%s*(.*)$")
    if text then return text end
  end
  return line:match("%s" .. marks[1] .. "%s+(.*)$")
end

---The first sentence in a comment that begins with such a clause; nil: there is none.
---@param comment string
---@return string?
local function clause_in(comment)
  for _, word in ipairs(WORDS) do
    for before, sentence in (". " .. comment):gmatch("([.:;)] +)(" .. word .. " %S[^.?!]*[.?!]?)") do
      if before and not sentence:find "%?$" then return sentence end
    end
  end
end

local found = 0
for _, path in ipairs(arg) do
  local number, marks = 0, nil
  for line in io.lines(path) do
    number = number + 1
    if number == 1 then marks = marks_of(path, line) end
    if not marks then break end
    local comment = comment_of(line, marks)
    local clause = comment and clause_in(comment)
    if clause then
      print(("%s:%d: name the thing in place of \"%s\""):format(path, number, clause))
      found = found + 1
    end
  end
end
os.exit(found == 0)
