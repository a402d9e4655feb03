-- SPDX-License-Identifier: MIT
-- The version of the server: set by the user, or asked for once where the server tells it. The chat API itself has no
-- request for it (protocol: version matrix). Bridge's own port does not tell it either, so an unknown version is usual
-- there, and no error.

local json = require "trueconf.base.json"

local server_version = {}

local PATIENCE = 5                      -- seconds; a call waits for this once
local MAX_BODY = 65536                  -- bytes

-- The first four numbers at most: "5.5.6.10213-beta" is 5.5.6.10213.
local function numbers(text)
  return type(text) == "string" and text:match "^%d+%.%d+[%d.]*" or nil
end

local function read(body)
  local info = json.receive(body)
  local product = type(info) == "table" and info.product
  local version = type(product) == "table" and numbers(product.version)
  return version and version:gsub("%.+$", "") or nil
end

---Ask a server for its version (protocol: neighbouring HTTP calls).
---@async
---@param web trueconf.Web
---@return string? version nil: it does not say
---@return string? why
function server_version.ask(web)
  local response, err = web:http {
    url = web.endpoints.server,
    connect_timeout = PATIENCE, timeout = PATIENCE, max_body = MAX_BODY,
  }
  if not response then return nil, tostring(err) end
  if response.status ~= 200 then return nil, ("status %d"):format(response.status) end
  local version = read(response.body or "")
  return version, not version and "no version in the answer" or nil
end

---Fit to be the `check` of an option.
---@param text string
---@return boolean
---@return string? expected
function server_version.is_version(text)
  return numbers(text) == text and not text:find "%.%.", "must be a version such as '5.5.6'"
end

return server_version
