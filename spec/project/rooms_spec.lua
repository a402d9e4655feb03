-- SPDX-License-Identifier: MIT
-- The architecture as spec/support/rooms.lua has it: who includes and requires whom, no arrow up, no circle, and which
-- modules are public.

local rooms = require "spec.support.rooms"

local function lines_of(command)
  local pipe <close> = assert(io.popen("LC_ALL=C " .. command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  return lines
end

local function read_file(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

local function contains(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then return true end
  end
  return false
end

---The circles of a graph, as texts "a -> b -> a".
---@param graph table<string, table<string, any>> what each name needs
local function circles(graph)
  local found, state, path = {}, {}, {}
  local names = {}
  for name in pairs(graph) do names[#names + 1] = name end
  table.sort(names)
  local function visit(name)
    state[name] = "open"
    path[#path + 1] = name
    for _, needed in ipairs(names) do
      if graph[name][needed] then
        if state[needed] == "open" then
          local from = #path
          while path[from] ~= needed do from = from - 1 end
          found[#found + 1] = table.concat(path, " -> ", from) .. " -> " .. needed
        elseif not state[needed] then
          visit(needed)
        end
      end
    end
    path[#path] = nil
    state[name] = "done"
  end
  for _, name in ipairs(names) do
    if not state[name] then visit(name) end
  end
  return found
end

describe("a search for circles", function()
  it("finds them", function()
    assert.same({}, circles { a = { b = true, c = true }, b = { c = true }, c = {} })
    assert.same({ "b -> c -> b" }, circles { a = { b = true }, b = { c = true }, c = { b = true } })
    assert.same({ "a -> a" }, circles { a = { a = true } })
  end)
end)

describe("the rooms of the C core", function()
  local files = lines_of "find csrc -name '*.[ch]' | sort"
  local function room_of(path) return path:match "^(%w+)/" or "core" end

  it("are known, and hold all files", function()
    for _, path in ipairs(files) do assert.truthy(rooms.c[room_of(path:gsub("^csrc/", ""))], path) end
  end)

  it("include what lies below them, by its doors", function()
    local wrong = {}
    for _, path in ipairs(files) do
      local room = room_of((path:gsub("^csrc/", "")))
      for header in read_file(path):gmatch '#include "([^"]+)"' do
        local other, name = header:match "^(%w+)/(.+)$"
        local doors = other and rooms.c[other].doors
        if not other then
          wrong[#wrong + 1] = path .. " includes " .. header .. " without its room"
        elseif other ~= room and not contains(rooms.c[room].may, other) then
          wrong[#wrong + 1] = path .. " includes " .. header .. " of a room beside or above it"
        elseif other ~= room and doors ~= "all" and not contains(doors, name) then
          wrong[#wrong + 1] = path .. " includes " .. header .. ", which is no door"
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("have at most one private header each", function()
    local hidden = {}
    for _, path in ipairs(files) do
      local room, name = path:match "^csrc/(%w+)/(.+%.h)$"
      local doors = room and rooms.c[room].doors
      if room and doors ~= "all" and not contains(doors, name) and not contains(rooms.c[room].parts or {}, name) then
        hidden[room] = hidden[room] or {}
        table.insert(hidden[room], name)
      end
    end
    for room, names in pairs(hidden) do
      assert.is_true(#names <= 1, room .. " hides " .. table.concat(names, ", "))
    end
  end)

  it("see libwebsockets in two of them only", function()
    -- All that a file includes, and what that includes.
    local function sees(path, seen)
      if seen[path] then return false end
      seen[path] = true
      local text = read_file("csrc/" .. path)
      if text:find("#include <libwebsockets.h>", 1, true) then return true end
      for header in text:gmatch '#include "([^"]+)"' do
        if sees(header, seen) then return true end
      end
      return false
    end
    for _, path in ipairs(files) do
      local file = path:gsub("^csrc/", "")
      if path:find "%.c$" and not rooms.lws[room_of(file)] then
        assert.is_false(sees(file, {}), path .. " sees libwebsockets.h")
      end
    end
  end)

  -- A file needs another one, as for the linker, if a symbol is undefined in the one and defined in the other.
  it("have no circle between their files", function()
    local folder = (os.getenv "BUILD" or "build") .. "/obj/"
    local defined, needed = {}, {}
    -- The objects of today's sources: a folder that was built in before may hold others.
    local objects = {}
    for _, path in ipairs(files) do objects[#objects + 1] = path:match "^csrc/(.+)%.c$" end
    for _, line in ipairs(lines_of(("cd %s && nm -A %s.o"):format(folder, table.concat(objects, ".o ")))) do
      local file, kind, symbol = line:match "^(.-)%.o:%x*%s+(%a) (%S+)"
      if file then
        needed[file] = needed[file] or {}
        if kind == "U" then
          needed[file][symbol] = true
        elseif kind:find "[TDBR]" then
          defined[symbol] = file
        end
      end
    end
    local graph, arrows = {}, 0
    for file, symbols in pairs(needed) do
      graph[file] = {}
      for symbol in pairs(symbols) do
        local other = defined[symbol]
        if other and other ~= file then
          graph[file][other] = true
          arrows = arrows + 1
        end
      end
    end
    assert.is_true(arrows > 100, "nm has found next to nothing in " .. folder)
    assert.same({}, circles(graph))
  end)
end)

describe("the rooms of the Lua modules", function()
  local files = lines_of "find lua/trueconf -name '*.lua' ! -path '*/meta/*' | sort"

  local function room_of(path)
    local inner = path:gsub("^lua/trueconf/", "")
    return inner:match "^(%w+)/" or inner
  end

  local function path_of(module)
    local base = "lua/" .. module:gsub("%.", "/")
    for _, path in ipairs { base .. ".lua", base .. "/init.lua" } do
      local file = io.open(path)
      if file then
        file:close()
        return path
      end
    end
  end

  ---The files that a file requires, wherever in it.
  local function required(path)
    local found = {}
    for module in read_file(path):gsub("%-%-[^\n]*", ""):gmatch "require%s*%(?%s*\"(trueconf[%w_.]*)\"" do
      local other = module ~= "trueconf.core" and path_of(module)
      if other then found[other] = true end
    end
    return found
  end

  it("require what the table lets them", function()
    local wrong = {}
    for _, path in ipairs(files) do
      local room = room_of(path)
      local may = assert(rooms.lua[room], path .. " lies in a room that spec/support/rooms.lua does not know")
      for other in pairs(required(path)) do
        local needed = room_of(other)
        if needed ~= room and not contains(may, needed) then
          wrong[#wrong + 1] = path .. " requires " .. other
        end
      end
    end
    table.sort(wrong)
    assert.same({}, wrong)
  end)

  it("have no circle", function()
    local between, of_files = {}, {}
    for room, may in pairs(rooms.lua) do
      between[room] = {}
      for _, other in ipairs(may) do between[room][other] = true end
    end
    assert.same({}, circles(between))
    for _, path in ipairs(files) do of_files[path] = required(path) end
    assert.same({}, circles(of_files))
  end)

  it("use all that the table grants", function()
    local used = {}
    for _, path in ipairs(files) do
      for other in pairs(required(path)) do used[room_of(path) .. " " .. room_of(other)] = true end
    end
    for room, may in pairs(rooms.lua) do
      for _, other in ipairs(may) do
        assert.is_true(used[room .. " " .. other], room .. " does not require " .. other)
      end
    end
  end)
end)

describe("the public modules", function()
  it("are those at the top of lua/trueconf", function()
    local top = { "trueconf", "trueconf.bridge" }
    for _, path in ipairs(lines_of "ls lua/trueconf/*.lua") do
      local name = path:match "([%w_]+)%.lua$"
      if name ~= "init" then top[#top + 1] = "trueconf." .. name end
    end
    table.sort(top)
    assert.same(rooms.public, top)
  end)

  it("say so in their first lines, and the others do not", function()
    local public = {}
    for _, path in ipairs(lines_of "grep -lr '^-- Public[.] ' lua") do
      public[#public + 1] = (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
    end
    table.sort(public)
    assert.same(rooms.public, public)
  end)

  it("are those of the reference", function()
    local named, page = {}, read_file "docs/reference.md"
    for module in page:gmatch "`local [%w_]+ = require \"(trueconf[%w_.]*)\"" do named[#named + 1] = module end
    table.sort(named)
    assert.same(rooms.public, named)
  end)
end)
