-- SPDX-License-Identifier: MIT
-- Files: up, down, and what may be sent.

local PERSONAL = { as = "chat_id", lua = 'bot:create_p2p_chat "mira@chat.acme.test"' }
local SENT = { as = "sent", lua = 'bot:send_file(chat_id, { name = "plan.txt", data = "Friday: release 17\\n" })' }
local UPLOADED = {
  "temporal_file_id is what the upload of plan.txt has answered; see uploadFile.",
  act = 'temporal_file_id = upload("plan.txt", "Friday: release 17\\n")',
}
local SLOW = {
  "The server gets the file from another one, slowly.", act = "server:fault { file_delay = 5 }",
}

return {
  uploadFile = {
    text = "The first of three steps: the upload task, the bytes over HTTP, and the message. The client takes them in "
      .. "one call.",
    before = { PERSONAL },
    { "A picture. Without the part `preview` apps show it as a document; here it is the picture itself.",
      as = "sent", lua = [[
bot:send_file(chat_id, {
  name = "dot.gif", preview = true,
  data = "GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0\x3b",
})]] },
    { "An upload without a task.",
      act = 'post("00000000-0000-4000-8000-000000000000", "plan.txt", "Friday")' },
    { "A file that is too large, by a call that does not check the limits itself. Servers before 5.5.6 answer 310 to "
      .. "every error of a file.",
      as = "task_id", lua = 'bot:upload_file(60000000, "film.mp4")', fails = "MAX_FILE_SIZE_EXCEEDED" },
  },

  sendFile = {
    text = "By hand, for a file that was uploaded by other means; `bot:send_file(chat_id, { path = \"plan.txt\" })` "
      .. "takes all steps.",
    before = { PERSONAL, UPLOADED },
    { "The caption is a message of its own, before the message with the file.",
      as = "sent", lua = 'bot:send_file(chat_id, temporal_file_id, { text = "The plan", parse_mode = "text" })' },
    { "Mira sends a file.", act = 'mira:chat(chat_id):send_file("notes.txt", "Buy milk\\n")' },
    { "An upload can be used for one message.",
      as = "sent", lua = "bot:send_file(chat_id, temporal_file_id)", fails = "UPLOADED_FILE_NOT_FOUND" },
  },

  getFileInfo = {
    before = { PERSONAL, SENT },
    { as = "info", lua = "bot:get_file_info(sent.file_id)" },
    { "The whole file, downloaded from `downloadUrl`. The server needs only the token in it.",
      as = "bytes", lua = "bot:download(sent)" },
    { "The rest of it, after a lost connection; with `If-Range` the server answers 200 and the whole file if it has "
      .. "changed. The client does that by itself.",
      act = [[get(info.download_url, { Range = "bytes=8-", ["If-Range"] = '"' .. sent.file_id .. '"' })]] },
    { as = "info", lua = 'bot:get_file_info "none"', fails = "FILE_NOT_FOUND" },
  },

  getFileUploadLimits = {
    { as = "limits", lua = "bot:get_file_upload_limits()" },
    { "The administrator allows other files.",
      act = 'server:set_upload_limits { max_size = 5000000, extensions = { mode = "allow", list = { "pdf" } } }' },
    { "The server is in trouble.", act = "server:fault { request_error = 1 }" },
    { as = "limits", lua = "bot:get_file_upload_limits()", fails = "INTERNAL_ERROR" },
  },

  subscribeFileProgress = {
    text = "For a file that is not complete, with the `readyState` 1. The file is ready some time after the last "
      .. "progress: ask with [getFileInfo](#getfileinfo). `bot:download` does that by itself.",
    before = { PERSONAL, SLOW, SENT },
    { as = "subscribed", lua = "bot:subscribe_file_progress(sent.file_id)" },
    { "Time goes by.", act = "wait(3)" },
    { as = "subscribed", lua = 'bot:subscribe_file_progress "none"', fails = "FILE_NOT_FOUND" },
  },

  unsubscribeFileProgress = {
    before = { PERSONAL, SLOW, SENT, { lua = "bot:subscribe_file_progress(sent.file_id)" } },
    { as = "unsubscribed", lua = "bot:unsubscribe_file_progress(sent.file_id)" },
    { as = "unsubscribed", lua = 'bot:unsubscribe_file_progress "none"', fails = "FILE_NOT_FOUND" },
  },
}
