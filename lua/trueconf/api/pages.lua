-- SPDX-License-Identifier: MIT
-- Iterators over lists of the API that come in pages; they fetch the next page when it is needed. A loop cannot return
-- an error, so an iterator raises the error object.

local options = require "trueconf.base.options"
local protocol = require "trueconf.protocol"

local limits = protocol.limits

---@class trueconf.Client
local Client = {}

-- Iterate over the items of pages, each once; a page without anything new is the last one.
-- `fetch` gets the number of the page and the last item, and returns a list or nil and an error.
local function items_of(fetch, id_of, is_known)
  local page, index, number, last = {}, 0, 0, nil
  local function next_page()
    number = number + 1
    local list, err = fetch(number, last)
    if not list then error(err, 0) end
    page, index = {}, 0
    for _, item in ipairs(list) do
      if not is_known(id_of(item)) then page[#page + 1] = item end
    end
    return #page > 0
  end
  return function()
    if index == #page and not next_page() then return nil end
    index = index + 1
    last = page[index]
    return last
  end
end

-- Remembers ids, because lists change between pages; returns true for an id that was seen before.
local function memory()
  local seen = {}
  return function(id)
    local known = id == nil or seen[id]
    if not known then seen[id] = true end
    return known
  end
end

local CHATS_SCHEMA = { count = { type = "integer", min = 1, default = limits.CHATS_PAGE } }

---Iterate over the chats of this account with a generic `for`. Pages are fetched when they are needed; an error is
---raised.
---@async
---@param opts? { count: integer? } chats of a page; default 50
---@return fun(): trueconf.Chat?
function Client:chats(opts)
  local count = options.check(CHATS_SCHEMA, opts, 2, "chats").count
  return items_of(function(number) return self:get_chats(count, number) end,
    function(chat) return chat.chat_id end, memory())
end

local PARTICIPANTS_SCHEMA = { page_size = { type = "integer", min = 1, default = limits.PARTICIPANTS_PAGE } }

---Iterate over the participants of a chat with a generic `for`. Pages are fetched when they are needed; an error is
---raised.
---@async
---@param chat_id string
---@param opts? { page_size: integer? } participants of a page; default 100
---@return fun(): trueconf.Participant?
function Client:participants(chat_id, opts)
  options.argument("participants", "chat_id", chat_id, "string", 2)
  local size = options.check(PARTICIPANTS_SCHEMA, opts, 2, "participants").page_size
  return items_of(function(number) return self:get_chat_participants(chat_id, size, number) end,
    function(participant) return participant.user_id end, memory())
end

-- History ---------------------------------------------------------------------------------

local HISTORY_SCHEMA = {
  count = { type = "integer", min = 1, default = limits.HISTORY_PAGE },
  from = { type = "string" },
}

-- The place of a message in its chat, as numbers to compare one after the other.
local function position_of(message, index)
  local box = type(message.box) == "table" and message.box or {}
  return { tonumber(box.id) or 0, tonumber(box.position) or 0, tonumber(message.timestamp) or 0, -index }
end

-- Newest first; clients do not trust the order of the server (protocol 6.1).
local function sorted(messages)
  local positions, list = {}, {}
  for index, message in ipairs(messages) do
    list[index], positions[message] = message, position_of(message, index)
  end
  table.sort(list, function(one, other)
    local left, right = positions[one], positions[other]
    for i = 1, #left do
      if left[i] ~= right[i] then return left[i] > right[i] end
    end
    return false
  end)
  return list
end

---Iterate over the messages of a chat with a generic `for`, from the newest to the oldest, with system messages. Pages
---are fetched when they are needed; an error is raised.
---@async
---@param chat_id string
---@param opts? { count: integer?, from: string? } messages of a page, default 100; id of the message to begin with
---@return fun(): trueconf.Message?
function Client:history(chat_id, opts)
  options.argument("history", "chat_id", chat_id, "string", 2)
  opts = options.check(HISTORY_SCHEMA, opts, 2, "history")
  local previous, current = {}, {}
  local function fetch(number, oldest)
    local anchor, count = opts.from, opts.count
    -- The anchor itself is among the answers: alone it would be no progress.
    if number > 1 then anchor, count = oldest.id, math.max(count, 2) end
    local page, err = self:get_chat_history(chat_id, count, anchor)
    if not page then return nil, err end
    previous, current = current, {}
    return sorted(page.messages or {})
  end
  return items_of(fetch, function(message) return message.id end, function(id)
    local known = id == nil or previous[id] or current[id]
    if id ~= nil then current[id] = true end
    return known
  end)
end

local pages = {}

---Give a class the methods for lists.
---@param class table
function pages.add_to(class)
  for name, method in pairs(Client) do class[name] = method end
end

return pages
