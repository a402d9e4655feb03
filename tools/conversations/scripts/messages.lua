-- SPDX-License-Identifier: MIT
-- Messages: sent, changed, removed, read.

local PERSONAL = { as = "chat_id", lua = 'bot:create_p2p_chat "mira@chat.acme.test"' }
local SENT = { as = "sent", lua = 'bot:send_message(chat_id, "Build ok")' }
local FRIENDS = 'local group = mira:create_group "Friends"; group:add "herald"; friends_id = group.id'

return {
  sendMessage = {
    before = { PERSONAL },
    { "A text with marks. The bot's own message comes back to it; there is no event for that.",
      as = "sent", lua = 'bot:send_message(chat_id, "Build **ok**", { parse_mode = "markdown" })' },
    { "Mira answers. The ack marks her message as read.",
      act = 'mira:chat(chat_id):say("Thanks & bye", { reply_to = sent.id })' },
    { "An answer to her message.", as = "reply", lua = 'msg:reply "See you"' },
    { "A message with buttons.", as = "question", lua = [[
bot:send_message(chat_id, "Deploy?", {
  buttons = { {
    { type = "command", id = "yes", label = "Yes", command = "deploy", custom_data = "r17", style = "success" },
    { type = "url", label = "Log", url = "https://ci.acme.test/17" },
  } },
})]] },
    { "Mira clicks on Yes. The notification `command` does not say who did.", act = 'mira:click(question.id, "yes")' },
    { "A chat that does not exist, or no longer.",
      as = "sent", lua = 'bot:send_message("gone", "Hello")', fails = "CHAT_NOT_FOUND" },
  },

  editMessage = {
    before = { PERSONAL, SENT },
    { as = "edited", lua = 'bot:edit_message(sent.id, "Build ok, 42 tests")' },
    { "Mira writes.", act = 'hers = mira:chat(chat_id):say "Great"' },
    { "She edits what she wrote.", act = 'mira:chat(chat_id):edit(hers, "Great work")' },
    { "A message of somebody else.",
      as = "edited", lua = 'bot:edit_message(msg.id, "Bad")', fails = "NOT_ENOUGH_RIGHTS" },
  },

  forwardMessage = {
    before = { PERSONAL, SENT, { as = "group_id", lua = 'bot:create_group_chat "Ops"' } },
    { as = "copy", lua = "bot:forward_message(group_id, sent.id)" },
    { "Mira forwards what John wrote to her.",
      act = 'mira:chat(chat_id):forward(john:chat_with("mira"):say "Release on Friday")' },
    { "A message that does not exist.",
      as = "copy", lua = 'bot:forward_message(group_id, "none")', fails = "MESSAGE_NOT_FOUND" },
  },

  removeMessage = {
    before = { PERSONAL, SENT },
    { "For everybody.", as = "ok", lua = "bot:remove_message(sent.id, true)" },
    { "Again.", as = "ok", lua = "bot:remove_message(sent.id, true)", fails = "MESSAGE_NOT_FOUND" },
  },

  getMessageById = {
    before = { PERSONAL, { as = "sent", lua = [[
bot:send_message(chat_id, "Deploy?", {
  buttons = { { { type = "command", id = "yes", label = "Yes", command = "deploy" } } },
})]] } },
    { "The buttons of a message are only here and in the history.",
      as = "message", lua = "bot:get_message_by_id(sent.id)" },
    { as = "button", lua = "message.content.buttons[1][1]" },
    { as = "message", lua = 'bot:get_message_by_id "none"', fails = "MESSAGE_NOT_FOUND" },
  },

  getChatHistory = {
    text = "`bot:history(chat_id)` goes through all pages. Pages go backwards in time; a page from a message on begins "
      .. "with that message.",
    before = {
      { as = "group_id", lua = 'bot:create_group_chat "Ops"' },
      { lua = 'bot:send_message(group_id, "one")' },
      { lua = 'bot:send_message(group_id, "two")' },
      { lua = 'bot:edit_chat_title(group_id, "Operations")' },
    },
    { "The newest two; system messages are among them.",
      as = "page", lua = "bot:get_chat_history(group_id, 2)" },
    { "From the older one of them on.",
      as = "page", lua = "bot:get_chat_history(group_id, 2, page.messages[2].id)" },
    { as = "page", lua = 'bot:get_chat_history "gone"', fails = "CHAT_NOT_FOUND" },
  },

  clearHistory = {
    before = {
      { as = "group_id", lua = 'bot:create_group_chat "Ops"' },
      { lua = 'bot:send_message(group_id, "one")' },
      { "Mira takes the bot into a group of hers; friends_id is its id.", act = FRIENDS },
    },
    { "For everybody, as the owner may.", as = "ok", lua = "bot:clear_history(group_id, true)" },
    { "For everybody, in the group of Mira.",
      as = "ok", lua = "bot:clear_history(friends_id, true)", fails = "NOT_ENOUGH_RIGHTS" },
  },
}
