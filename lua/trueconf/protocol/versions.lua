-- SPDX-License-Identifier: MIT
-- Versions of the server and the additions of each (protocol: version matrix).

local versions = {}

---Versions that differ in what they offer, oldest first.
---@type { version: string, adds: string }[]
versions.MATRIX = {
  { version = "5.5.0", adds = "the API" },
  { version = "5.5.2", adds = "displayHistory, changeParticipantRole and its event, the Favorites chat" },
  { version = "5.5.3", adds = "mentions, editChatTitle, editChatAvatar, clearHistory, getFileUploadLimits and their "
    .. "events, fileName in uploadFile, 128 connections, OAuth2 exchange" },
  { version = "5.5.4", adds = "getChatParticipant, receiveSystemMessageEnvelopes, fileId instead of infoHash" },
  { version = "5.5.6", adds = "chat in envelopes, replyMessage, buttons, command and answerCommand, sendChatActivity, "
    .. "voice messages, captionMessageId, error codes 399 to 408" },
}

versions.OLDEST = versions.MATRIX[1].version
versions.NEWEST = versions.MATRIX[#versions.MATRIX].version

local parsed = {}

-- The numbers of a version, "5.5.6.10213" as { 5, 5, 6, 10213 }.
local function numbers_of(version)
  local numbers = parsed[version]
  if numbers then return numbers end
  if type(version) ~= "string" or not version:find "^%d+[%d.]*$" then
    error(("not a version: '%s'"):format(tostring(version)), 4)
  end
  numbers = {}
  for number in version:gmatch "%d+" do numbers[#numbers + 1] = math.tointeger(number) end
  parsed[version] = numbers
  return numbers
end

local function compare(one, other)
  local left, right = numbers_of(one), numbers_of(other)
  for index = 1, math.max(#left, #right) do
    local difference = (left[index] or 0) - (right[index] or 0)
    if difference ~= 0 then return difference < 0 and -1 or 1 end
  end
  return 0
end

---Compare two versions, number by number; a missing number is 0.
---@param one string such as "5.5.6" or "5.5.6.10213"
---@param other string
---@return integer order -1: `one` is older, 0: the same, 1: newer
function versions.compare(one, other)
  local order = compare(one, other)
  return order
end

---True if a server of `version` has the additions of the version `since`.
---@param version string
---@param since? string nil: it was always there
---@return boolean
function versions.since(version, since)
  return since == nil or compare(version, since) >= 0
end

local profiles = {}

---The row of the matrix that a version belongs to: the newest that is not newer.
---@param version string
---@return string profile the oldest one for a version older than all
function versions.profile(version)
  local profile = profiles[version]
  if profile then return profile end
  profile = versions.OLDEST
  for _, row in ipairs(versions.MATRIX) do
    if compare(version, row.version) >= 0 then profile = row.version end
  end
  profiles[version] = profile
  return profile
end

return versions
