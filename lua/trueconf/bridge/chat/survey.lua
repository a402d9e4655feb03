-- SPDX-License-Identifier: MIT
-- The card of a survey, as an application makes it (protocol: surveys).

local protocol = require "trueconf.protocol"
local survey = require "trueconf.api.survey"

local Description = protocol.enums.SurveyDescription
local BUTTON = "{{Go to survey}}"
local APP_VERSION = 1

---@class trueconf.bridge.SurveyGiven
---@field title string
---@field path string id of the survey in the server's web tools
---@field anonymous? boolean
---@field url? string of the web tools; default that of the server

---@param server_name string
---@param given trueconf.bridge.SurveyGiven
---@return table content as on the wire
local function card(server_name, given)
  local content = {
    url = given.url or ("https://%s/webtools/survey"):format(server_name), appVersion = APP_VERSION, path = given.path,
    title = given.title, buttonText = BUTTON,
    description = given.anonymous and Description.ANONYMOUS_SURVEY or Description.SURVEY,
  }
  survey.complete(content)
  return content
end

return { card = card }
