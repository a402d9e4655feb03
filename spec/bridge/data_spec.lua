-- SPDX-License-Identifier: MIT
-- The data folder of a Bridge.

local core = require "trueconf.core"
local bridge = require "trueconf.bridge"
local data = require "trueconf.bridge.store.folder"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local async = helper.async

describe("the data folder of a Bridge", function()
  local directory, folder

  before_each(function()
    directory = system.directory()
    folder = directory:file "data"
  end)
  after_each(function() directory:__close() end)

  local function start(options)
    local given = { data = folder, accounts = { herald = "4711" }, password_cost = 1, log = "off" }
    for name, value in pairs(options or {}) do given[name] = value end
    given.log = { level = "off" }
    return bridge.start(given)
  end

  local function mode(path)
    return system.output("stat -c %%a '%s'", path)
  end

  local function refused(message, options)
    local server, err = start(options)
    assert.is_nil(server)
    assert.equal("IO", err.name)
    assert.is_truthy(err.message:find(message, 1, true), err.message)
  end

  it("is made at the first start, with the key that only its owner may read", async(function()
    assert(start()):stop()
    assert.equal("700", mode(folder))
    assert.equal("600", mode(folder .. "/signing.key"))
    assert.equal("bridge.db\nsigning.key", system.output("ls -A '%s'", folder))
  end))

  it("keeps tokens good across a restart", async(function()
    local server = assert(start())
    local token = server:mint_token "herald"
    server:stop()
    server = assert(start())
    assert.equal("herald", server.tokens:verify(token, server.accounts).login)
    server:stop()
    server = assert(start { data = directory:file "other" })
    assert.same({ nil, "invalid" }, { server.tokens:verify(token, server.accounts) })
    server:stop()
  end))

  it("gives two that start at once the same key", async(function()
    assert(core.private_folder(folder))
    local write, other = core.write_private, nil
    core.write_private = function(...)                  -- luacheck: ignore 122
      core.write_private = write                        -- luacheck: ignore 122
      other = data.signing_key(folder)
      return write(...)
    end
    local key = data.signing_key(folder)
    core.write_private = write                          -- luacheck: ignore 122
    assert.equal(32, #key)
    assert.equal(key, other)
  end))

  it("is refused with a clear message when it will not do", async(function()
    refused("cannot make the folder " .. directory:file "no/data", { data = directory:file "no/data" })
    system.write(directory:file "file", "")
    refused("it is not a folder", { data = directory:file "file" })
    assert(core.private_folder(folder))
    system.output("echo short >'%s/signing.key' && chmod 600 '%s/signing.key'", folder, folder)
    refused("signing.key is damaged: expected a key of 32 bytes in base64url")
    assert.equal("short\n", system.read(folder .. "/signing.key"))
    system.output("chmod 644 '%s/signing.key'", folder)
    refused("signing.key: others may read it; run chmod 600")
  end))

  it("is refused when it is read-only, and left as it is", async(function()
    assert(core.private_folder(folder))
    system.output("chmod 500 '%s'", folder)
    local command = ("%s bin/trueconf bridge --port 0 --account herald:4711 --data '%s'"):format(
      os.getenv "LUA" or "lua5.4", folder)
    -- The superuser may write everywhere, but not without this right. Looking for leaks needs another right.
    local drop = system.output "id -u" == "0" and "setpriv --bounding-set=-all --inh-caps=-all " or ""
    local environment = { LD_PRELOAD = os.getenv "LD_PRELOAD", ASAN_OPTIONS = "detect_leaks=0" }
    local child <close> = system.launch(drop .. command, { environment = environment })
    assert.equal(1, child:wait())
    local path = (folder .. "/signing.key"):gsub("%p", "%%%0")
    assert.matches("cannot write " .. path .. ": Permission denied", child:log())
    assert.equal("", system.output("ls -A '%s'", folder))
  end))

  it("brings the accounts that were kept in it", async(function()
    local hash = core.crypt_hash("secret", 1)
    local server = assert(start { accounts = {
      Mira = { password_hash = hash, display_name = "Mira Lang" }, herald = { password_hash = hash }, john = "9",
    } })
    server:disable "john"
    server:stop()
    server = assert(start { accounts = { HERALD = "4711" } })
    assert.same({ "Mira", "Mira Lang" }, (function(account) return { account.login, account.display_name } end)(
      server.accounts:authenticate("mira", "secret")))
    assert.is_nil(server.accounts:authenticate("john", "9"))
    assert.equal("herald", server.accounts:authenticate("herald", "4711").login)
    assert.is_nil(server.accounts:authenticate("herald", "secret"))
    server:stop()
  end))

  it("is that of one server and one Bridge", async(function()
    local server = assert(start { server_name = "chat.acme.test" })
    refused "bridge.db: another process has it open"
    server:stop()
    local other, err = start { server_name = "elsewhere.test" }
    assert.is_nil(other)
    assert.equal("CONFIG", err.name)
    assert.equal(("data: %s belongs to server 'chat.acme.test', not 'elsewhere.test'"):format(folder), err.message)
    server = assert(start {})
    assert.equal("herald@chat.acme.test", server:person("herald").id)
    server:stop()
    assert.error_matches(function() start { state = server:state() } end, "state: it cannot be given beside `data`")
  end))
end)
