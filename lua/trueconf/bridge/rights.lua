-- SPDX-License-Identifier: MIT
-- Who may do what in a chat (protocol: rights by role). Cells that are published nowhere are
-- for owners and admins.

local ChatType = { P2P = 1, GROUP = 2, FAVORITES = 5, CHANNEL = 6 }

local MANAGERS = { owner = true, admin = true }
local MODERATORS = { owner = true, admin = true, conf_owner = true, conf_moderator = true }
local CHANNEL_AUTHORS = { owner = true, admin = true, writer = true }

-- Roles that can be given, by the kind of chat. An owner stays one.
local GRANTABLE = {
  [ChatType.GROUP] = { admin = true, user = true },
  [ChatType.CHANNEL] = { admin = true, user = true, writer = true },
}

local rights = { ChatType = ChatType }

---@param chat trueconf.bridge.ChatRecord
---@param key string
---@return boolean
function rights.may_write(chat, key)
  return chat.type ~= ChatType.CHANNEL or CHANNEL_AUTHORS[chat.roles[key]] == true
end

---Whether somebody may add and remove people, change roles and the title. Only groups and
---channels are managed.
---@param chat trueconf.bridge.ChatRecord
---@param key string
---@return boolean
function rights.may_manage(chat, key)
  return GRANTABLE[chat.type] ~= nil and MANAGERS[chat.roles[key]] == true
end

---Whether somebody may remove for all what others wrote, and clear the history for all.
---@param chat trueconf.bridge.ChatRecord
---@param key string
---@return boolean
function rights.may_moderate(chat, key)
  return MODERATORS[chat.roles[key]] == true
end

---Whether a chat goes for all when this member removes it; else the member leaves.
---@param chat trueconf.bridge.ChatRecord
---@param key string
---@return boolean
function rights.owns(chat, key)
  local role = chat.roles[key]
  return role == "owner" or role == "favorites_owner"
end

---@param chat trueconf.bridge.ChatRecord
---@param role string
---@return boolean
function rights.is_grantable(chat, role)
  local roles = GRANTABLE[chat.type]
  return roles ~= nil and roles[role] == true
end

return rights
