-- SPDX-License-Identifier: MIT
-- The rows of "Odd input" in the protocol notes that need no socket.

local json = require "trueconf.base.json"
local support = require "spec.support.bridge"

local NOT_OBJECTS = { "", "hello", "{", '"text"', "17", "null", "true", "[]", "[1]", '{"type":1', '{"a":"\xff"}' }

describe("odd input", function()
  local server, client

  before_each(function()
    server = support.server()
    client = support.login(server, "herald")
  end)

  local function display_name()
    return client:request("getUserDisplayName", { userId = "mira@chat.acme.test" })
  end

  it("that is no JSON object is passed over", function()
    for _, text in ipairs(NOT_OBJECTS) do client:raw(text) end
    assert.same({}, client:take())
    assert.is_nil(client.closed)
    assert.equal("mira", display_name().displayName)
  end)

  it("that is no JSON object closes with 1007 in strict mode", function()
    for _, text in ipairs(NOT_OBJECTS) do
      local strict = support.login(support.server { strict = true }, "herald")
      strict:raw(text)
      assert.equal(1007, strict.closed, text)
    end
  end)

  it("in a binary frame is read as text, in strict mode it closes with 1003", function()
    local request = json.encode { type = 1, id = 9, method = "getUserDisplayName", payload = {} }
    client:raw(request, true)
    assert.equal(9, client:take()[1].id)
    local strict = support.login(support.server { strict = true }, "herald")
    strict:raw(request, true)
    assert.equal(1003, strict.closed)
    assert.same({}, strict:take())
  end)

  it("without a usable id or type is ignored", function()
    for _, head in ipairs {
      '"type":1', '"id":1', '"type":1,"id":null', '"type":1,"id":"1"', '"type":1,"id":-1', '"type":1,"id":1.5',
      '"type":1,"id":4294967296', '"type":"1","id":1', '"type":null,"id":1', '"type":0,"id":1', '"type":3,"id":1',
      '"type":-1,"id":1', '"type":1,"id":{}',
    } do
      client:raw("{" .. head .. ',"method":"getUserDisplayName","payload":{"userId":"mira@chat.acme.test"}}')
      assert.same({}, client:take(), head)
    end
    assert.equal("mira", display_name().displayName)
  end)

  it("with ids that leave gaps, start anywhere and repeat after the answer is served", function()
    for _, id in ipairs { 4294967295, 0, 7, 7, 3 } do
      client:raw(json.encode { type = 1, id = id, method = "getUserDisplayName", payload = {} })
      assert.equal(id, client:take()[1].id)
    end
  end)

  it("with an unknown method is answered 104", function()
    local response = client:request("noSuchMethod", {})
    assert.equal(104, response.errorCode)
    assert.matches("noSuchMethod", response.errorDescription)
  end)

  it("without a method or with one that is no text is answered 399", function()
    for _, method in ipairs { "null", "17", "{}" } do
      client:raw('{"type":1,"id":5,"method":' .. method .. ',"payload":{}}')
      assert.equal(399, client:take()[1].payload.errorCode)
    end
  end)

  it("without a payload counts as an empty one", function()
    client:raw '{"type":1,"id":5,"method":"getUserDisplayName"}'
    assert.matches("missing field 'userId'", client:take()[1].payload.errorDescription)
    client:raw '{"type":1,"id":6,"method":"getUserDisplayName","payload":null}'
    assert.matches("missing field 'userId'", client:take()[1].payload.errorDescription)
  end)

  it("with a payload that is no object is answered 399", function()
    for _, payload in ipairs { "17", '"x"', "[]", "[1]", "true" } do
      client:raw('{"type":1,"id":5,"method":"getUserDisplayName","payload":' .. payload .. "}")
      assert.equal(399, client:take()[1].payload.errorCode, payload)
    end
  end)

  it("with a missing, null or wrongly typed field is answered 399, naming the field", function()
    local function refused(payload, description)
      assert.same({ errorCode = 399, errorDescription = description }, (client:request("sendMessage", payload)))
    end
    refused({}, "missing field 'chatId': a string expected")
    refused({ content = { text = "x", parseMode = "text" } }, "missing field 'chatId': a string expected")
    refused({ chatId = "c", content = { text = "x" } },
      "missing field 'content.parseMode': one of text, markdown, html expected")
    refused({ chatId = "c", content = { text = "x", parseMode = json.null } },
      "missing field 'content.parseMode': one of text, markdown, html expected")
    refused({ chatId = "c", content = { text = 17, parseMode = "text" } },
      "bad field 'content.text': a string expected, got a number")
    refused({ chatId = "c", content = { "x" } }, "bad field 'content': an object expected, got an array")
    refused({ chatId = {}, content = { text = "x", parseMode = "text" } },
      "bad field 'chatId': a string expected, got an object")
    refused({ chatId = "c", replyMessageId = 1, content = { text = "x", parseMode = "text" } },
      "bad field 'replyMessageId': a string expected, got a number")
    refused({ chatId = "c", content = { text = "", parseMode = "text" } },
      "content.text is empty, at least 1 visible characters expected")
    refused({ chatId = "c", content = { text = "x", parseMode = "bold" } },
      "bad field 'content.parseMode': one of text, markdown, html expected, got 'bold'")
  end)

  it("is not answered at all where 399 is due under legacy silence", function()
    local legacy = support.login(support.server { legacy_silence = true }, "herald")
    local payload = '{"chatId":"c","content":{"text":"x","parseMode":null}}'
    legacy:raw('{"type":1,"id":2,"method":"sendMessage","payload":' .. payload .. "}")
    assert.same({}, legacy:take())
    assert.equal(104, (legacy:request "noSuchMethod").errorCode)
  end)

  it("that answers nothing is ignored", function()
    for _, frame in ipairs { '{"type":2,"id":99}', '{"type":2,"id":0,"payload":{}}', '{"type":2}' } do
      client:raw(frame)
    end
    assert.same({}, client:take())
    assert.is_nil(client.closed)
  end)

  it("that makes a method fail costs one request and is reported", function()
    local told = {}
    local broken = support.server { log = { sink = function(_, text) told[#told + 1] = text end } }
    local bot = support.login(broken, "herald")
    broken.accounts.by_id = function() error "out of order" end
    assert.same({ errorCode = 300 }, (bot:request("getUserDisplayName", { userId = "mira@chat.acme.test" })))
    assert.matches("out of order", told[1])
    broken.accounts.by_id = nil
    assert.equal("mira", (bot:request("getUserDisplayName", { userId = "mira@chat.acme.test" })).displayName)
  end)
end)
