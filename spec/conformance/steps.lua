-- SPDX-License-Identifier: MIT
-- The steps of the other side for a row, in raw_peer.py, by the kind of the row.

local bytes = require "spec.conformance.bytes"

local steps = {}

local PROBE = bytes.head("GET /probe HTTP/1.1", "Host: localhost", "Connection: close")

local hex = bytes.hex

local function add(list, ...)
  for _, step in ipairs { ... } do list[#list + 1] = step end
  return list
end

-- Bytes, in pieces if the row wants that.
local function sending(row, data)
  return row.chop and { "chop", hex(data), row.chop } or { "send", hex(data) }
end

local function wire(frames, from)
  local list = {}
  for place, frame in ipairs(frames) do list[place] = bytes.of(frame, from) end
  return table.concat(list)
end

-- The other side's close frame, and that the end answers it. A server then ends the connection.
local function goodbye(at, from, frame)
  local list = { { "send", hex(wire({ frame }, from)) }, { "close" } }
  if at.role == "server" then add(list, { "end" }) end
  return list
end

---Frames behind a handshake.
---@param row table { send = frames, chop?, early?, fails?, replies?, pongs? }
---@param at spec.conformance.End
function steps.frames(row, at)
  local from = at.role == "server" and "client" or "server"
  local data, list = wire(row.send, from), {}
  if at.role == "server" then
    local handshake = bytes.handshake { GET = "GET " .. at.path .. " HTTP/1.1" }
    add(list, { "send", hex(handshake .. (row.early and data or "")) }, { "head" })
  else
    add(list, { "head" }, { "reply", hex(bytes.answer() .. (row.early and data or "")) })
  end
  if not row.early then add(list, sending(row, data)) end
  if row.fails or row.replies ~= nil then
    add(list, { "close" })
    if at.role == "server" then add(list, { "end" }) end
    return list
  end
  if row.pongs and row.pongs[1] then add(list, { "pong", hex(row.pongs[#row.pongs]) }) end
  return add(list, table.unpack(goodbye(at, from, bytes.close(1000))))
end

---A handshake sent to a server.
---@param row table { send = head, opens? }
---@param at spec.conformance.End
function steps.request(row, at)
  local list = { sending(row, (row.send:gsub("GET /ws ", "GET " .. at.path .. " ", 1))) }
  if not row.opens then return add(list, { "answers", 1 }) end
  add(list, { "head" }, { "send", hex(wire({ bytes.text "open" }, "client")) })
  return add(list, table.unpack(goodbye(at, "client", bytes.close(1000))))
end

---The answer to the handshake of a client.
---@param row table { reply = head, opens? }
function steps.response(row, at)
  local list = { { "head" }, { "reply", hex(row.reply or bytes.answer()), row.chop } }
  if not row.opens then return add(list, { "end" }) end
  add(list, { "send", hex(wire({ bytes.text "open" }, "server")) })
  return add(list, table.unpack(goodbye(at, "server", bytes.close(1000))))
end

---HTTP requests. At the end a request of the runner's own shows that the connection has been understood.
---@param row table { send = bytes or a list of them, of numbers of answers to wait for, and of { "finish" }, statuses,
---closed? true: the connection must end, "may": it may }
---@param at spec.conformance.End
function steps.http(row, at)
  local list = {}
  for _, part in ipairs(type(row.send) == "table" and row.send or { row.send }) do
    if type(part) == "number" then
      add(list, { "answers", part })
    elseif type(part) == "table" then
      add(list, part)
    else
      add(list, sending(row, (part:gsub("{(%l+)}", at))))
    end
  end
  if row.closed ~= true then add(list, { "answers", #row.statuses }, { "send", hex(PROBE) }) end
  return add(list, { "end" })
end

return steps
