-- SPDX-License-Identifier: MIT
-- The worked transcripts of the protocol notes, played over a real socket frame by frame: ">" is
-- what the client sends, "<" what must come next, neither less nor more. "$name" stands for a
-- value that is taken over when it comes first and must be the same from then on.

local bridge = require "trueconf.bridge"
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local json = require "trueconf.base.json"

local LIMIT = 5

-- The value that a template means; unknown names are left as they are.
local function fill(template, known)
  if type(template) == "string" then return known[template] or template end
  if type(template) ~= "table" then return template end
  local filled = {}
  for key, value in pairs(template) do filled[key] = fill(value, known) end
  return filled
end

-- Take over the values that unknown names stand for.
local function learn(template, value, known)
  if type(template) == "string" and template:sub(1, 1) == "$" then
    known[template] = known[template] or value
  elseif type(template) == "table" and type(value) == "table" then
    for key, part in pairs(template) do learn(part, value[key], known) end
  end
end

local Player = {}
Player.__index = Player

function Player:play(steps)
  for _, step in ipairs(steps) do
    local template = assert(json.decode(step:sub(3)))
    if step:sub(1, 1) == ">" then
      assert(self.socket:send(json.encode(fill(template, self.known))))
    else
      local frame = assert(json.decode(assert(self.socket:receive(LIMIT))))
      learn(template, frame, self.known)
      assert.same(fill(template, self.known), frame)
    end
  end
end

function Player:connect(login)
  self.socket = assert(core.socket {
    url = self.server:url() .. "/websocket/chat_bot/", subprotocol = "json.v1", ping_interval = 0,
  })
  self.known["$token"] = self.server:mint_token(login)
end

local CHAT = '"chatId":"$chat","chat":{"chatId":"$chat","chatTitle":null,"chatType":1}'
local HERALD, MIRA = '{"id":"herald@chat.acme.test","type":1}', '{"id":"mira@chat.acme.test","type":1}'
local AUTH = {
  '> {"type":1,"id":1,"method":"auth","payload":{"token":"$token","tokenType":"JWT","receiveUnread":false,'
    .. '"receiveSystemMessageEnvelopes":false}}',
  '< {"type":2,"id":1,"payload":{"userId":"$user","connectionId":"$connection"}}',
  '< {"method":"getFileUploadLimits","type":1,"id":1,"payload":{"maxSize":50000000,'
    .. '"extensions":{"mode":"block","list":["exe","bat"]}}}',
  '> {"type":2,"id":1}',
}
local OPEN = {
  '> {"type":1,"id":2,"method":"createP2PChat","payload":{"userId":"mira@chat.acme.test"}}',
  '< {"type":2,"id":2,"payload":{"chatId":"$chat"}}',
  '< {"method":"createP2PChat","type":1,"id":2,"payload":{"chatId":"$chat","title":"mira@chat.acme.test","chatType":1,'
    .. '"lastMessage":null,"unreadMessages":0}}',
  '> {"type":2,"id":2}',
}

local function played(test)
  return helper.async(function()
    local server = assert(bridge.start {
      server_name = "chat.acme.test",
      accounts = { herald = "4711", mira = "x" },
      upload_limits = { max_size = 50000000, extensions = { mode = "block", list = { "exe", "bat" } } },
      ping_interval = 0,
    })
    local player = setmetatable({ server = server, known = {} }, Player)
    player:connect "herald"
    test(player, server)
    player.socket:close()
    server:stop()
  end)
end

describe("the transcripts of the protocol", function()
  it("20.2 personal chat, send, edit", played(function(player)
    player:play(AUTH)
    player:play(OPEN)
    player:play {
      '> {"type":1,"id":3,"method":"sendMessage","payload":{"chatId":"$chat","content":{"text":"Build **ok**",'
        .. '"parseMode":"markdown"}}}',
      '< {"type":2,"id":3,"payload":{"chatId":"$chat","messageId":"$message","timestamp":"$time"}}',
      '< {"method":"sendMessage","type":1,"id":3,"payload":{"messageId":"$message",' .. CHAT .. ',"timestamp":"$time",'
        .. '"author":' .. HERALD .. ',"box":{"id":1,"position":"0"},"type":200,"isEdited":false,'
        .. '"content":{"text":"Build **ok**","parseMode":"markdown"}}}',
      '> {"type":1,"id":4,"method":"editMessage","payload":{"messageId":"$message",'
        .. '"content":{"text":"Build ok, 42 tests",'
        .. '"parseMode":"text"}}}',
      '< {"type":2,"id":4,"payload":{"messageId":"$message","timestamp":"$edited"}}',
      '< {"method":"editMessage","type":1,"id":4,"payload":{"chatId":"$chat","timestamp":"$edited",'
        .. '"content":{"text":"Build ok, 42 tests","parseMode":"text"}}}',
    }
  end))

  it("20.3 incoming message, ack, reply", played(function(player, server)
    player:play(AUTH)
    player:play(OPEN)
    local message = server:person("mira"):chat_with("herald"):say("<b>status</b>?", { parse_mode = "html" })
    player:play {
      '< {"method":"sendMessage","type":1,"id":3,"payload":{"messageId":"$hers",' .. CHAT .. ',"timestamp":"$then",'
        .. '"author":' .. MIRA .. ',"box":{"id":1,"position":"0"},"type":200,"isEdited":false,'
        .. '"content":{"text":"<b>status</b>?","parseMode":"html"}}}',
      '> {"type":2,"id":3}',
    }
    assert.is_true(message:wait_read_by("herald", LIMIT))
    player:play {
      '> {"type":1,"id":5,"method":"sendMessage","payload":{"chatId":"$chat","replyMessageId":"$hers",'
        .. '"content":{"text":"All green","parseMode":"text"}}}',
      '< {"type":2,"id":5,"payload":{"chatId":"$chat","messageId":"$answer","timestamp":"$time"}}',
      '< {"method":"sendMessage","type":1,"id":4,"payload":{"messageId":"$answer",' .. CHAT .. ',"timestamp":"$time",'
        .. '"author":' .. HERALD .. ',"box":{"id":2,"position":"0"},"type":200,"isEdited":false,'
        .. '"replyMessageId":"$hers",'
        .. '"replyMessage":{"messageId":"$hers",' .. CHAT .. ',"timestamp":"$then","author":' .. MIRA
        .. ',"box":{"id":1,"position":"0"},"type":200,"isEdited":false,'
        .. '"content":{"text":"<b>status</b>?","parseMode":"html"}},'
        .. '"content":{"text":"All green","parseMode":"text"}}}',
      '> {"type":2,"id":4}',
    }
  end))

  it("20.5 unread delivery", played(function(player, server)
    local chat = server:person("mira"):chat_with "herald"
    chat:say "one"
    chat:say "two"
    local function message(number, text)
      return ('< {"method":"sendMessage","type":1,"id":%d,"payload":{"messageId":"$m%d",%s,"timestamp":"$t%d",'
        .. '"author":%s,'
        .. '"box":{"id":%d,"position":"0"},"type":200,"isEdited":false,"content":{"text":"%s","parseMode":"html"}}}')
        :format(number, number, CHAT, number, MIRA, number, text)
    end
    player:play {
      '> {"type":1,"id":1,"method":"auth","payload":{"token":"$token","tokenType":"JWT","receiveUnread":true}}',
      '< {"type":2,"id":1,"payload":{"userId":"$user","connectionId":"$connection"}}',
      message(1, "one"),
      '> {"type":2,"id":1}',
      message(2, "two"),
      '> {"type":2,"id":2}',
    }
    helper.eventually(function() return #server:unread "herald" == 0 end)
  end))

  it("20.6 too early, wrong, expired", played(function(player, server)
    player.known["$old"] = server:mint_token("herald", { expires_in = -1 })
    player:play {
      '> {"type":1,"id":1,"method":"getChats","payload":{"count":10,"page":1}}',
      '< {"type":2,"id":1,"payload":{"errorCode":200}}',
      '> {"type":1,"id":2,"method":"auth","payload":{"token":"$old","tokenType":"JWT"}}',
      '< {"type":2,"id":2,"payload":{"errorCode":203}}',
    }
    player.socket:close()
    player:connect "herald"
    player:play {
      '> {"type":1,"id":1,"method":"auth","payload":{"token":"$token","tokenType":"JWT","receiveUnread":true}}',
      '< {"type":2,"id":1,"payload":{"userId":"$user","connectionId":"$connection"}}',
    }
  end))

  it("20.7 list, history, stale chat", played(function(player, server)
    local mira = server:person "mira"
    local chat = mira:chat_with "herald"
    chat:say("one", { parse_mode = "text" })
    mira:create_group("Ops"):add "herald"
    player:play(AUTH)
    player:play {
      '> {"type":1,"id":8,"method":"getChats","payload":{"count":1,"page":1}}',
      '< {"type":2,"id":8,"payload":[{"chatId":"$chat","title":"mira@chat.acme.test","chatType":1,"avatarUrl":null,'
        .. '"unreadMessages":1,"lastMessage":{"messageId":"$m","timestamp":"$t","author":' .. MIRA .. ',"type":200,'
        .. CHAT .. ',"content":{"text":"one","parseMode":"text"}}}]}',
      '> {"type":1,"id":9,"method":"getChatHistory","payload":{"chatId":"$chat","count":2,"fromMessageId":null}}',
      '< {"type":2,"id":9,"payload":{"chatId":"$chat","count":1,"messages":[{"messageId":"$m",' .. CHAT
        .. ',"timestamp":"$t","author":' .. MIRA .. ',"box":{"id":1,"position":"0"},"type":200,"isEdited":false,'
        .. '"content":{"text":"one","parseMode":"text"}}]}}',
      '> {"type":1,"id":10,"method":"sendMessage","payload":{"chatId":"gone","content":{"text":"x",'
        .. '"parseMode":"text"}}}',
      '< {"type":2,"id":10,"payload":{"errorCode":304}}',
    }
  end))

  it("20.8 button click", played(function(player, server)
    player:play(AUTH)
    player:play(OPEN)
    player:play {
      '> {"type":1,"id":11,"method":"sendMessage","payload":{"chatId":"$chat","content":{"text":"Deploy?",'
        .. '"parseMode":"text","buttons":[[{"type":"command","label":"Yes","command":"deploy",'
        .. '"customData":"r17","id":"y",'
        .. '"style":"success"},{"type":"url","label":"Log","url":"https://ci.acme.test/17"}]]}}}',
      '< {"type":2,"id":11,"payload":{"chatId":"$chat","messageId":"$question","timestamp":"$time"}}',
      '< {"method":"sendMessage","type":1,"id":3,"payload":{"messageId":"$question",' .. CHAT .. ',"timestamp":"$time",'
        .. '"author":' .. HERALD .. ',"box":{"id":1,"position":"0"},"type":200,"isEdited":false,'
        .. '"content":{"text":"Deploy?","parseMode":"text"}}}',
    }
    assert.is_true(server:person("mira"):click(player.known["$question"], "y"))
    player:play {
      '< {"method":"command","type":1,"id":4,"payload":{"commandSource":{"type":"inlineKeyboard","buttonId":"y",'
        .. '"message":{"messageId":"$question",' .. CHAT .. ',"timestamp":"$time","author":' .. HERALD
        .. ',"box":{"id":1,"position":"0"},"type":200,"isEdited":false,"content":{"text":"Deploy?",'
        .. '"parseMode":"text"}}},'
        .. '"commandPayload":{"type":"userCommand","command":"deploy","customData":"r17"}}}',
      '> {"type":2,"id":4}',
    }
  end))

  it("20.9 group events", played(function(player)
    player:play(AUTH)
    player:play {
      '> {"type":1,"id":12,"method":"createGroupChat","payload":{"title":"Release 17"}}',
      '< {"type":2,"id":12,"payload":{"chatId":"$group"}}',
      '< {"method":"createGroupChat","type":1,"id":2,"payload":{"chatId":"$group","title":"Release 17","chatType":2,'
        .. '"lastMessage":null,"unreadMessages":0}}',
      '> {"type":2,"id":2}',
      '> {"type":1,"id":13,"method":"addChatParticipant","payload":{"chatId":"$group","userId":"mira@chat.acme.test",'
        .. '"displayHistory":true}}',
      '< {"type":2,"id":13,"payload":{}}',
      '< {"method":"addChatParticipant","type":1,"id":3,"payload":{"chatId":"$group","userId":"mira@chat.acme.test",'
        .. '"timestamp":"$time","addedBy":' .. HERALD .. '}}',
      '> {"type":2,"id":3}',
      '> {"type":1,"id":14,"method":"getChatParticipant","payload":{"chatId":"$group",'
        .. '"userId":"nobody@chat.acme.test"}}',
      '< {"type":2,"id":14,"payload":{"errorCode":305}}',
    }
  end))
end)
