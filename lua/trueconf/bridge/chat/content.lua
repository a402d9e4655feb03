-- SPDX-License-Identifier: MIT
-- What a message may say: texts within their length, buttons, surveys (protocol: length, buttons
-- and commands, surveys).

local json = require "trueconf.base.json"
local protocol = require "trueconf.protocol"
local text = require "trueconf.text"
local html = require "trueconf.bridge.chat.html"

local MAX_TEXT = protocol.limits.TEXT
-- Version that brought buttons; what earlier ones do with html is not known.
local BUTTONS_SINCE, CLEANED_SINCE = "5.5.6", "5.5.6"

-- No character is shorter than a byte, and nothing that is hidden makes a text longer.
local function fits(content, version)
  return #content <= MAX_TEXT or text.visible_length(content, nil, version) <= MAX_TEXT
end

-- Too long a text is cut without a word (protocol: length).
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

-- Without what a server takes out of html; nil: it refuses the whole.
local function clean(given, profile)
  if given.parseMode ~= "html" or not profile:has(CLEANED_SINCE) then return given.text end
  local cleaned, complaint = html.clean(given.text)
  if cleaned == "" then return nil, "content.text: nothing is left of it without the tags that are not supported" end
  return cleaned, complaint
end

---A text as it is kept.
---@param given { text: string, parseMode: string, buttons: table[][]? }
---@param profile trueconf.bridge.Profile
---@param long "cut"|"refuse" what is done with one that is too long
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

---A survey as it is kept; what is missing is as before.
---@param given table
---@param before table
---@return table content
local function of_survey(given, before)
  local survey = {}
  for _, name in ipairs(SURVEY_FIELDS) do survey[name] = given[name] or before[name] end
  return survey
end

return { of_text = of_text, of_survey = of_survey }
