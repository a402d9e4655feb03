-- SPDX-License-Identifier: MIT
-- The files of a bot: the script, and the Lua modules below its folder that it has required.

local core = require "trueconf.core"
local script = require "trueconf.cli.run.script"

---@class trueconf.cli.Modules
---@field private folder string absolute
---@field private paths table<string, string> of modules, by name
---@field private known table<string, string|false> stamps of the files when they were read; false: there was none
---@field private last table<string, string|false>? stamps at the last look
local Modules = {}
Modules.__index = Modules

local function absolute(path)
  if not path:find "^/" then path = (os.getenv "PWD" or ".") .. "/" .. path end
  return (path:gsub("/%./", "/"):gsub("/%.$", ""):gsub("//+", "/"))
end

-- The path of a module, or the path it would have if it existed.
local function path_of(name, template)
  return package.searchpath(name, package.path) or template:gsub("%?", (name:gsub("%.", "/")))
end

-- Runs before the searchers of `require`, notes the module, and finds nothing.
function Modules:notice(name)
  if name:find "^trueconf%f[.\0]" then return end
  local path = path_of(name, self.folder .. "/?.lua")
  if absolute(path):sub(1, #self.folder + 1) ~= self.folder .. "/" then return end
  self.paths[name] = path
  self.known[path] = core.file_stamp(path) or false
end

---@param path string of the bot's file
---@return trueconf.cli.Modules
local function new(path)
  local self = setmetatable({ folder = absolute(script.folder_of(path)), paths = {} }, Modules)
  self.known = { [path] = core.file_stamp(path) or false }
  table.insert(package.searchers, 1, function(name) self:notice(name) end)
  return self
end

---True if a file has changed since it was read, and no longer changes: an editor writes a file in pieces, and for a
---moment the file may not exist at all.
---@return boolean
function Modules:changed()
  local now, differs, at_rest = {}, false, true
  for path, known in pairs(self.known) do
    now[path] = core.file_stamp(path) or known
    differs = differs or now[path] ~= known
    at_rest = at_rest and self.last ~= nil and self.last[path] == now[path]
  end
  self.last = now
  return differs and at_rest
end

---Unload the modules, so that the next run loads them anew.
---@return fun() restore loads the old modules back
function Modules:forget()
  local loaded = {}
  for path in pairs(self.known) do self.known[path] = core.file_stamp(path) or self.known[path] end
  for name in pairs(self.paths) do
    loaded[name], package.loaded[name] = package.loaded[name], nil
  end
  return function()
    for name in pairs(self.paths) do package.loaded[name] = loaded[name] end
  end
end

return { new = new }
