-- SPDX-License-Identifier: MIT
-- Chats: made, listed, changed, removed.

local GROUP = { as = "group_id", lua = 'bot:create_group_chat "Ops"' }
local PERSONAL = { as = "chat_id", lua = 'bot:create_p2p_chat "mira@chat.acme.test"' }
local FRIENDS = {
  "Mira takes the bot into a group of hers; friends_id is its id.",
  act = 'local group = mira:create_group "Friends"; group:add "herald"; friends_id = group.id',
}
local TROUBLE = "server:fault { request_error = 1 }"
local TITLE_MISSING = "The client refuses an empty title itself, so this goes past its checks."

return {
  createP2PChat = {
    { as = "chat_id", lua = 'bot:create_p2p_chat "mira@chat.acme.test"' },
    { "The chat is there already.", as = "chat_id", lua = 'bot:create_p2p_chat "mira@chat.acme.test"' },
    { "Nobody has this account.",
      as = "chat_id", lua = 'bot:create_p2p_chat "nobody@chat.acme.test"', fails = "ACCESS_DENIED" },
  },

  createGroupChat = {
    { as = "group_id", lua = 'bot:create_group_chat "Ops"' },
    { TITLE_MISSING,
      as = "answer", lua = 'bot:call("createGroupChat", { title = "" })', fails = "WRONG_PAYLOAD_FORMAT" },
  },

  createChannel = {
    { as = "channel_id", lua = 'bot:create_channel "News"' },
    { TITLE_MISSING,
      as = "answer", lua = 'bot:call("createChannel", { title = "" })', fails = "WRONG_PAYLOAD_FORMAT" },
  },

  createFavoritesChat = {
    { as = "favorites_id", lua = "bot:create_favorites_chat()" },
    { "The chat is there already.", as = "favorites_id", lua = "bot:create_favorites_chat()" },
    { "The server is in trouble.", act = TROUBLE },
    { as = "favorites_id", lua = "bot:create_favorites_chat()", fails = "INTERNAL_ERROR" },
  },

  getChats = {
    text = "`bot:chats()` goes through all pages. The payload of the response is an array.",
    before = { GROUP, PERSONAL, { lua = 'bot:send_message(chat_id, "Build ok")' } },
    { as = "chats", lua = "bot:get_chats(10, 1)" },
    { "An empty page ends the list.", as = "chats", lua = "bot:get_chats(10, 2)" },
    { "Pages begin with 1. The client knows that, so this goes past its checks.",
      as = "chats", lua = 'bot:call("getChats", { count = 10, page = 0 })', fails = "WRONG_PAYLOAD_FORMAT" },
  },

  getChatByID = {
    before = { GROUP },
    { as = "chat", lua = "bot:get_chat_by_id(group_id)" },
    { as = "chat", lua = 'bot:get_chat_by_id "gone"', fails = "CHAT_NOT_FOUND" },
  },

  removeChat = {
    before = { GROUP },
    { as = "ok", lua = "bot:remove_chat(group_id)" },
    { "Again.", as = "ok", lua = "bot:remove_chat(group_id)", fails = "CHAT_NOT_FOUND" },
  },

  editChatTitle = {
    before = { GROUP, FRIENDS },
    { as = "changed", lua = 'bot:edit_chat_title(group_id, "Operations")' },
    { "In a group where the bot is only a participant.",
      as = "changed", lua = 'bot:edit_chat_title(friends_id, "Foes")', fails = "NOT_ENOUGH_RIGHTS" },
  },

  editChatAvatar = {
    before = {
      GROUP,
      { "temporal_file_id is what the upload of a picture has answered; see uploadFile.",
        act = 'temporal_file_id = upload("ops.png", "a picture")' },
    },
    { as = "ok", lua = "bot:edit_chat_avatar(group_id, temporal_file_id)" },
    { "An upload can be used once.",
      as = "ok", lua = "bot:edit_chat_avatar(group_id, temporal_file_id)", fails = "FILE_NOT_FOUND" },
  },
}
