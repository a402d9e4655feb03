-- SPDX-License-Identifier: MIT
-- The conversations in docs/: played twice they are the same, they show all there is to show and no secret, and what
-- is missing makes the tool fail.

local helper = require "spec.support.helper"
local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local system = require "spec.support.system"

local LIMIT = 60                        -- seconds; a run takes about one

-- Run the tool; returns the page it wrote, if it did, its status, and what it said.
local function run_tool(tool)
  local directory <close> = system.directory()
  local page = directory:file "page.md"
  local child <close> = system.launch_lua(("%s '%s'"):format(tool or "tools/conversations.lua", page))
  local status = child:wait(LIMIT)
  return system.read(page), status, child:log()
end

-- Run the tool with another text for one of its scripts.
local function run_changed(subject, pattern, replacement)
  local directory <close> = system.directory()
  system.output("cp -r tools/conversations tools/conversations.lua '%s'", directory.path)
  local script = directory:file(("conversations/scripts/%s.lua"):format(subject))
  local text, count = system.read(script):gsub(pattern, replacement)
  assert.is_true(count > 0)
  system.write(script, text)
  return run_tool(directory:file "conversations.lua")
end

-- The page's sections by their headings.
local function sections_of(page)
  local sections = {}
  for heading, text in (page .. "\n## "):gsub("\n## ", "\0"):gmatch "\0([^\n]*)([^\0]*)" do sections[heading] = text end
  return sections
end

-- Frames of a section that follow a label, decoded.
local function frames(section, label)
  local list = {}
  for block in section:gmatch "```jsonc\n(.-)```" do
    for mark, text in block:gsub("// ", "\0"):gmatch "\0([^\n]*)\n([^\0]*)" do
      local frame = assert(json.decode(text))
      if mark == label then list[#list + 1] = frame end
    end
  end
  return list
end

local function first_with(list, name, value)
  for _, frame in ipairs(list) do
    if frame[name] == value then return frame end
  end
end

local page, sections

describe("the conversations", function()
  setup(helper.async(function()
    local status, log
    page, status, log = run_tool()
    assert(status == 0, log)
    sections = sections_of(page)
  end, LIMIT))

  it("are the same each time", helper.async(function()
    local again = run_tool()
    assert.is_true(page == again)
  end, LIMIT))

  it("show each method, answered well and with an error", function()
    for _, name in ipairs(protocol.method_order) do
      local section = assert(sections[name], name)
      assert(first_with(frames(section, "→ request"), "method", name), name)
      local well, failed = 0, 0
      for _, frame in ipairs(frames(section, "← response")) do
        if frame.payload.errorCode then failed = failed + 1 else well = well + 1 end
      end
      assert.is_true(well > 0 and failed > 0, name)
    end
  end)

  it("show each notification where its method is", function()
    for _, name in ipairs(protocol.notification_order) do
      local where = protocol.methods[name] and name or ({
        uploadFileProgress = "subscribeFileProgress", command = "sendMessage",
      })[name]
      local frame = assert(first_with(frames(sections[where], "← notification"), "method", name), name)
      assert(protocol.check(name, frame.payload, "notification"))
    end
  end)

  it("acknowledge each notification", function()
    for heading, section in pairs(sections) do
      for _, frame in ipairs(frames(section, "← notification")) do
        assert(first_with(frames(section, "→ ack"), "id", frame.id), heading)
      end
    end
  end)

  it("show what goes over HTTP", function()
    assert.matches("POST /bridge/api/client/v1/oauth/token HTTP/1.1\n.-\n\nHTTP/1.1 201 Created\n", sections.Tokens)
    assert.matches('HTTP/1.1 400 Bad Request\n.-"error": "invalid_grant"', sections.Tokens)
    assert.matches('/api/v4/oauth2/token.-/auth/web_rest_api_token.-"authorization_code".-/v1/auth/token.-"JWT"',
      sections.Tokens)
    assert.matches('POST /bridge/api/client/v1/files HTTP/1.1\n.-Upload%-Task%-Id: .-name="preview".-"temporalFileId"',
      sections.uploadFile)
    assert.matches("GET /bridge/api/client/v1/files/%x+%?token=%*%*%* HTTP/1.1\n.-\nFriday: release 17\n",
      sections.getFileInfo)
    assert.matches("\nRange: bytes=8%-\n.-\nHTTP/1.1 206 .-\nContent%-Range: bytes 8%-18/19", sections.getFileInfo)
  end)

  it("hold no secret and no port that was free by chance", function()
    for _, secret in ipairs { "4711", "eyJ", "[?&]token=[^*]" } do assert.is_nil(page:find(secret), secret) end
    for _, name in ipairs { "password", "token", "access_token", "authorization_code", "code" } do
      assert.is_nil(page:find(('"%s": "[^*]'):format(name)), name)
    end
    for port in page:gmatch "127%.0%.0%.1:(%d+)" do assert.equal("4309", port) end
  end)

  it("are missed when a method has none", helper.async(function()
    local nothing, status, log = run_changed("chats", "getChats = {", "getAllChats = {")
    assert.is_nil(nothing)
    assert.equal(1, status)
    assert.matches("there is no conversation for getChats", log)
  end, LIMIT))

  it("must call the method, and show its notification", helper.async(function()
    local _, status, log = run_changed("participants", "bot:get_user_display_name", "bot:create_p2p_chat")
    assert.equal(1, status)
    assert.matches("the conversation for getUserDisplayName does not show a request of it", log)
    _, status, log = run_changed("chats", 'lua = "bot:create_favorites_chat%(%)" }', 'lua = "bot:chats()" }')
    assert.equal(1, status)
    assert.matches("the conversation for createFavoritesChat does not show the notification of this name", log)
  end, LIMIT))

  it("must end as they say", helper.async(function()
    local _, status, log = run_changed("messages", 'send_message%("gone"', "send_message(chat_id")
    assert.equal(1, status)
    assert.matches("CHAT_NOT_FOUND expected, got no", log)
  end, LIMIT))
end)
