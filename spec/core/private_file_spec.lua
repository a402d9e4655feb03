-- SPDX-License-Identifier: MIT
-- Small files that only their owner may read: csrc/system/private_file.c.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

-- Another process writes into a FIFO, as soon as somebody reads.
local function feed(fifo, text)
  assert(os.execute(("printf '%s' >'%s' &"):format(text, fifo)))
end

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
    ok, err = core.write_private(("x"):rep(5000), "x")
    assert.is_nil(ok)
    assert.equal("IO", err.name)
  end)
end)

describe("a file that is named", function()
  local directory

  before_each(function() directory = system.directory() end)
  after_each(function() directory:__close() end)

  local function kind(path)
    return system.output("stat -c '%%F %%a' '%s'", path)
  end

  -- Things that are no plain files, each in a folder of its own; never a device of the machine.
  local function odd_files()
    local odd = { ["a FIFO"] = directory:file "fifo", ["a folder"] = directory:file "folder" }
    system.output("mkfifo -m 600 '%s'", odd["a FIFO"])
    system.output("mkdir -m 700 '%s'", odd["a folder"])
    local device = directory:file "device"
    if os.execute(("mknod -m 600 '%s' c 1 7 2>/dev/null"):format(device)) then odd["a device"] = device end
    return odd
  end

  local function refused(what, path, ok, err)
    assert.is_nil(ok)
    assert.equal("IO", err.name)
    assert.equal(("%s: it is %s, not a plain file"):format(path, what), err.message:match "/.*$")
  end

  it("is replaced only if it is plain", function()
    for what, path in pairs(odd_files()) do
      local before = kind(path)
      refused(what, path, core.write_private(path, "secret"))
      refused(what, path, core.write_private(path, "secret", true))
      refused(what, path, core.private_file(path))
      refused(what, path, core.file_target(path))
      local link = path .. ".link"
      system.output("ln -s '%s' '%s'", path, link)
      refused(what, link, core.write_private(link, "secret"))
      assert.equal(before, kind(path))
    end
  end)

  it("is written where its links lead", function()
    local path, link = directory:file "file", directory:file "link"
    system.write(path, "old")
    system.output("ln -s file '%s'", link)
    assert.is_true(core.write_private(link, "new"))
    assert.equal("new", system.read(path))
    assert.equal("600", system.output("stat -c %%a '%s'", path))
    assert.equal("file", system.output("readlink '%s'", link))
    os.remove(path)
    local ok, err = core.write_private(link, "new")
    assert.is_nil(ok)
    assert.matches("cannot write through the link .*/link: No such file", err.message)
    assert.equal("link", system.output("ls -A '%s'", directory.path))
  end)

  it("is not written through a link that somebody else has made", function()
    if system.output "id -u" ~= "0" then return end -- only the superuser can give it away
    local path, link = directory:file "file", directory:file "link"
    system.write(path, "old")
    system.output("ln -s file '%s'", link)
    system.output("chown -h 65534 '%s'", link)
    local ok, err = core.write_private(link, "new")
    assert.is_nil(ok)
    assert.matches("it is a link of another user", err.message)
    assert.equal("old", system.read(path))
  end)

  it("is made for its owner alone, or must be so", function()
    local path = directory:file "store"
    assert.is_true(core.private_file(path))
    assert.is_true(core.private_file(path))
    assert.equal("regular empty file 600", kind(path))
    system.output("chmod 644 '%s'", path)
    system.output("ln -s store '%s'", directory:file "link")
    for _, name in ipairs { "store", "link" } do
      local ok, err = core.private_file(directory:file(name))
      assert.is_nil(ok)
      assert.equal(("will not use %s: others may read it; run chmod 600"):format(directory:file(name)), err.message)
    end
  end)

  it("is read with its privacy, and not beyond a bound", function()
    local path = system.write(directory:file "file", "text")
    system.output("chmod 644 '%s'", path)
    assert.same({ "text", false }, { core.read_file(path) })
    system.output("chmod 600 '%s'", path)
    assert.same({ "text", true }, { core.read_file(path, 4) })
    local text, err = core.read_file(path, 3)
    assert.is_nil(text)
    assert.equal("cannot read " .. path .. ": it is over 3 bytes", err.message)
    assert.equal(0, select("#", core.read_file(directory:file "none")))
    assert.same({ "", true }, { core.read_file "/dev/null" })
  end)

  it("may be a pipe, which is read to its end within a time", function()
    local fifo = directory:file "fifo"
    system.output("mkfifo -m 600 '%s'", fifo)
    feed(fifo, "one")
    assert.equal("one", core.read_private(fifo))
    local text, err = core.read_private(fifo, 10, 1)
    assert.is_nil(text)
    assert.matches("its writer has not ended within 1 s", err.message)
    text, err = core.read_private(fifo, 10, 0)
    refused("a FIFO", fifo, text, err)
  end)

  it("is no device that is read", function()
    for what, path in pairs(odd_files()) do
      if what ~= "a FIFO" then refused(what, path, core.read_private(path)) end
    end
  end)
end)

describe("a source", function()
  local directory

  before_each(function() directory = system.directory() end)
  after_each(function() directory:__close() end)

  local function all(source)
    local pieces = {}
    for piece in function() return source:read() end do pieces[#pieces + 1] = piece end
    return table.concat(pieces)
  end

  it("knows the size of a plain file, and that an empty one is empty", function()
    local source <close> = core.source(system.write(directory:file "file", ("x"):rep(100000)))
    assert.equal(100000, source:size())
    assert.equal(("x"):rep(100000), all(source))
    local empty <close> = core.source(system.write(directory:file "empty", ""))
    assert.equal(0, empty:size())
    assert.is_nil(empty:read())
    local null <close> = core.source "/dev/null"
    assert.equal(0, null:size())
  end)

  it("does not know the size of what only reading tells", function()
    local source <close> = core.source "/proc/self/status"
    assert.is_nil(source:size())
    assert.matches("^Name:", all(source))
  end)

  it("lets the loop go on while a pipe has no writer, and reads it to its end", helper.async(function()
    local fifo = directory:file "fifo"
    system.output("mkfifo '%s'", fifo)
    local source <close> = core.source(fifo)
    assert.is_nil(source:size())
    local text
    core.spawn(function() text = all(source) end)
    core.sleep(0.01)
    assert.is_nil(text)
    local ok, err = pcall(source.read, source)
    assert.is_false(ok)
    assert.matches("another coroutine reads here already", err)
    feed(fifo, "a\\nb")
    helper.eventually(function() return text end)
    assert.equal("a\nb", text)
  end))

  it("can be closed while somebody reads", helper.async(function()
    local fifo = directory:file "fifo"
    system.output("mkfifo '%s'", fifo)
    local source, piece, err = core.source(fifo), nil, nil
    core.spawn(function() piece, err = source:read() end)
    core.sleep(0.01)
    source:close()
    core.sleep(0)
    assert.is_nil(piece)
    assert.equal("CLOSED", err.name)
    assert.equal("CLOSED", select(2, source:read()).name)
  end))

  it("is left by a reader that is cancelled", helper.async(function()
    local fifo = directory:file "fifo"
    system.output("mkfifo '%s'", fifo)
    local source <close> = core.source(fifo)
    local reader = core.spawn(function() source:read() end)
    core.sleep(0.01)
    assert.is_true(core.cancel(reader))
    feed(fifo, "x")
    assert.equal("x", all(source))
  end))

  it("says why there is none", function()
    local source, err = core.source(directory.path)
    assert.is_nil(source)
    assert.matches("it is a folder, not a plain file", err.message)
    source, err = core.source(directory:file "none")
    assert.is_nil(source)
    assert.matches("cannot read .*/none: No such file", err.message)
  end)
end)

describe("putting a file in place", function()
  it("takes the place of a plain file, or of nothing", helper.async(function()
    local directory <close> = system.directory()
    local part, path = directory:file "part", directory:file "path"
    assert.is_true(core.replace_file(system.write(part, "1"), path))
    assert.is_true(core.replace_file(system.write(part, "2"), path))
    local ok, err = core.replace_file(system.write(part, "3"), path, true)
    assert.is_nil(ok)
    assert.same({ "IO", 17 }, { err.name, err.code })
    assert.equal("2", system.read(path))
    system.output("mkfifo '%s'", directory:file "fifo")
    ok, err = core.replace_file(system.write(part, "4"), directory:file "fifo")
    assert.is_nil(ok)
    assert.matches("it is a FIFO", err.message)
    assert.equal("fifo\npath", system.output("ls -A '%s'", directory.path))
  end))

  it("tells why it could not", helper.async(function()
    local directory <close> = system.directory()
    local ok, err = core.replace_file(directory:file "none", directory:file "path")
    assert.is_nil(ok)
    assert.same({ "IO", 2 }, { err.name, err.code })
    assert.matches("cannot read .*/none: No such file", err.message)
  end))

  -- The output of a process in which disk.c tells who waits for the disk.
  local function on_disk(directory, script)
    local library = directory:file "disk.so"
    system.output("unset LD_PRELOAD; ${CC:-cc} -std=gnu11 -shared -fPIC -o '%s' spec/support/c/disk.c", library)
    return system.run_lua(directory.path, system.write(directory:file "script.lua", script),
      ('LD_PRELOAD="${LD_PRELOAD:+$LD_PRELOAD:}%s"'):format(library))
  end

  it("waits for the disk, file and folder, without holding up the loop", function()
    local directory <close> = system.directory()
    system.write(directory:file "part", "1")
    assert.equal("a thread waits for a file\na thread waits for a folder\ntrue", on_disk(directory, [[
      local core = require "trueconf.core"
      print(core.replace_file("part", "path"))
    ]]))
  end)

  it("does not wait when it is a token, which can be asked for again", function()
    local directory <close> = system.directory()
    assert.equal("true", on_disk(directory, [[
      local server = assert(require "trueconf.bridge".start {
        port = 0, accounts = { herald = "4711" }, password_cost = 1, log = { level = "off" },
      })
      local client = require "trueconf".client {
        url = server:url(), username = "herald", password = "4711", token_file = "token", log = "off",
      }
      client:start()
      print(client:wait_ready(20))
      client:stop()
      server:stop()
    ]]))
    assert.is_truthy(system.read(directory:file "token"))
  end)

  it("does not succeed without memory", function()
    local preloaded = (os.getenv "LD_PRELOAD" or "") .. (os.getenv "TSAN_LIBRARIES" or "")
    if preloaded:find "[at]san" then return pending "the sanitizer's own strdup comes before that of disk.c" end
    local directory <close> = system.directory()
    system.write(directory:file "part.unlucky", "1")
    assert.equal("IO 12", on_disk(directory, [[
      local core = require "trueconf.core"
      local _, err = core.replace_file("part.unlucky", "path")
      print(err.name .. " " .. err.code)
    ]]))
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
    assert.matches("it belongs to another user", err.message)
  end)
end)
