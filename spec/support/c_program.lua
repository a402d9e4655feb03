-- SPDX-License-Identifier: MIT
-- Small programs in C that test what Lua cannot reach: built once per spec file, removed after it.

local c_program = {}

-- A preloaded sanitizer would judge the compiler. A program that loads the core under ThreadSanitizer brings it along.
local COMPILER = "env -u LD_PRELOAD ${CC:-cc} -std=gnu11 -g -Wall -Wextra -Icsrc ${TSAN_LIBRARIES:+-fsanitize=thread}"
local SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"

-- Variables for a program with several Lua states: whole stacks, for what the suppressions name.
c_program.HOST = "ASAN_OPTIONS=$ASAN_OPTIONS:fast_unwind_on_malloc=0 " ..
  "LSAN_OPTIONS=suppressions=spec/support/c/host.supp:print_suppressions=0"

---Run a shell command.
---@return boolean ok
---@return string output
function c_program.run(command)
  local pipe = assert(io.popen(("{ %s; } 2>&1"):format(command)))
  local output = pipe:read "a"
  return pipe:close() == true, output
end

---Compile, or raise what the compiler says.
---@param arguments string sources, flags, libraries
---@return string path of the program; the caller removes it
function c_program.build(arguments)
  local program = os.tmpname()
  local ok, output = c_program.run(("%s -o %s %s"):format(COMPILER, program, arguments))
  if not ok then error("cannot compile:\n" .. output, 2) end
  return program
end

-- Sanitizers that the machine offers; valgrind does not work together with them.
local function sanitizers()
  if (os.getenv "WRAP" or "") ~= "" then return "" end
  local program = os.tmpname()
  local trial = ("echo 'int main(void) { return 0; }' | %s %s -o %s -x c -"):format(COMPILER, SANITIZERS, program)
  local ok = c_program.run(trial)
  os.remove(program)
  return ok and SANITIZERS or ""
end

---Build the program of a unit test under sanitizers, if there are any; returns a function that runs one of
---its sections and raises what went wrong, and one that removes it.
---@param sources string
---@return fun(section: string) check
---@return fun() remove
function c_program.unit(sources)
  local program = c_program.build(("%s %s -lm"):format(sanitizers(), sources))
  local function check(section)
    -- Its sanitizer is its own; a preloaded one would come in twice.
    local command = ("env -u LD_PRELOAD %s %s '%s'"):format(os.getenv "WRAP" or "", program, section)
    local ok, output = c_program.run(command)
    if not ok or output ~= "ok\n" then error(output, 2) end
  end
  return check, function() os.remove(program) end
end

return c_program
