-- SPDX-License-Identifier: MIT
-- Acts over HTTP: a body is a JSON object, or a file; without a body the fields are in the query.

local json = require "trueconf.base.json"
local mime = require "trueconf.base.mime"
local acts = require "trueconf.bridge.control.acts"
local fields = require "trueconf.bridge.control.fields"
local reply = require "trueconf.bridge.http.reply"

local LARGEST_FILE = 16 << 30           -- bytes
local NAME_OF = {}                      -- of acts, by method and path
for name, act in pairs(acts) do
  if act.http then NAME_OF[act.http] = name end
end

local http = {}

local function respond(request, status, body, more)
  local headers = { ["Content-Type"] = "application/json", ["Cache-Control"] = "no-store" }
  for name, value in pairs(more or {}) do headers[name] = value end
  request:respond(status, headers, assert(json.encode(body)))
end

---@param request trueconf.core.Request
---@param status integer
---@param name string
---@param message string
---@param more? table<string, string> headers
function http.refuse(request, status, name, message, more)
  respond(request, status, { error = name, message = message }, more)
end

local STATUS = { INTERNAL_ERROR = 500, CLOSED = 503, IO = 507 }

local function respond_wrong(control, request, wrong)
  respond(request, wrong.field and 400 or STATUS[wrong.name] or 409, control.error_of(wrong))
end

-- Uploads ----------------------------------------------------------------------------------------

-- The fields of such an act are in the query, so that the body can be a file.
local function takes_file(act, head)
  return act and act.takes_file and head.query.person ~= nil
end

---@param control trueconf.bridge.Control
---@param head trueconf.core.RequestHead
---@return trueconf.core.BodyDecision?
function http.on_head(control, head)
  local name = NAME_OF[head.method .. " " .. (head.path:match "^/control/(.*)$" or "")]
  if not takes_file(acts[name], head) then return nil end
  local path, err = control.bridge.files:spare_path()
  if not path then
    control.bridge.log:error("bridge: control: a file cannot be kept: %s", err)
    return { ignore_body = true }
  end
  local is_form = (head.headers["content-type"] or ""):lower():find "^multipart/form%-data"
  if is_form then return { form = { file = path }, max_body = LARGEST_FILE } end
  return { save_to = path, max_body = LARGEST_FILE }
end

---@class trueconf.bridge.ControlFile a file that has come with a request
---@field path string
---@field name string?
---@field type string? MIME type

local function file_of(request)
  if request.body_file then return { path = request.body_file } end
  local part = (request.parts or {}).file
  local name = part and (part.filename or ""):match "[^/\\]*$"
  local kind = part and part.type and mime.is_type(part.type) and part.type or nil
  return part and { path = part.path, name = name and utf8.len(name) and name or nil, type = kind }
end

-- Requests -----------------------------------------------------------------------------------------

-- The fields of a request, or nil and a complaint.
local function input_of(request, act)
  if request.method ~= "POST" or takes_file(act, request) then
    return fields.of_query(request.query, act.fields or {})
  end
  local input = json.decode(request.body)
  if type(input) == "table" and not json.is_array(input) then return input end
  return nil, fields.refusal("body", "a JSON object", request.body == "" and "nothing" or "something else")
end

-- Answer with a file of the Bridge, as a download.
local function serve(request, answer)
  local headers = reply.file_headers(answer.file.name, answer.file.mime_type)
  headers["Cache-Control"] = "no-store"
  local ok, err = request:respond(200, headers, { path = answer.serve })
  if not ok and err.name ~= "CLOSED" then http.refuse(request, 500, err.name, err.message) end
end

local function perform(control, request, act)
  local file = file_of(request)
  local input, wrong = input_of(request, act)
  local answer
  if input then answer, wrong = control:perform(act, input, { file = file }) end
  if file then control.bridge.files:release(file.path) end
  if not answer then return respond_wrong(control, request, wrong) end
  if answer.serve then return serve(request, answer) end
  respond(request, 200, answer)
end

local function allowed_methods(path)
  local allowed = {}
  for _, method in ipairs { "DELETE", "GET", "POST" } do
    if NAME_OF[method .. " " .. path] then allowed[#allowed + 1] = method end
  end
  return allowed[1] and table.concat(allowed, ", ")
end

---Answer a request that has passed the guard.
---@async
---@param control trueconf.bridge.Control
---@param request trueconf.core.Request
---@param path string without the prefix
function http.handle(control, request, path)
  local name = NAME_OF[request.method .. " " .. path]
  if name then return perform(control, request, acts[name]) end
  local allowed = allowed_methods(path)
  if not allowed then return http.refuse(request, 404, "NOT_FOUND", "there is nothing under this path") end
  http.refuse(request, 405, "METHOD_NOT_ALLOWED", "expected " .. allowed, { Allow = allowed })
end

return http
