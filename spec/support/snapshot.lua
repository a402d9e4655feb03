-- SPDX-License-Identifier: MIT
-- Everything that a store of the Bridge holds, as plain tables that can be compared.

local function message_shot(message)
  local shot = {}
  for name, value in pairs(message) do shot[name] = value end
  shot.older, shot.newer = nil, nil
  return shot
end

local function chat_shot(store, chat)
  local shot = {}
  for name, value in pairs(chat) do shot[name] = value end
  shot.oldest, shot.newest, shot.messages = nil, nil, {}
  for place, message in ipairs(store:history(chat)) do shot.messages[place] = message_shot(message) end
  return shot
end

local function ids(list)
  local found = {}
  for place, item in ipairs(list) do found[place] = item.id end
  return found
end

---@param store trueconf.bridge.Store
---@return table
return function(store)
  local shot = {
    accounts = {}, chats = {}, chats_of = {}, unread = {}, favorites = {},
    files = store.files, file_uses = store.file_uses,
    serial = store:last_serial(), expired_through = store.expired_through, server_name = store.server_name,
  }
  for _, account in ipairs(store:account_list()) do
    local key = account.key
    shot.accounts[key] = message_shot(account)
    shot.chats_of[key] = ids(store:chats_of(key, 1, 1000))
    shot.unread[key] = ids(store:unread_list(key))
    shot.favorites[key] = (store:favorites_chat(key) or {}).id
  end
  for id, chat in pairs(store.chats) do shot.chats[id] = chat_shot(store, chat) end
  return shot
end
