-- SPDX-License-Identifier: MIT
-- A bot in a process of its own whose files may not grow any more, as on a full disk: the kernel refuses each write.
-- It loses none of a hundred messages.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local LIMIT = 30                        -- seconds any single step may take
local MESSAGES = 100
local PEOPLE = { "mira", "jonas", "edda", "tilo" }

-- How large files of a process may get; what is already larger stays.
local function limit_files(child, bytes)
  system.output("prlimit --fsize=%s: --pid %s", bytes, child.pid)
end

describe("a bot whose disk is full", function()
  it("loses no message, says so once, and goes on when there is room", helper.async(function()
    local server = system.start_bridge { accounts = { herald = "4711" } }
    local directory <close> = system.directory()
    local chats = {}
    for place, login in ipairs(PEOPLE) do chats[place] = server:person(login):chat_with "herald" end
    local child <close> = system.launch_lua("spec/support/posting_bot.lua", { ignores = "XFSZ", environment = {
      TRUECONF_URL = server:url(), TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "4711", TRUECONF_LOG = "warn",
      NUMBERS_FILE = directory:file "numbers", STORE_FILE = directory:file "bot.db",
    } })
    helper.eventually(function() return server:connections "herald" == 1 end, LIMIT)
    limit_files(child, 4096)            -- less than the log of the database has already
    for n = 1, MESSAGES do chats[n % #PEOPLE + 1]:say(tostring(n)) end
    helper.eventually(function() return child:log():find "cannot be written" end, LIMIT)
    core.sleep(1.5)                     -- in which it tries again, in vain
    assert.equal(MESSAGES, #server:unread "herald")
    limit_files(child, "unlimited")
    helper.eventually(function() return #server:unread "herald" == 0 end, LIMIT)
    local function answers()
      local count, all = {}, 0
      for _, chat in ipairs(chats) do
        for _, message in ipairs(server:history(chat.id)) do
          local number = math.tointeger(message.text:match "^answer to (%d+)$")
          if number then count[number], all = (count[number] or 0) + 1, all + 1 end
        end
      end
      return count, all
    end
    helper.eventually(function() return select(2, answers()) >= MESSAGES end, LIMIT)
    local count = answers()
    for n = 1, MESSAGES do assert.equal(1, count[n]) end
    assert.equal(0, child:kill "TERM")
    local _, told = child:log():gsub("the store cannot be written, ", "")
    local _, again = child:log():gsub("the store is written again", "")
    assert.same({ 1, 1 }, { told, again }, child:log())
    server:stop()
  end, 110))
end)
