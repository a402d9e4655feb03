-- SPDX-License-Identifier: MIT
-- Adds the fields of a survey's card that a script does not give (protocol 12): a secret, and a link for apps that know
-- no surveys.

local escape = require "trueconf.text.escape"
local random_hex = require "trueconf.base.random_hex"

local survey = {}

local SECRET_BYTES = 20
local PAGE = "https://%s/webtools/survey"

-- Other clients take the SHA-1 of the title and secret random digits, which looks like random digits to everybody else.
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

---The same for an edited survey, whose page stays the one at the server.
---@param client trueconf.Client
---@param content table of the wire, checked
function survey.complete_edit(client, content)
  local page = page_of(client)
  content.alt = content.alt or page and link(page, content)
end

return survey
