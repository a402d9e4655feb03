-- SPDX-License-Identifier: MIT
-- A Bridge driven by a WebSocket client and an HTTP client that are not ours, python3-websockets and curl: the
-- worked transcripts of the protocol frame by frame, and its checklists of a faithful server, for each version.

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

-- The python that Debian's python3-websockets belongs to; the first one in PATH may be another.
local PYTHON = "/usr/bin/python3 -B"
local LIMIT = 60 -- seconds for one version; usually it takes three

local PARTS = {
  "20.1 token, connect, auth",
  "20.2 personal chat, send, edit",
  "20.3 incoming message, ack, reply",
  "20.4 file with caption",
  "20.5 unread delivery",
  "20.6 too early, wrong, expired",
  "20.7 list, history, stale chat",
  "20.8 button click",
  "20.9 group events",
  "seed: 400 with its bodies and the CORS header",
  "seed: code 200 before auth, and the connection stays",
  "py: a token of three parts with exp, a month ahead",
  "py: the path without slash, no subprotocol, connectionId",
  "py: GET /api/v4/server",
  "py: the OAuth2 exchange from 5.5.3 on",
  "py: chatId, chat, isEdited and box in every envelope",
  "py: an array from getChats, an object from getChatParticipants",
  "ts: numeric expires_at, client_secret ignored",
  "ts: chatType 1, 2 and 6 from getChatByID",
  "ts: uploadFileProgress after subscribeFileProgress",
  "all: PING from the server, PONG to the client's",
  "all: acks with and without payload",
  "versions: no route to methods that came later",
  "versions: 399 for a wrong payload, silence before 5.5.6",
  "versions: old messages for a newcomer, messages of the system",
}

-- The result of each part, "ok" or why not.
local function outcomes(log)
  local found = {}
  for line in log:gmatch "[^\n]+" do
    local passed = line:match "^ok (.+)$"
    local failed, reason = line:match "^FAIL ([^\t]+)\t(.*)$"
    if passed then found[passed] = "ok" end
    if failed then found[failed] = reason end
  end
  return found
end

-- The results of a conversation with a Bridge of this version.
local function converse(version)
  local bridge <close> = system.launch_lua("spec/support/conformance_bridge.lua " .. version)
  local told = json.decode(helper.eventually(function()
    assert(not bridge:status(), bridge:log())
    return bridge:log():match "^(%b{})\n"
  end))
  local command = ("%s spec/support/python/conformance.py %s %s %s"):format(PYTHON, told.url, told.expired_token,
    version)
  local client <close> = system.launch(command)
  client:wait(LIMIT)
  local log = client:log()
  return { found = outcomes(log), log = log, bridge_status = bridge:kill "TERM", bridge_log = bridge:log() }
end

for _, row in ipairs(protocol.versions.MATRIX) do
  describe("clients that are not ours hold the conversation of the protocol with " .. row.version .. ":", function()
    local talk

    setup(helper.async(function() talk = converse(row.version) end, LIMIT + 20))

    for _, name in ipairs(PARTS) do
      it(name, function() assert.equal("ok", talk.found[name] or talk.log) end)
    end

    it("and there is nothing else they tried", function()
      local known = {}
      for _, name in ipairs(PARTS) do known[name] = "ok" end
      assert.same(known, talk.found)
    end)

    it("and the Bridge had nothing to complain about", function()
      assert.equal(0, talk.bridge_status, talk.bridge_log)
      assert.equal(1, select(2, talk.bridge_log:gsub("\n", "\n")), talk.bridge_log)
    end)
  end)
end
