-- SPDX-License-Identifier: MIT
-- Html as a Bridge treats it (protocol: modes of text).

local core = require "trueconf.core"
local html = require "trueconf.bridge.chat.html"
local support = require "spec.support.bridge"

describe("html", function()
  it("keeps what servers support, and the text of the rest", function()
    for given, kept in pairs {
      ["plain"] = "plain",
      ["<b>a</b> <i>b</i> <s>c</s> <u>d</u><br>e"] = "<b>a</b> <i>b</i> <s>c</s> <u>d</u><br>e",
      ["<B CLASS='x'>a</B>"] = "<b>a</b>",
      ['<b onclick="go()">x</b>'] = "<b>x</b>",
      ['see <img src="x"> this'] = "see  this",
      ["<h1>Title</h1><p>text</p>"] = "Titletext",
      ["<script>alert(1)</script>"] = "alert(1)",
      ["<br/>"] = "<br>", ["a<br />b"] = "a<br>b",
      ["<!-- x -->a<!DOCTYPE html><?x?>"] = "a",
      ['<a href="https://x.test/?a=1&amp;b">x</a>'] = '<a href="https://x.test/?a=1&amp;b">x</a>',
      ["<a class=y href='https://x.test/\"q'>x</a>"] = '<a href="https://x.test/&quot;q">x</a>',
      ["<a href=http://x.test>x</a>"] = '<a href="http://x.test">x</a>',
      ['<A HREF="MAILTO:mira@x.test" target="_blank">x</A>'] = '<a href="MAILTO:mira@x.test">x</a>',
      ['<a href="trueconf:m@x.test&amp;do=profile">M</a>'] = '<a href="trueconf:m@x.test&amp;do=profile">M</a>',
      ['<quote class="reply">q</quote><br><br>a'] = '<quote class="reply">q</quote><br><br>a',
      ["<a>x</a>"] = "<a>x</a>",
      ["1 < 2 && 3 > 2"] = "1 < 2 && 3 > 2", ["a <3 b"] = "a <3 b", ["&lt;b&gt;"] = "&lt;b&gt;",
      ["a <b c"] = "a &lt;b c", ["<a title='x<y' href='ftp://x'>z"] = "&lt;a title='xz", ["<bold>x"] = "x",
      ["<b-x>x"] = "x",
    } do
      assert.equal(kept, (html.clean(given)), given)
    end
  end)

  it("is refused with links that lead elsewhere, or nowhere", function()
    for _, target in ipairs {
      "ftp://x.test/a", "", " ", "javascript:alert(1)", "java\tscript:alert(1)", "&#106;avascript:alert(1)", "data:x",
      "file:///etc/passwd", "/path", "x.test", "https", "#a", "xhttps://x.test", "tel:+1",
    } do
      for _, quote in ipairs { '"', "'" } do
        local cleaned, complaint = html.clean(("a <b>b</b> <a x=1 href=%s%s%s>f</a>"):format(quote, target, quote))
        assert.is_nil(cleaned, target)
        assert.matches("http, https, mailto or trueconf", complaint)
      end
    end
    assert.is_nil((html.clean "<a href=ftp://x.test>f</a>"))
    assert.is_nil((html.clean "<a href>f</a>"))
    assert.is_string((html.clean '<a data-href="ftp://x" title=" href=\'ftp://x\'">f</a>'))
  end)

  it("is read in time that grows with its length", function()
    for _, piece in ipairs { "<", "<a", "<a href=", "<a b='", "<a b=\"x", "<!--", "</", "<a b c d e f" } do
      local began = core.monotonic()
      html.clean(piece:rep((1 << 18) // #piece))
      html.clean(piece:rep((1 << 18) // #piece) .. "'\">")
      assert.is_true(core.monotonic() - began < 10, piece)
    end
  end)

  local function scene(version)
    local server = support.server { version = version, accounts = { herald = "1", mira = "2" } }
    local herald, mira = support.login(server, "herald"), support.login(server, "mira")
    local chat_id = herald:request("createP2PChat", { userId = "mira@chat.acme.test" }).chatId
    mira:take()
    return herald, mira, chat_id, server
  end

  local function content(text) return { content = { text = text, parseMode = "html" } } end

  local FTP = '<a href="ftp://x.test/a">f</a>'

  it("comes as a server lets it through, in messages and edits", function()
    local herald, mira, chat_id = scene()
    local sent = herald:say(chat_id, "", content "<h1>one</h1><b x=1>two</b>")
    assert.equal("one<b>two</b>", mira:take()[1].payload.content.text)
    assert.is_nil((herald:request("editMessage", {
      messageId = sent.messageId, content = { text = "<p>three</p>", parseMode = "html" },
    })).errorCode)
    assert.equal("three", mira:take()[1].payload.content.text)
    assert.equal(399, (herald:say(chat_id, "", content(FTP))).errorCode)
    assert.equal(399, (herald:say(chat_id, "", content "<img src=x>")).errorCode)
    assert.equal(399, (herald:request("editMessage", {
      messageId = sent.messageId, content = { text = FTP, parseMode = "html" },
    })).errorCode)
    assert.same({}, mira:take())
    assert.equal(FTP, (herald:request("getMessageById", {
      messageId = herald:say(chat_id, FTP).messageId,
    })).content.text)
  end)

  it("is cut after it was cleaned", function()
    local herald, mira, chat_id = scene()
    herald:say(chat_id, "", content(("<x y=1>a</x>"):rep(4096)))
    assert.equal(("a"):rep(4096), mira:take()[1].payload.content.text)
  end)

  it("is left as it is by servers before 5.5.6, of which nobody knows", function()
    local herald, mira, chat_id = scene "5.5.4"
    herald:say(chat_id, "", content(FTP))
    assert.equal(FTP, mira:take()[1].payload.content.text)
  end)

  it("of people is no different", function()
    local _, _, chat_id, server = scene()
    local chat = server:person("mira"):chat(chat_id)
    assert.equal("<b>x</b>", chat:say("<b x=1>x</b>", { parse_mode = "html" }).text)
  end)
end)
