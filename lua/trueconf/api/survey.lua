-- SPDX-License-Identifier: MIT
-- What the card of a survey carries besides what a script says (protocol 12): a secret, and a link for
-- apps that know no surveys.

local escape = require "trueconf.text.escape"
local random_hex = require "trueconf.base.random_hex"

local survey = {}

local SECRET_BYTES = 20
local PAGE = "https://%s/webtools/survey"

-- Other clients take the SHA-1 of the title and random digits that they tell nobody: random digits for all others.
local function secret()
  return random_hex(SECRET_BYTES)
end

local function percent(sign)
  return ("%%%02X"):format(sign:byte())
end

local function link(page, content)
  local id = content.path:gsub("[^%w._~-]", percent)
  local address = ("%s?id=%s&error=autologin_not_supported"):format(page, id)
  return ("📊 <a href='%s'>%s</a>"):format(escape.attribute(address), escape.text(content.title, "html"))
end

local function page_of(client)
  local server = (client:user_id() or ""):match "@(.+)$"
  return server and PAGE:format(server)
end

---Add what is missing in the content of a new survey.
---@param content table of the wire, checked
function survey.complete(content)
  content.secret = content.secret or secret()
  content.alt = content.alt or link(content.url, content)
end

---The same for what replaces a survey; it says nothing of the page, which is that of the server.
---@param client trueconf.Client
---@param content table of the wire, checked
function survey.complete_edit(client, content)
  local page = page_of(client)
  content.alt = content.alt or page and link(page, content)
end

return survey
