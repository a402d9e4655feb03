-- SPDX-License-Identifier: MIT
-- The mutants of one Lua or C file: a comparison, connective, constant or `not` changed at a time. Comments, strings,
-- strings, attributes such as <close>, the lengths of arrays, sizes that are only hints, and preprocessor
-- conditions stay as they are.
--
--   lua5.4 tools/mutants.lua list FILE [COUNT SEED]   a line per mutant: number, line, change, source (tab between)
--   lua5.4 tools/mutants.lua write FILE N             the file's text with mutant N in it

local COMPARISONS = { ["<"] = "<=", ["<="] = "<", [">"] = ">=", [">="] = ">" }

local LUA = {
  operators = { "...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>" },
  changes = { ["=="] = "~=", ["~="] = "==", ["and"] = "or", ["or"] = "and", ["not"] = "",
    ["true"] = "false", ["false"] = "true" },
}

local C = {
  operators = { "<<=", ">>=", "...", "->", "++", "--", "&&", "||", "==", "!=", "<=", ">=", "<<", ">>" },
  changes = { ["=="] = "!=", ["!="] = "==", ["&&"] = "||", ["||"] = "&&", ["!"] = "",
    ["true"] = "false", ["false"] = "true" },
}

for _, language in ipairs { LUA, C } do
  for old, new in pairs(COMPARISONS) do language.changes[old] = new end
end

---The position after a quoted string that begins at `at`.
local function after_quoted(text, at)
  local quote, pos = text:sub(at, at), at + 1
  while pos <= #text do
    local char = text:sub(pos, pos)
    if char == quote then return pos + 1 end
    pos = pos + (char == "\\" and 2 or 1)
  end
  error "a string does not end"
end

local function after_long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at, true)
  return assert(last, "a long bracket does not end") + 1
end

---The position after a comment or string of Lua at `at`, or nil.
function LUA.skip(text, at)
  if text:find("^%-%-", at) then
    return after_long_bracket(text, at + 2) or text:find("\n", at, true) or #text + 1
  end
  if text:find("^[\"']", at) then return after_quoted(text, at) end
  return after_long_bracket(text, at)
end

---The position after a directive, or after the name that a #define defines: its value can be changed.
local function after_directive(text, at)
  if text:find("^#%s*define", at) then return select(2, text:find("^#%s*define%s+[%w_]+", at)) + 1 end
  local pos = at
  repeat
    pos = text:find("\n", pos + 1, true) or #text + 1
  until text:sub(pos - 1, pos - 1) ~= "\\"
  return pos
end

---The position after a comment, string, character or directive of C at `at`, or nil.
function C.skip(text, at)
  if text:find("^//", at) then return text:find("\n", at, true) or #text + 1 end
  if text:find("^/%*", at) then return select(2, text:find("*/", at + 2, true)) + 1 end
  if text:find("^[\"']", at) then return after_quoted(text, at) end
  if text:find("^#", at) then return after_directive(text, at) end
  return nil
end

local function operator_at(language, text, at)
  for _, operator in ipairs(language.operators) do
    if text:sub(at, at + #operator - 1) == operator then return operator end
  end
  return text:sub(at, at)
end

-- A sign belongs to a number after its exponent, which is `p` in hexadecimal ones.
local function number_at(text, at)
  local number = text:match("^%.?%d[%w_.]*", at)
  if not number then return nil end
  local exponent = number:find "^0[xX]" and "[pP]$" or "[eE]$"
  if number:find(exponent) then number = number .. text:match("^[+-]?%d*", at + #number) end
  return number
end

---@return { kind: "name"|"number"|"operator", text: string, at: integer }[]
local function tokens_of(language, text)
  local tokens, at = {}, 1
  while at <= #text do
    local after = text:match("^%s+()", at) or language.skip(text, at)
    if not after then
      local kind, word = "name", text:match("^[%a_][%w_]*", at)
      if not word then kind, word = "number", number_at(text, at) end
      if not word then kind, word = "operator", operator_at(language, text, at) end
      tokens[#tokens + 1] = { kind = kind, text = word, at = at }
      after = at + #word
    end
    at = after
  end
  return tokens
end

---A number one larger, written as the language reads it; nil for a spelling not known here.
local function one_more(text)
  local digits, suffix = text, ""
  if not text:find "^0[xX]" then digits, suffix = text:match "^(.-)([uUlLfF]*)$" end
  if digits:find "^0[0-7]+$" then return ("0%o"):format(tonumber(digits, 8) + 1) .. suffix end
  local value = tonumber(digits)
  if not value then return nil end
  return (math.type(value) == "integer" and "%d" or "%.17g"):format(value + 1) .. suffix
end

local function word(token)
  return token and token.kind == "name"
end

---Is the number at `i` the length in the declaration of an array, as in `char text[64]`?
local function is_length(tokens, i)
  local open, name, before = tokens[i - 1], tokens[i - 2], tokens[i - 3]
  return open and open.text == "[" and word(name) and before
    and (before.text == "*" or word(before) and before.text ~= "return")
end

---Does the number at `i` change nothing that anybody sees: `= {0}`, or a size that lua_createtable is told?
local function is_idle(tokens, i)
  local function text(k) return tokens[i + k] and tokens[i + k].text end
  if text(-1) == "{" and text(1) == "}" then return true end
  local k = -1
  while k > -6 and text(k) ~= "(" do k = k - 1 end
  return text(k - 1) == "lua_createtable"
end

---Is the token at `i` a bracket of <close> or <const>?
local function is_attribute(tokens, i)
  local function name(token) return token and (token.text == "close" or token.text == "const") end
  return tokens[i].text == "<" and name(tokens[i + 1]) and tokens[i + 2].text == ">"
    or tokens[i].text == ">" and name(tokens[i - 1]) and tokens[i - 2].text == "<"
end

local function change_of(language, tokens, i)
  local token = tokens[i]
  if token.kind == "number" then
    if language == C and (is_length(tokens, i) or is_idle(tokens, i)) then return nil end
    return one_more(token.text)
  end
  if language == LUA and is_attribute(tokens, i) then return nil end
  return language.changes[token.text]
end

---@return { at: integer, old: string, new: string }[]
local function mutants_of(language, text)
  local tokens, mutants = tokens_of(language, text), {}
  for i, token in ipairs(tokens) do
    local new = change_of(language, tokens, i)
    if new then mutants[#mutants + 1] = { at = token.at, old = token.text, new = new } end
  end
  return mutants
end

local function read_file(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

---Keep `count` of a list, chosen by `seed`, in their order.
local function sample(numbers, count, seed)
  math.randomseed(seed)
  while #numbers > count do table.remove(numbers, math.random(#numbers)) end
end

local function list(text, mutants, count, seed)
  local numbers = {}
  for number in ipairs(mutants) do numbers[number] = number end
  if count then sample(numbers, tonumber(count), tonumber(seed)) end
  for _, number in ipairs(numbers) do
    local mutant = mutants[number]
    local before = text:sub(1, mutant.at - 1)
    local line = 1 + select(2, before:gsub("\n", ""))
    local source = text:match("^%s*([^\n]*)", #(before:match "^.*\n" or "") + 1)
    local change = mutant.new == "" and "without " .. mutant.old or mutant.old .. " -> " .. mutant.new
    print(("%d\t%d\t%s\t%s"):format(number, line, change, source))
  end
end

local function main(action, path, ...)
  local language = path:find "%.lua$" and LUA or path:find "%.[ch]$" and C or error(path .. " is neither Lua nor C", 0)
  local text = read_file(path)
  local mutants = mutants_of(language, text)
  if action == "list" then return list(text, mutants, ...) end
  local mutant = assert(mutants[tonumber(...)], "no such mutant")
  io.write(text:sub(1, mutant.at - 1), mutant.new, text:sub(mutant.at + #mutant.old))
end

main(table.unpack(arg))
