-- SPDX-License-Identifier: MIT
-- The card of a survey, as an application makes it (protocol: surveys).

local core = require "trueconf.core"
local protocol = require "trueconf.protocol"

local Description = protocol.enums.SurveyDescription
local BUTTON = "{{Go to survey}}"
local APP_VERSION, SECRET_BYTES = 1, 20

---@class trueconf.bridge.SurveyGiven
---@field title string
---@field path string id of the survey in the server's web tools
---@field anonymous? boolean
---@field url? string of the web tools; default that of the server

local survey = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&#39;" }

-- What applications without surveys show.
local function alternative(url, given)
  local address = ("%s?id=%s&error=autologin_not_supported"):format(url, given.path)
  return ("📊 <a href='%s'>%s</a>"):format(address:gsub("['<>]", ESCAPES), (given.title:gsub("[&<>']", ESCAPES)))
end

---@param server_name string
---@param given trueconf.bridge.SurveyGiven
---@return table content as on the wire
function survey.card(server_name, given)
  local url = given.url or ("https://%s/webtools/survey"):format(server_name)
  return {
    url = url, appVersion = APP_VERSION, path = given.path, title = given.title, buttonText = BUTTON,
    description = given.anonymous and Description.ANONYMOUS_SURVEY or Description.SURVEY,
    secret = core.random(SECRET_BYTES):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end),
    alt = alternative(url, given),
  }
end

return survey
