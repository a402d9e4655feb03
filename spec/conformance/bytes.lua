-- SPDX-License-Identifier: MIT
-- Frames and heads as the rows write them down, and the bytes they become.

local bytes = {}

local KEY = "\x37\xfa\x21\x3d"

local function masked(payload)
  local place = 0
  return (payload:gsub(".", function(byte)
    place = place % 4 + 1
    return string.char(byte:byte() ~ KEY:byte(place))
  end))
end

-- The length in as many bits as it takes, or as many as the frame says.
local function length_field(frame, bit)
  local length = frame.length or #frame.payload
  local bits = frame.bits or (length < 0 or length > 0xFFFF) and 64 or length > 125 and 16 or 7
  if bits == 7 then return string.char(bit | length) end
  if bits == 16 then return string.char(bit | 126) .. string.pack(">I2", length) end
  return string.char(bit | 127) .. string.pack(">i8", length)
end

---@class spec.conformance.Frame
---@field opcode integer
---@field payload string
---@field fin boolean
---@field rsv integer? reserved bits, the first is 4
---@field length integer? what the frame says; nil: the truth
---@field bits integer? 7, 16 or 64: those of the length
---@field wrong_mask boolean? masked as its end must not do it

---@param opcode integer
---@param payload? string
---@param more? table fields of the frame
---@return spec.conformance.Frame
function bytes.frame(opcode, payload, more)
  local frame = { opcode = opcode, payload = payload or "", fin = true }
  for name, value in pairs(more or {}) do frame[name] = value end
  return frame
end

function bytes.text(payload, more) return bytes.frame(1, payload, more) end
function bytes.binary(payload, more) return bytes.frame(2, payload, more) end
function bytes.rest(payload, more) return bytes.frame(0, payload, more) end
function bytes.ping(payload, more) return bytes.frame(9, payload, more) end
function bytes.pong(payload, more) return bytes.frame(10, payload, more) end

---A close frame; without a code an empty one.
function bytes.close(code, reason, more)
  return bytes.frame(8, code and string.pack(">I2", code) .. (reason or "") or "", more)
end

---A message in fragments.
---@param opcode integer
---@param ... string payloads
---@return spec.conformance.Frame ...
function bytes.fragments(opcode, ...)
  local list = { ... }
  for place, payload in ipairs(list) do
    list[place] = bytes.frame(place == 1 and opcode or 0, payload, { fin = place == #list })
  end
  return table.unpack(list)
end

---@param frame spec.conformance.Frame|string a string stays as it is
---@param from "client"|"server" clients mask
---@return string
function bytes.of(frame, from)
  if type(frame) == "string" then return frame end
  local mask = (from == "client") ~= (frame.wrong_mask or false)
  local first = string.char((frame.fin and 128 or 0) | (frame.rsv or 0) << 4 | frame.opcode)
  local length = length_field(frame, mask and 128 or 0)
  return first .. length .. (mask and KEY .. masked(frame.payload) or frame.payload)
end

---Lines of a head, each ended by CR LF, and the empty line.
---@param ... string
---@return string
function bytes.head(...)
  return table.concat({ ... }, "\r\n") .. "\r\n\r\n"
end

local HANDSHAKE = {
  "GET /ws HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
}
local ANSWER = {
  "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: {accept}",
}

-- The lines of a head, some of them replaced or left out, and others behind them.
local function changed(lines, changes, ...)
  local out = {}
  for _, line in ipairs(lines) do
    local name = line:match "^[%w-]+"
    local other = changes[name]
    if other == nil then other = line end
    if other then out[#out + 1] = other end
  end
  for _, line in ipairs { ... } do out[#out + 1] = line end
  return bytes.head(table.unpack(out))
end

---A client's handshake.
---@param changes? table<string, string|false> lines in place of those that begin so (GET, Host, Upgrade, ...)
---@param ... string further lines
---@return string
function bytes.handshake(changes, ...) return changed(HANDSHAKE, changes or {}, ...) end

---A server's answer to a handshake; {accept} becomes what the key demands.
---@param changes? table<string, string|false> lines in place of those that begin so (HTTP, Upgrade, Connection, ...)
---@param ... string further lines
---@return string
function bytes.answer(changes, ...) return changed(ANSWER, changes or {}, ...) end

---@param text string
---@return string
function bytes.hex(text)
  return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

---@param digits string
---@return string
function bytes.unhex(digits)
  return (digits:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

return bytes
