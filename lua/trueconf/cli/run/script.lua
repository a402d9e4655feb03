-- SPDX-License-Identifier: MIT
-- Reads the file of a bot, runs it as `lua` would, and makes one line of its error.

local core = require "trueconf.core"
local hooks = require "trueconf.base.hooks"
local misuse = require "trueconf.base.misuse"

local script = {}

-- The folder of this module's own files: an error must name a line of the bot, not one of the module.
local OWN = debug.getinfo(1, "S").source:match "^(.*)cli/run/[^/]*$"

-- The folder of a path, "." for a bare name.
---@param path string
---@return string
function script.folder_of(path)
  return path:match "^(.+)/[^/]*$" or path:match "^/" or "."
end

---Let `require` find modules beside a bot, after all other places.
---@param path string
function script.search_beside(path)
  local folder = script.folder_of(path)
  local own = ("%s/?.lua;%s/?/init.lua"):format(folder, folder)
  if not (";" .. package.path .. ";"):find(";" .. own .. ";", 1, true) then
    package.path = package.path .. ";" .. own
  end
end

-- Mistakes --------------------------------------------------------------------------------------

local function is_of_bot(info)
  return info.currentline > 0 and OWN ~= info.source:sub(1, #OWN)
end

-- The nearest line of the bot's file on the stack, from a level on.
local function source_from(level)
  while true do
    level = level + 1
    local info = debug.getinfo(level, "Sl")
    if not info then return nil end
    if is_of_bot(info) then return ("%s:%d"):format(info.short_src, info.currentline) end
  end
end

-- `require` lists all places where it has looked, and puts a line of its own above an error in a module: cut both.
local function one_line(text)
  text = text:gsub("^(.-module '[^']*' not found):.*$", "%1")
  text = text:gsub("^.-error loading module '[^']*' from file '[^']*':%s*", "")
  return (text:gsub("%s*\n%s*", " "))
end

-- A tail call has left the stack, so Lua blames its caller instead: this file.
local HERE = "^" .. debug.getinfo(1, "S").short_src:gsub("%p", "%%%0") .. ":%d+: "

---A handler for xpcall that makes one line of an error, beginning with its source.
---@param path string the source, if no better one is known
---@return fun(err: any): string
local function complaint_at(path)
  return function(err)
    local text = one_line(tostring(misuse.explain(err, 2)))
    local _, last = text:find(HERE)
    if last then return path .. ": " .. text:sub(last + 1) end
    if text:find "^[^%s:][^:]*:%d+: " then return text end
    return (source_from(2) or path) .. ": " .. text
  end
end

-- Running ---------------------------------------------------------------------------------------

local MOST = 16 << 20                   -- bytes of a file

---Is there a file to read? Never waits, as opening a FIFO would.
---@param path string
---@return boolean
---@return string? complaint
function script.is_there(path)
  local source, err = core.source(path)
  if not source then return false, err.message end
  source:close()
  return true
end

---Read the file.
---@param path string
---@param patience? integer seconds for a pipe; 0: a pipe is refused, so that it never blocks the loop
---@return function? chunk
---@return string? complaint
function script.read(path, patience)
  local text, err = core.read_file(path, MOST, patience)
  if not text then return nil, err and err.message or ("cannot read %s: No such file or directory"):format(path) end
  text = text:gsub("^\xef\xbb\xbf", ""):gsub("^#[^\n]*", "") -- as loadfile does
  local chunk, wrong = load(text, "@" .. path, "t")
  if not chunk then return nil, one_line(wrong) end
  return chunk
end

---Run a chunk from read(). It returns a bot, or a function that makes one, or nothing.
---@async
---@param chunk function
---@param path string
---@param args string[]
---@return boolean ok
---@return trueconf.Engine|trueconf.Client|string|nil bot engine or client of the bot that it has returned, or a
---complaint
function script.run(chunk, path, args)
  arg = table.move(args, 1, #args, 1, { [0] = path }) -- luacheck: globals arg
  return xpcall(function()
    local made = chunk(table.unpack(args))
    if type(made) == "function" then made = made() end
    return hooks.behind(made)
  end, complaint_at(path))
end

return script
