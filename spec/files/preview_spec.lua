-- SPDX-License-Identifier: MIT
-- Small pictures made of large ones: csrc/system/picture.c and lua/trueconf/files/preview.lua, with the pictures of
-- spec/support/python/pictures.py.

local core = require "trueconf.core"
local c_program = require "spec.support.c_program"
local helper = require "spec.support.helper"
local log = require "trueconf.log"
local scene = require "spec.support.chat_scene"
local system = require "spec.support.system"

-- The python that Debian's python3-pil belongs to; the first one in PATH may be another.
local PICTURES = "/usr/bin/python3 -B spec/support/python/pictures.py"
local CORNERS = " red green blue white"

local directory
setup(function()
  directory = system.directory()
  system.output("%s make '%s'", PICTURES, directory.path)
end)
teardown(function() directory:__close() end)

local function read(name) return (assert(system.read(directory:file(name)), name)) end

-- Format, mode, width, height and corners of a picture.
local function look(bytes)
  return system.output("%s show '%s'", PICTURES, system.write(directory:file "looked", bytes))
end

-- The preview of a picture in a file.
local function seen(name, options)
  options = options or {}
  options.path = directory:file(name)
  return look((assert(core.picture_preview(options))))
end

-- MiB of memory that fn needs at most.
local function needed(fn)
  local function resident(name)
    return tonumber(system.read("/proc/self/status"):match(name .. ":%s*(%d+)")) // 1024
  end

  system.write("/proc/self/clear_refs", "5") -- the highest is counted anew
  local before = resident "VmRSS"
  fn()
  return resident "VmHWM" - before
end

-- No preview, for this reason.
local function refused(name, text, data)
  local result, err = core.picture_preview(data)
  assert.is_nil(result)
  assert.equal(name, err.name)
  assert.matches(text, err.message, 1, true)
end

describe("core.picture_preview", function()
  it("scales a picture down, of each kind", helper.async(function()
    for _, name in ipairs { "wide.jpg", "progressive.jpg", "cmyk.jpg", "wide.png", "wide.webp", "wide.gif" } do
      local data, kind = assert(core.picture_preview { path = directory:file(name) })
      assert.equal("JPEG RGB 512 341" .. CORNERS, look(data), name)
      assert.equal("image/jpeg", kind)
    end
  end))

  it("takes bytes as well, and does not look at names", helper.async(function()
    local data = assert(core.picture_preview { data = read "wide.webp", size = 100 })
    assert.equal("JPEG RGB 100 67" .. CORNERS, look(data))
    system.write(directory:file "png.jpg", read "wide.png")
    assert.equal("JPEG RGB 512 341" .. CORNERS, seen "png.jpg")
  end))

  it("leaves what is small enough in its measures, and nothing thinner than a pixel", helper.async(function()
    assert.equal("JPEG RGB 20 10" .. CORNERS, seen "small.png")
    assert.matches("^JPEG RGB 1 512 ", seen "thin.png")
  end))

  it("keeps what is transparent, as a PNG", helper.async(function()
    for _, name in ipairs { "clear.png", "clear.webp" } do
      local data, kind = assert(core.picture_preview { path = directory:file(name) })
      assert.matches("^PNG RGBA 512 512 ", look(data))
      assert.equal("image/png", kind)
    end
  end))

  it("shows the first picture of an animation", helper.async(function()
    assert.equal("JPEG RGB 512 341 red red red red", seen "moving.gif")
  end))

  it("turns a photo upright as its EXIF data says", helper.async(function()
    local corners = {
      "red green blue white", "green red white blue", "white blue green red", "blue white red green",
      "red blue green white", "blue red white green", "white green blue red", "green white red blue",
    }
    for orientation, expected in ipairs(corners) do
      local measures = orientation < 5 and "512 341 " or "341 512 "
      assert.equal("JPEG RGB " .. measures .. expected, seen(("turned%d.jpg"):format(orientation)))
    end
  end))

  it("does it on another thread, for several at once", helper.async(function()
    local over, left, turns = core.waiter(), 4, 0
    for _ = 1, left do
      core.spawn(function()
        assert(core.picture_preview { path = directory:file "large.png" })
        left = left - 1
        if left == 0 then over:wake() end
      end)
    end
    core.spawn(function()
      while left > 0 do
        turns = turns + 1
        core.sleep(0.001)
      end
    end)
    over:wait()
    assert.is_true(turns > 5)
  end))

  it("ends when its time is over, and when nobody waits any more", helper.async(function()
    refused("TIMEOUT", "longer than 0.001 s", { path = directory:file "large.png", timeout = 0.001 })
    local co = core.spawn(core.picture_preview, { path = directory:file "large.png" })
    core.sleep(0.001)
    assert.is_true(core.cancel(co))
  end))

  it("refuses pictures of too many pixels before it makes room for them", helper.async(function()
    local grown = needed(function()
      for _, name in ipairs {
        "bomb.png", "bomb.jpg", "bomb-progressive.jpg", "bomb.gif", "bomb.webp", "moving.webp",
      } do
        refused("LIMIT", "more than 25000000 pixels", { path = directory:file(name) })
      end
      for _, name in ipairs { "frame.gif", "lie.webp" } do
        refused("IO", "cannot be read", { path = directory:file(name) })
      end
    end)
    assert.is_true(grown < 32, grown .. " MiB")
  end))

  it("refuses files of too many bytes", helper.async(function()
    local padded = read "wide.jpg" .. ("\0"):rep((32 << 20) + 1)
    refused("LIMIT", "more than 33554432 bytes", { data = padded })
    refused("LIMIT", "more than 33554432 bytes", { path = system.write(directory:file "padded.png", padded) })
  end))

  it("says what is wrong with what is no picture, or a broken one", helper.async(function()
    for _, data in ipairs { "", "x", "\xff\xd8\xff", read "wide.bmp", "<svg xmlns='http://www.w3.org/2000/svg'/>" } do
      refused("IO", "", { data = data })
    end
    for _, name in ipairs { "wide.jpg", "wide.png", "wide.gif", "wide.webp" } do
      for _, length in ipairs { 12, 20, 29, 30, 40 } do refused("IO", "", { data = read(name):sub(1, length) }) end
    end
    refused("IO", "No such file", { path = directory:file "none" })
    for path, kind in pairs { [directory.path] = "a folder", ["/dev/zero"] = "a device" } do
      refused("IO", ("cannot read %s: it is %s, not a plain file"):format(path, kind), { path = path })
    end
  end))

  it("survives generated damage", helper.async(function()
    local random = 1
    local function below(n)
      random = random * 1103515245 + 12345 & 0x7fffffff
      return random // 65536 % n
    end
    for _, name in ipairs { "small.png", "turned6.jpg", "moving.gif", "wide.webp" } do
      local bytes = read(name)
      for _ = 1, 50 do
        local at = below(math.min(#bytes, 400)) + 1
        local damaged = bytes:sub(1, at - 1) .. string.char(below(256)) .. bytes:sub(at + 1)
        local data, err = core.picture_preview { data = damaged }
        assert.is_true(data ~= nil or core.Error == getmetatable(err))
      end
    end
  end))

  it("does without the library", function()
    local shim = c_program.build "-shared -fPIC spec/support/c/no_library.c -ldl"
    local script = system.write(directory:file "script.lua", ([[
      package.cpath = %q
      print(select(2, require "trueconf.core".picture_preview { data = "x" }))]]):format(package.cpath))
    local ok, output = c_program.run(([[NO_LIBRARY=libgdk_pixbuf LD_PRELOAD="${LD_PRELOAD:+$LD_PRELOAD:}%s" '%s' '%s']])
      :format(shim, os.getenv "LUA" or "lua5.4", script))
    os.remove(shim)
    assert.is_true(ok, output)
    assert.equal("IO: gdk-pixbuf is missing (libgdk_pixbuf-2.0.so.0)\n", output)
  end)

  it("raises mistakes in its arguments", function()
    assert.error_matches(function() core.picture_preview() end, "table expected")
    assert.error_matches(function() core.picture_preview {} end, "either 'path' or 'data' expected")
    assert.error_matches(function() core.picture_preview { path = "a", data = "b" } end, "either 'path' or 'data'")
    assert.error_matches(function() core.picture_preview { path = 1 } end, "'path': string expected, got number")
    assert.error_matches(function() core.picture_preview { data = "", size = 0 } end,
      "'size': 1 to 4096 expected, got 0")
  end)
end)

describe("send_file", function()
  local lines = {}
  local logging = { log = log.new { level = "debug", sink = function(_, text) lines[#lines + 1] = text end } }

  local function preview_of(at, options)
    local sent = assert(at.bot:send_file(at.chat_id, options))
    local previews = assert(at.bot:get_file_info(sent.file_id)).previews
    return previews and look((assert(at.bot:download(sent, { preview = true })))), previews and previews[1]
  end

  it("makes a preview of a picture, from a file, from bytes and from a reader", scene(function(at)
    local expected = "JPEG RGB 512 341" .. CORNERS
    local shown, info = preview_of(at, { path = directory:file "wide.png" })
    assert.equal(expected, shown)
    assert.same({ "preview.jpg", "image/jpeg" }, { info.name, info.mime_type })
    assert.equal(expected, (preview_of(at, { data = read "wide.jpg", type = "IMAGE/JPEG" })))
    local pieces = { read "wide.gif" }
    assert.equal(expected, (preview_of(at, { name = "a.gif", reader = function() return table.remove(pieces) end })))
    shown, info = preview_of(at, { path = directory:file "clear.webp" })
    assert.matches("^PNG RGBA 512 512", shown)
    assert.same({ "preview.png", "image/png" }, { info.name, info.mime_type })
  end))

  it("makes none when it is told so, or one is given, or it is no picture", scene(function(at)
    assert.is_nil((preview_of(at, { path = directory:file "wide.png", preview = false })))
    assert.matches("^PNG RGB 20 10", (preview_of(at, {
      path = directory:file "wide.png", preview = directory:file "small.png",
    })))
    assert.matches("^PNG RGB 1500 1000", (preview_of(at, { path = directory:file "wide.png", preview = true })))
    assert.is_nil((preview_of(at, { path = directory:file "wide.png", type = "application/octet-stream" })))
  end))

  it("sends a picture that is broken, too large or of an unknown kind without one, and says so", scene(function(at)
    system.write(directory:file "broken.jpg", "no picture")
    for name, why in pairs { ["broken.jpg"] = "IO", ["bomb.png"] = "LIMIT" } do
      assert.is_nil((preview_of(at, { path = directory:file(name) })))
      assert.matches(("%s is sent without a preview: %s: "):format(name, why), table.concat(lines, "\n"), 1, true)
    end
  end, nil, logging))

  it("sends pictures where there is no library, too", scene(function(at)
    local make = core.picture_preview
    core.picture_preview = function() return nil, core.error("IO", "gdk-pixbuf is missing") end
    assert.is_nil((preview_of(at, { path = directory:file "wide.png" })))
    core.picture_preview = make
    assert.matches("wide.png is sent without a preview: IO: gdk-pixbuf is missing", table.concat(lines, "\n"), 1, true)
  end, nil, logging))
end)
