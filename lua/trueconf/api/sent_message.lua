-- SPDX-License-Identifier: MIT
-- A message that was sent: its ids, and methods to edit and remove it.

local face = require "trueconf.base.face"
local misuse = require "trueconf.base.misuse"
local objects = require "trueconf.api.objects"

local INSIDE = face.INSIDE

---A message that was sent.
---@class trueconf.SentMessage
---@field id string
---@field chat_id string
---@field timestamp integer milliseconds
---@field file_id string? of a file
---@field caption_message_id string? the message with the caption of a file; from 5.5.6
local SentMessage = {}

-- The wire's names stay; ours are found without a second table.
local names = {
  id = "messageId", message_id = "messageId", chat_id = "chatId", file_id = "fileId",
  caption_message_id = "captionMessageId",
}

local meta = {
  __name = "trueconf.SentMessage",
  __classes = { names, SentMessage },
  __index = function(self, key)
    local name = names[key]
    if name then return rawget(self, name) end
    return SentMessage[key]
  end,
}

---@param client trueconf.Client
---@param answer table as it came
---@return trueconf.SentMessage
local function new(client, answer)
  answer[INSIDE] = client
  return setmetatable(answer, meta)
end

---Replace the text; buttons that are not given again are removed.
---@async
---@param text string|number
---@param opts? trueconf.EditOptions
---@return trueconf.Edited? edited
---@return trueconf.Error? err
function SentMessage:edit(text, opts)
  return self[INSIDE]:edit_message(self.id, text, opts or {})
end

---Remove the message, by default for everybody.
---@async
---@param for_all? boolean default true
---@return true? ok
---@return trueconf.Error? err
function SentMessage:remove(for_all)
  return self[INSIDE]:remove_message(self.id, for_all ~= false)
end

objects.register("SentMessage", new)
objects.register("SentFile", new)

misuse.guard(SentMessage, "sent")

return { new = new }
