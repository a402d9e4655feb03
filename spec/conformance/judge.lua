-- SPDX-License-Identifier: MIT
-- Judges the result of a row by its demands. Each function returns nil, or a complaint.

local bytes = require "spec.conformance.bytes"

local judge = {}

local CLOSE, PONG = 8, 10
local KNOWN = { [0] = true, [1] = true, [2] = true, [8] = true, [9] = true, [10] = true }
local MOST_SHOWN, MOST_LISTED = 60, 12  -- bytes of a text and texts of a list in a complaint

local function shown(value)
  if type(value) ~= "string" then return tostring(value) end
  return ("%q"):format(#value > MOST_SHOWN and value:sub(1, MOST_SHOWN) .. "..." or value)
end

local function list_of(values)
  local out = {}
  for place = 1, math.min(#values, MOST_LISTED) do out[place] = shown(values[place]) end
  if #values > MOST_LISTED then out[MOST_LISTED + 1] = ("... %d in all"):format(#values) end
  return "{" .. table.concat(out, ", ") .. "}"
end

local function differ(what, expected, found)
  if #expected == #found then
    local same = true
    for place, value in ipairs(expected) do same = same and value == found[place] end
    if same then return nil end
  end
  return ("%s: expected %s, got %s"):format(what, list_of(expected), list_of(found))
end

-- True if a value is the allowed one, one of the allowed ones, or matches the pattern.
local function allowed(value, rule)
  if type(rule) == "table" then
    for _, one in ipairs(rule) do
      if value == one then return true end
    end
    return false
  end
  if type(rule) == "string" then return tostring(value):find("^" .. rule .. "$") ~= nil end
  return value == rule
end

local function name_of(rule)
  return type(rule) == "table" and table.concat(rule, " or ") or tostring(rule)
end

-- Frames -------------------------------------------------------------------------------------------

-- Rules for every frame of an end (RFC 6455, 5.1 to 5.5).
local function malformed(frame, role)
  local length = #frame.payload // 2
  if frame.rsv ~= 0 then return "a frame with reserved bits" end
  if not KNOWN[frame.opcode] then return "a frame with opcode " .. frame.opcode end
  if (frame.key ~= "") ~= (role == "client") then
    return role == "client" and "a frame without a mask" or "a masked frame"
  end
  if frame.kind >= 126 and length < (frame.kind == 126 and 126 or 65536) then return "a length in too many bits" end
  if frame.opcode >= CLOSE and (frame.fin == 0 or length > 125) then return "a control frame that is too long" end
end

local function payloads(frames, opcode)
  local found = {}
  for _, frame in ipairs(frames) do
    if frame.opcode == opcode then found[#found + 1] = bytes.unhex(frame.payload) end
  end
  return found
end

-- The newest PING must be answered, older ones may be, in order.
local function wrong_pongs(expected, found)
  local place = 0
  for _, payload in ipairs(found) do
    repeat place = place + 1 until not expected[place] or expected[place] == payload
  end
  if place > #expected or expected[1] and found[#found] ~= expected[#expected] then
    return ("PONGs: expected %s, got %s"):format(list_of(expected), list_of(found))
  end
end

local function code_of(payload)
  if payload == "" then return false end
  return #payload >= 2 and string.unpack(">I2", payload) or "one byte"
end

-- The one close frame, which is the last one.
local function wrong_close(frames, expected)
  local found = payloads(frames, CLOSE)
  if #found ~= 1 then return ("%d close frames came"):format(#found) end
  if frames[#frames].opcode ~= CLOSE then return "a frame came behind the close frame" end
  local code = code_of(found[1])
  if not allowed(code, expected) then
    return ("the close frame has %s, not %s"):format(tostring(code), name_of(expected))
  end
  if not utf8.len(found[1]:sub(3)) then return "the reason is not UTF-8" end
end

-- Keys that masked the frames must differ from each other.
local function stale_key(frames)
  local known = {}
  for _, frame in ipairs(frames) do
    if known[frame.key] then return "two frames have the same masking key" end
    known[frame.key] = true
  end
end

local function wrong_frames(row, at, result)
  for _, frame in ipairs(result.frames) do
    local wrong = malformed(frame, at.role)
    if wrong then return wrong end
  end
  if result.torn > 0 then return "the connection ended within a frame" end
  local expected = row.replies
  if expected == nil then expected = row.fails or 1000 end
  return at.role == "client" and stale_key(result.frames) or wrong_pongs(row.pongs or {}, payloads(result.frames, PONG))
    or wrong_close(result.frames, expected)
end

local function wrong_messages(row, at, seen)
  if at.blind then return nil end
  if row.told and seen.code ~= row.told then
    return ("Lua is told %s, not %d"):format(tostring(seen.code), row.told)
  end
  if row.reason and not (seen.reason or ""):find(row.reason, 1, true) then
    return ("Lua is told %s, not %s"):format(shown(seen.reason), shown(row.reason))
  end
  return differ("messages", row.messages or {}, seen.messages)
end

local function late(result)
  if not result.late then return nil end
  return ("waited in vain: %s, the connection is %s"):format(result.late, result.ended)
end

function judge.frames(row, at, result, seen)
  return wrong_frames(row, at, result) or late(result) or wrong_messages(row, at, seen)
end

-- Heads --------------------------------------------------------------------------------------------

local function values(answer, name)
  local found = {}
  for _, field in ipairs(answer.fields) do
    if field[1] == name then found[#found + 1] = field[2] end
  end
  return found
end

-- Each field of `has` is there once and matches, none of `lacks` is there.
local function wrong_fields(row, answer)
  for name, pattern in pairs(row.has or {}) do
    local found = values(answer, name)
    if #found ~= 1 then return ("the answer has %d fields %s"):format(#found, name) end
    if not found[1]:find(pattern) then return ("%s is %s"):format(name, shown(found[1])) end
  end
  for _, name in ipairs(row.lacks or {}) do
    if values(answer, name)[1] then return "the answer has a field " .. name end
  end
end

local function statuses(result, count)
  local found = {}
  for place, answer in ipairs(result.answers) do
    if not count or place <= count then found[#found + 1] = answer.status end
  end
  return found
end

local function wrong_statuses(expected, found)
  local wrong = #expected ~= #found
  for place, rule in ipairs(expected) do wrong = wrong or not allowed(found[place], rule) end
  if not wrong then return nil end
  local names = {}
  for place, rule in ipairs(expected) do names[place] = name_of(rule) end
  local got = found[1] and table.concat(found, " ") or "no answer"
  return ("expected %s, got %s"):format(table.concat(names, " "), got)
end

function judge.request(row, at, result, seen)
  local wrong = wrong_statuses({ row.status }, statuses(result, 1))
  if wrong then return wrong end
  wrong = wrong_fields(row, result.answers[1])
  if wrong then return wrong end
  if result.answers[1].status == 101 and not row.opens then return nil end
  if row.opens then return late(result) or wrong_messages({ messages = { "open" } }, at, seen) end
  if seen.open then return "the connection counts as open" end
end

function judge.response(row, _, result, seen)
  local head = bytes.unhex(result.received):match "^(.-\r\n)\r\n" or ""
  for _, pattern in ipairs(row.asks or {}) do
    if not head:find(pattern) then return ("the request has no %s:\n%s"):format(pattern, head) end
  end
  for _, pattern in ipairs(row.asks_not or {}) do
    if head:find(pattern) then return ("the request has %s:\n%s"):format(pattern, head) end
  end
  if result.visits ~= 1 then return ("%d connections came"):format(result.visits) end
  if row.opens then
    if seen.refused then return "the client does not open: " .. tostring(seen.refused) end
    return late(result) or differ("messages", { "open" }, seen.messages)
  end
  if seen.open then return "the connection counts as open" end
  if row.err and not allowed(seen.refused.name, row.err) then return "the error is " .. tostring(seen.refused) end
  if row.code and seen.refused.code ~= row.code then return "the error is " .. tostring(seen.refused) end
  return late(result)
end

-- HTTP ---------------------------------------------------------------------------------------------

local function wrong_content(row, at, result, seen)
  local first = result.answers[1]
  for place = 1, row.body and (row.alike and #row.statuses or 1) or 0 do
    local body = bytes.unhex(result.answers[place].body)
    if body ~= row.body then return ("the body %d is %s"):format(place, shown(body)) end
  end
  if at.blind or row.handled == false then return nil end
  if row.host and seen.hosts[1] ~= row.host then return "the handler sees the host " .. shown(seen.hosts[1]) end
  local refused = first.status >= 400 and first.status ~= 404
  if row.handled or refused then return differ("handled", refused and {} or row.handled, seen.handled) end
end

-- The request behind those of the row, if it can have been answered.
local function wrong_probe(row, result)
  local count = #row.statuses
  local probe = result.answers[count + 1]
  if row.closed == true or row.closed and not probe then
    if probe then return "answered once too often" end
  elseif not probe then
    return "the request behind it is not answered"
  end
  if probe and (result.answers[count + 2] or not allowed(probe.status, { 200, 404 })) then
    return "the request behind it is answered with " .. table.concat(statuses(result), " ")
  end
end

function judge.http(row, at, result, seen)
  if row.maybe and not result.answers[1] then return differ("handled", row.handled, seen.handled) or late(result) end
  local wrong = wrong_statuses(row.statuses, statuses(result, #row.statuses))
  if wrong then return wrong end
  if result.left ~= "" then return "behind the answers comes " .. shown(bytes.unhex(result.left)) end
  for _, answer in ipairs(result.answers) do
    if answer.version ~= "HTTP/1.1" then return "the answer is " .. answer.line end
  end
  return row.statuses[1] and (wrong_fields(row, result.answers[row.which or 1])
    or wrong_content(row, at, result, seen)) or wrong_probe(row, result) or late(result)
end

return judge
