-- SPDX-License-Identifier: MIT
-- trueconf new: writes the files of a new bot.

local exit_codes = require "trueconf.cli.exit_codes"
local json = require "trueconf.base.json"
local templates = require "trueconf.cli.new.templates"

local HELP = "Make a folder with a new bot: bot.lua, a test, a systemd service, and a file for its settings. Existing "
  .. "files are never changed."
local EXAMPLES = [[
Examples:
  trueconf new clerk
  trueconf new clerk --dir ~/bots/clerk]]

local LONGEST_NAME = 31                 -- of a systemd user: the service runs as one of this name

-- The folder of the module's Lua files on this machine.
local function library()
  local path = assert(package.searchpath("trueconf", package.path)):gsub("/init%.lua$", "")
  if not path:find "^/" then path = (os.getenv "PWD" or ".") .. "/" .. path end
  return path
end

-- The files with their texts, in a fixed order.
local function files_of(name)
  local values = { NAME = name, STORE = name:upper():gsub("%-", "_") .. "_STORE", LIBRARY = json.encode(library()) }
  local files = {}
  for path, text in pairs(templates) do
    files[#files + 1] = { path = path:gsub("@(%u+)@", values), text = text:gsub("@(%u+)@", values) }
  end
  table.sort(files, function(one, other) return one.path < other.path end)
  return files
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Write all files or none: an existing file may be somebody's work.
local function complaint_of(folder, files)
  for _, file in ipairs(files) do
    local path = folder .. "/" .. file.path
    if exists(path) then return path .. " exists already; nothing was written" end
  end
end

local function write(path, text)
  local file <close>, err = io.open(path, "w")
  if not file then return nil, err end
  return file:write(text)
end

local function write_all(folder, files)
  if not os.execute("mkdir -p -- " .. quoted(folder)) then return nil, "cannot make the folder " .. folder end
  for _, file in ipairs(files) do
    local ok, err = write(folder .. "/" .. file.path, file.text)
    if not ok then return nil, "cannot write " .. err end
  end
  return true
end

local function is_name(name)
  return #name <= LONGEST_NAME and name:find "^%l[%l%d_-]*$" ~= nil
end

-- A folder quoted for a shell.
local function as_word(folder)
  if folder:find "^%-" then folder = "./" .. folder end
  return folder:find "^[%w_./+-]+$" and folder or quoted(folder)
end

local function tell(folder, files)
  for _, file in ipairs(files) do print(folder .. "/" .. file.path) end
  folder = as_word(folder)
  print(("\nTry it:  cd %s && trueconf chat --bridge bot.lua"):format(folder))
  print(("Test it: cd %s && lua5.4 bot_test.lua"):format(folder))
end

---@type trueconf.cli.Command
return {
  describe = function(command)
    command:description(HELP):epilog(EXAMPLES)
    command:argument("name", "Name of the bot: small letters, digits, '_' and '-'."):argname "NAME"
    command:option("--dir", "Folder for the bot (./NAME); it is made when it is missing."):argname "DIR"
  end,
  run = function(given)
    local name = given.name
    if not is_name(name) then
      return exit_codes.complain("new", ("the name must be at most %d small letters, digits, '_' and '-', and begin "
        .. "with a letter; got '%s'"):format(LONGEST_NAME, name:sub(1, 64)), exit_codes.MISUSE)
    end
    local folder, files = given.dir or name, files_of(name)
    local complaint = complaint_of(folder, files)
    if complaint then return exit_codes.complain("new", complaint, exit_codes.REFUSED) end
    local ok, err = write_all(folder, files)
    if not ok then return exit_codes.complain("new", err, exit_codes.REFUSED) end
    tell(folder, files)
    return exit_codes.DONE
  end,
}
