-- SPDX-License-Identifier: MIT
-- Every field of every request, wrong in every way that the schema knows: missing, null, of each other type, too long,
-- too short, out of range, no word of its enum; and ids of what there is not, requests without the right, fields that
-- nobody knows. A client says what is wrong before anything is sent; a Bridge answers each once with the documented
-- code, or is silent as old servers are, and the connection goes on. A value of the longest allowed length passes both.

local core = require "trueconf.core"
local generate = require "spec.support.generate"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local scene = require "spec.support.scene"
local system = require "spec.support.system"

local PATIENCE = 10                     -- seconds for the answers to all that one method gets
local LIMIT = 100                       -- seconds for one walk; usually it takes one
local FLOOD = 100000                    -- bytes of a text that nothing limits
local LONGEST_ANSWER = 1000             -- bytes of an answer to a request that fails
local WRONG_FORMAT = protocol.codes.WRONG_PAYLOAD_FORMAT
local NEWEST = protocol.versions.NEWEST

local function complain(list, text, ...)
  list[#list + 1] = text:format(...)
end

-- A mistake in words.
local function told(mistake)
  local value = mistake.value
  if type(value) == "table" then value = json.encode(value) end
  if value == json.null then value = "null" end
  return ("%s, %s, %s"):format(mistake.field, mistake.kind, tostring(value):sub(1, 40))
end

-- The client -----------------------------------------------------------------------------------------

local EXPECTED = {
  string = "a string", integer = "an integer", number = "a number", boolean = "a boolean", object = "an object",
}

local function words_of_type(field)
  if field.type:find "^%[" then return { "an array" } end
  local enum = protocol.enums[field.type]
  return enum and enum.values or { EXPECTED[field.type] or "an object" }
end

local function got(value)
  if value == json.null then return "got null" end
  if type(value) == "table" then return json.is_array(value) and "got an array" or "got an object" end
  if math.type(value) == "float" then return "got a number with a fraction" end
  return "got a " .. type(value)
end

-- A field as the caller writes it: what is in `content` stands beside the others.
local function argument(method, path)
  for _, field in ipairs(protocol.methods[method].request) do
    if field.inline then path = path:gsub("^" .. field.name .. "%.", "") end
  end
  return (path:gsub("%a%w*", protocol.lua_name))
end

-- Where a number is a text.
local FOR_PEOPLE = { text = true, label = true, title = true }

-- True unless a client fills the field in or accepts its value.
local function is_mistake_of_client(mistake)
  local field = mistake.declared
  if mistake.kind == "missing" then return field.default == nil and not field.inline end
  if type(mistake.value) == "number" and field.type == "string" then return not FOR_PEOPLE[field.lua_name] end
  return not (field.short and (type(mistake.value) == "string" or type(mistake.value) == "number"))
end

-- Words that the message must have, besides the name of the field.
local function words_of(mistake)
  local field = mistake.declared
  if mistake.kind == "missing" then return words_of_type(field) end
  if mistake.kind == "enum" and field.schemes then return { "mailto", "got 'javascript'" } end
  if type(mistake.value) == "string" and field.type == "string" then
    return { "ASCII characters", "got others too" }
  end
  local expected, came = words_of_type(field), mistake.kind == "enum" and "got 'nonsense'" or got(mistake.value)
  return table.move(expected, 1, #expected, 2, { came })
end

local function size_of(mistake)
  local value = mistake.value
  if value == "" then return "is empty" end
  return type(value) == "number" and "got " .. value or ("is %d "):format(#value)
end

-- Too long or out of range comes back as an error, since it depends on data; the rest is raised at this file's line.
local function is_told(method, mistake, ok, result, err)
  if mistake.kind == "length" or mistake.kind == "range" then
    assert(ok and result == nil, "no error: " .. tostring(result))
    assert(err.name == "LIMIT" and err.outcome == "not_sent" and err.method == method, tostring(err))
    for _, word in ipairs { argument(method, mistake.field), size_of(mistake) } do
      assert(err.message:find(word, 1, true), ("'%s' is not in: %s"):format(word, err.message))
    end
    return
  end
  assert(not ok, "nothing was raised")
  local text = tostring(result)
  assert(text:find "^spec/protocol/fields_matrix_spec%.lua:%d+: ", "raised elsewhere: " .. text)
  local who, name = protocol.methods[method].lua_name .. ": ", ("'%s'"):format(argument(method, mistake.field))
  for _, word in ipairs { who, name, "expected", table.unpack(words_of(mistake)) } do
    assert(text:find(word, 1, true), ("\"%s\" is not in: %s"):format(word, text))
  end
end

local Client = {}
Client.__index = Client

local function try(client, method, ...)
  local args = table.pack(...)
  return pcall(function()
    local result, err = client[protocol.methods[method].lua_name](client, table.unpack(args, 1, args.n))
    return result, err                  -- no tail call: the line of this function is to be blamed
  end)
end

-- The arguments of the positional form up to the one that is wrong; nil: it cannot be given so.
local function by_place(method, mistake)
  local args, wrong = { n = 0 }, argument(method, mistake.field)
  local given = scene.arguments(mistake.payload)
  if type(mistake.value) == "table" then return nil end -- the last one would be those by name
  for _, name in ipairs(protocol.methods[method].params) do
    local value = given[name]
    if value == nil and type(given.content) == "table" then value = given.content[name] end
    if type(value) == "table" then return nil end
    args.n = args.n + 1
    args[args.n] = value
    if name == wrong then return args end
  end
end

function Client:expect_told(method, mistake, ...)
  local before = self.scene.sent
  local outcome = table.pack(try(self.scene.clients.herald, method, ...))
  local ok, err = pcall(is_told, method, mistake, table.unpack(outcome, 1, 3))
  if not ok then complain(self.wrong[method], "%s: %s", told(mistake), tostring(err)) end
  if self.scene.sent ~= before then complain(self.wrong[method], "%s: it was sent", told(mistake)) end
end

function Client:expect_sent(method, edge)
  local before = self.scene.sent
  local ok, result, err = try(self.scene.clients.herald, method, scene.arguments(edge.payload))
  if not ok or self.scene.sent ~= before + 1 then
    complain(self.wrong[method], "%s: it was not sent: %s", told(edge), tostring(err or result))
  elseif err and err.name == "WRONG_PAYLOAD_FORMAT" then
    complain(self.wrong[method], "%s: %s", told(edge), tostring(err))
  end
end

function Client:expect_unknown(method)
  local payload = generate.whole(method)
  payload.nonsense = 1
  local ok, err = try(self.scene.clients.herald, method, scene.arguments(payload))
  if ok or not tostring(err):find("unknown argument 'nonsense'", 1, true) then
    complain(self.wrong[method], "an unknown argument: %s", tostring(err))
  end
end

local function walk_client()
  local self = setmetatable({ scene = scene.start(NEWEST), wrong = {}, received = 0 }, Client)
  local server = self.scene.server
  local take = server.on_frame
  function server.on_frame(bridge, transport, data, binary) -- beside what the client says of itself
    if json.decode(data).type == 1 then self.received = self.received + 1 end
    return take(bridge, transport, data, binary)
  end
  for _, method in ipairs(protocol.method_order) do
    self.wrong[method] = {}
    if self.scene.clients.herald[protocol.methods[method].lua_name] then
      local before = self.received
      for _, mistake in ipairs(generate.mistakes(method)) do
        local args = is_mistake_of_client(mistake) and by_place(method, mistake)
        if is_mistake_of_client(mistake) then self:expect_told(method, mistake, scene.arguments(mistake.payload)) end
        if args then self:expect_told(method, mistake, table.unpack(args, 1, args.n)) end
      end
      self:expect_unknown(method)
      self.scene.clients.herald:call("getFileUploadLimits")
      local came = self.received - before - 1
      if came ~= 0 then complain(self.wrong[method], "%d requests came", came) end
      for _, edge in ipairs(generate.edges(method)) do self:expect_sent(method, edge) end
    end
  end
  self.scene:stop()
  return self
end

describe("a client", function()
  local walked
  setup(helper.async(function() walked = walk_client() end, LIMIT))

  for _, method in ipairs(protocol.method_order) do
    if method ~= "auth" then
      it("says what is wrong with " .. method .. " and does not send it", function()
        assert.same({}, walked.wrong[method])
      end)
    end
  end
end)

-- The Bridge -----------------------------------------------------------------------------------------

local Socket = {}
Socket.__index = Socket

local function open(it)
  local socket = assert(core.socket { url = it.server:url() .. "/websocket/chat_bot/", ping_interval = 0 })
  return setmetatable({ socket = socket, last_id = 0 }, Socket)
end

function Socket:send(method, payload)
  self.last_id = self.last_id + 1
  assert(self.socket:send(json.encode { type = 1, id = self.last_id, method = method, payload = payload }))
  return self.last_id
end

-- Ask for something that is answered, and take all answers until then: what is answered late or twice is seen.
function Socket:settle(method, payload)
  local last, found = self:send(method or "getUserDisplayName", payload or { userId = "mira@chat.acme.test" }), {}
  repeat
    local text = assert(self.socket:receive(PATIENCE))
    local frame = assert(json.decode(text))
    if frame.type == 2 then
      local code = frame.payload.errorCode or 0
      assert(code == 0 or #text < LONGEST_ANSWER, ("an answer of %d bytes to %s"):format(#text, frame.id))
      found[frame.id] = found[frame.id] or {}
      table.insert(found[frame.id], code)
    end
  until frame.type == 2 and frame.id == last
  assert(#found[last] == 1 and found[last][1] == 0, "the connection is of no use any more")
  return found
end

local function login(it, name)
  local socket = open(it)
  socket:settle("auth", { token = it.server:mint_token(name), tokenType = "JWT" })
  return socket
end

local Bridge = {}
Bridge.__index = Bridge

-- True if the answer is the expected one: `due` is a code, "none", or "fits": any but 399.
local function is_due(due, codes)
  if due == "none" then return #codes == 0 end
  if #codes ~= 1 then return false end
  return due == "fits" and codes[1] ~= WRONG_FORMAT or codes[1] == due
end

function Bridge:judge(method, what, due, codes)
  if is_due(due, codes or {}) then return end
  complain(self.wrong[method], "%s: %s was due, got %s", what, due, table.concat(codes or { "nothing" }, " "))
end

-- Send requests of one method, all at once, and check their answers.
function Bridge:send_all(method, list)
  local ids = {}
  for place, one in ipairs(list) do ids[place] = self.herald:send(method, one.payload) end
  local found = self.herald:settle()
  for place, one in ipairs(list) do self:judge(method, one.what, one.due, found[ids[place]]) end
end

-- `auth` closes its connection when it fails too often: each has one of its own, which then is authorized.
function Bridge:log_in(list)
  for _, one in ipairs(list) do
    local socket = open(self.scene)
    local id = socket:send("auth", one.payload)
    local found = socket:settle("auth", { token = self.scene.server:mint_token "herald", tokenType = "JWT" })
    self:judge("auth", one.what, one.due, found[id])
    socket.socket:close()
  end
end

local function note_all(known, list)
  for _, mistake in ipairs(list) do known[told(mistake)] = true end
end

-- Null stands for nothing: where a field may be missing it is none.
local function is_mistake_on_the_wire(mistake)
  return mistake.kind ~= "null" or not mistake.declared.optional
end

local function add_all(cases, list, due, known)
  for _, mistake in ipairs(list) do
    if not (known and known[told(mistake)]) then
      local code = due or is_mistake_on_the_wire(mistake) and WRONG_FORMAT or "fits"
      cases[#cases + 1] = { what = told(mistake), payload = mistake.payload, due = code }
    end
  end
end

-- Mistakes; what only a client minds; what this version does not know; and what is as long as allowed.
function Bridge:cases(method)
  local cases, known, version = {}, {}, self.scene.version
  local mistakes = generate.mistakes(method, "incoming", version)
  local of_client = generate.mistakes(method, "request", version)
  add_all(cases, mistakes)
  note_all(known, mistakes)
  add_all(cases, of_client, "fits", known)
  note_all(known, of_client)
  add_all(cases, generate.mistakes(method, "incoming"), "fits", known)
  add_all(cases, generate.edges(method, "incoming"), "fits")
  add_all(cases, generate.floods(method, FLOOD), "fits")
  for _, payload in ipairs { json.array { 1 }, json.array(), 7, "x", true } do
    cases[#cases + 1] = { what = "payload " .. json.encode(payload), payload = payload, due = WRONG_FORMAT }
  end
  if self.silent then
    for _, case in ipairs(cases) do
      if case.due == WRONG_FORMAT then case.due = "none" end
    end
  end
  return cases
end

-- Ids that lead nowhere -------------------------------------------------------------------------------

local UNKNOWN = {
  chatId = "CHAT_NOT_FOUND", messageId = "MESSAGE_NOT_FOUND", replyMessageId = "MESSAGE_NOT_FOUND",
  fromMessageId = "MESSAGE_NOT_FOUND", fileId = "FILE_NOT_FOUND", temporalFileId = "UPLOADED_FILE_NOT_FOUND",
  commandId = "ACCESS_DENIED", userId = "USER_IS_NOT_CHAT_PARTICIPANT", token = "INVALID_CREDENTIALS",
}
local UNKNOWN_BY_METHOD = {
  createP2PChat = { userId = "ACCESS_DENIED" }, getUserDisplayName = { userId = "ACCESS_DENIED" },
  addChatParticipant = { userId = "ACCESS_DENIED" }, hasChatParticipant = { userId = "answered no" },
  editChatAvatar = { temporalFileId = "FILE_NOT_FOUND" },
}

local function is_id(name)
  return name == "token" or name:find "Id$" ~= nil
end

-- Where ids are in a payload: the objects that hold them, and their names.
local function ids_in(payload, found)
  for name, value in pairs(payload) do
    if type(name) == "string" and is_id(name) then found[#found + 1] = { payload, name } end
    if type(value) == "table" then ids_in(value, found) end
  end
  return found
end

local function code_of(name, version)
  if name == "answered no" then return 0 end
  return protocol.code_at(protocol.codes[name], version)
end

function Bridge:unknown_ids(method)
  local cases = {}
  local count = #ids_in(scene.WORKS[method][1](self.scene), {})
  for place = 1, count do
    local payload = scene.WORKS[method][1](self.scene)
    local found = ids_in(payload, {})
    table.sort(found, function(one, other) return one[2] < other[2] end)
    local object, name = table.unpack(found[place])
    local error_name = (UNKNOWN_BY_METHOD[method] or {})[name] or UNKNOWN[name]
    object[name] = scene.NOWHERE
    if error_name then
      cases[place] = { what = "an unknown " .. name, payload = payload, due = code_of(error_name, self.scene.version) }
    else
      complain(self.wrong[method], "%s: nothing says what an unknown one is answered with", name)
    end
  end
  return cases
end

-- Requests without the right, and ones with more than the schema knows ---------------------------------

function Bridge:without_rights(method)
  for _, name in ipairs(protocol.methods[method].errors) do
    local how, maker = scene.way_to(method, name, self.scene.version)
    if how == "request" and (name == "NOT_ENOUGH_RIGHTS" or name == "USER_IS_NOT_CHAT_PARTICIPANT") then
      local payload, who = self.scene:spoiled(method, maker)
      local id = self[who]:send(method, payload)
      self:judge(method, name, protocol.codes[name], self[who]:settle()[id])
    end
  end
end

-- Clients in the field send more than is documented.
function Bridge:with_more(method)
  local payload = scene.WORKS[method][1](self.scene)
  payload.nonsense = { 1 }
  if payload.content then payload.content.nonsense = 1 end
  return { { what = "an unknown field", payload = payload, due = 0 } }
end

function Bridge:method(method)
  self.wrong[method] = {}
  if not self.scene:has(protocol.methods[method].since) then return end
  local function send(list)
    if method == "auth" then self:log_in(list) else self:send_all(method, list) end
  end
  send(self:cases(method))
  send(self:unknown_ids(method))
  send(self:with_more(method))
  self:without_rights(method)
end

local function walk_bridge(version, options)
  local it = scene.start(version, options)
  local self = setmetatable({
    scene = it, wrong = {}, silent = not it:has "5.5.6", herald = login(it, "herald"), mira = login(it, "mira"),
  }, Bridge)
  for _, method in ipairs(protocol.method_order) do self:method(method) end
  self.herald.socket:close()
  self.mira.socket:close()
  it:stop()
  return self
end

local function describe_bridge(version, name, on_disk)
  describe("a Bridge of version " .. name, function()
    local walked
    setup(helper.async(function()
      local directory <close> = on_disk and system.directory() or nil
      walked = walk_bridge(version, directory and { data = directory:file "data" })
    end, LIMIT))

    for _, method in ipairs(protocol.method_order) do
      if protocol.since(version, protocol.methods[method].since) then
        it("answers once to what is wrong with " .. method, function() assert.same({}, walked.wrong[method]) end)
      end
    end
  end)
end

for _, row in ipairs(protocol.versions.MATRIX) do describe_bridge(row.version, row.version) end
describe_bridge(NEWEST, NEWEST .. " with a data folder", true)
