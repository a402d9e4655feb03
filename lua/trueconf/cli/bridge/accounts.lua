-- SPDX-License-Identifier: MIT
-- Reads the accounts for `trueconf bridge`. No message repeats text that could be a password.

local accounts = require "trueconf.bridge.accounts"
local core = require "trueconf.core"

local MOST_BYTES = 64 << 20             -- of a file: about a million accounts

local function add(found, login, password, where)
  if accounts.complaint(login, password) then
    return ("%s: the login must be text without '@', '/' and spaces"):format(where)
  end
  if found[login] then return ("%s: account '%s' was given before"):format(where, login) end
  found[login] = password
end

local function read_line(found, line, where)
  if line:find "^%s*$" or line:find "^%s*#" then return end
  local login, password = line:match "^%s*(.-)%s*=%s*(.-)%s*$"
  if not login or password == "" then return where .. ": expected login = password" end
  return add(found, login, password, where)
end

local function read_file(found, path)
  local text, err = core.read_private(path, MOST_BYTES)
  if not text then return "--accounts: " .. (err and err.message or "there is no file " .. path) end
  local number = 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    local complaint = read_line(found, line, ("%s:%d"):format(path, number))
    if complaint then return complaint end
  end
end

local function read_flag(found, text)
  local login, password = text:match "^([^:]*):(.+)$"
  if not login then return "--account: expected LOGIN:PASSWORD" end
  return add(found, login, password, "--account")
end

local function read_all(found, list, read_one)
  for _, given in ipairs(list) do
    local complaint = read_one(found, given)
    if complaint then return complaint end
  end
end

---Read files of accounts, one `login = password` a line, and single accounts as `login:password`.
---@param files string[]
---@param single string[]
---@return table<string, string>? accounts
---@return string? complaint
local function read(files, single)
  local found = {}
  local complaint = read_all(found, files, read_file) or read_all(found, single, read_flag)
  if complaint then return nil, complaint end
  return found
end

return { read = read }
