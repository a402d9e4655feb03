-- SPDX-License-Identifier: MIT
-- Exit codes of the commands that talk to a server, for scripts.

local Error = require "trueconf.base.error"
local printable = require "trueconf.base.printable"

local exit_codes = { DONE = 0, REFUSED = 1, MISUSE = 2, UNREACHABLE = 3, CREDENTIALS = 4, UNKNOWN = 5 }

---The codes in the words of the help.
exit_codes.HELP = [[
Exit codes:
  0  done
  1  the server refused it, or it failed here
  2  wrong usage: flags, settings, an input that cannot be read
  3  no connection, or no answer in time; nothing was sent
  4  the server refused user, password or token
  5  the connection was lost meanwhile: the server may have done it, or not]]

local CREDENTIALS = { AUTH_FAILED = true, TOKEN_EXPIRED = true }

-- Errors of the connection; the last two come from a server of another kind.
local CONNECTION = {
  TIMEOUT = true, DNS = true, REFUSED = true, UNREACHABLE = true, TLS = true, DISCONNECTED = true, CLOSED = true,
  HTTP = true, PROTOCOL = true,
}

---@param err trueconf.Error
---@return integer code
function exit_codes.of(err)
  local known = Error.names[err.name]
  if CREDENTIALS[err.name] or known and known.class == "auth" then return exit_codes.CREDENTIALS end
  if err.outcome == "unknown" then return exit_codes.UNKNOWN end
  if err.outcome ~= "rejected" and CONNECTION[err.name] then return exit_codes.UNREACHABLE end
  return err.name == "CONFIG" and exit_codes.MISUSE or exit_codes.REFUSED
end

---Print a message to the standard error, in one line.
---@param command string
---@param message any
function exit_codes.note(command, message)
  io.stderr:write("trueconf ", command, ": ", printable.line((tostring(message):gsub("[\t\r\n]+", " "))), "\n")
end

---Print an error, and return the exit code.
---@param command string
---@param message any
---@param code integer
---@return integer code
function exit_codes.complain(command, message, code)
  exit_codes.note(command, message)
  return code
end

---@param command string
---@param err trueconf.Error
---@return integer code
function exit_codes.fail(command, err)
  return exit_codes.complain(command, err, exit_codes.of(err))
end

return exit_codes
