-- SPDX-License-Identifier: MIT
-- The preview of a file (protocol: upload sequence): given by the caller, the file itself, or made from a picture by
-- gdk-pixbuf, where that is installed. A file without a preview is sent all the same.

local core = require "trueconf.core"
local mime = require "trueconf.base.mime"
local options = require "trueconf.base.options"

local SIZE = 512                        -- pixels of the longer side, as the official client has it
local PATIENCE = 10                     -- seconds for making one
local MADE_FROM = { ["image/jpeg"] = true, ["image/png"] = true, ["image/gif"] = true, ["image/webp"] = true }

local preview = {}

---A preview of a file.
---@class (exact) trueconf.PreviewSource
---@field path? string a file with it
---@field data? string or its bytes
---@field name? string default the name in the path, or "preview" with an extension that fits
---@field type? string MIME type; default by the extension of the name
local SCHEMA = {
  path = { type = "string" }, data = { type = "string" }, name = { type = "string" },
  type = { type = "string", check = mime.is_type },
}

---Check the option `preview`.
---@param given any
---@param level integer stack level to blame
---@return trueconf.PreviewSource|boolean|nil
function preview.check(given, level)
  if type(given) == "string" then given = { path = given } end
  if type(given) ~= "table" then return given end
  given = options.check(SCHEMA, given, level + 1, "send_file: preview")
  if (given.path == nil) == (given.data == nil) then
    error("send_file: preview needs one of 'path' and 'data'", level + 1)
  end
  return given
end

local function given_part(given)
  local name = given.name or given.path and given.path:match "[^/]*$" or "preview"
  local kind = given.type or given.data and not given.name and "image/jpeg" or mime.of_name(name)
  return {
    name = "preview", path = given.path, data = given.data, filename = mime.complete(name, kind), type = kind,
  }
end

local function file_itself(file)
  return { name = "preview", path = file.part.path, data = file.part.data, filename = file.name, type = file.type }
end

local function made_part(client, file, left)
  if not MADE_FROM[file.type:lower():match "^[^;%s]*"] then return nil end
  local data, kind = core.picture_preview {
    path = file.part.path, data = file.part.data, size = SIZE,
    timeout = math.max(math.min(PATIENCE, left or PATIENCE), 0.001),
  }
  if data then return { name = "preview", data = data, filename = mime.complete("preview", kind), type = kind } end
  client.log:debug("%s is sent without a preview: %s", file.name, kind)
end

---The part of the upload for the preview.
---@async
---@param client trueconf.Client
---@param file trueconf.Upload
---@param given trueconf.PreviewSource|boolean|nil as checked; nil: one is made if the file is a picture
---@param left? number seconds
---@return trueconf.core.Part? part
function preview.part(client, file, given, left)
  if given == false then return nil end
  if given == true then return file_itself(file) end
  if given then return given_part(given) end
  return made_part(client, file, left)
end

return preview
