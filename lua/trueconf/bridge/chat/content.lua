-- SPDX-License-Identifier: MIT
-- Checks the content of messages: length of texts, buttons, surveys (protocol: length, buttons and commands, surveys).

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local text = require "trueconf.text"
local html = require "trueconf.bridge.chat.html"

local MAX_TEXT = protocol.limits.TEXT
-- Versions that brought buttons and the cleaning of html. Earlier versions may clean html, too; that is unknown.
local BUTTONS_SINCE, CLEANED_SINCE = "5.5.6", "5.5.6"

-- A character has at least one byte, and marks only make the visible text shorter: few texts need to be counted.
local function fits(content, version)
  return #content <= MAX_TEXT or text.visible_length(content, nil, version) <= MAX_TEXT
end

-- Servers silently cut a text that is too long (protocol: length).
local function cut(content, parse_mode, version)
  if #content <= MAX_TEXT then return content end
  return text.cut(content, MAX_TEXT, parse_mode, version)
end

-- A label is one line.
local function tidy_button(button)
  local tidy = {}
  for name, value in pairs(button) do tidy[name] = value end
  tidy.label = button.label and button.label:gsub("\r?\n", " "):gsub("\r", " ")
  return tidy
end

local function tidy_buttons(rows)
  local tidy = {}
  for index, row in ipairs(rows) do
    tidy[index] = json.array()
    for column, button in ipairs(row) do tidy[index][column] = tidy_button(button) end
  end
  return tidy
end

-- The text without the html that a server removes; nil: the server refuses the message.
local function clean(given, profile)
  if given.parseMode ~= "html" or not profile:has(CLEANED_SINCE) then return given.text end
  local cleaned, complaint = html.clean(given.text)
  if cleaned == "" then return nil, "content.text: nothing is left of it without the tags that are not supported" end
  return cleaned, complaint
end

---A text as it is kept.
---@param given { text: string, parseMode: string, buttons: table[][]? }
---@param profile trueconf.bridge.Profile
---@param long "cut"|"refuse" treatment of a text that is too long
---@return table? content nil: it is refused
---@return string? complaint
local function of_text(given, profile, long)
  local cleaned, complaint = clean(given, profile)
  if not cleaned then return nil, complaint end
  if long == "refuse" and not fits(cleaned, profile.version) then
    local length = text.visible_length(cleaned, nil, profile.version)
    return nil, ("content.text is %d visible characters, %d allowed"):format(length, MAX_TEXT)
  end
  local buttons = given.buttons and given.buttons[1] and profile:has(BUTTONS_SINCE) and tidy_buttons(given.buttons)
  return {
    text = cut(cleaned, given.parseMode, profile.version), parseMode = given.parseMode, buttons = buttons or nil,
  }
end

local SURVEY_FIELDS = { "url", "appVersion", "path", "title", "description", "buttonText", "secret", "alt" }

---A survey as it is kept; missing fields keep their values.
---@param given table
---@param before table
---@return table content
local function of_survey(given, before)
  local survey = {}
  for _, name in ipairs(SURVEY_FIELDS) do survey[name] = given[name] or before[name] end
  return survey
end

return { of_text = of_text, of_survey = of_survey }
