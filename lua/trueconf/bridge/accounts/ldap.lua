-- SPDX-License-Identifier: MIT
-- Accounts in an LDAP directory: a login is checked by a bind as the user.

local core = require "trueconf.core"
local options = require "trueconf.base.options"

---@class trueconf.bridge.DirectoryOptions
---@field url string ldap://host:port, ldaps://host:port or ldapi://
---@field bind_dn string DN of a user, with %s where the login belongs: "uid=%s,ou=people,dc=acme,dc=test"
---@field start_tls? boolean turn a connection to ldap:// into TLS before the password is sent; default false
---@field ca_file? string PEM file of trusted authorities, in place of those of the system
---@field timeout? number seconds for one login; default 5
---@field display_name? string attribute that holds the display name, such as "displayName"; default none
---@field allow_plaintext? boolean send passwords over ldap:// to another machine, not only to loopback; default false

---@class trueconf.bridge.Directory
---@field private options trueconf.bridge.DirectoryOptions
local Directory = {}
Directory.__index = Directory

local function is_ldap_url(text)
  return text:find "^ldaps?://[^/?#]+/?$" ~= nil or text:find "^ldapi://[^/?#]*/?$" ~= nil,
    "must be ldap://host[:port], ldaps://host[:port] or ldapi://path"
end

local function has_one_placeholder(text)
  return select(2, text:gsub("%%s", "")) == 1, "must have %s once, where the login belongs"
end

-- The file is read for each login; this check reports a wrong path at the start.
local function is_ca_file(path)
  local ok, err = core.ldap_ca_file(path)
  return ok, err and "must be a PEM file of certificates: " .. err.message:gsub("^ca_file: ", "")
end

local SCHEMA = {
  url = { type = "string", required = true, check = is_ldap_url },
  bind_dn = { type = "string", required = true, check = has_one_placeholder },
  start_tls = { type = "boolean", default = false },
  ca_file = { type = "string", check = is_ca_file },
  timeout = { type = "number", default = 5, min = 0.1, max = 60 },
  display_name = { type = "string" },
  allow_plaintext = { type = "boolean", default = false },
}

-- The URL of a directory on loopback. libldap would ask the system, and perhaps DNS, for a name below localhost; the
-- name localhost itself is in the system's files.
local function of_this_machine(url)
  local host = url:match "^ldap://(%[[^%]]*%])" or url:match "^ldap://([^:/]*)"
  if not core.is_loopback(host) then return nil end
  return host:lower():find "%.localhost%.?$" and "ldap://localhost" .. url:sub(#"ldap://" + #host + 1) or url
end

---Check the options of a directory and fill in the defaults.
---@param given trueconf.bridge.DirectoryOptions
---@param level integer of the caller to blame
---@return trueconf.bridge.DirectoryOptions
local function read(given, level)
  local checked = options.check(SCHEMA, given, level + 1, "accounts: ldap")
  local plain = checked.url:find "^ldap://" and not checked.start_tls
  local here = plain and of_this_machine(checked.url)
  if plain and not checked.allow_plaintext and not here then
    error("accounts: ldap: passwords would go unencrypted to another machine; use ldaps://, start_tls, or say "
      .. "allow_plaintext = true", level + 1)
  end
  checked.url = here or checked.url
  return checked
end

---@param checked trueconf.bridge.DirectoryOptions as read() gives them
---@return trueconf.bridge.Directory
local function new(checked)
  return setmetatable({ options = checked }, Directory)
end

-- RFC 4514 allows \XX for every character of a value; these characters need it in some places.
local function escape(value)
  return (value:gsub('[%c%z "#+,;<=>\\]', function(sign) return ("\\%02X"):format(sign:byte()) end))
end

---The distinguished name of a login.
---@param login string
---@return string
function Directory:dn(login)
  return (self.options.bind_dn:gsub("%%s", function() return escape(login) end))
end

-- Splits a name at a character, except where that is escaped.
local function split(name, sign)
  local parts, from, at = {}, 1, 1
  while at <= #name do
    local byte = name:sub(at, at)
    if byte == sign then
      parts[#parts + 1], from = name:sub(from, at - 1), at + 1
    end
    at = at + (byte == "\\" and 2 or 1)
  end
  parts[#parts + 1] = name:sub(from)
  return parts
end

-- RFC 4514, 3
local function unescape(value)
  local signs, at = {}, 1
  while at <= #value do
    local hex = value:match("^\\(%x%x)", at)
    local sign = hex and string.char(tonumber(hex, 16)) or value:match("^\\?(.)", at)
    at = at + (hex and 3 or value:sub(at, at) == "\\" and 2 or 1)
    signs[#signs + 1] = sign
  end
  return table.concat(signs)
end

-- The part of a template that has %s, and its index among the others.
local function placeholder_of(parts)
  for index, part in ipairs(parts) do
    if part:find("%s", 1, true) then return part, index end
  end
end

-- The text that stands for %s in one "attribute=value" of a name.
local function value_in(template, rdn)
  local assertions = split(rdn, "+")
  local attribute, before, after = placeholder_of(split(template, "+")):match "^%s*([^=]-)%s*=%s*(.-)%%s(.-)%s*$"
  for _, assertion in ipairs(assertions) do
    local name, value = assertion:match "^%s*([^=]-)%s*=%s*(.*)$"
    if name and (not assertions[2] or name:lower() == attribute:lower()) then
      value = unescape(value)
      local last = #value - #after
      local fits = value:sub(1, #before):lower() == before:lower() and value:sub(last + 1):lower() == after:lower()
      return fits and value:sub(#before + 1, last) or nil
    end
  end
end

---The login in the name that the directory returns for a user, at the place where bind_dn has %s. A directory accepts
---many spellings of a login (letters in another case or width, spaces, invisible characters); its own name has only
---one.
---@param name string "dn:" and a distinguished name, or "u:" and a name of another kind (RFC 4513, 5.2.1.8)
---@return string? login nil: the name does not contain it
function Directory:login_in(name)
  local dn = name:match "^dn:(.*)$"
  if not dn then return name:match "^u:(.*)$" and name:match "[^:\\]*$":match "^[^@]*" end
  local template, parts = split(self.options.bind_dn, ","), split(dn, ",")
  local rdn, index = placeholder_of(template)
  return #template == #parts and rdn:find("=", 1, true) and value_in(rdn, parts[index]) or nil
end

---Check a login and its password.
---@async
---@param login string
---@param password string
---@return string? login as the directory spells it; nil: refused, or the directory did not answer
---@return string|trueconf.Error? display_name or the error: AUTH_FAILED when the directory refuses, others when it does
---not answer
function Directory:login(login, password)
  local checked = self.options
  local name, more = core.ldap_bind {
    url = checked.url,
    dn = self:dn(login),
    password = password,
    start_tls = checked.start_tls,
    ca_file = checked.ca_file,
    timeout = checked.timeout,
    attribute = checked.display_name,
  }
  if not name then return nil, more end
  local own = self:login_in(name)
  if own and own ~= "" then return own, more end
  return nil, core.error("UNREACHABLE", "the directory does not tell the name of the user: users must be able to read "
    .. "their own entries, or to ask who they are (RFC 4532)")
end

return { read = read, new = new }
