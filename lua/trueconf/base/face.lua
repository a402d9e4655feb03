-- SPDX-License-Identifier: MIT
-- A face is the object that a script holds: a table of its own, with the public methods in its class and the public
-- fields in it. A weak table leads to the objects that do the work, so that no field, method or metatable that a script
-- puts on a face changes how they work.

local face = {}

-- The field of a message that holds its internal objects; a script would not choose this name.
face.INSIDE = "(inside)"

local MOST_CLASSES = 100                -- of scripts, between an object and the face it inherits from

---@type table<table, table<string, table>> the parts behind each face, by name
local insides = setmetatable({}, { __mode = "k" })

-- The face that an object of a script inherits from.
local function inherited(object)
  for _ = 1, MOST_CLASSES do
    local meta = getmetatable(object)
    object = type(meta) == "table" and rawget(meta, "__index")
    if type(object) ~= "table" then return nil end
    if insides[object] then return insides[object] end
  end
end

local function find(self, name, example)
  local inside = type(self) == "table" and inherited(self)
  if not inside then error(("call %s with a colon, as in %s:%s(...)"):format(name, example, name), 3) end
  insides[self] = inside
  return inside
end

---The parts of a face, or of an object that inherits from one.
---@param object any
---@return table<string, table>? parts by name; nil: it is no face
function face.inside(object)
  if type(object) ~= "table" then return nil end
  return insides[object] or inherited(object)
end

---Make a table a face.
---@generic T: table
---@param object T
---@param parts table<string, table> what its methods work on, by the names that the class knows
---@return T object
function face.set(object, parts)
  insides[object] = parts
  return object
end

-- The method is called by a tail call: levels of the stack stay as they were.
local function through(name, method, part, example)
  return function(self, ...)
    local inside = insides[self] or find(self, name, example)
    return method(inside[part], ...)
  end
end

---@param methods table<string, function>
---@return string[]
local function names_in(methods)
  local names = {}
  for name, value in pairs(methods) do
    if type(value) == "function" and not name:find "^__" then names[#names + 1] = name end
  end
  return names
end

---Give a class of faces methods that work on one of the parts of each face.
---@param class table
---@param example string how scripts call an object of it
---@param part string
---@param methods table<string, function>
---@param names? string[] which of them; default all
function face.add(class, example, part, methods, names)
  for _, name in ipairs(names or names_in(methods)) do class[name] = through(name, methods[name], part, example) end
end

---@param name string of the class, for errors
---@return table class of faces, without methods
function face.class(name)
  local class = { __name = name }
  class.__index = class
  return class
end

return face
