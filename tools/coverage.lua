-- SPDX-License-Identifier: MIT
-- The lines of C and Lua that a run of `make coverage` has reached.
--
--   lua5.4 tools/coverage.lua BUILD short    totals by room and the files with most to see
--   lua5.4 tools/coverage.lua BUILD all      all files by room, the least covered first
--   lua5.4 tools/coverage.lua BUILD FILE     the lines of one file that nothing reached
--
-- BUILD holds the lines that ran: for C gcov's counts, for Lua a byte for each line (spec/support/c/coverage.c).
-- luac5.4 lists the lines of Lua that can run.

local WORST = 15

local function lines_of(command)
  local pipe <close> = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  return lines
end

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

-- Lua -------------------------------------------------------------------------------------

---The lines on which instructions lie. The return behind the end of each function is in no source, and belongs to its
---last line; most functions have returned before.
local function lines_that_run(path)
  local found, last = {}, nil
  for _, line in ipairs(lines_of(("luac5.4 -l -p '%s'"):format(path))) do
    local at, name = line:match "^\t%d+\t%[(%d+)%]\t(%u[%u%d]*)"
    if last then found[last] = at and true or found[last] end
    last = at and name ~= "VARARGPREP" and name ~= "EXTRAARG" and tonumber(at) or nil
  end
  return found
end

---@return table<integer, boolean> lines whether each that can run has run
local function of_lua(build, path)
  local ran, lines = read(("%s/lua/%s"):format(build, (path:gsub("/", "%%")))) or "", {}
  for line in pairs(lines_that_run(path)) do lines[line] = ran:byte(line + 1) == 1 end
  return lines
end

local function lua_files(build, files)
  local find = "find lua/trueconf bin/trueconf -name '*.lua' -not -path '*/meta/*' -o -path bin/trueconf"
  for _, path in ipairs(lines_of(find .. " 2>/dev/null")) do files[path] = of_lua(build, path) end
end

-- C ---------------------------------------------------------------------------------------

---The output of gcov for the files in csrc. A header comes once for each object that includes it.
local function c_files(build, files)
  local lines
  local gcov = "find %s/obj -name '*.gcno' 2>/dev/null | sort | xargs -r gcov -t 2>/dev/null"
  for _, text in ipairs(lines_of(gcov:format(build))) do
    local count, line, rest = text:match "^%s*([^:]+):%s*(%d+):(.*)"
    local path = line == "0" and rest:match "^Source:(.*)"
    if path then
      lines = path:find "^csrc/" and (files[path] or {}) or nil
      files[path] = lines
    elseif lines and line ~= "0" and count ~= "-" then
      lines[tonumber(line)] = lines[tonumber(line)] or count:find "^%d" ~= nil
    end
  end
end

-- Output ----------------------------------------------------------------------------------

local Sum = {}
Sum.__index = Sum

local function sum(name)
  return setmetatable({ name = name, lines = 0, reached = 0 }, Sum)
end

function Sum:add(other)
  self.lines, self.reached = self.lines + other.lines, self.reached + other.reached
end

function Sum:share()
  return self.lines == 0 and 100 or 100 * self.reached / self.lines
end

function Sum:print()
  print(("%6.1f %%  %5d of %5d  %s"):format(self:share(), self.lines - self.reached, self.lines, self.name))
end

local function of_file(path, lines)
  local file = sum(path)
  for _, reached in pairs(lines) do
    file:add { lines = 1, reached = reached and 1 or 0 }
  end
  return file
end

---A room of C or of Lua; a file that lies in none is in the room of all such files.
local function room_of(path)
  return path:match "^csrc/[^/]+/" or path:match "^lua/trueconf/[^/]+/" or path:match "^.*/"
end

local function less_covered(a, b)
  if a:share() ~= b:share() then return a:share() < b:share() end
  return a.name < b.name
end

local function sums(files)
  local list, rooms, totals = {}, {}, { C = sum "all C", Lua = sum "all Lua" }
  for path, lines in pairs(files) do
    local file, room = of_file(path, lines), room_of(path)
    rooms[room] = rooms[room] or sum(room)
    rooms[room]:add(file)
    totals[path:find "^csrc/" and "C" or "Lua"]:add(file)
    list[#list + 1] = file
  end
  local sorted = {}
  for _, room in pairs(rooms) do sorted[#sorted + 1] = room end
  table.sort(list, less_covered)
  table.sort(sorted, function(a, b) return a.name < b.name end)
  return list, sorted, totals
end

local function print_table(files, how)
  local list, rooms, totals = sums(files)
  print "reached   lines not reached"
  for _, room in ipairs(rooms) do
    room:print()
    for _, file in ipairs(how == "all" and list or {}) do
      if room_of(file.name) == room.name then file:print() end
    end
  end
  for index = 1, how == "all" and 0 or math.min(WORST, #list) do
    if index == 1 then print "\nThe least covered files; make coverage FILE=file shows the lines" end
    list[index]:print()
  end
  print()
  totals.C:print()
  totals.Lua:print()
end

local function print_lines(path, reached)
  local number = 0
  for line in (assert(read(path)) .. "\n"):gmatch "(.-)\n" do
    number = number + 1
    if reached[number] == false then print(("%5d  %s"):format(number, line)) end
  end
  of_file(path, reached):print()
end

local build, what = ...
local files = {}
if what and what:find "%.lua$" or what == "bin/trueconf" then
  files[what] = of_lua(build, what)
else
  c_files(build, files)
  if what == "all" or what == "short" then lua_files(build, files) end
end
if what == "all" or what == "short" then
  print_table(files, what)
else
  print_lines(what, assert(files[what], "no such file in the build: " .. tostring(what)))
end
