-- SPDX-License-Identifier: MIT
-- What the acts of simulated people have in common: how they name things, how they end.

local Error = require "trueconf.base.error"
local options = require "trueconf.base.options"

local acts = {}

-- An act returns its result and what is told about it, or nil, a code and a description.
-- People get errors as clients do.
function acts.outcome(person, result, news, description)
  if result == nil then return nil, Error.from_code(news, nil, description) end
  person.bridge.delivery:publish_all(news, person)
  return result
end

-- The id of a message, given as one or as its id.
function acts.id_of(message)
  return type(message) == "table" and message.id or message
end

-- The TrueConf ID of an account that must exist.
function acts.user_id_of(bridge, login, level)
  local account = type(login) == "string" and bridge.accounts:by_login(login)
  if not account then error(("there is no account '%s'"):format(tostring(login)), level + 1) end
  return account.id
end

function acts.check_text(what, value, level)
  if type(value) ~= "string" then options.refuse(what, "a string", value, level + 1) end
  if value == "" then error(what .. " must not be empty", level + 1) end
  if not utf8.len(value) then error(what .. " must be UTF-8", level + 1) end
end

return acts
