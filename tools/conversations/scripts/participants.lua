-- SPDX-License-Identifier: MIT
-- Participants of chats.

local GROUP = { as = "group_id", lua = 'bot:create_group_chat "Ops"' }
local ADD_MIRA = { lua = 'bot:add_chat_participant(group_id, "mira@chat.acme.test")' }

return {
  addChatParticipant = {
    before = { GROUP },
    { as = "ok", lua = 'bot:add_chat_participant(group_id, "mira@chat.acme.test", true)' },
    { "Mira adds the bot to a group of hers, and writes there.",
      act = 'local group = mira:create_group "Friends"; group:add "herald"; group:say "Hello all"' },
    { "Mira is a participant already: treat this error as success.",
      as = "ok", lua = 'bot:add_chat_participant(group_id, "mira@chat.acme.test")',
      fails = "USER_IS_ALREADY_CHAT_PARTICIPANT" },
  },

  removeChatParticipant = {
    before = { GROUP, ADD_MIRA },
    { as = "ok", lua = 'bot:remove_chat_participant(group_id, "mira@chat.acme.test")' },
    { "Again.", as = "ok", lua = 'bot:remove_chat_participant(group_id, "mira@chat.acme.test")',
      fails = "USER_IS_NOT_CHAT_PARTICIPANT" },
  },

  changeParticipantRole = {
    before = { GROUP, ADD_MIRA },
    { as = "ok", lua = 'bot:change_participant_role(group_id, "mira@chat.acme.test", "admin")' },
    { "In groups nobody is a writer.",
      as = "ok", lua = 'bot:change_participant_role(group_id, "mira@chat.acme.test", "writer")',
      fails = "ROLE_NOT_FOUND" },
  },

  getChatParticipants = {
    text = "`bot:participants(chat_id)` goes through all pages.",
    before = { GROUP, ADD_MIRA },
    { as = "participants", lua = "bot:get_chat_participants(group_id, 10, 1)" },
    { as = "participants", lua = 'bot:get_chat_participants("gone")', fails = "CHAT_NOT_FOUND" },
  },

  getChatParticipant = {
    before = { GROUP, ADD_MIRA },
    { as = "participant", lua = 'bot:get_chat_participant(group_id, "mira@chat.acme.test")' },
    { "This error means no.",
      as = "participant", lua = 'bot:get_chat_participant(group_id, "john@chat.acme.test")',
      fails = "USER_IS_NOT_CHAT_PARTICIPANT" },
  },

  hasChatParticipant = {
    text = "Deprecated: [getChatParticipant](#getchatparticipant) says more.",
    before = { GROUP },
    { as = "is_there", lua = 'bot:has_chat_participant(group_id, "mira@chat.acme.test")' },
    { as = "is_there", lua = 'bot:has_chat_participant("gone", "mira@chat.acme.test")', fails = "CHAT_NOT_FOUND" },
  },

  getUserDisplayName = {
    { as = "name", lua = 'bot:get_user_display_name "mira@chat.acme.test"' },
    { "Nobody has this account.",
      as = "name", lua = 'bot:get_user_display_name "nobody@chat.acme.test"', fails = "ACCESS_DENIED" },
  },
}
