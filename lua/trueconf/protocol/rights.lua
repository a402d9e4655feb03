-- SPDX-License-Identifier: MIT
-- The rights of each role in a chat (protocol: rights by role). Cells that the vendor did not publish are filled as
-- recommended: only owner and admin may change the chat.

local enums = require "trueconf.protocol.enums"

local rights = {}

local function set(words)
  local made = {}
  for word in words:gmatch "%S+" do made[word] = true end
  return made
end

local EVERYBODY = set "owner admin user conf_owner conf_moderator favorites_owner writer"
local MODERATORS = set "owner admin conf_owner conf_moderator"
local MANAGERS = set "owner admin"

---@alias trueconf.protocol.Action
---| "read" | "write" | "add_participant" | "remove_participant" | "edit_own" | "remove_own"
---| "remove_others_for_self" | "remove_others_for_all" | "clear_for_self" | "clear_for_all"
---| "rename" | "change_avatar" | "change_role"

---@type table<trueconf.protocol.Action, table<string, true>> roles by what they may do
rights.TABLE = {
  read = EVERYBODY,
  write = EVERYBODY,
  add_participant = MANAGERS,
  remove_participant = MANAGERS,
  edit_own = EVERYBODY,
  remove_own = EVERYBODY,
  remove_others_for_self = set "owner admin user conf_owner conf_moderator writer",
  remove_others_for_all = MODERATORS,
  clear_for_self = EVERYBODY,
  clear_for_all = MODERATORS,
  rename = MANAGERS,
  change_avatar = MANAGERS,
  change_role = MANAGERS,
}

-- In a channel readers only read.
local CHANNEL_WRITERS = set "owner admin writer"
local FOR_CHANNEL_WRITERS = set "write edit_own remove_own"

-- A personal chat has no owner; both may clear it.
local FOR_BOTH_SIDES = set "read write edit_own remove_own remove_others_for_self clear_for_self clear_for_all"

---True if a role has the right to an action.
---@param role string
---@param action trueconf.protocol.Action
---@param chat_type? integer default a group
---@return boolean
function rights.may(role, action, chat_type)
  local roles = rights.TABLE[action] or error(("no such action: '%s'"):format(tostring(action)), 2)
  if chat_type == enums.ChatType.P2P then return FOR_BOTH_SIDES[action] or false end
  if chat_type == enums.ChatType.CHANNEL and FOR_CHANNEL_WRITERS[action] then roles = CHANNEL_WRITERS end
  return roles[role] or false
end

local GIVEN_IN_GROUP, GIVEN_IN_CHANNEL = set "admin user", set "admin user writer"

---True if changeParticipantRole can give this role in a chat (protocol: roles).
---@param role string
---@param chat_type integer
---@return boolean
function rights.can_be_given(role, chat_type)
  local given = chat_type == enums.ChatType.CHANNEL and GIVEN_IN_CHANNEL or GIVEN_IN_GROUP
  return given[role] or false
end

return rights
