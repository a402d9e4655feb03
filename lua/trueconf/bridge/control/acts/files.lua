-- SPDX-License-Identifier: MIT
-- Acts on files.

local core = require "trueconf.core"
local act = require "trueconf.bridge.control.act"
local base64 = require "trueconf.bridge.control.base64"
local refusal = require("trueconf.bridge.control.fields").refusal

local done, of_chat, of_person = act.done, act.of_chat, act.of_person

---@type table<string, trueconf.bridge.Act>
local acts = {}

-- The bytes in the input, or the file they were saved in, and their name.
local function source_of(input, file, default)
  local name = input.name or file and file.name or default
  if not name or name == "" then return nil, refusal("name", "text that is not empty", "nothing") end
  if file then return { path = file.path }, name, input.type or file.type end
  if not input.data then return nil, refusal("data", "the file in base64, or a body of bytes", "nothing") end
  local bytes = base64.decode(input.data)
  if not bytes then return nil, refusal("data", "base64", "something else") end
  return bytes, name, input.type
end

acts.send_file = of_chat {
  fields = { name = "text?", data = "string?", type = "mime_type?", caption = "text?", reply_to = "text?" },
  takes_file = true,
  lua = { "PersonChat:send_file" },
  perform = function(chat, input, _, more)
    local source, name, kind = source_of(input, more.file)
    if not source then return nil, name end
    local opts = { type = kind, caption = input.caption, reply_to = input.reply_to }
    return act.message(chat:send_file(name, source, opts))
  end,
}

acts.send_voice = of_chat {
  fields = { data = "string?", type = "mime_type?", duration = "count?", reply_to = "text?" },
  takes_file = true,
  lua = { "PersonChat:send_voice" },
  perform = function(chat, input, _, more)
    local source, name, kind = source_of(input, more.file, "voice")
    if not source then return nil, name end
    return act.message(chat:send_voice(source, { type = kind, duration = input.duration, reply_to = input.reply_to }))
  end,
}

acts.avatar = of_chat {
  fields = { name = "text?", data = "string?", type = "mime_type?" },
  takes_file = true,
  lua = { "PersonChat:set_avatar" },
  perform = function(chat, input, _, more)
    local source, name, kind = source_of(input, more.file)
    if not source then return nil, name end
    return done(chat:set_avatar(name, source, { type = kind }))
  end,
}

local function file_of(person, input)
  local message, err = person:message(input.message_id)
  if not message then return nil, err end
  local file = message:file_info()
  if not file then return nil, refusal("message_id", "a message with a file", "one without") end
  return file, message
end

acts.file = of_person {
  http = "GET file",
  fields = { message_id = "text" },
  lua = { "PersonMessage:file_info" },
  perform = file_of,
}

-- The answer over HTTP is the file itself, over a WebSocket its bytes in base64.
acts.download = of_person {
  http = "GET download",
  fields = { message_id = "text" },
  lua = { "PersonMessage:file" },
  perform = function(person, input, control)
    local file, message = file_of(person, input)
    if not file then return nil, message end
    if not file.ready then return nil, core.error("TIMEOUT", "the file is still on its way") end
    return { serve = control.bridge.files:path(file.file_id), file = file }
  end,
}

return acts
