-- SPDX-License-Identifier: MIT
-- Surveys, activity, commands.

local PERSONAL = { as = "chat_id", lua = 'bot:create_p2p_chat "mira@chat.acme.test"' }
local SURVEY = [[
bot:send_survey {
  chat_id = chat_id, url = "https://chat.acme.test/webtools/survey", path = "p17", title = "Lunch",
}]]

return {
  sendSurvey = {
    before = { PERSONAL },
    { "The survey itself was made with the web tools of the server. Votes do not come back this way.",
      as = "sent", lua = SURVEY },
    { as = "sent", lua = SURVEY:gsub("chat_id = chat_id", 'chat_id = "gone"'), fails = "CHAT_NOT_FOUND" },
  },

  editSurvey = {
    before = { PERSONAL, { as = "sent", lua = SURVEY } },
    { as = "edited", lua = 'bot:edit_survey { message_id = sent.id, path = "p17", title = "Lunch on Friday" }' },
    { as = "edited", lua = 'bot:edit_survey { message_id = "none", path = "p17", title = "Lunch on Friday" }',
      fails = "MESSAGE_NOT_FOUND" },
  },

  sendChatActivity = {
    text = "It ends by itself; `bot:keep_typing(chat_id)` sends it again and again, after `retryAfter` milliseconds.",
    before = { PERSONAL },
    { as = "activity", lua = 'bot:send_chat_activity(chat_id, "typing")' },
    { as = "activity", lua = 'bot:send_chat_activity("gone", "typing")', fails = "CHAT_NOT_FOUND" },
  },

  answerCommand = {
    text = "Servers of 5.5.6 send clicks without a `commandId`, so that no click can be answered. Here the Bridge "
      .. "was started with `command_ids`.",
    bridge = { command_ids = true },
    before = { PERSONAL, { as = "question", lua = [[
bot:send_message(chat_id, "Deploy?", {
  buttons = { { { type = "command", id = "yes", label = "Yes", command = "deploy" } } },
})]] } },
    { "Mira clicks.", act = 'mira:click(question.id, "yes")' },
    { as = "ok", lua = 'bot:answer_command(event.command_id, "complete", { text = "Deployed", status = "ok" })' },
    { "A click is answered once.",
      as = "ok", lua = 'bot:answer_command(event.command_id, "complete", "Done")', fails = "ACCESS_DENIED" },
  },
}
