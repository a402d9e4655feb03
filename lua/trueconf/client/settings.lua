-- SPDX-License-Identifier: MIT
-- The settings of a bot. Precedence: the argument, then the environment, then a config file; the default address is the
-- local Bridge. The file has lines `key = value`; a value may be quoted with " or ', and # begins a comment at the
-- start of a line or after a space. Every value is text: a password of digits stays as it is. Messages name the file
-- and the line, never the value.

local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local options = require "trueconf.base.options"
local url = require "trueconf.base.url"

local LOCAL_BRIDGE = "ws://localhost:4309"
local MAX_FILE_SIZE = 65536
local NO_FOLDER = 20                    -- ENOTDIR: no file can be there, as below a HOME of /dev/null

local VARIABLES = {
  url = "TRUECONF_URL",
  username = "TRUECONF_USERNAME",
  password = "TRUECONF_PASSWORD",
  token = "TRUECONF_TOKEN",
  oauth_client_id = "TRUECONF_OAUTH_CLIENT_ID",
  web_url = "TRUECONF_WEB_URL",
  ca_file = "TRUECONF_CA_FILE",
}

-- A ready token and a password exclude each other: the one that is found first wins.
local RIVALS = { token = { "password", "oauth_client_id" }, password = { "token" }, oauth_client_id = { "token" } }

---@class trueconf.Settings
---@field url string
---@field username? string
---@field password? string
---@field token? any as it was given
---@field oauth_client_id? string
---@field web_url? string
---@field ca_file? string

local function failed(message, ...)
  return nil, Error.new("CONFIG", message:format(...))
end

-- The config file -------------------------------------------------------------------------

local function unquote(text)
  local quote = text:match "^[\"']"
  if not quote then return (text:gsub("%s+#.*$", ""):gsub("^#.*$", "")) end
  local value, rest = text:match(("^%s([^%s]*)%s(.*)$"):format(quote, quote, quote))
  if value and (rest:find "^%s*$" or rest:find "^%s+#") then return value end
end

-- The key and value of a line, or nil and a complaint.
local function parse_line(line)
  local key, text = line:match "^%s*([%w_]+)%s*=%s*(.-)%s*$"
  if not key then return nil, "expected 'key = value'" end
  if not VARIABLES[key] then
    local near = options.nearest(key, VARIABLES)
    return nil, ("unknown key '%s'%s"):format(key, near and (", did you mean '%s'?"):format(near) or "")
  end
  local value = unquote(text)
  if not value then return nil, ("the value of '%s' must end with its quote"):format(key) end
  if value == "" then return nil, ("'%s' has no value"):format(key) end
  return key, value
end

-- The values of a config file's text, and the line of each.
local function parse_file(text, path)
  local values, lines, number = {}, {}, 0
  for line in (text:gsub("^\xEF\xBB\xBF", "") .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local source = ("%s:%d"):format(path, number)
    if line:find "^%s*[^%s#]" then
      local key, value = parse_line(line)
      if not key then return failed("%s: %s", source, value) end
      if values[key] then return failed("%s: '%s' was set before at %s", source, key, lines[key]) end
      values[key], lines[key] = value, source
    end
  end
  return values, lines
end

-- The values of a file and their lines; nil and no error if there is no file. A file with a secret must be readable for
-- its owner alone.
local function read_file(path, patience)
  local text, is_private = core.read_file(path, MAX_FILE_SIZE, patience)
  if not text then return nil, is_private end
  local values, lines = parse_file(text, path)
  local secret = values and not is_private and (values.password and "password" or values.token and "token")
  if not secret then return values, lines end
  return failed("will not use %s: it holds a %s, and others may read it; run chmod 600", path, secret)
end

local function usual_files(env)
  local home = env.HOME and env.HOME .. "/.config"
  local directory = env.XDG_CONFIG_HOME or home
  return { "./trueconf.conf", directory and directory .. "/trueconf/config" }
end

-- The values of the first existing file, their lines, and the error of a file that could not be read, which matters
-- only if settings are missing: nobody has named that file.
local function find_file(files)
  local trouble
  for _, path in ipairs(files) do
    local values, lines = read_file(path, 0)
    if values then return values, lines, trouble end
    if lines and lines.name == "CONFIG" then return nil, lines end
    if lines and lines.code ~= NO_FOLDER then trouble = trouble or lines end
  end
  return {}, {}, trouble
end

local function load_file(env, files)
  local named = not files and env.TRUECONF_CONFIG
  if not named then return find_file(files or usual_files(env)) end
  local values, lines = read_file(named)
  if values then return values, lines end
  if not lines then return failed("TRUECONF_CONFIG names the file %s, which does not exist", named) end
  return failed("TRUECONF_CONFIG: %s", lines.message)
end

local function is_complete(settings)
  return settings.token ~= nil or settings.username ~= nil and settings.password ~= nil
end

-- The layers ------------------------------------------------------------------------------

-- The environment, in which an empty variable counts as none.
local function environment(env)
  return setmetatable({}, {
    __index = function(_, name)
      local value
      if env then value = env[name] else value = os.getenv(name) end
      if value ~= "" then return value end
    end,
  })
end

local function layers(given, env, file, lines)
  local variables = {}
  for key, name in pairs(VARIABLES) do variables[key] = env[name] end
  return {
    { values = given, source = function(key) return ("option '%s'"):format(key) end },
    { values = variables, source = function(key) return VARIABLES[key] end },
    { values = file, source = function(key) return lines[key] end },
    { values = { url = LOCAL_BRIDGE }, source = function() return "default" end },
  }
end

-- Take the settings of a layer that no layer above it has set or excluded.
local function take(layer, settings, sources)
  local ruled_out = {}
  for key, rivals in pairs(RIVALS) do
    for _, rival in ipairs(rivals) do ruled_out[key] = ruled_out[key] or settings[rival] ~= nil end
  end
  for key in pairs(VARIABLES) do
    local value = layer.values[key]
    if value ~= nil and settings[key] == nil and not ruled_out[key] then
      settings[key], sources[key] = value, layer.source(key)
    end
  end
end

-- A secret that was read from a file, or typed in Windows, may end with a line break. The server would refuse it, and
-- nobody would see why.
local function check_secrets(settings, sources)
  for _, key in ipairs { "password", "token" } do
    local value = settings[key]
    local ending = type(value) == "string" and value:match "[\r\n]$"
    if ending then
      return failed("%s: the %s ends with a line break (%s); remove it", sources[key], key,
        ending == "\r" and "\\r" or "\\n")
    end
  end
  return true
end

---Gather the settings of a bot.
---@param given? table the caller's options, already checked; may hold other options as well
---@param env? table<string, string> in place of the process's environment
---@param files? string[] in place of the usual config files; the first that exists is read
---@return trueconf.Settings? settings
---@return table<string, string>|trueconf.Error sources the source of each: "option 'url'", "TRUECONF_URL",
---"path:line" or "default"; or an error CONFIG
local function resolve(given, env, files)
  env = environment(env)
  local file, lines, trouble = load_file(env, files)
  if not file then return nil, lines end
  local settings, sources = {}, {}
  for _, layer in ipairs(layers(given or {}, env, file, lines)) do take(layer, settings, sources) end
  if trouble and not is_complete(settings) then return failed("%s", trouble.message) end
  local ok, mistake = check_secrets(settings, sources)
  if not ok then return nil, mistake end
  for _, key in ipairs { "url", "web_url" } do
    local _, expected = url.parse(settings[key] or LOCAL_BRIDGE)
    if expected then return failed("%s: the %s %s", sources[key], key, expected) end
  end
  return settings, sources
end

return { resolve = resolve, DEFAULT_URL = LOCAL_BRIDGE }
