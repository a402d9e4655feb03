-- What the Lua files know of the wire by name: which methods only read, the kinds of
-- messages and authors, and limits. A method missing here can still be called.
-- SPDX-License-Identifier: MIT

local protocol = {}

---Methods that change nothing: repeated by themselves when a connection was lost before
---their answer came (protocol section 6).
protocol.READS = {
  getMessageById = true,
  getChatHistory = true,
  getChats = true,
  getChatByID = true,
  getChatParticipants = true,
  getChatParticipant = true,
  hasChatParticipant = true,
  getUserDisplayName = true,
  getFileInfo = true,
  getFileUploadLimits = true,
}

---Envelope types (protocol 8.5); below 200 they are of the system.
protocol.PLAIN_MESSAGE = 200

---Parse modes of a text (protocol 10.1).
protocol.PARSE_MODES = { "text", "markdown", "html" }

---A TrueConf ID without its instance part and in lower case, as ids are compared (protocol 4.6).
---@param user_id string
---@return string
function protocol.plain_id(user_id)
  return (user_id:match "^[^/]*"):lower()
end

return protocol
