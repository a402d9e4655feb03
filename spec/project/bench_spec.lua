-- SPDX-License-Identifier: MIT
-- The bench's own tools: that the load server sees what a client leaves out or does wrong, and what the runner
-- makes of the lines it gets.

local cjson = require "cjson"

local BUILD = os.getenv "BUILD" or "build"
local LUA = os.getenv "LUA" or "lua5.4"
local SERVER = BUILD .. "/bench/server"

-- Neither compiler nor load server is what a sanitizer or an outer make is about.
local OUTSIDE = "env -u LD_PRELOAD -u MAKEFLAGS -u MFLAGS "

local function output(command)
  local pipe = assert(io.popen(command .. " 2>/dev/null </dev/null"))
  local text = pipe:read "a"
  local _, _, code = pipe:close()
  return text, code
end

local function run_server(arguments, client)
  local command = ("%s %s --warm 0.05 --seconds 0.1 --settle 0.2 --limit 5 %s -- %s"):format(OUTSIDE, SERVER,
    arguments, client)
  local text, code = output(command)
  return cjson.decode(text), code
end

local function run_client(fault, arguments)
  local client = ("/usr/bin/python3 spec/support/python/bench_client.py %q"):format(fault)
  return run_server("--mode echo --window 8 " .. (arguments or ""), client)
end

describe("load server of the bench", function()
  setup(function()
    local make = ("%s make -s --no-print-directory BUILD=%s %s"):format(OUTSIDE, BUILD, SERVER)
    assert.are.equal(true, (os.execute(make)))
  end)

  it("has nothing to say against a client that keeps the rules", function()
    local line, code = run_client "none"
    assert.are.equal(0, line.errors)
    assert.are.equal(0, code)
    assert.is_true(line.messages > 0 and line.per_second > 0 and line.cpu_us > 0)
    assert.is_true(line.ready_ms > 0 and line.rss_kb > 0 and line.private_kb > 0)
  end)

  it("takes a ping for no fault", function()
    assert.are.equal(0, run_client("ping").errors)
  end)

  local FAULTS = {
    { "no ack", "1 pushes without ack or answer" },
    { "second ack", "second ack of %d+" },
    { "ack of nothing", "ack of %d+, which is not open" },
    { "no answer", "1 pushes without ack or answer" },
    { "second answer", "second answer to %d+" },
    { "another text", "answer to nothing that is open: hi" },
    { "another chat", "answer to %d+ in another chat" },
    { "same id", "request id %d+ after %d+" },
    { "no json", "not a frame: {'type':1," },
    { "binary", "frame with first byte 0x82" },
    { "no auth", "sendMessage before auth" },
    { "one mask", "one masking key for frame after frame" },
  }
  for _, fault in ipairs(FAULTS) do
    it("counts: " .. fault[1], function()
      local line, code = run_client(fault[1])
      assert.is_true(line.errors > 0)
      assert.are.equal(3, code)
      assert.matches(fault[2], line.first_error)
    end)
  end

  it("breaks off at a frame without a mask", function()
    local line, code = run_client "no mask"
    assert.matches("frame without a mask", line.failed)
    assert.are.equal(1, code)
  end)

  it("breaks off when the client ends or is never authorized", function()
    local failed = run_client("exit").failed -- whichever the server notices first
    assert.is_truthy(failed:find "closed an authorized connection" or failed:find "ended by itself, status 4")
    assert.matches("no end within 0.3 s; 0 connections authorized", run_client("wrong token", "--limit 0.3").failed)
    assert.matches("ended by itself, status 127", run_server("--mode echo", "./no-such-client").failed)
  end)

  it("times single messages", function()
    local line = run_client("none", "--mode rate --rate 200")
    assert.are.equal(0, line.errors)
    assert.is_true(0 < line.p50_us and line.p50_us <= line.p99_us)
    assert.is_true(line.per_second < 300)
  end)

  it("stops at the authorization in mode start", function()
    local line = run_client("none", "--mode start")
    assert.is_true(line.ready_ms > 0)
    assert.is_nil(line.per_second)
  end)

  it("refuses an unknown option and a number that is none", function()
    for _, arguments in ipairs { "--mode sideways", "--window many", "--nonsense 1", "--cert only.pem" } do
      local _, code = output(("%s %s -- true"):format(SERVER, arguments))
      assert.are.equal(2, code)
    end
  end)
end)

describe("runner of the bench", function()
  local directory

  -- A load server of which only the lines are there: rounds differ, and so do the two clients.
  local FAKE_SERVER = [[#!/bin/sh
case "$*" in
  *--label' bot'*) cpu=12 ;;
  *) cpu=24 ;;
esac
case "$*" in
  *'--conns 1 '*) rss=2000 ;;
  *'--conns 11 '*) rss=2100 ;;
  *) rss=1024 ;;
esac
echo '{"errors":'"${FAULTS:-0}"',"first_error":"second ack of 1","cpu_us":'$cpu',"rss_kb":'$rss',"per_second":100,' \
  '"p50_us":1,"p99_us":2,"private_kb":512,"ready_ms":3,"ready_cpu_ms":2}'
]]

  local function run(arguments, environment)
    return output(("%s %s bench/run.lua --bin %s --out %s/table.md --rounds 1 --over plain --conns 11 %s"):format(
      environment or "", LUA, directory, directory, arguments or ""))
  end

  setup(function()
    directory = output("mktemp -d"):gsub("%s+$", "")
    local file <close> = assert(io.open(directory .. "/server", "w"))
    file:write(FAKE_SERVER)
    os.execute(("chmod +x %s/server"):format(directory))
  end)

  teardown(function()
    os.execute(("rm -rf %q"):format(directory))
  end)

  it("puts both clients and their ratio into one table, printed and written", function()
    local text, code = run()
    assert.are.equal(0, code)
    assert.matches("| measured | C, plain | bot, plain | ratio |", text, 1, true)
    assert.matches("| echo, 64 in flight: CPU µs per message | 24.00 | 12.00 | 0.50 |", text, 1, true)
    local file <close> = assert(io.open(directory .. "/table.md"))
    assert.are.equal(text, file:read "a")
  end)

  it("reckons the memory of a further session from one and from many", function()
    assert.matches("| memory of a further idle session: KiB | 10.00 | 10.00 | 1.00 |", run(), 1, true)
  end)

  it("names a client that broke the rules, and fails", function()
    local text, code = run("", "FAULTS=2")
    assert.matches("NOT IN ORDER: echo, bot, plain: 2 violations, first: second ack of 1", text, 1, true)
    assert.are.equal(1, code)
  end)

  it("refuses an unknown option and a number that is none", function()
    for _, arguments in ipairs { "--nonsense 1", "--seconds many", "--over sideways", "--rounds" } do
      local _, code = run(arguments)
      assert.are.equal(2, code)
    end
  end)
end)
