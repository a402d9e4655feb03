-- SPDX-License-Identifier: MIT
-- Files of a Bridge: rules of uploads, downloads and progress. Requests are handed to it as the
-- listener would; the way over real sockets is in files/client_spec.lua and at the end of this file.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local helper = require "spec.support.helper"
local support = require "spec.support.bridge"
local system = require "spec.support.system"

local FILES = "/bridge/api/client/v1/files"
local HOUR = 3600

-- A request as the listener gives it; what is answered is collected.
local function request_of(method, path, headers, more)
  local request = { method = method, path = path, headers = headers, query = {}, peer = "127.0.0.1" }
  for name, value in pairs(more or {}) do request[name] = value end
  function request:respond(status, answer_headers, body)
    self.status, self.answer_headers = status, answer_headers
    self.answer = type(body) == "string" and json.decode(body) or body
    return true
  end
  return request
end

-- Upload a form of `parts`, bytes or { data, filename, type } by name, as the listener does it.
local function post(bridge, task, parts, more)
  local headers = { ["upload-task-id"] = task, ["content-type"] = "multipart/form-data; boundary=x" }
  local request = request_of("POST", FILES, headers, more)
  local decision = bridge.files:on_head(request)
  if decision.form then
    request.parts = {}
    for name, part in pairs(parts) do
      if type(part) == "string" then part = { part } end
      local path = decision.form[name]
      if path then
        system.write(path, part[1])
        request.parts[name] = { path = path, size = #part[1], filename = part[2], type = part[3] }
      end
    end
  end
  bridge.files:handle(request)
  return request
end

local function begin(client, size, name)
  return client:request("uploadFile", { fileSize = size, fileName = name or "plan.pdf" })
end

local function upload(bridge, client, bytes, name, more)
  local parts = { file = { bytes, name, "application/pdf" } }
  for part_name, part in pairs(more or {}) do parts[part_name] = part end
  return post(bridge, begin(client, #bytes, name).uploadTaskId, parts).answer.temporalFileId
end

-- A Bridge with a client of herald and its chat with mira, on virtual time for one case.
local function scene(body, options)
  return function()
    core.virtual_time(true, 1788000000000, 1)
    local bridge = support.server(options)
    bridge.url = function() return "ws://127.0.0.1:4309" end -- it does not listen
    local herald = support.login(bridge, "herald")
    local chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    herald:take()
    helper.finally(function()
      bridge.files:close()
      core.virtual_time(false)
    end, body, bridge, herald, chat_id)
  end
end

local function send(client, chat_id, temporal_id, more)
  local payload = { chatId = chat_id, content = { temporalFileId = temporal_id } }
  for name, value in pairs(more or {}) do payload[name] = value end
  return client:request("sendFile", payload)
end

local function send_bytes(bridge, client, chat_id, bytes, name, more)
  return send(client, chat_id, upload(bridge, client, bytes, name or "plan.pdf", more))
end

-- GET of an address of getFileInfo.
local function get(bridge, address, headers, method)
  local path, token = address:match "^http://127.0.0.1:4309(/[^?]*)%?token=(.*)$"
  local request = request_of(method or "GET", path, headers or {}, { query = { token = token } })
  bridge.files:handle(request)
  return request
end

local function info(client, file_id)
  return client:request("getFileInfo", { fileId = file_id })
end

describe("an upload", function()
  it("has a task, bytes and a temporal id", scene(function(bridge, herald)
    local answer = post(bridge, begin(herald, 4).uploadTaskId, { file = "1234" })
    assert.equal(200, answer.status)
    assert.equal("application/json", answer.answer_headers["Content-Type"])
    assert.is_string(answer.answer.temporalFileId)
  end))

  it("is refused without a task, in the words of a server", scene(function(bridge)
    local answer = post(bridge, "e2c9d7b0-6a41-4f0b-8f55-0b1c3d2e4f60", { file = "1234" })
    assert.equal(400, answer.status)
    assert.same({
      error = 407, error_description = "No task found for request_id: e2c9d7b0-6a41-4f0b-8f55-0b1c3d2e4f60",
    }, answer.answer)
    assert.equal(400, post(bridge, nil, { file = "1234" }).status)
  end))

  it("uses its task once, also while it lasts", scene(function(bridge, herald)
    local task = begin(herald, 4).uploadTaskId
    local first = request_of("POST", FILES, {
      ["upload-task-id"] = task, ["content-type"] = "multipart/form-data; boundary=x",
    })
    assert.is_table(bridge.files:on_head(first).form)
    assert.equal(407, post(bridge, task, { file = "1234" }).answer.error)
    task = begin(herald, 4).uploadTaskId
    assert.equal(200, post(bridge, task, { file = "1234" }).status)
    assert.equal(407, post(bridge, task, { file = "1234" }).answer.error)
  end))

  it("must be what was announced", scene(function(bridge, herald)
    for _, parts in ipairs { { file = "12345" }, { file = "123" }, { preview = "1234" }, { other = "1234" }, {} } do
      local answer = post(bridge, begin(herald, 4).uploadTaskId, parts)
      assert.equal(400, answer.status)
      assert.equal(408, answer.answer.error)
    end
  end))

  it("is not read if it can be none of the task", scene(function(bridge, herald)
    for _, more in ipairs { { content_length = 3 }, { content_length = 1 << 30 } } do
      local task = begin(herald, 4).uploadTaskId
      assert.equal(408, post(bridge, task, { file = "1234" }, more).answer.error)
      assert.equal(407, post(bridge, task, { file = "1234" }).answer.error)
    end
    local task = begin(herald, 4).uploadTaskId
    local headers = { ["upload-task-id"] = task, ["content-type"] = "text/plain" }
    assert.same({ ignore_body = true }, bridge.files:on_head(request_of("POST", FILES, headers)))
  end))

  it("has a task for an hour", scene(function(bridge, herald)
    local early, late = begin(herald, 4).uploadTaskId, begin(herald, 4).uploadTaskId
    core.advance(HOUR - 1)
    assert.equal(200, post(bridge, early, { file = "1234" }).status)
    core.advance(1)
    assert.equal(407, post(bridge, late, { file = "1234" }).answer.error)
  end))

  it("is kept within the limits by 402, 403 and 406", scene(function(_, herald)
    assert.equal(406, begin(herald, 11).errorCode)
    assert.is_string(begin(herald, 10).uploadTaskId)
    assert.equal(403, begin(herald, 1, "virus.EXE").errorCode)
    assert.is_string(begin(herald, 1, "none").uploadTaskId)
    for _, name in ipairs { "", "a/b", "..", "a\\b", "a\nb" } do
      assert.equal(402, begin(herald, 1, name).errorCode, name)
    end
    assert.equal(399, begin(herald, 0).errorCode)
  end, { upload_limits = { max_size = 10, extensions = { mode = "block", list = { ".exe" } } } }))

  it("is refused by 310 alone before 5.5.6", scene(function(bridge, herald)
    assert.equal(310, begin(herald, 11).errorCode)
    assert.equal(310, begin(herald, 1, "a.exe").errorCode)
    assert.equal(310, begin(herald, 1, "..").errorCode)
    assert.equal(310, post(bridge, "none", { file = "1" }).answer.error)
  end, { version = "5.5.4", upload_limits = { max_size = 10, extensions = { mode = "allow", list = { "pdf" } } } }))

  it("has the name of its part where uploadFile knows none", scene(function(bridge, herald, chat_id)
    local task = begin(herald, 4).uploadTaskId
    assert.equal(310, post(bridge, task, { file = { "1234", "a.exe" } }).answer.error)
    task = begin(herald, 4).uploadTaskId
    local id = post(bridge, task, { file = { "1234", "C:\\dir/plan.pdf" } }).answer.temporalFileId
    assert.equal("plan.pdf", info(herald, send(herald, chat_id, id).fileId).name)
  end, { version = "5.5.2", upload_limits = { extensions = { mode = "allow", list = { "pdf" } } } }))
end)

describe("uploads", function()
  it("of one account leave room for others, and are room again when they end", scene(function(bridge, herald)
    local mira = support.login(bridge, "mira")
    local first = begin(mira, 4).uploadTaskId
    local own = begin(herald, 4).uploadTaskId
    for _ = 2, 1000 do assert.is_string(begin(herald, 4).uploadTaskId) end
    assert.equal(403, begin(herald, 4).errorCode)
    assert.equal(200, post(bridge, first, { file = { "1234", "a.pdf", "application/pdf" } }).status)
    assert.equal(200, post(bridge, own, { file = { "1234", "a.pdf", "application/pdf" } }).status)
    assert.is_string(begin(herald, 4).uploadTaskId)
    assert.equal(403, begin(herald, 4).errorCode)
    core.advance(HOUR + 1)
    assert.is_string(begin(herald, 4).uploadTaskId)
  end))
end)

describe("people", function()
  it("send voice messages, which are audio files before 5.5.6", function()
    for _, version in ipairs { "5.5.4", "5.5.6" } do
      scene(function(bridge, herald, chat_id)
        local chat = bridge:person("mira"):chat(chat_id)
        local sent = assert(chat:send_voice("sound", { duration = 3 }))
        local told = herald:take()[1].payload
        assert.equal(sent.id, told.messageId)
        local content = told.content
        assert.equal(version == "5.5.6" and 205 or 202, told.type)
        assert.equal(version == "5.5.6" and 3 or nil, content.duration)
        assert.equal("audio/ogg", content.mimeType)
        assert.equal(5, content.size)
        assert.equal("sound", (sent:file()))
        assert.equal("voice.ogg", (herald:request("getFileInfo", { fileId = content.fileId })).name)
        assert.equal("audio/mpeg", assert(chat:send_voice("x", { type = "audio/mpeg" })).content.mimeType)
        assert.error_matches(function() chat:send_voice("x", { duration = 1.5 }) end, "duration: a whole number")
      end, { version = version })()
    end
  end)

  it("send places", scene(function(bridge, herald, chat_id)
    local chat = bridge:person("mira"):chat(chat_id)
    local first = assert(chat:send_location(59.94, 30.31, { title = "Office" }))
    local told = herald:take()[1].payload
    assert.equal(203, told.type)
    assert.same({ latitude = 59.94, longitude = 30.31, title = "Office" }, told.content)
    assert(chat:send_location(-90, 180, { reply_to = first }))
    told = herald:take()[1].payload
    assert.equal(first.id, told.replyMessageId)
    assert.same({ latitude = -90, longitude = 180 }, told.content)
    assert.equal(203, (herald:request("getChatByID", { chatId = chat_id })).lastMessage.type)
    for _, pair in ipairs {
      { 91, 0, "latitude" }, { 0, -180.5, "longitude" }, { 0 / 0, 0, "latitude" }, { "1", 0, "latitude" },
    } do
      assert.error_matches(function() chat:send_location(pair[1], pair[2]) end, pair[3] .. ": a number of degrees")
    end
  end))
end)

describe("sendFile", function()
  it("takes a caption without a text for none, in every version", function()
    for _, version in ipairs { "5.5.0", "5.5.2", "5.5.3", "5.5.4", "5.5.6" } do
      scene(function(bridge, herald, chat_id)
        for _, caption in ipairs { { parseMode = "text" }, { text = "", parseMode = "text" } } do
          local file = upload(bridge, herald, "bytes", "plan.pdf")
          local content = { temporalFileId = file, caption = caption }
          local sent, frames = herald:request("sendFile", { chatId = chat_id, content = content })
          assert.is_string(sent.messageId, version)
          assert.equal(1, #frames)
          assert.equal(202, frames[1].payload.type)
        end
      end, { version = version })()
    end
  end)

  it("posts the file, and tells both sides", scene(function(bridge, herald, chat_id)
    local mira = support.login(bridge, "mira")
    mira:take()
    local response, frames = send_bytes(bridge, herald, chat_id, "1234")
    assert.equal(chat_id, response.chatId)
    local told = mira:take()[1].payload
    assert.same({ name = "plan.pdf", size = 4, mimeType = "application/pdf", readyState = 2, fileId = response.fileId },
      told.content)
    assert.equal(202, told.type)
    assert.equal(response.messageId, told.messageId)
    assert.equal(response.messageId, frames[1].payload.messageId)
  end))

  it("cuts a caption that is too long", scene(function(bridge, herald, chat_id)
    for before, kept in pairs { [4090] = "**schön**", [4092] = "**sch**" } do
      local id, start = upload(bridge, herald, "1234", "plan.pdf"), ("ä"):rep(before) .. " "
      local caption = { text = start .. "**schön**", parseMode = "markdown" }
      local _, frames = send(herald, chat_id, id, { content = { temporalFileId = id, caption = caption } })
      assert.equal(start .. kept, frames[1].payload.content.text)
    end
  end))

  it("posts a caption before it", scene(function(bridge, herald, chat_id)
    local id = upload(bridge, herald, "1234", "plan.pdf")
    local caption = { text = "Plan", parseMode = "text" }
    local response, frames = send(herald, chat_id, id, { content = { temporalFileId = id, caption = caption } })
    assert.equal(2, #frames)
    assert.equal(response.captionMessageId, frames[1].payload.messageId)
    assert.same(caption, frames[1].payload.content)
    assert.equal(response.messageId, frames[2].payload.messageId)
    local edited = herald:request("editMessage", {
      messageId = response.captionMessageId, content = { text = "New plan", parseMode = "text" },
    })
    assert.is_nil(edited.errorCode)
  end))

  it("uses a temporal id once, of its own account, for a day", scene(function(bridge, herald, chat_id)
    local mira = support.login(bridge, "mira")
    local id, other, late = upload(bridge, herald, "1", "a.pdf"), upload(bridge, herald, "2", "b.pdf"),
      upload(bridge, herald, "3", "c.pdf")
    assert.is_nil(send(herald, chat_id, id).errorCode)
    assert.equal(404, send(herald, chat_id, id).errorCode)
    assert.equal(404, send(mira, chat_id, other).errorCode)
    core.advance(24 * HOUR - 1)
    assert.is_nil(send(herald, chat_id, other).errorCode)
    core.advance(1)
    assert.equal(404, send(herald, chat_id, late).errorCode)
  end))

  it("leaves an upload good that could not be sent", scene(function(bridge, herald, chat_id)
    local id = upload(bridge, herald, "1234", "plan.pdf")
    assert.equal(304, send(herald, "nowhere", id).errorCode)
    assert.equal(306, send(herald, chat_id, id, { replyMessageId = "none" }).errorCode)
    assert.is_nil(send(herald, chat_id, id).errorCode)
  end))

  it("is refused for an unknown upload by 308 before 5.5.6", scene(function(_, herald, chat_id)
    assert.equal(308, send(herald, chat_id, "none").errorCode)
  end, { version = "5.5.4" }))
end)

describe("editChatAvatar", function()
  it("gives a group a picture, and tells its members", scene(function(bridge, herald)
    local chat_id = herald:request("createGroupChat", { title = "Ops" }).chatId
    local id = upload(bridge, herald, "1234", "ops.png")
    assert.equal(308, herald:request("editChatAvatar", { chatId = chat_id, temporalFileId = "none" }).errorCode)
    local response, frames = herald:request("editChatAvatar", { chatId = chat_id, temporalFileId = id })
    assert.same({}, response)
    assert.equal("editChatAvatar", frames[1].method)
    assert.equal(chat_id, frames[1].payload.chatId)
    assert.equal(200, get(bridge, frames[1].payload.avatarUrl).status)
    assert.equal(200, get(bridge, herald:request("getChatByID", { chatId = chat_id }).avatarUrl).status)
    local note = herald:request("getChatHistory", { chatId = chat_id, count = 1 }).messages[1]
    assert.equal(22, note.type)
    assert.is_string(note.content.avatarUrl)
    assert.equal(308, herald:request("editChatAvatar", { chatId = chat_id, temporalFileId = id }).errorCode)
  end))

  it("is for those who manage the chat, and leaves the upload good", scene(function(bridge, herald, chat_id)
    local id = upload(bridge, herald, "1234", "ops.png")
    assert.equal(303, herald:request("editChatAvatar", { chatId = chat_id, temporalFileId = id }).errorCode)
    assert.equal(304, herald:request("editChatAvatar", { chatId = "none", temporalFileId = id }).errorCode)
    assert.is_nil(send(herald, chat_id, id).errorCode)
  end))
end)

describe("getFileInfo", function()
  it("tells all there is, previews too", scene(function(bridge, herald, chat_id)
    local preview_part = { preview = { "12", "small.webp", "image/webp" } }
    local sent = send_bytes(bridge, herald, chat_id, "1234", "plan.pdf", preview_part)
    local told = info(herald, sent.fileId)
    assert.equal(sent.fileId, told.fileId)
    assert.equal("plan.pdf", told.name)
    assert.equal(4, told.size)
    assert.equal("application/pdf", told.mimeType)
    assert.equal(2, told.readyState)
    assert.matches("^http://127.0.0.1:4309" .. FILES .. "/%x+%?token=", told.downloadUrl)
    local preview = told.previews[1]
    assert.same({ "small.webp", 2, "image/webp" }, { preview.name, preview.size, preview.mimeType })
    assert.equal(200, get(bridge, preview.downloadUrl).status)
  end))

  it("calls the id infoHash before 5.5.4", scene(function(bridge, herald, chat_id)
    local sent = send_bytes(bridge, herald, chat_id, "1234")
    local told = info(herald, sent.fileId)
    assert.equal(sent.fileId, told.infoHash)
    assert.is_nil(told.fileId)
  end, { version = "5.5.3" }))

  it("answers 308 for what is no file", scene(function(_, herald)
    assert.equal(308, info(herald, "none").errorCode)
    assert.equal(308, herald:request("subscribeFileProgress", { fileId = "none" }).errorCode)
    assert.equal(308, herald:request("unsubscribeFileProgress", { fileId = "none" }).errorCode)
  end))
end)

describe("the progress of a file", function()
  it("is told to who asked, until it is ready", scene(function(bridge, herald, chat_id)
    bridge:fault { file_delay = 10 }
    local file_id = send_bytes(bridge, herald, chat_id, "12345678").fileId
    local told = info(herald, file_id)
    assert.equal(1, told.readyState)
    assert.is_nil(told.downloadUrl)
    assert.same({ result = true }, (herald:request("subscribeFileProgress", { fileId = file_id })))
    core.advance(9)
    local seen = {}
    for _, frame in ipairs(herald:take()) do
      assert.equal("uploadFileProgress", frame.method)
      assert.equal(file_id, frame.payload.fileId)
      seen[#seen + 1] = frame.payload.progress
    end
    assert.same({ 2, 4, 6, 8 }, seen)
    assert.equal(1, info(herald, file_id).readyState)
    core.advance(2)
    assert.equal(2, info(herald, file_id).readyState)
  end))

  it("is told no more after unsubscribing, or when the connection is gone", scene(function(bridge, herald, chat_id)
    bridge:fault { file_delay = 10 }
    local file_id = send_bytes(bridge, herald, chat_id, "12345678").fileId
    local mira = support.login(bridge, "mira")
    herald:request("subscribeFileProgress", { fileId = file_id })
    mira:request("subscribeFileProgress", { fileId = file_id })
    herald:request("unsubscribeFileProgress", { fileId = file_id })
    mira:gone()
    herald:take()
    mira:take()
    core.advance(9)
    assert.same({}, herald:take())
    assert.same({}, mira:take())
  end))

  it("is told at once of a file that is there", scene(function(bridge, herald, chat_id)
    local file_id = send_bytes(bridge, herald, chat_id, "12345678").fileId
    local _, frames = herald:request("subscribeFileProgress", { fileId = file_id })
    assert.same({ fileId = file_id, progress = 8 }, frames[1].payload)
  end))
end)

describe("a download", function()
  local function sent(bridge, herald, chat_id, name)
    return info(herald, send_bytes(bridge, herald, chat_id, "0123456789", name).fileId)
  end

  it("needs the token of its file, for an hour", scene(function(bridge, herald, chat_id)
    local told, other = sent(bridge, herald, chat_id), sent(bridge, herald, chat_id)
    local token = other.downloadUrl:match "token=(.*)$"
    for _, wrong in ipairs { "", "x", token, "99999999999." .. token:match "%.(.*)$" } do
      assert.equal(404, get(bridge, told.downloadUrl:gsub("token=.*", "token=" .. wrong)).status)
    end
    assert.equal(404, get(bridge, (told.downloadUrl:gsub("%?", "/preview?"))).status)
    assert.equal(404, get(bridge, (told.downloadUrl:gsub("%x%x%x%x%?", "0000?"))).status)
    core.advance(HOUR - 1)
    assert.equal(200, get(bridge, told.downloadUrl).status)
    core.advance(1)
    assert.equal(404, get(bridge, told.downloadUrl).status)
    assert.equal(200, get(bridge, info(herald, told.fileId).downloadUrl).status)
  end))

  it("carries type and name, in a form that no browser runs", scene(function(bridge, herald, chat_id)
    local answer = get(bridge, sent(bridge, herald, chat_id, 'Plan "ü".pdf').downloadUrl)
    assert.equal("application/pdf", answer.answer_headers["Content-Type"])
    assert.equal("attachment; filename*=UTF-8''Plan%20%22%C3%BC%22.pdf", answer.answer_headers["Content-Disposition"])
    assert.equal("nosniff", answer.answer_headers["X-Content-Type-Options"])
    assert.equal("0123456789", system.read(answer.answer.path))
  end))

  it("may be of a part", scene(function(bridge, herald, chat_id)
    local address = sent(bridge, herald, chat_id).downloadUrl
    for range, expected in pairs {
      ["bytes=2-4"] = { 2, 3, "bytes 2-4/10" }, ["bytes=7-"] = { 7, 3, "bytes 7-9/10" },
      ["bytes=-3"] = { 7, 3, "bytes 7-9/10" }, ["bytes=5-99"] = { 5, 5, "bytes 5-9/10" },
      ["bytes=-99"] = { 0, 10, "bytes 0-9/10" },
      ["bytes=5-99999999999999999999"] = { 5, 5, "bytes 5-9/10" },
    } do
      local answer = get(bridge, address, { range = range })
      assert.equal(206, answer.status, range)
      assert.same(expected, { answer.answer.offset, answer.answer.length, answer.answer_headers["Content-Range"] })
    end
    for _, range in ipairs { "bytes=10-", "bytes=5-4", "bytes=-0", "bytes=99999999999999999999-" } do
      local answer = get(bridge, address, { range = range })
      assert.equal(416, answer.status, range)
      assert.equal("bytes */10", answer.answer_headers["Content-Range"])
    end
    for _, range in ipairs { "bytes=1-2,4-5", "lines=1-2", "bytes=-", "bytes=a-b" } do
      assert.equal(200, get(bridge, address, { range = range }).status, range)
    end
  end))

  it("may be of a part under the condition that the file is still the same", scene(function(bridge, herald, chat_id)
    local address = sent(bridge, herald, chat_id).downloadUrl
    local headers = get(bridge, address).answer_headers
    assert.equal("bytes", headers["Accept-Ranges"])
    assert.matches('^"%x+"$', headers.ETag)
    local other = get(bridge, sent(bridge, herald, chat_id).downloadUrl).answer_headers.ETag
    assert.is_not_equal(headers.ETag, other)
    assert.equal(206, get(bridge, address, { range = "bytes=2-", ["if-range"] = headers.ETag }).status)
    for _, condition in ipairs { other, "W/" .. headers.ETag, "Thu, 01 Jan 1970 00:00:00 GMT" } do
      local answer = get(bridge, address, { range = "bytes=2-", ["if-range"] = condition })
      assert.equal(200, answer.status, condition)
      assert.same({ 0, 10 }, { answer.answer.offset, answer.answer.length })
    end
  end))

  it("is not sent to a client that has it already", scene(function(bridge, herald, chat_id)
    local address = sent(bridge, herald, chat_id).downloadUrl
    local tag = get(bridge, address).answer_headers.ETag
    local cases = {
      [304] = { { ["if-none-match"] = tag }, { ["if-none-match"] = '"x", W/' .. tag }, { ["if-none-match"] = "*" },
        { ["if-none-match"] = tag, range = "bytes=0-1" }, { ["if-none-match"] = tag, ["if-match"] = tag } },
      [200] = { { ["if-none-match"] = '"x"' }, { ["if-none-match"] = "" }, { ["if-match"] = '"x", ' .. tag },
        { ["if-match"] = "*" } },
      [206] = { { ["if-none-match"] = '"x"', range = "bytes=0-1" } },
      [412] = { { ["if-match"] = '"x"' }, { ["if-match"] = "W/" .. tag },
        { ["if-match"] = '"x"', range = "bytes=0-1" } },
    }
    for status, conditions in pairs(cases) do
      for index, headers in ipairs(conditions) do
        local answer = get(bridge, address, headers)
        assert.equal(status, answer.status, ("%d, case %d"):format(status, index))
        assert.equal(tag, answer.answer_headers.ETag)
        if status > 300 then assert.equal("", answer.answer) end
      end
    end
  end))

  it("is described to HEAD, whatever its Range", scene(function(bridge, herald, chat_id)
    local answer = get(bridge, sent(bridge, herald, chat_id).downloadUrl, { range = "bytes=0-1" }, "HEAD")
    assert.equal(200, answer.status)
    assert.same({ 0, 10 }, { answer.answer.offset, answer.answer.length })
  end))

  it("is asked for by GET, an upload sent by POST", scene(function(bridge, herald, chat_id)
    local address = sent(bridge, herald, chat_id).downloadUrl
    local answer = get(bridge, address, {}, "DELETE")
    assert.equal(405, answer.status)
    assert.equal("GET, HEAD", answer.answer_headers.Allow)
    answer = request_of("GET", FILES, {})
    bridge.files:handle(answer)
    assert.equal(405, answer.status)
    assert.equal("POST", answer.answer_headers.Allow)
  end))
end)

describe("the files of a Bridge", function()
  it("are under names of their own, in a folder that goes with it", scene(function(bridge, herald, chat_id)
    local id = upload(bridge, herald, "1234", "plan.pdf")
    local sent = send(herald, chat_id, id)
    local path = get(bridge, info(herald, sent.fileId).downloadUrl).answer.path
    local folder = path:match "^(.*)/"
    assert.equal(sent.fileId, path:match "[^/]*$")
    assert.equal("700", system.output("stat -c %%a '%s'", folder))
    upload(bridge, herald, "1234", "unsent.pdf")
    bridge.files:close()
    assert.is_false((os.rename(folder, folder)) or false)
    assert.equal(0, info(herald, sent.fileId).readyState)
  end))

  it("go when nothing speaks of them any more", helper.async(function()
    local directory <close> = system.directory()
    local bridge = support.server { data = directory:file "data" }
    bridge.url = function() return "ws://127.0.0.1:4309" end
    local herald = support.login(bridge, "herald")
    local chat_id = herald:request("createGroupChat", { title = "Plans" }).chatId
    local other_id = herald:request("createFavoritesChat", {}).chatId
    local function files() return system.output("ls '%s/data/files'", directory.path) end
    local sent = send_bytes(bridge, herald, chat_id, "1234")
    local forward = herald:request("forwardMessage", { chatId = other_id, messageId = sent.messageId })
    herald:request("removeMessage", { messageId = sent.messageId, forAll = true })
    bridge.store:commit()
    assert.equal(sent.fileId, files())
    herald:request("removeMessage", { messageId = forward.messageId, forAll = true })
    assert.equal(sent.fileId, files())         -- it goes when that is written down
    bridge.store:commit()
    assert.equal("", files())
    assert.equal(308, info(herald, sent.fileId).errorCode)
    for _, bytes in ipairs { "first picture", "second picture" } do
      local temporal = upload(bridge, herald, bytes, "face.png")
      assert.is_nil(herald:request("editChatAvatar", { chatId = chat_id, temporalFileId = temporal }).errorCode)
    end
    bridge.store:commit()
    assert.matches("^%x+$", files())
    herald:request("removeChat", { chatId = chat_id })
    bridge.store:commit()
    assert.equal("", files())
    bridge.store:close()
  end))

  it("stay in a data folder, also those nobody has sent yet", helper.async(function()
    local directory <close> = system.directory()
    local bridge = support.server { data = directory:file "data" }
    bridge.url = function() return "ws://127.0.0.1:4309" end
    local herald = support.login(bridge, "herald")
    local chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    local sent = send_bytes(bridge, herald, chat_id, "1234")
    local unsent = upload(bridge, herald, "5678", "unsent.pdf")
    bridge.files:close()
    bridge.store:close()
    local again = support.server { data = directory:file "data", accounts = {} }
    again.url = bridge.url
    herald = support.login(again, "herald")
    assert.equal("1234", system.read(get(again, info(herald, sent.fileId).downloadUrl).answer.path))
    local later = herald:request("sendFile", { chatId = chat_id, content = { temporalFileId = unsent } })
    assert.equal("5678", system.read(get(again, info(herald, later.fileId).downloadUrl).answer.path))
    again.store:close()
  end))

  it("cannot be kept where nothing can be written", helper.async(function()
    local directory <close> = system.directory()
    local bridge = support.server { data = directory:file "data", log = { level = "off" } }
    system.write(directory:file "data/files", "")
    assert.equal(300, begin(support.login(bridge, "herald"), 4).errorCode)
    bridge.store:close()
  end))
end)

describe("a Bridge without a data folder", function()
  it("makes no folder before the first upload, and says when it cannot", scene(function(bridge, herald)
    local task = begin(herald, 4).uploadTaskId
    assert.is_nil(bridge.files.folder)
    local make = core.private_folder
    core.private_folder = function() return nil, core.error("IO", "no room") end
    local answer = post(bridge, task, { file = "1234" })
    core.private_folder = make
    assert.equal(400, answer.status)
    assert.equal(401, answer.answer.error)
    assert.is_nil(bridge.files.folder)
    assert.equal(200, post(bridge, begin(herald, 4).uploadTaskId, { file = "1234" }).status)
  end, { log = { level = "off" } }))
end)

describe("a client that is not ours", function()
  it("uploads and fetches by curl", helper.async(function()
    local directory <close> = system.directory()
    local server = system.start_bridge()
    local bot = system.bot(server)
    bot:start()
    assert(bot:wait_ready(10))
    local chat_id = assert(bot:create_p2p_chat "mira@localhost")
    local bytes = core.random(100000)
    local path, copy = system.write(directory:file "plan.pdf", bytes), directory:file "copy"
    local task = assert(bot:upload_file(#bytes, "plan.pdf"))
    local function curl(command, ...)
      local child <close> = system.launch(("curl -sS -f " .. command):format(...))
      assert.equal(0, child:wait(), child:log())
      return child:log()
    end
    local answer = curl('-H "Upload-Task-Id: %s" -F "file=@%s" http://127.0.0.1:%d%s', task, path, server:port(), FILES)
    local sent = assert(bot:send_file(chat_id, json.decode(answer).temporalFileId, "by curl"))
    local address = assert(bot:get_file_info(sent.file_id)).download_url
    for range, expected in pairs { ["0-"] = bytes, ["10-19"] = bytes:sub(11, 20) } do
      curl('-r %s -o %s "%s"', range, copy, address)
      assert.equal(expected, system.read(copy))
    end
    local head = curl('-I "%s"', address)
    assert.matches("^HTTP/1.1 200 OK\r\n.*\r\nContent%-Length: 100000\r\n", head)
    local tag = head:match("\r\nETag: ([^\r]*)"):gsub('"', '\\"')
    local again = curl('-i -H "If-None-Match: %s" "%s"', tag, address)
    assert.matches("^HTTP/1.1 304 Not Modified\r\n.*\r\n\r\n$", again)
    assert.is_nil(again:find "Content%-Length")
    bot:stop()
    server:stop()
  end))
end)
