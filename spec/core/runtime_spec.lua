-- SPDX-License-Identifier: MIT
-- The loop, the clock and waiting, through Lua.
local core = require "trueconf.core"
local c_program = require "spec.support.c_program"
local helper = require "spec.support.helper"

local async = helper.async

---Run Lua code in a process of its own, under the tool that checks this one; its output and exit code.
local function run_script(code)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write(code)
  file:close()
  local command = ("%s %s %s 2>&1"):format(os.getenv "WRAP" or "", os.getenv "LUA" or "lua5.4", path)
  local pipe = assert(io.popen(command))
  local output = pipe:read "a"
  local _, _, status = pipe:close()
  os.remove(path)
  return output, status
end

-- Turn the loop by hand, without waiting for anything.
local function turn(times)
  for _ = 1, times or 3 do core.step() end
end

local function never() error "it must not be called" end

-- A case with ten thousands of coroutines: too many for a collector that never rests; see spec/support/torture.lua.
local function with_usual_collector(body)
  return function()
    local pause = collectgarbage("setpause", 200)
    local ok, err = xpcall(body, debug.traceback)
    collectgarbage("setpause", pause)
    if not ok then error(err, 0) end
  end
end

describe("core.run", function()
  after_each(core.close)

  it("returns at once when nothing is left", function()
    core.run()
    assert.equal(0, core.stats().coroutines)
  end)

  it("returns when the last coroutine is done", function()
    local log = {}
    core.spawn(function()
      core.sleep(0.01)
      log[#log + 1] = "first"
      core.timer(0.01, function() log[#log + 1] = "timer" end)
    end)
    core.run()
    assert.same({ "first", "timer" }, log)
    assert.equal(0, core.stats().refs)
  end)

  it("returns although a coroutine waits for what nobody can bring", function()
    core.spawn(function() core.waiter():wait() end)
    core.run()
    assert.equal(1, core.stats().pending)
  end)

  it("returns after core.stop", function()
    core.spawn(function() core.sleep(1000) end)
    core.spawn(core.stop)
    core.run()
    assert.equal(1, core.stats().pending)
  end)

  it("is refused while the loop runs, and so is core.step", async(function()
    assert.error_matches(core.run, "the loop is running already")
    assert.error_matches(core.step, "the loop is running already")
  end))

  it("may be called in a coroutine of somebody else's", function()
    local done
    core.spawn(function()
      core.sleep(0)
      done = true
    end)
    coroutine.wrap(core.run)()
    assert.is_true(done)
  end)
end)

describe("core.before_flush", function()
  after_each(core.close)

  it("calls once, after everything that is ready in this turn", async(function()
    local order = {}
    local function note(what) order[#order + 1] = what end
    core.before_flush(function() note "last" end)
    core.spawn(function()
      note "first"
      core.spawn(note, "second")
      core.before_flush(function() note "very last" end)
    end)
    core.sleep(0)
    core.sleep(0)
    assert.same({ "first", "second", "last", "very last" }, order)
  end))

  it("takes what is registered meanwhile for the next turn, and lets none of them stop the others", async(function()
    local count, failures = 0, {}
    core.on_error(function(err) failures[#failures + 1] = err end)
    local function again()
      count = count + 1
      if count < 3 then core.before_flush(again) end
    end
    core.before_flush(function() error("broken", 0) end)
    core.before_flush(again)
    for _ = 1, 4 do core.sleep(0) end
    core.on_error(nil)
    assert.equal(3, count)
    assert.same({ "broken" }, failures)
  end))

  it("keeps the loop running until it has been called", function()
    local called
    core.before_flush(function() called = true end)
    core.run()
    assert.is_true(called)
  end)

  it("lets the loop wait for nothing else, however often a function registers another", async(function()
    local turns, beginning = 0, core.monotonic()
    local slept = core.spawn(core.sleep, 30)
    local done = core.waiter()
    local function again()
      turns = turns + 1
      if turns < 10 then core.before_flush(again) else done:wake(true) end
    end
    core.sleep(0.01)
    core.before_flush(again)
    assert(done:wait(10))
    core.cancel(slept)
    assert.is_true(core.monotonic() - beginning < 5)
  end))

  it("leaves nothing to the next loop", function()
    local turns = 0
    local function again()
      turns = turns + 1
      core.before_flush(again)
    end
    core.before_flush(again)
    core.close()
    assert.is_true(turns > 0)
    turns = 0
    core.run()
    assert.equal(0, turns)
  end)

  it("takes a function alone", function()
    assert.error_matches(function() core.before_flush(1) end, "function expected")
  end)
end)

describe("core.spawn", function()
  after_each(core.close)

  it("hands over its arguments, nil and many of them too", async(function()
    local got
    core.spawn(function(...) got = table.pack(...) end, nil, 2, nil)
    core.sleep(0)
    assert.same({ nil, 2, nil, n = 3 }, got)
    local many = {}
    for i = 1, 5000 do many[i] = i end
    core.spawn(function(...) got = table.pack(...) end, table.unpack(many))
    core.sleep(0)
    assert.equal(5000, got.n)
    assert.equal(5000, got[5000])
  end))

  it("starts coroutines later, in order", async(function()
    local order = {}
    for i = 1, 3 do core.spawn(function() order[#order + 1] = i end) end
    assert.same({}, order)
    core.sleep(0)
    assert.same({ 1, 2, 3 }, order)
  end))

  it("takes ten thousand at once, and as many each from the one before", with_usual_collector(async(function()
    local count, over = 0, core.waiter()
    for _ = 1, 10000 do
      core.spawn(function() count = count + 1 end)
    end
    local function chain(left)
      if left == 0 then return over:wake() end
      core.spawn(chain, left - 1)
    end
    core.spawn(chain, 10000)
    over:wait()
    assert.equal(10000, count)
  end)))

  it("lets go of a coroutine that somebody else begins", async(function()
    local log = {}
    local co = core.spawn(function()
      coroutine.yield "mine"
      log[#log + 1] = "end"
    end)
    local waiting = core.spawn(function() log[#log + 1] = pcall(core.sleep, 0.01) end)
    local with_arguments = core.spawn(never, 1, 2, 3)
    assert.equal("mine", select(2, coroutine.resume(co)))
    assert.is_true(coroutine.resume(waiting))
    assert.is_false(coroutine.resume(with_arguments))
    core.sleep(0.02)
    assert.is_true(coroutine.resume(co))
    assert.same({ false, "end" }, log)
  end))

  it("lets go of a coroutine that is closed before it begins", async(function()
    coroutine.close(core.spawn(never))
    core.sleep(0)
  end))

  it("wants a function", function()
    assert.error_matches(function() core.spawn "f" end, "function expected, got string")
  end)
end)

describe("an error in a coroutine", function()
  local reports

  before_each(function()
    reports = {}
    core.on_error(function(err, traceback) reports[#reports + 1] = { err = err, traceback = traceback } end)
  end)

  after_each(function()
    core.close()
    core.on_error(nil)
  end)

  it("costs only that coroutine", function()
    local ended
    core.spawn(function()
      core.sleep(0)
      error "broken"
    end)
    core.spawn(function()
      core.sleep(0.01)
      ended = true
    end)
    core.run()
    assert.is_true(ended)
    assert.equal(1, #reports)
    assert.matches("broken", reports[1].err)
    assert.matches("core/runtime_spec.lua:%d+: in function <", reports[1].traceback)
    assert.equal(0, core.stats().coroutines)
  end)

  it("may be any value", function()
    local object = {}
    core.spawn(error, object)
    core.spawn(error)
    core.spawn(error, 42)
    core.run()
    assert.equal(object, reports[1].err)
    assert.is_nil(reports[2].err)
    assert.equal(42, reports[3].err)
    assert.matches("^table:", reports[1].traceback)
    assert.matches("^nil", reports[2].traceback)
  end)

  it("is reported although its __tostring fails", function()
    local object = setmetatable({}, { __tostring = function() error "no words" end })
    local ended
    core.spawn(error, object)
    core.spawn(function() ended = true end)
    core.run()
    assert.equal(object, reports[1].err)
    assert.matches("table value without a text", reports[1].traceback)
    assert.is_true(ended)
    assert.equal(1, #reports)
  end)

  it("runs the <close> variables of the coroutine, after the report", function()
    local seen, count
    core.spawn(function()
      local _ <close> = setmetatable({}, { __close = function(_, err) seen, count = err, #reports end })
      core.sleep(0)
      error("broken", 0)
    end)
    core.run()
    assert.equal("broken", seen)
    assert.equal(1, count)
    assert.equal(1, #reports)
  end)

  it("in a <close> variable is reported too", function()
    core.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() error("on the way out", 0) end })
      core.sleep(0)
      error("broken", 0)
    end)
    core.run()
    assert.equal("broken", reports[1].err)
    assert.equal("on the way out", reports[2].err)
  end)

  it("goes to the handler given last, which returns the one before it", function()
    local function first() end
    core.on_error(nil)
    assert.is_nil(core.on_error(first))
    assert.equal(first, core.on_error(nil))
    assert.is_nil(core.on_error(nil))
  end)

  it("in the handler of on_error goes to the warnings with it, and the loop goes on", function()
    local output, status = run_script [[
      local core = require "trueconf.core"
      warn "@on"
      core.on_error(function() error("the handler is broken", 0) end)
      core.spawn(error, "the first")
      core.spawn(print, "still here")
      core.run()
    ]]
    assert.matches("error in a coroutine: the first", output)
    assert.matches("error in the handler of on_error: the handler is broken", output)
    assert.matches("still here", output)
    assert.equal(0, status)
  end)

  it("goes to the warnings when there is no handler", function()
    local output = run_script [[
      local core = require "trueconf.core"
      warn "@on"
      local function innermost() error { "a table" } end
      core.spawn(function() innermost() end)
      core.run()
    ]]
    assert.matches("error in a coroutine: table: ", output)
    assert.matches("upvalue 'innermost'", output)
  end)

  it("in a handler that waits is told as any other", function()
    core.on_error(function() core.sleep(1) end)
    core.spawn(error, "first")
    core.run()
    core.on_error(function(err) reports[#reports + 1] = err end)
    core.spawn(error, "second")
    core.run()
    assert.same({ "second" }, reports)
  end)

  it("is what a bare coroutine.yield is", function()
    local closed
    core.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      coroutine.yield(1, 2, 3)
    end)
    core.run()
    assert.matches("coroutine.yield called outside of a waiting function", reports[1].err)
    assert.is_true(closed)
    assert.equal(0, core.stats().coroutines)
  end)

  it("is what a bare coroutine.yield is, also when a nested coroutine waits", function()
    local inner = coroutine.wrap(function() core.sleep(0) end)
    core.spawn(function()
      pcall(inner)
      coroutine.yield()
    end)
    core.run()
    assert.equal(1, #reports)
    assert.equal(0, core.stats().coroutines)
  end)
end)

describe("waiting", function()
  after_each(core.close)

  it("drives the loop on the main thread", function()
    local log = {}
    core.spawn(function() log[#log + 1] = "coroutine" end)
    core.sleep(0.01)
    assert.same({ "coroutine" }, log)
    assert.equal(0, core.stats().pending)
  end)

  it("fails on the main thread when nothing can end it", function()
    assert.error_matches(function() core.waiter():wait() end,
      "waiting for a waiter to be woken, but nothing can bring it any more")
    assert.equal(0, core.stats().pending)
    core.sleep(0)
  end)

  it("is refused where the coroutine cannot be suspended", async(function()
    local waiter = core.waiter()
    local function compare() core.sleep(0) end
    assert.error_matches(function() table.sort({ 1, 2 }, compare) end,
      "cannot wait for the end of a sleep here: start a coroutine with trueconf.spawn")
    assert.error_matches(function() string.gsub("a", "a", function() waiter:wait(1) end) end, "cannot wait")
    assert.is_true(waiter:wake(1))
    assert.equal(1, waiter:wait())
  end))

  it("goes through pcall, iterators and metamethods", async(function()
    assert.is_true(pcall(core.sleep, 0))
    local slow = setmetatable({}, { __index = function(_, key)
      core.sleep(0)
      return key .. "!"
    end })
    assert.equal("a!", slow.a)
    for value in function(_, last)
      core.sleep(0)
      return not last and 1 or nil
    end do
      assert.equal(1, value)
    end
  end))

  it("takes only sensible times", async(function()
    for _, wrong in ipairs { -1, 0 / 0, math.huge, 1e10 } do
      assert.error_matches(function() core.sleep(wrong) end, "seconds, from 0 to below 1e10, expected")
    end
    assert.error_matches(core.sleep, "number expected, got no value")
    assert.error_matches(function() core.timer(-1, never) end, "bad argument #1")
    assert.error_matches(function() core.waiter():wait(-1) end, "seconds, from 0")
  end))

  describe("in a coroutine of somebody else's", function()
    local REFUSAL = "runtime_spec.lua:%d+: cannot wait for the end of a sleep in a coroutine that is not trueconf's: "
      .. "start it with trueconf.spawn$"

    it("is refused at the line of the call, while the loop stands still", function()
      local co = coroutine.create(function() core.sleep(0.01) end)
      local ok, err = coroutine.resume(co)
      assert.is_false(ok)
      assert.matches(REFUSAL, err)
      assert.equal(0, core.stats().pending)
      assert.is_false((coroutine.resume(coroutine.create(function()
        table.sort({ 1, 2 }, function() core.sleep(0) end)
      end))))
    end)

    it("is refused within one of ours, as in a generator, and that one goes on", async(function()
      local generator = coroutine.wrap(function()
        local ok, err = pcall(core.sleep, 0)
        coroutine.yield(ok, err)
        coroutine.yield "goes on"
      end)
      local ok, err = generator()
      assert.is_false(ok)
      assert.matches("^cannot wait", err:gsub("^%S+: ", ""))
      assert.equal("goes on", generator())
      core.sleep(0)
      assert.equal(1, core.stats().coroutines)
    end))

    it("is refused at the line of the script, whatever of the library waits", function()
      local trueconf = require "trueconf"
      local bot = trueconf.bot { username = "herald", password = "x", log = "off" }
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, err = coroutine.resume(coroutine.create(function() bot:run() end))
      assert.is_false(ok)
      assert.matches("^[%w/]*runtime_spec%.lua:" .. line .. ": cannot wait for", err)
      bot:stop()
    end)
  end)

  it("is refused in a finalizer, also on the main thread", function()
    for _, run in ipairs { function(fn) fn() end, function(fn)
      core.spawn(fn)
      core.run()
    end } do
      local ok, err
      run(function()
        setmetatable({}, { __gc = function() ok, err = pcall(core.sleep, 0) end })
        collectgarbage()
      end)
      assert.is_false(ok)
      assert.matches("cannot wait for the end of a sleep", err)
    end
    collectgarbage "stop"
    core.sleep(0)                       -- a collector that was stopped is no finalizer
    collectgarbage "restart"
  end)

  it("is refused in a hook", async(function()
    local ok, err
    debug.sethook(function()
      debug.sethook()
      ok, err = pcall(core.sleep, 0)
    end, "l")
    core.sleep(0)
    assert.is_false(ok)
    assert.matches("cannot wait for the end of a sleep here", err)
  end))
end)

describe("a waiting coroutine that somebody else resumes", function()
  it("gets an error, and its work is stopped", async(function()
    local ok, err
    local co = core.spawn(function() ok, err = pcall(core.sleep, 1000) end)
    core.sleep(0)
    local before = core.stats()
    assert.is_true(coroutine.resume(co))
    assert.is_false(ok)
    assert.matches("coroutine resumed while waiting for the end of a sleep", err)
    assert.equal("dead", coroutine.status(co))
    local after = core.stats()
    assert.equal(before.timers - 1, after.timers)
    assert.equal(before.refs - 1, after.refs)
    assert.equal(before.pending - 1, after.pending)
    assert.equal(1, after.coroutines)
  end))

  it("gets it although what it waited for has come", async(function()
    local waiter, err = core.waiter()
    local co = core.spawn(function() err = select(2, pcall(waiter.wait, waiter)) end)
    core.sleep(0)
    waiter:wake()
    assert.is_true(coroutine.resume(co))
    assert.matches("coroutine resumed while waiting for a waiter", err)
    assert.equal(0, core.stats().ready)
  end))

  it("is theirs from then on, and may wait no more", async(function()
    local log = {}
    local co = core.spawn(function()
      log[#log + 1] = pcall(core.sleep, 1000)
      log[#log + 1] = pcall(core.sleep, 0)
    end)
    core.sleep(0)
    coroutine.resume(co, "ignored")
    core.sleep(0.01)
    assert.same({ false, false }, log)
    assert.equal(1, core.stats().coroutines)
  end))

  it("dies of it if it does not catch it, and the other goes on", async(function()
    local co = core.spawn(function() core.sleep(1000) end)
    core.sleep(0)
    local ok, err = coroutine.resume(co)
    assert.is_false(ok)
    assert.matches("coroutine resumed while waiting", err)
    assert.equal(1, core.stats().coroutines)
  end))
end)

describe("a waiting coroutine that is closed", function()
  it("is not resumed, and nothing of it is touched afterwards", async(function()
    local before, closed = core.stats().pending
    local sleeper = core.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      core.sleep(0.02)
      never()
    end)
    local waiting = core.spawn(function() core.waiter():wait(0.02) end)
    core.sleep(0)
    assert.is_true(coroutine.close(sleeper))
    assert.is_true(coroutine.close(waiting))
    assert.is_true(closed)
    sleeper, waiting = nil, nil -- luacheck: ignore
    for _ = 1, 3 do
      collectgarbage()
      local _ = ("x"):rep(100000)
      core.sleep(0.01)
    end
    assert.equal(before, core.stats().pending)
    assert.equal(1, core.stats().coroutines)
  end))
end)

describe("core.begin", function()
  -- The coroutine in which a body has run, when it is over.
  local function run(body)
    local thread, over
    core.begin(function(...)
      thread = coroutine.running()
      local _ <close> = setmetatable({}, { __close = function() over = true end })
      body(...)
    end, "a", 2)
    helper.eventually(function() return over end)
    return thread
  end

  it("passes the arguments on, and returns nothing", async(function()
    local got
    assert.equal(0, select("#", core.begin(function(...) got = { ... } end, 1, nil, 3)))
    assert.is_nil(got)
    helper.eventually(function() return got end)
    assert.same({ 1, nil, 3 }, got)
    assert.error_matches(function() core.begin(7) end, "function expected")
  end))

  it("uses a coroutine again that has returned, whether it has waited or not", async(function()
    local first = run(function() end)
    assert.equal(first, run(function() core.sleep(0.001) end))
    local function deep(n)
      if n > 0 then return 1 + deep(n - 1) end
      core.sleep(0.001)
      return 0
    end
    assert.equal(first, run(function() assert.equal(1000, deep(1000)) end))
    assert.equal(first, run(function() core.sleep(0) core.sleep(0) end))
    local other
    assert.equal(first, run(function() other = run(function() core.sleep(0.001) end) end))
    assert.are_not.equal(first, other)
    assert.equal(1, core.stats().coroutines)
  end))

  it("uses none again that has failed, was given up or was cancelled", async(function()
    local spoilt = {}
    spoilt[1] = run(function() error "on purpose" end)
    spoilt[2] = run(function() coroutine.yield() end)
    assert.equal(2, #helper.reported_errors())
    local waiting
    core.begin(function()
      waiting = coroutine.running()
      core.sleep(30)
    end)
    helper.eventually(function() return waiting end)
    assert.is_true(core.cancel(waiting))
    spoilt[3] = waiting
    local fresh = run(function() end)
    for _, thread in ipairs(spoilt) do
      assert.are_not.equal(thread, fresh)
      assert.equal("dead", coroutine.status(thread))
    end
    assert.equal(1, core.stats().coroutines)
  end))

  it("keeps no more than 64 of them, and none of their values", async(function()
    local kept, threads, count = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" }), 0
    for _ = 1, 200 do
      core.begin(function(value)
        kept[value], threads[coroutine.running()] = true, true
        core.sleep(0.001)
        count = count + 1
      end, {})
    end
    helper.eventually(function() return count == 200 end)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(kept))
    local left = 0
    for _ in pairs(threads) do left = left + 1 end
    assert.is_true(left <= 64)
  end))
end)

describe("core.cancel", function()
  -- Each of these waits ends at once.
  local waits = {
    sleep = function() core.sleep(30) end,
    waiter = function() core.waiter():wait() end,
    ["waiter with a deadline"] = function() core.waiter():wait(30) end,
    ["work on a thread"] = function() core.crypt_hash("password", 7) end,
    ["an HTTP response"] = function() core.http { url = "http://127.0.0.1:1/" } end,
  }
  for what, wait in pairs(waits) do
    it("ends a coroutine that waits: " .. what, async(function()
      local log = {}
      local co = core.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() log.closed = true end })
        wait()
        log.resumed = true
      end)
      core.sleep(0)
      assert.is_true(core.cancel(co))
      assert.is_true(log.closed)
      assert.equal("dead", coroutine.status(co))
      assert.equal(1, core.stats().coroutines)
      assert.equal(0, core.stats().transfers or 0)
      assert.is_false(core.cancel(co))
      core.sleep(0.01)
      assert.is_nil(log.resumed)
    end))
  end

  it("leaves a waiter to the next one", async(function()
    local waiter = core.waiter()
    local co = core.spawn(waiter.wait, waiter)
    core.sleep(0)
    assert.is_true(core.cancel(co))
    core.spawn(function() waiter:wake "came" end)
    assert.equal("came", waiter:wait())
  end))

  it("ends a coroutine whose result is there, and one that has not begun", async(function()
    local waiter = core.waiter()
    local waiting = core.spawn(function()
      waiter:wait()
      never()
    end)
    core.sleep(0)
    waiter:wake()
    assert.is_true(core.cancel(waiting))
    assert.is_true(core.cancel(core.spawn(never)))
    core.sleep(0)
    assert.equal(1, core.stats().coroutines)
  end))

  it("leaves alone what does not wait here", async(function()
    local foreign = coroutine.create(function() coroutine.yield() end)
    coroutine.resume(foreign)
    assert.is_false(core.cancel(foreign))
    assert.equal("suspended", coroutine.status(foreign))
    assert.is_false(core.cancel((coroutine.running())))
    local me = coroutine.running()
    assert.is_false(coroutine.wrap(function() return core.cancel(me) end)())
    assert.error_matches(function() core.cancel(1) end, "coroutine expected")
  end))

  it("ends coroutines that end each other, as many as the stack of C is sure to take", with_usual_collector(function()
    local last, errors = nil, {}
    local before = core.on_error(function(err) errors[#errors + 1] = err end)
    for _ = 1, 10000 do
      local below = last
      last = core.spawn(function()
        local _ <close> = setmetatable({}, { __close = function() return below and core.cancel(below) end })
        core.sleep(30)
      end)
    end
    repeat core.sleep(0) until core.stats().ready == 0
    assert.is_true(core.cancel(last))
    assert.equal(10000 - 100, core.stats().coroutines)
    core.close()
    core.on_error(before)
    assert.matches("too many coroutines that end each other", errors[1])
  end))

  it("reports an error in a <close> variable, and goes on", async(function()
    local co = core.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() error "stuck" end })
      core.sleep(30)
    end)
    core.sleep(0)
    assert.is_true(core.cancel(co))
    assert.matches("stuck", helper.reported_errors()[1])
  end))
end)

describe("core.waiter", function()
  it("hands over what wake brings", async(function()
    local waiter = core.waiter()
    core.spawn(function() waiter:wake(1, nil, "three", nil) end)
    assert.same({ n = 4, 1, nil, "three", nil }, table.pack(waiter:wait()))
    assert.same({ n = 4, 1, nil, "three", nil }, table.pack(waiter:wait()))
  end))

  it("settles once", async(function()
    local waiter = core.waiter()
    assert.is_true(waiter:wake "first")
    assert.is_false(waiter:wake "second")
    assert.equal("first", waiter:wait(0))
  end))

  it("takes at most eight values", async(function()
    local waiter = core.waiter()
    assert.error_matches(function() waiter:wake(1, 2, 3, 4, 5, 6, 7, 8, 9) end, "at most 8 values")
    waiter:wake(1, 2, 3, 4, 5, 6, 7, 8)
    assert.equal(8, select("#", waiter:wait()))
  end))

  it("gives up after the time given, and can be waited on again", async(function()
    local waiter = core.waiter()
    local value, err = waiter:wait(0.01)
    assert.is_nil(value)
    assert.equal("TIMEOUT", err.name)
    core.spawn(function() waiter:wake "late" end)
    assert.equal("late", waiter:wait(1))
  end))

  it("leaves no timer when it is woken in time", async(function()
    local before, waiter = core.stats(), core.waiter()
    core.spawn(function() waiter:wake() end)
    waiter:wait(1000)
    assert.equal(before.timers, core.stats().timers)
    assert.equal(before.refs, core.stats().refs)
  end))

  it("serves one coroutine at a time", async(function()
    local waiter = core.waiter()
    core.spawn(function() waiter:wait() end)
    core.sleep(0)
    assert.error_matches(function() waiter:wait() end, "another coroutine waits here already")
    waiter:wake()
  end))
end)

describe("core.timer", function()
  after_each(core.close)

  it("calls its function once, in a coroutine", async(function()
    local count = 0
    core.timer(0, function()
      core.sleep(0)
      count = count + 1
    end)
    core.sleep(0.02)
    assert.equal(1, count)
  end))

  it("can be cancelled, more than once", async(function()
    local before = core.stats()
    local timer = core.timer(0.01, never)
    timer:cancel()
    timer:cancel()
    assert.equal(before.timers, core.stats().timers)
    assert.equal(before.refs, core.stats().refs)
    core.sleep(0.02)
    timer:cancel()
  end))

  it("can be cancelled between its hour and its call", function()
    core.virtual_time(true)
    local second, third
    core.spawn(function()
      core.sleep(1)
      third:cancel()
    end)
    turn()
    core.timer(1, function() second:cancel() end)
    second = core.timer(1, never)
    third = core.timer(1, never)
    local reported
    core.on_error(function(err) reported = err end)
    core.advance(2)
    core.on_error(nil)
    assert.is_nil(reported)
    assert.equal(0, core.stats().refs)
  end)

  it("lets a cancelled function go", function()
    local gone = setmetatable({}, { __mode = "v" })
    do
      local upvalue = {}
      gone[1] = upvalue
      local timer = core.timer(1000, function() return upvalue end)
      timer:cancel()
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(gone[1])
    core.run()
  end)

  it("can be cancelled after the loop was closed", function()
    local timer = core.timer(1000, never)
    core.close()
    timer:cancel()
    core.sleep(0)
    timer:cancel()
    assert.equal(0, core.stats().refs)
  end)

  it("keeps the order of those due at the same time", function()
    core.virtual_time(true)
    local order, expected = {}, {}
    for i = 1, 40 do
      core.timer(i % 2 == 0 and 1 or 2, function() order[#order + 1] = i end)
    end
    core.advance(3)
    for i = 2, 40, 2 do expected[#expected + 1] = i end
    for i = 1, 40, 2 do expected[#expected + 1] = i end
    assert.same(expected, order)
  end)

  it("fires in the order of time, whatever is cancelled among them", function()
    core.virtual_time(true)
    local order, timers = {}, {}
    math.randomseed(7)
    for i = 1, 300 do
      local due = math.random(1000)
      timers[i] = core.timer(due, function() order[#order + 1] = due end)
    end
    for i = 1, 300, 3 do timers[i]:cancel() end
    core.advance(1001)
    assert.equal(200, #order)
    for i = 2, #order do assert.is_true(order[i - 1] <= order[i]) end
  end)
end)

describe("core.signal", function()
  after_each(core.close)

  local function kill(name) os.execute(("kill -%s $PPID"):format(name)) end

  it("calls its function in a coroutine, each time", async(function()
    local got = {}
    local signal = core.signal("SIGUSR1", function(name)
      core.sleep(0)
      got[#got + 1] = name
    end)
    for i = 1, 2 do
      kill "USR1"
      helper.eventually(function() return #got == i end)
    end
    assert.same({ "SIGUSR1", "SIGUSR1" }, got)
    signal:close()
    signal:close()
  end))

  it("keeps core.run going until it is closed", async(function()
    local before = core.stats().refs
    local signal = core.signal("SIGUSR2", never)
    assert.equal(before + 1, core.stats().refs)
    signal:close()
    assert.equal(before, core.stats().refs)
  end))

  it("refuses other names", function()
    assert.error_matches(function() core.signal("SIGKILL", never) end, "invalid option 'SIGKILL'")
    assert.error_matches(function() core.signal("SIGUSR1", 1) end, "function expected")
  end)

  it("ends with the loop, and the box left over is harmless", function()
    local signal = core.signal("SIGUSR1", never)
    core.close()
    signal:close()
    local other
    local again = core.signal("SIGUSR1", function() other = true end)
    signal:close()
    kill "USR1"
    for _ = 1, 1000 do
      if other then break end
      core.sleep(0.005)
    end
    assert.is_true(other)
    again:close()
    assert.equal(0, core.stats().refs)
  end)
end)

describe("virtual time", function()
  after_each(core.close)

  it("moves by hours at once, timers in order", function()
    core.virtual_time(true, 1000000)
    local start, log = core.monotonic(), {}
    core.spawn(function()
      core.sleep(7200)
      log[#log + 1] = ("two hours, %d"):format(core.now())
    end)
    core.spawn(function()
      core.sleep(3600)
      log[#log + 1] = ("one hour, %d"):format(core.now())
      core.sleep(1800)
      log[#log + 1] = "and a half"
    end)
    core.advance(8000)
    assert.same({ "one hour, 4600000", "and a half", "two hours, 8200000" }, log)
    assert.equal(8000.0, core.monotonic() - start)
  end)

  it("goes to the first timer and no further, if that is asked for", function()
    core.virtual_time(true)
    local start, log = core.monotonic(), {}
    local function at() return core.monotonic() - start end
    core.timer(5, function() log[#log + 1] = "five" end)
    core.timer(3, function()
      log[#log + 1] = "three"
      core.sleep(0)
      log[#log + 1] = "still three"
    end)
    core.advance(100, true)
    assert.same({ "three", "still three" }, log)
    assert.equal(3.0, at())
    core.advance(1, true)
    assert.equal(4.0, at())
    core.advance(100, true)
    assert.equal(5.0, at())
    core.advance(100, true)
    assert.equal(105.0, at())
  end)

  it("stands still without advance", function()
    core.virtual_time(true)
    local before = core.now()
    turn(10)
    assert.equal(before, core.now())
  end)

  it("makes randomness repeatable", function()
    local function sample(seed)
      core.virtual_time(true, nil, seed)
      return core.uuid() .. core.random(11)
    end
    assert.equal(sample(5), sample(5))
    assert.not_equal(sample(5), sample(6))
    core.virtual_time(false)
    assert.not_equal(core.random(16), core.random(16))
  end)

  it("goes on while somebody waits by timers for the rest of a nanosecond", function()
    core.virtual_time(true)
    local due = core.monotonic() + 1e-11
    local timers = 0
    local function wait()
      timers = timers + 1
      assert.is_true(timers < 10, "time stands still")
      if core.monotonic() < due then core.timer(due - core.monotonic(), wait) end
    end
    wait()
    core.advance(1e-6)
    assert.is_true(core.monotonic() > due)
    assert.equal(2, timers)
  end)

  it("can be advanced from a coroutine, by one at a time", function()
    core.virtual_time(true)
    local err
    core.spawn(function()
      core.advance(10)
      core.stop()
    end)
    core.spawn(function() err = select(2, pcall(core.advance, 1)) end)
    core.run()
    assert.matches("time is being advanced by another coroutine", err)
  end)

  it("is replaced only while no timer runs and nobody advances it", function()
    assert.error_matches(function() core.advance(1) end, "advance needs virtual time")
    local timer = core.timer(1000, never)
    assert.error_matches(function() core.virtual_time(true) end, "only while no timer runs")
    timer:cancel()
    core.virtual_time(true)
    local ok
    core.spawn(function() ok = pcall(core.virtual_time, false) end)
    core.advance(1)
    assert.is_false(ok)
    core.virtual_time(false)
    core.sleep(0.01)
  end)

  it("stands still while HTTP and WebSocket parties of the process are at work", function()
    local listener = assert(core.listen {
      websocket_paths = { "/ws" },
      on_http = function(request)
        core.sleep(request.path == "/slow" and 40 or 5)
        request:respond(200, {}, "five seconds later")
      end,
      on_frame = function(connection, data) connection:send(data) end,
    })
    core.virtual_time(true)
    local base = "://127.0.0.1:" .. listener:port()
    local log = {}
    core.spawn(function()
      log.quick = core.http { url = "http" .. base .. "/", timeout = 10 }
      log.slow = select(2, core.http { url = "http" .. base .. "/slow", timeout = 20 })
      local socket = assert(core.socket { url = "ws" .. base .. "/ws", connect_timeout = 1 })
      assert(socket:send "echo")
      log.echo = socket:receive(1)
      socket:close()
    end)
    core.advance(3600)
    listener:close(true)
    assert.equal("five seconds later", log.quick and log.quick.body)
    assert.equal("TIMEOUT", log.slow and log.slow.name)
    assert.equal("echo", log.echo)
  end)

  it("stands still while a thread computes, however long that takes", function()
    core.virtual_time(true)
    local start, hashed = core.monotonic(), nil
    core.spawn(function()
      assert(core.crypt_hash("secret", 9))
      hashed = core.monotonic() - start
    end)
    core.timer(1, function() end)
    core.advance(2)
    assert.equal(0.0, hashed)
  end)

  it("stands still until a message of many pieces is there", function()
    local length = 3 << 20
    local listener = assert(core.listen {
      websocket_paths = { "/ws" }, max_frame = 2 * length,
      on_frame = function(connection, data) connection:send(data) end,
    })
    core.virtual_time(true)
    local start, back = core.monotonic(), nil
    core.spawn(function()
      local socket = assert(core.socket { url = ("ws://127.0.0.1:%d/ws"):format(listener:port()) })
      assert(socket:send(("x"):rep(length)))
      local data = assert(socket:receive(5))
      back = { length = #data, at = core.monotonic() - start }
      socket:close()
    end)
    for second = 1, 10 do core.timer(second, function() end) end
    core.advance(10)
    listener:close(true)
    assert.same({ length = length, at = 0.0 }, back)
  end)

  it("goes no further than its numbers reach", function()
    assert.error_matches(function() core.virtual_time(true, math.mininteger) end, "UNIX milliseconds expected")
    assert.error_matches(function() core.virtual_time(true, math.maxinteger) end, "UNIX milliseconds expected")
    core.virtual_time(true, 0)
    core.advance(8e9)
    assert.error_matches(function() core.advance(8e9) end, "ends after 285 years")
    assert.equal(8000000000000, core.now())
  end)

  it("ends with the loop", function()
    core.virtual_time(true, 0)
    core.close()
    assert.is_true(core.now() > 1e12)
    core.sleep(0.001)
  end)
end)

describe("core.random and core.uuid", function()
  it("bring fresh bytes", function()
    assert.equal(0, #core.random(0))
    assert.equal(100000, #core.random(100000))
    local seen, odd = {}, nil -- one assert for all: luassert's many tables make it slow under an aggressive collector
    for _ = 1, 2000 do
      local uuid = core.uuid()
      local is_well = uuid:find "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"
      if not is_well or uuid ~= uuid:lower() or seen[uuid] then odd = uuid end
      seen[uuid] = true
    end
    assert.is_nil(odd)
    assert.error_matches(function() core.random(-1) end, "0 to 1048576 bytes")
    assert.error_matches(function() core.random(2 ^ 21 // 1 | 0) end, "0 to 1048576 bytes")
  end)
end)

describe("core.close", function()
  local reports

  before_each(function()
    reports = {}
    core.on_error(function(err) reports[#reports + 1] = tostring(err) end)
  end)

  after_each(function()
    core.close()
    core.on_error(nil)
  end)

  it("settles every wait with CLOSED", function()
    local waiter, log = core.waiter(), {}
    core.spawn(function() log.sleep = select(2, core.sleep(1000)) end)
    core.spawn(function() log.waiter = select(2, waiter:wait(1000)) end)
    core.spawn(function() log.forever = select(2, core.waiter():wait()) end)
    turn()
    core.close()
    assert.equal("CLOSED", log.sleep.name)
    assert.equal("CLOSED", log.waiter.name)
    assert.matches("trueconf was closed while waiting for a waiter to be woken", log.forever.message)
    assert.same({}, reports)
    assert.equal(0, core.stats().pending)
    assert.equal(0, core.stats().refs)
    assert.equal(0, core.stats().handles)
    assert.is_true(waiter:wake())
  end)

  it("ends a loop that waits again with CLOSED, which is not worth a report", function()
    local caught, closed
    core.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      while true do core.sleep(1000) end
    end)
    core.spawn(function()
      core.sleep(1000)
      caught = select(2, pcall(core.sleep, 1))
      error "but this is"
    end)
    turn()
    core.close()
    assert.equal("CLOSED", caught.name)
    assert.matches("cannot wait for the end of a sleep: trueconf is closing", caught.message)
    assert.is_true(closed)
    assert.equal(1, #reports)
    assert.matches("but this is", reports[1])
  end)

  it("runs what was spawned, and what that spawns", function()
    local log = {}
    core.spawn(function() core.spawn(function() log[#log + 1] = "inner" end) end)
    core.close()
    assert.same({ "inner" }, log)
    assert.equal(0, core.stats().coroutines)
  end)

  it("comes to an end although somebody spawns without end", with_usual_collector(function()
    local function again() core.spawn(again) end
    core.spawn(again)
    core.close()
    assert.equal(0, core.stats().ready)
    assert.equal(0, core.stats().coroutines)
    core.run()
  end))

  it("is refused while the loop runs", function()
    local err
    core.spawn(function() err = select(2, pcall(core.close)) end)
    core.run()
    assert.matches("close cannot be called while the loop runs", err)
  end)

  it("may be called in a coroutine while the loop stands still", function()
    core.spawn(function() core.sleep(1000) end)
    turn()
    coroutine.wrap(core.close)()
    assert.equal(0, core.stats().pending)
  end)

  it("leaves a module that can be used again, timers and all", function()
    for _ = 1, 3 do
      core.timer(1000, never)
      core.sleep(0.001)
      core.close()
      local fired
      core.timer(0.005, function() fired = true end)
      core.run()
      assert.is_true(fired)
    end
    assert.same({}, reports)
  end)

  it("takes the calls of timers out of the count", with_usual_collector(function()
    -- The timer is due when the loop closes: its call is queued behind a spawner without end.
    local function again() core.spawn(again) end
    core.spawn(again)
    local timers = {}
    for i = 1, 10 do timers[i] = core.timer(0, again) end
    turn(1)
    core.close()
    for _, timer in ipairs(timers) do timer:cancel() end
    assert.equal(0, core.stats().refs)
    local slept
    core.spawn(function()
      core.sleep(0.01)
      slept = true
    end)
    core.run()
    assert.is_true(slept)
  end))

  it("does nothing twice", function()
    core.close()
    core.close()
    assert.equal(0, core.stats().handles)
  end)
end)

describe("embedding", function()
  after_each(core.close)

  it("tells how long a foreign loop may wait", function()
    turn()
    assert.is_nil(core.timeout())
    core.spawn(function() core.sleep(100) end)
    assert.equal(0.0, core.timeout())
    assert.is_true(core.step())
    turn()
    local timeout = core.timeout()
    assert.is_true(timeout > 90 and timeout <= 100)
    core.close()
    turn()
    assert.is_nil(core.timeout())
  end)

  it("tells when nothing is left", function()
    local done
    core.spawn(function()
      core.sleep(0.01)
      done = true
    end)
    while core.step() do assert.is_number(core.timeout()) end
    assert.is_true(done)
  end)

  it("has a file descriptor", function()
    assert.is_true(core.fd() >= 0)
  end)

  it("asks for a step after whatever was begun outside of one", function()
    turn()
    local listener = assert(core.listen {})
    assert.equal(0.0, core.timeout())
    listener:close(true)
  end)
end)

-- Several Lua states and a host that polls core.fd() need C.
describe("a host written in C", function()
  it("drives several Lua states by core.fd, core.timeout and core.step, and closes them", function()
    local program = c_program.build("spec/support/c/host_test.c " ..
      "$(pkg-config --cflags --libs lua5.4 2>/dev/null || pkg-config --cflags --libs lua-5.4)")
    local wrap = os.getenv "WRAP" or ""
    if wrap:find "^valgrind" then wrap = wrap .. " --suppressions=spec/support/c/host.valgrind.supp" end
    -- Whole stacks, for what the suppressions name.
    local command = [[ASAN_OPTIONS=$ASAN_OPTIONS:fast_unwind_on_malloc=0 \
      LSAN_OPTIONS=suppressions=spec/support/c/host.supp:print_suppressions=0 %s %s]]
    local ok, output = c_program.run(command:format(wrap, program))
    os.remove(program)
    assert.is_true(ok, output)
    assert.equal("ok\n", output)
  end)
end)

describe("the end of the process", function()
  -- One of everything that can be pending.
  local BUSY = [[
    local core = require "trueconf.core"
    local listener = assert(core.listen {
      websocket_paths = { "/" },
      on_http = function() core.sleep(1000) end,
      on_frame = function() end,
    })
    local base = "://127.0.0.1:" .. listener:port()
    core.spawn(function() core.sleep(1000) end)
    core.spawn(function() core.waiter():wait(1000) end)
    core.spawn(function() core.waiter():wait() end)
    core.spawn(function() core.http { url = "http" .. base .. "/" } end)
    core.spawn(function()
      local socket = assert(core.socket { url = "ws" .. base .. "/" })
      socket:receive(1000)
    end)
    core.spawn(function() pcall(coroutine.wrap(core.sleep), 1000) core.sleep(1000) end)
    core.timer(1000, print)
    core.signal("SIGUSR1", print)
    local _ <close> = setmetatable({}, { __close = function() print "closed" end })
    core.sleep(0.1)
    core.spawn(print, "never begun")
  ]]

  local function assert_clean(ending, expected)
    local output, status = run_script(BUSY .. ending)
    assert.equal(expected, output)
    assert.equal(0, status)
  end

  it("is clean when the script ends", function()
    assert_clean("print 'end'", "end\nclosed\n")
  end)

  it("is clean when a coroutine closes the state", function()
    assert_clean([[
      core.spawn(function() print "exit" os.exit(0, true) end)
      core.run()
    ]], "never begun\nexit\nclosed\n")
  end)

  it("is clean after core.close", function()
    assert_clean("core.close() print 'end'", "never begun\nend\nclosed\n")
  end)

  it("is clean when finalizers come back to the module", function()
    local output, status = run_script [[
      local core
      local function come_back() print(pcall(core.sleep, 0)) end
      local older <const> = setmetatable({}, { __gc = come_back })
      core = require "trueconf.core"
      local newer <const> = setmetatable({}, { __gc = come_back })
      core.spawn(core.sleep, 1000)
      core.step()
      _G.keep = { older, newer }
    ]]
    assert.matches("^false\t[^\n]*cannot wait for the end of a sleep in a finalizer[^\n]*\n"
      .. "false\t[^\n]*trueconf cannot be used any more: the Lua state is being closed\n$", output)
    assert.equal(0, status)
  end)

  it("is clean when the module was loaded twice", function()
    local output, status = run_script [[
      local core = require "trueconf.core"
      local timer = core.timer(0.01, print)
      package.loaded["trueconf.core"] = nil
      local again = require "trueconf.core"
      again.run()
      assert(again.stats().timers == 0)
      timer:cancel()
    ]]
    assert.equal("\n", output)
    assert.equal(0, status)
  end)
end)

describe("core.busy_limit", function()
  after_each(function() core.busy_limit(0) end)

  local function error_of(fn)
    helper.reported_errors()
    local ended = false
    core.spawn(function()
      local _ <close> = setmetatable({}, { __close = function() ended = true end })
      fn()
    end)
    helper.eventually(function() return ended end)
    return helper.reported_errors()
  end

  it("ends a coroutine that never waits, and tells where it was", async(function()
    core.busy_limit(0.5)                -- the case itself must stay below that, on a busy machine too
    local errors = error_of(function() while true do end end)
    assert.equal(1, #errors)
    assert.matches("has blocked the loop for 0.5 s without waiting; it was closed", errors[1])
    assert.matches("core/runtime_spec.lua", errors[1])
    assert.equal(1, core.stats().coroutines)
  end))

  it("leaves alone those that wait now and then", async(function()
    core.busy_limit(0.2)
    local stop = core.monotonic() + 0.6
    assert.same({}, error_of(function()
      while core.monotonic() < stop do core.sleep(0) end
    end))
  end))

  it("ends one whose C function has taken too long, when that returns", async(function()
    core.busy_limit(0.5)
    local errors = error_of(function()
      os.execute "sleep 0.9"
      never()
    end)
    assert.matches("has blocked the loop", errors[1])
  end))

  it("is off with 0, and wants seconds", async(function()
    core.busy_limit(0.05)
    core.busy_limit(0)
    local stop = os.clock() + 0.2
    assert.same({}, error_of(function() repeat until os.clock() > stop end))
    assert.error_matches(function() core.busy_limit(-1) end, "seconds, from 0")
  end))
end)
