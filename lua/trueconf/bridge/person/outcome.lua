-- SPDX-License-Identifier: MIT
-- Shared by the actions of simulated people: names of things, and results.

local Error = require "trueconf.base.error"
local options = require "trueconf.base.options"

local outcome = {}

-- An action of the Bridge returns its result and its notifications, or nil, a code and a description. People get the
-- same errors as clients.
function outcome.of(person, result, notifications, description)
  if result == nil then return nil, Error.from_code(notifications, nil, description) end
  person.bridge.publisher:publish_all(notifications, person)
  return result
end

-- The id of a message, which is given as an object or as an id.
function outcome.id_of(message)
  return type(message) == "table" and message.id or message
end

-- The TrueConf ID of an account that must exist.
function outcome.user_id_of(bridge, login, level)
  local account = type(login) == "string" and bridge.accounts:by_login(login)
  if not account then error(("there is no account '%s'"):format(tostring(login)), level + 1) end
  return account.id
end

function outcome.check_text(what, value, level)
  if type(value) ~= "string" then options.refuse(what, "a string", value, level + 1) end
  if value == "" then error(what .. " must not be empty", level + 1) end
  if not utf8.len(value) then error(what .. " must be UTF-8", level + 1) end
end

return outcome
