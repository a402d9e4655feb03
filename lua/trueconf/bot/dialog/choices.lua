-- SPDX-License-Identifier: MIT
-- Choices of a question: shows them, and finds the choice that an answer means.

local core = require "trueconf.core"
local limits = require "trueconf.protocol.limits"
local values = require "trueconf.bot.command.values"

local MOST = limits.BUTTON_ROWS * limits.BUTTONS_IN_ROW
local SHORT = 10                        -- characters of a label that may share its row
local SHORT_PER_ROW = 4
local COMMAND, ITS_TOKEN = "choice-%s-%d", "^choice%-(%x+)%-%d+$" -- of a button
local FEW = 8                           -- labels that fit into a sentence

local choices = {}

---@class (exact) trueconf.Choice
---@field label string what people see, and may write
---@field id? string another word for it, also the id of the button

---@class trueconf.dialog.Choice
---@field value string|trueconf.Choice what msg:ask returns
---@field label string
---@field id string?
---@field words string[] folded words that mean this choice

---@class trueconf.dialog.Choices
---@field [integer] trueconf.dialog.Choice
---@field numbered boolean a number means a choice, too

-- Declaring --------------------------------------------------------------------------------------

local function trim(text)
  return text:match "^%s*(.-)%s*$"
end

-- Trimmed last, because folding replaces other spaces by plain ones.
local function word_of(text)
  return trim(core.fold(text))
end

choices.word_of = word_of

local function read_choice(given, index, level)
  local label, id = given, nil
  if type(given) == "table" then label, id = given.label, given.id end
  if type(label) ~= "string" or word_of(label) == "" or id ~= nil and type(id) ~= "string" then
    error(("ask: choice %d must be a string, or a table with the strings label and id"):format(index), level + 1)
  end
  label = trim(label):gsub("%s*[\r\n]+%s*", " ")
  return { value = given, label = label, id = id, words = { word_of(label), id and word_of(id) } }
end

---@param given any the option `choices`
---@param level integer whom to blame for a mistake
---@return trueconf.dialog.Choices
function choices.declare(given, level)
  if given[1] == nil then error("ask: choices must be a list of at least one", level + 1) end
  local declared, seen = { numbered = true }, {}
  for index, one in ipairs(given) do
    local choice = read_choice(one, index, level + 1)
    for _, word in ipairs(choice.words) do
      if seen[word] and seen[word] ~= index then
        error(("ask: choice %d means the same as choice %d: '%s'"):format(index, seen[word], word), level + 1)
      end
      seen[word] = index
      -- With choices "2" and "3", the answer 2 must not mean the second one.
      if word:find "^%d" then declared.numbered = false end
    end
    declared[index] = choice
  end
  return declared
end

-- Showing ----------------------------------------------------------------------------------------

---The choices as a list, a line for each.
---@param declared trueconf.dialog.Choices
---@return string
function choices.list(declared)
  local lines = {}
  for index, choice in ipairs(declared) do
    lines[index] = (declared.numbered and index .. ". " or "- ") .. choice.label
  end
  return table.concat(lines, "\n")
end

local function longest_label(declared)
  local longest = 0
  for _, choice in ipairs(declared) do
    longest = math.max(longest, utf8.len(choice.label) or math.huge)
  end
  return longest
end

---True if the choices fit on buttons.
---@param declared trueconf.dialog.Choices
---@return boolean
function choices.fit_buttons(declared)
  return #declared <= MOST and longest_label(declared) <= limits.BUTTON_LABEL
end

---The token in the command of a button.
---@param command string
---@return string? token nil: it is not the command of a choice
function choices.token_of(command)
  return command:match(ITS_TOKEN)
end

---The choices as buttons. A click always has the button's command, so the command names the choice.
---@param declared trueconf.dialog.Choices
---@param token string that no other question has
---@return trueconf.Button[][] rows
---@return table<string, trueconf.dialog.Choice> by_command
function choices.buttons(declared, token)
  local together = longest_label(declared) <= SHORT and SHORT_PER_ROW or 1
  local per_row = math.max(math.ceil(#declared / limits.BUTTON_ROWS), together)
  local rows, by_command = {}, {}
  for index, choice in ipairs(declared) do
    local command = COMMAND:format(token, index)
    local row = (index - 1) // per_row + 1
    rows[row] = rows[row] or {}
    table.insert(rows[row], { type = "command", label = choice.label, id = choice.id, command = command })
    by_command[command] = choice
  end
  return rows, by_command
end

-- Matching ---------------------------------------------------------------------------------------

local function exact(declared, word)
  for _, choice in ipairs(declared) do
    for _, known in ipairs(choice.words) do
      if known == word then return choice end
    end
  end
end

-- The choices whose label begins with a word.
local function beginning_with(declared, word)
  local found = {}
  for _, choice in ipairs(declared) do
    if choice.words[1]:sub(1, #word) == word then found[#found + 1] = choice end
  end
  return found
end

local function either(some)
  local labels = {}
  for index, choice in ipairs(some) do labels[index] = choice.label end
  return values.listed(labels)
end

local function complaint(declared, near)
  if near[2] and near[FEW + 1] == nil then return ("Do you mean %s?"):format(either(near)) end
  if declared[FEW + 1] == nil then return ("Please answer with %s."):format(either(declared)) end
  return "Please answer with one of these:\n" .. choices.list(declared)
end

---The choice that a text means: its label or id, its number, or the beginning of its label.
---@param declared trueconf.dialog.Choices
---@param text string
---@return trueconf.dialog.Choice?
---@return string? complaint
function choices.find(declared, text)
  local word = word_of(text)
  local number = declared.numbered and math.tointeger(tonumber(word:match "^(%d%d?%d?)[.)]?$"))
  local choice = exact(declared, word) or number and declared[number]
  if choice then return choice end
  local near = word ~= "" and beginning_with(declared, word) or {}
  if near[1] and not near[2] then return near[1] end
  return nil, complaint(declared, near)
end

return choices
