-- SPDX-License-Identifier: MIT

local config = require "trueconf.client.settings"
local core = require "trueconf.core"
local Error = require "trueconf.base.error"
local system = require "spec.support.system"

describe("config.resolve", function()
  local paths

  before_each(function() paths = {} end)
  after_each(function()
    for _, path in ipairs(paths) do os.remove(path) end
  end)

  local function file(text)
    local path = os.tmpname()
    paths[#paths + 1] = path
    local handle = assert(io.open(path, "wb"))
    handle:write(text)
    handle:close()
    return path
  end

  local function from_file(text)
    local settings, err = config.resolve({}, {}, { file(text) })
    return settings, err
  end

  local function refused(settings, err)
    assert.is_nil(settings)
    assert.is_true(Error.is(err))
    assert.equal("CONFIG", err.name)
    return err.message
  end

  it("finds out a secret that ends with its line, without telling it", function()
    assert.equal("TRUECONF_PASSWORD: the password ends with a line break (\\r); remove it",
      refused(config.resolve({}, { TRUECONF_PASSWORD = "4711\r" }, {})))
    assert.equal("TRUECONF_TOKEN: the token ends with a line break (\\n); remove it",
      refused(config.resolve({}, { TRUECONF_TOKEN = "4711\n" }, {})))
    assert.equal("option 'password': the password ends with a line break (\\n); remove it",
      refused(config.resolve({ password = "4711\r\n" }, {}, {})))
    assert.equal("47\n11", config.resolve({ password = "47\n11" }, {}, {}).password)
  end)

  it("looks for the local Bridge when nothing is set", function()
    local settings, sources = config.resolve({}, {}, {})
    assert.same({ url = "ws://localhost:4309" }, settings)
    assert.same({ url = "default" }, sources)
    assert.same(settings, (config.resolve(nil, {}, {})))
  end)

  it("takes the argument before the environment before the file", function()
    local path = file "# comment\nurl = ws://file\nusername = file\nca_file = file\n"
    local settings, sources = config.resolve({ url = "ws://argument", retries = 3 },
      { TRUECONF_URL = "ws://environment", TRUECONF_USERNAME = "environment" }, { path })
    assert.same({ url = "ws://argument", username = "environment", ca_file = "file" }, settings)
    assert.same({ url = "option 'url'", username = "TRUECONF_USERNAME", ca_file = path .. ":4" }, sources)
  end)

  it("reads every variable, and takes an empty one for none", function()
    local settings = config.resolve({}, { TRUECONF_URL = "wss://e", TRUECONF_USERNAME = "u", TRUECONF_PASSWORD = "p",
      TRUECONF_CA_FILE = "c", TRUECONF_OAUTH_CLIENT_ID = "o", TRUECONF_WEB_URL = "https://w", TRUECONF_TOKEN = "" }, {})
    assert.same({ url = "wss://e", username = "u", password = "p", ca_file = "c", oauth_client_id = "o",
      web_url = "https://w" }, settings)
    assert.equal("t", config.resolve({}, { TRUECONF_TOKEN = "t" }, {}).token)
  end)

  it("reads the environment of the process by itself", function()
    local getenv = os.getenv
    finally(function() os.getenv = getenv end) -- luacheck: ignore 122
    os.getenv = function(name) return name == "TRUECONF_USERNAME" and "herald" or nil end -- luacheck: ignore 122
    assert.equal("herald", config.resolve({}, nil, {}).username)
  end)

  it("does not mix a password with a token from further down", function()
    local path = file "token = f\nusername = u\n"
    assert.same({ url = "ws://localhost:4309", password = "a", username = "u" },
      (config.resolve({ password = "a" }, { TRUECONF_TOKEN = "e" }, { path })))
    local source = function() end
    assert.same({ url = "ws://localhost:4309", token = source, username = "u" },
      (config.resolve({ token = source }, { TRUECONF_PASSWORD = "e" }, { path })))
    assert.equal("e", config.resolve({}, { TRUECONF_PASSWORD = "e" }, { path }).password)
    assert.is_nil(config.resolve({}, { TRUECONF_PASSWORD = "e" }, { path }).token)
    local oauth = config.resolve({ oauth_client_id = "o" }, { TRUECONF_TOKEN = "e" }, { path })
    assert.same({ url = "ws://localhost:4309", oauth_client_id = "o", username = "u" }, oauth)
    assert.is_nil(config.resolve({}, { TRUECONF_TOKEN = "e" }, { file "oauth_client_id = f\n" }).oauth_client_id)
    local both = config.resolve({ token = "t", password = "p" }, {}, {})
    assert.equal("tp", both.token .. both.password)
  end)

  it("leaves the tables it is given alone", function()
    local given, env = {}, { TRUECONF_USERNAME = "u" }
    config.resolve(given, env, {})
    assert.same({}, given)
    assert.same({ TRUECONF_USERNAME = "u" }, env)
  end)

  it("names where a bad address comes from", function()
    assert.matches("^TRUECONF_URL: the url must begin with", refused(config.resolve({}, { TRUECONF_URL = "x" }, {})))
    assert.matches("^option 'url': the url must", refused(config.resolve({ url = "ws://" }, {}, {})))
    assert.matches(":1: the web_url must begin with", refused(from_file "web_url = x"))
    assert.matches(":2: the url must not hold a user", refused(from_file "\nurl = ws://u:hunter2@h\n"))
  end)

  describe("file", function()
    it("may have comments, empty lines, spaces, quotes and any line ends", function()
      local settings = from_file("\xEF\xBB\xBF# head\r\n\r\n  url=ws://h\r\n\tusername =\therald  # who\r\n"
        .. "password = 'a #b\" '  # quoted\r\n   # indented\r\nca_file = \"/a b/c.pem\"")
      assert.same({ url = "ws://h", username = "herald", password = 'a #b" ', ca_file = "/a b/c.pem" }, settings)
    end)

    it("has text in every value", function()
      assert.equal("004711", from_file("password = 004711").password)
      assert.equal("true", from_file("username = true").username)
      assert.equal("p=a#ss'word\"", from_file("password = p=a#ss'word\"").password)
    end)

    it("may be empty", function()
      assert.same({ url = "ws://localhost:4309" }, (from_file ""))
    end)

    it("is refused with its line for what cannot be read, without the value", function()
      for text, expected in pairs {
        ["\nusername = u\nhunter2"] = ":3: expected 'key = value'$",
        ["= hunter2"] = ":1: expected 'key = value'$",
        ["pass word = hunter2"] = ":1: expected 'key = value'$",
        ["\npasword = hunter2"] = ":2: unknown key 'pasword', did you mean 'password'%?$",
        ["colour = hunter2"] = ":1: unknown key 'colour'$",
        ["password = 'hunter2"] = ":1: the value of 'password' must end with its quote$",
        ["password = 'hunter2' x"] = ":1: the value of 'password' must end with its quote$",
        ["password = 'hunter2'#"] = ":1: the value of 'password' must end with its quote$",
        ["password ="] = ":1: 'password' has no value$",
        ["password = # hunter2"] = ":1: 'password' has no value$",
        ["password = ''"] = ":1: 'password' has no value$",
        ["password = hunter2\npassword = hunter2"] = ":2: 'password' was set before at .*:1$",
      } do
        local message = refused(from_file(text))
        assert.matches("^" .. paths[#paths]:gsub("%W", "%%%0") .. expected, message)
        assert.not_matches("hunter2", message)
      end
    end)

    it("is the first that exists", function()
      local first, second = file "username = first", file "username = second\nca_file = second"
      assert.same({ url = "ws://localhost:4309", username = "first" },
        (config.resolve({}, {}, { "/nonexistent/x", first, second })))
    end)

    it("is named by TRUECONF_CONFIG, and must exist then", function()
      local settings = config.resolve({}, { TRUECONF_CONFIG = file "username = named" })
      assert.equal("named", settings.username)
      assert.matches("TRUECONF_CONFIG names the file /nonexistent/x",
        refused(config.resolve({}, { TRUECONF_CONFIG = "/nonexistent/x" })))
    end)

    it("is looked for in its usual places", function()
      local opened, read_file = {}, core.read_file
      finally(function() core.read_file = read_file end)
      core.read_file = function(path) opened[#opened + 1] = path end
      config.resolve({}, { HOME = "/home/u" })
      config.resolve({}, { HOME = "/home/u", XDG_CONFIG_HOME = "/xdg" })
      config.resolve({}, {})
      assert.same({
        "./trueconf.conf", "/home/u/.config/trueconf/config",
        "./trueconf.conf", "/xdg/trueconf/config",
        "./trueconf.conf",
      }, opened)
    end)

    it("must be readable only when something is missing that it could tell", function()
      local directory <close> = system.directory()
      system.output("ln -s .config '%s'", directory:file ".config") -- leads to itself: nobody can read below it
      for home, complaint in pairs { ["/dev/null"] = false, [directory.path] = "Too many levels of symbolic links" } do
        local env = { HOME = home, TRUECONF_USERNAME = "herald", TRUECONF_PASSWORD = "x" }
        assert.equal("herald", assert(config.resolve({}, env)).username)
        env.TRUECONF_PASSWORD = nil
        local settings, err = config.resolve({}, env)
        if complaint then assert.matches(complaint, refused(settings, err)) else assert.is_table(settings) end
        assert.equal("t", assert(config.resolve({ token = "t" }, env)).token)
      end
    end)

    it("is for its owner alone when it holds a secret", function()
      local path = file "username = herald\npassword = 4711"
      assert.equal("4711", config.resolve({}, {}, { path }).password)
      system.output("chmod 640 '%s'", path)
      local message = refused(config.resolve({}, { TRUECONF_CONFIG = path, TRUECONF_TOKEN = "t" }))
      assert.equal(("TRUECONF_CONFIG: will not use %s: it holds a password, and others may read it; run chmod 600")
        :format(path), message)
      path = file "token = t"
      system.output("chmod 604 '%s'", path)
      assert.matches("it holds a token", refused(config.resolve({}, {}, { path })))
      path = file "username = herald"
      system.output("chmod 644 '%s'", path)
      assert.equal("herald", config.resolve({}, {}, { path }).username)
    end)

    it("does not wait for anybody", function()
      local directory <close> = system.directory()
      local fifo = directory:file "fifo"
      system.output("mkfifo '%s'", fifo)
      assert.matches("it is a FIFO, not a plain file", refused(config.resolve({}, {}, { fifo })))
      assert.equal("t", assert(config.resolve({ token = "t" }, {}, { fifo })).token)
      assert.is_table(config.resolve({}, { TRUECONF_CONFIG = "/dev/null" }))
    end)

    it("is refused when it cannot be read or is too large", function()
      assert.matches("cannot read /: it is a folder", refused(config.resolve({}, {}, { "/" })))
      assert.matches("TRUECONF_CONFIG: cannot read /: it is a", refused(config.resolve({}, { TRUECONF_CONFIG = "/" })))
      assert.matches("is over 65536 bytes", refused(from_file(("#"):rep(65537))))
      assert.is_table(from_file(("#"):rep(65536)))
    end)
  end)
end)
