-- SPDX-License-Identifier: MIT
-- What a message may say: texts within their length, buttons, surveys (protocol: length, buttons
-- and commands, surveys).

local json = require "trueconf.json"
local protocol = require "trueconf.protocol"
local text = require "trueconf.text"

local MAX_TEXT = protocol.limits.TEXT
-- Version that brought buttons.
local BUTTONS_SINCE = "5.5.6"

-- No character is shorter than a byte, and nothing that is hidden makes a text longer.
local function fits(content, version)
  return #content <= MAX_TEXT or text.visible_length(content, nil, version) <= MAX_TEXT
end

-- Too long a text is cut without a word (protocol: length).
local function cut(given, version)
  if #given.text <= MAX_TEXT then return given.text end
  return text.cut(given.text, MAX_TEXT, given.parseMode, version)
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
  for place, row in ipairs(rows) do
    tidy[place] = json.array()
    for column, button in ipairs(row) do tidy[place][column] = tidy_button(button) end
  end
  return tidy
end

---A text as it is kept.
---@param given { text: string, parseMode: string, buttons: table[][]? }
---@param profile trueconf.bridge.Profile
---@return table content
local function of_text(given, profile)
  local buttons = given.buttons and given.buttons[1] and profile:has(BUTTONS_SINCE) and tidy_buttons(given.buttons)
  return { text = cut(given, profile.version), parseMode = given.parseMode, buttons = buttons or nil }
end

---What is wrong with a text where too long ones are not cut.
---@param given { text: string }
---@param profile trueconf.bridge.Profile
---@return string? complaint
local function complaint(given, profile)
  if fits(given.text, profile.version) then return nil end
  local length = text.visible_length(given.text, nil, profile.version)
  return ("content.text is %d visible characters, %d allowed"):format(length, MAX_TEXT)
end

local SURVEY_FIELDS = { "url", "appVersion", "path", "title", "description", "buttonText", "secret", "alt" }

---A survey as it is kept; what is missing is as before.
---@param given table
---@param before table
---@return table content
local function of_survey(given, before)
  local survey = {}
  for _, name in ipairs(SURVEY_FIELDS) do survey[name] = given[name] or before[name] end
  return survey
end

return { of_text = of_text, of_survey = of_survey, complaint = complaint }
