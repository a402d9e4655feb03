-- SPDX-License-Identifier: MIT
-- Small files that only their owner may read: csrc/private_file.c.

local core = require "trueconf.core"
local system = require "spec.support.system"

describe("a private file", function()
  local directory, path

  before_each(function()
    directory = system.directory()
    path = directory:file "secret"
  end)
  after_each(function() directory:__close() end)

  local function mode(of)
    return system.output("stat -c %%a '%s'", of)
  end

  local function names()
    return system.output("ls -A '%s'", directory.path)
  end

  it("has mode 0600 and comes back byte for byte", function()
    local text = ("a\0b\n"):rep(5000)
    assert.is_true(core.write_private(path, text))
    assert.equal("600", mode(path))
    assert.equal(text, core.read_private(path))
    assert.is_true(core.write_private(path, ""))
    assert.equal("", core.read_private(path))
    assert.equal("secret", names())
  end)

  it("is replaced, also one that was open to others", function()
    system.write(path, "old")
    system.output("chmod 644 '%s'", path)
    assert.is_true(core.write_private(path, "new"))
    assert.equal("600", mode(path))
    assert.equal("new", core.read_private(path))
  end)

  it("is left as it is when only a new one is wanted", function()
    assert.is_true(core.write_private(path, "first", true))
    assert.equal("600", mode(path))
    assert.is_false(core.write_private(path, "second", true))
    assert.equal("first", core.read_private(path))
    assert.equal("secret", names())
  end)

  it("is not read when others may", function()
    core.write_private(path, "x")
    for _, bits in ipairs { "640", "604", "660" } do
      system.output("chmod %s '%s'", bits, path)
      local text, err = core.read_private(path)
      assert.is_nil(text)
      assert.equal("IO", err.name)
      assert.matches("others may read it", err.message)
    end
  end)

  it("can be missing, which is no error", function()
    assert.equal(0, select("#", core.read_private(path)))
  end)

  it("says what is wrong with its place", function()
    system.write(path, "x")
    local ok, err = core.write_private(path .. "/below", "x")
    assert.is_nil(ok)
    assert.equal("IO", err.name)
    assert.matches("cannot write .*/secret/below: Not a directory", err.message)
    ok, err = core.write_private(directory:file "no/such", "x")
    assert.is_nil(ok)
    assert.matches("No such file", err.message)
    ok, err = core.write_private(directory.path, "x")
    assert.is_nil(ok)
    assert.equal("IO", err.name)
    assert.equal("secret", names())
    assert.error_matches(function() core.write_private(("x"):rep(5000), "x") end, "path too long")
  end)
end)

describe("a private folder", function()
  it("is made with mode 0700, once", function()
    local directory <close> = system.directory()
    local path = directory:file "data"
    assert.is_true(core.private_folder(path))
    assert.equal("700", system.output("stat -c %%a '%s'", path))
    assert.is_true(core.private_folder(path))
  end)

  it("is not made in a missing one or in place of a file", function()
    local directory <close> = system.directory()
    local ok, err = core.private_folder(directory:file "no/data")
    assert.is_nil(ok)
    assert.matches("cannot make the folder .*/no/data: No such file", err.message)
    ok, err = core.private_folder(system.write(directory:file "file", ""))
    assert.is_nil(ok)
    assert.matches("it is not a folder", err.message)
  end)

  it("is none that others may write to, or that is theirs", function()
    local directory <close> = system.directory()
    local path = directory:file "data"
    assert(core.private_folder(path))
    for mode, who in pairs { ["770"] = "others may write", ["707"] = "others may write" } do
      system.output("chmod %s '%s'", mode, path)
      local ok, err = core.private_folder(path)
      assert.same({ nil, "IO" }, { ok, err.name })
      assert.matches(who, err.message)
    end
    system.output("chmod 755 '%s'", path)
    assert.is_true(core.private_folder(path))
    if system.output "id -u" ~= "0" then return end -- only the superuser can give it away
    system.output("chown 65534 '%s'", path)
    local ok, err = core.private_folder(path)
    assert.is_nil(ok)
    assert.matches("it is somebody else's", err.message)
  end)
end)
