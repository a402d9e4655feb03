-- SPDX-License-Identifier: MIT
-- Reports typing mistakes in scripts at their line: a method called with a dot, a misspelled name.

local options = require "trueconf.base.options"

local misuse = {}

-- Methods called with a dot ------------------------------------------------------------------------

local function refuse(name, example)
  error(("call %s with a colon, as in %s:%s(...)"):format(name, example, name), 3)
end

-- The method is called by a tail call: levels of the stack stay as they were.
local function guarded(name, method, example)
  return function(self, ...)
    if type(self) ~= "table" or not self[name] then refuse(name, example) end
    return method(self, ...)
  end
end

---Let the methods of a class blame the caller who has called them with a dot.
---@param class table
---@param example string how scripts call an object of it
---@param names? string[] which methods; default all
function misuse.guard(class, example, names)
  if not names then
    names = {}
    for name, method in pairs(class) do
      if type(method) == "function" and not name:find "^__" then names[#names + 1] = name end
    end
  end
  for _, name in ipairs(names) do class[name] = guarded(name, class[name], example) end
end

-- Names that are not there ---------------------------------------------------------------------------

local function suggestion(name, names)
  local near = options.nearest(name, names)
  return near and (", did you mean '%s'?"):format(near) or ""
end

---Refuse a misspelled name of a module.
---@param shown string name of the module
---@param name any
---@param names table<string, any>
---@param level integer whom to blame, as in error()
function misuse.refuse_near(shown, name, names, level)
  local hint = type(name) == "string" and suggestion(name, names) or ""
  if hint ~= "" then error(("%s has no '%s'%s"):format(shown, name, hint), level + 1) end
end

---Let a module refuse misspelled names; other unknown names are nil, so that a script can test for them.
---@param module table
---@param shown string its name
---@return table module
function misuse.strict(module, shown)
  local meta = getmetatable(module) or {}
  function meta.__index(_, name) misuse.refuse_near(shown, name, module, 2) end
  return setmetatable(module, meta)
end

---Let the objects of a class refuse misspelled names of its methods "on_...". All other names may be fields that a
---script has not set yet.
---@param class table the last one in which names are looked up
---@param names table<string, any> all of the class
---@param shown string
function misuse.refuse_handlers(class, names, shown)
  setmetatable(class, { __index = function(_, name)
    if type(name) == "string" and name:find "^on[_%u]" and not rawget(names, name) then
      misuse.refuse_near(shown, name, names, 2)
    end
  end })
end

-- All names of an object of ours, or nil for anything else.
local function names_of(value)
  local meta = type(value) == "table" and getmetatable(value)
  local kind = type(meta) == "table" and rawget(meta, "__name")
  if type(kind) ~= "string" or not kind:find "^trueconf%." then return nil end
  local names = {}
  for _, class in ipairs(rawget(meta, "__classes") or { rawget(meta, "__index") }) do
    while type(class) == "table" do
      for name in pairs(class) do
        if type(name) == "string" and not name:find "^_" then names[name] = true end
      end
      local above = getmetatable(class)
      class = above and rawget(above, "__index")
    end
  end
  return names
end

-- All that the function at a level can see: its locals, what it computes with, and its upvalues.
local function visible_at(level)
  local values = {}
  local info = debug.getinfo(level + 1, "f")
  if not info then return values end
  local index = 1
  local name, value = debug.getlocal(level + 1, index)
  while name do
    values[#values + 1], index = value, index + 1
    name, value = debug.getlocal(level + 1, index)
  end
  for upvalue = 1, debug.getinfo(info.func, "u").nups do
    values[#values + 1] = select(2, debug.getupvalue(info.func, upvalue))
  end
  return values
end

---Add the name that was probably meant to an error's text, if the script has asked an object of ours for an unknown
---name. For message handlers, which see the stack as it was.
---@param text any
---@param level integer where the error was raised, as in error()
---@return any text
function misuse.explain(text, level)
  local name = type(text) == "string" and text:match "nil value %(%l+ '([%a_][%w_]*)'%)$"
  if not name then return text end
  for _, value in ipairs(visible_at(level + 1)) do
    local names = names_of(value)
    local hint = names and not names[name] and suggestion(name, names) or ""
    if hint ~= "" then return text .. hint end
  end
  return text
end

return misuse
