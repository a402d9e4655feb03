-- SPDX-License-Identifier: MIT
-- Keeps the lists of files in the rockspec equal to the tree, and its libraries equal to those of the Makefile.
--
--   lua5.4 tools/rockspec.lua            says what differs, status 1 if anything does
--   lua5.4 tools/rockspec.lua --write    writes the lists of files
local ROCKSPEC = "rockspec/trueconf-scm-1.rockspec"

local function lines_of(command)
  local pipe <close> = assert(io.popen("LC_ALL=C " .. command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  return lines
end

local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local function listed(command, indent, entry)
  local list = {}
  for _, path in ipairs(lines_of(command)) do
    list[#list + 1] = indent .. entry(path) .. ",\n"
  end
  return table.concat(list)
end

local function source_entry(path)
  return ("%q"):format(path)
end

local function module_entry(path)
  return ("[%q] = %q"):format(module_name(path), path)
end

---Put `list` between the comments "-- name" and "-- end of name".
local function between(text, name, list)
  local opening, ending = "%-%- " .. name .. "\n", "[ ]*%-%- end of " .. name .. "\n"
  local from, last = select(2, text:find(opening)), text:find(ending)
  assert(from and last, ROCKSPEC .. " has no list of " .. name)
  return text:sub(1, from) .. list .. text:sub(last)
end

local function read_file(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function lines_set(text)
  local set = {}
  for line in text:gmatch "[^\n]+" do set[line] = true end
  return set
end

---Print the lines of `a` that `b` lacks.
local function report(a, b, what)
  local there = lines_set(b)
  for line in a:gmatch "[^\n]+" do
    if not there[line] then io.stderr:write(ROCKSPEC, ": ", what, line, "\n") end
  end
end

-- Libraries that packages of pkg-config name and we do not call: libc's, and what libwebsockets is built on.
local NOT_OURS = { pthread = true, dl = true, rt = true, cap = true }

---Fail when the Makefile links a library that the rockspec does not name.
local function check_libraries(rockspec)
  local packages = assert(read_file("Makefile"):match "\nLIBRARIES = ([^\n]+)", "Makefile has no LIBRARIES")
  local named = assert(rockspec:match "\n *libraries = (%b{})", ROCKSPEC .. " has no libraries")
  for name in lines_of("pkg-config --libs-only-l " .. packages)[1]:gmatch "%-l(%S+)" do
    if not NOT_OURS[name] and not named:find(("%q"):format(name), 1, true) then
      io.stderr:write(ROCKSPEC, ": libraries lacks ", name, ", which the Makefile links\n")
      os.exit(1)
    end
  end
end

local function main(write)
  local now = read_file(ROCKSPEC)
  check_libraries(now)
  local sources = listed("find csrc -name '*.c' | sort", (" "):rep(8), source_entry)
  -- The annotations of the C module are for language servers; nothing requires them.
  local modules = listed("find lua -name '*.lua' ! -path '*/meta/*' | sort", (" "):rep(4), module_entry)
  local wanted = between(between(now, "sources", sources), "modules", modules)
  if wanted == now then return end
  if write then
    local file <close> = assert(io.open(ROCKSPEC, "w"))
    assert(file:write(wanted))
    return
  end
  report(wanted, now, "is missing: ")
  report(now, wanted, "no such file: ")
  io.stderr:write("Run make format.\n")
  os.exit(1)
end

main(arg[1] == "--write")
