-- SPDX-License-Identifier: MIT
-- run.lua - measures the bot beside the client in plain C, in one go, and writes the table.
-- Both meet the same load server in turn, pinned alike; each figure is the median of its rounds.

local cjson = require "cjson"

local USAGE = [[
usage: lua5.4 bench/run.lua [options]
  --seconds N   measured time of each run (2)
  --rounds N    rounds; the table holds the medians (3)
  --conns N     sessions in the measurement of idle memory (500)
  --starts N    starts in each round (7)
  --over WHAT   plain, tls or both (both)
  --pin S,C     cores of server and client, "none" for no pinning (0,1 if there are two)
  --bin DIR     where server and echo are (build/bench)
  --lua NAME    interpreter of the bot (lua5.4)
  --bot COMMAND measure this in place of bench/client.lua
  --out FILE    where the table goes (build/bench.md)
]]

local options = {
  seconds = 2, rounds = 3, conns = 500, starts = 7, over = "both", pin = "", bin = "build/bench", lua = "lua5.4",
  bot = "", out = "build/bench.md",
}

local function misuse(message)
  io.stderr:write("run.lua: ", message, "\n", USAGE)
  os.exit(2)
end

local function read_options()
  local i = 1
  while arg[i] do
    if arg[i] == "--help" then
      io.write(USAGE)
      os.exit(0)
    end
    local name = arg[i]:match "^%-%-(%l+)$"
    local default, value = options[name], arg[i + 1]
    if default == nil then misuse("unknown option " .. arg[i]) end
    if value == nil then misuse(arg[i] .. " wants a value") end
    if type(default) == "number" then value = tonumber(value) or misuse(arg[i] .. " wants a number, not " .. value) end
    options[name] = value
    i = i + 2
  end
  if not ({ plain = true, tls = true, both = true })[options.over] then misuse "--over is plain, tls or both" end
end

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

---The output of a shell command, without the line end.
local function output(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read "a":gsub("%s+$", ""))
end

-- Measurements ---------------------------------------------------------------------------------------------------

---One run of the load server; `times` runs of it in each round.
local function runs()
  return {
    { name = "echo", args = "--mode echo" },
    { name = "one_chat", args = "--mode echo --chats 1" },
    { name = "rate", args = "--mode rate" },
    { name = "sequential", args = "--mode request --window 1" },
    { name = "pipelined", args = "--mode request --window 64" },
    { name = "idle_one", args = "--mode idle --conns 1" },
    { name = "idle_many", args = "--mode idle --conns " .. options.conns },
    { name = "start", args = "--mode start", times = options.starts },
  }
end

local function field(run, name, scale)
  return function(medians)
    local value = medians[run] and medians[run][name]
    return value and value * (scale or 1)
  end
end

local function idle_session(medians)
  local one, many = medians.idle_one, medians.idle_many
  return one and many and (many.rss_kb - one.rss_kb) / (options.conns - 1)
end

local ROWS = {
  { "echo, 64 in flight: messages/s", field("echo", "per_second"), "%.0f" },
  { "echo, 64 in flight: CPU µs per message", field("echo", "cpu_us"), "%.2f" },
  { "echo, 64 in flight, all of one chat: messages/s", field("one_chat", "per_second"), "%.0f" },
  { "echo, 64 in flight, all of one chat: CPU µs per message", field("one_chat", "cpu_us"), "%.2f" },
  { "echo, one at a time: p50 µs", field("rate", "p50_us"), "%.1f" },
  { "echo, one at a time: p99 µs", field("rate", "p99_us"), "%.1f" },
  { "requests one after the other: requests/s", field("sequential", "per_second"), "%.0f" },
  { "requests one after the other: CPU µs per request", field("sequential", "cpu_us"), "%.2f" },
  { "requests, 64 in flight: requests/s", field("pipelined", "per_second"), "%.0f" },
  { "requests, 64 in flight: CPU µs per request", field("pipelined", "cpu_us"), "%.2f" },
  { "memory while echoing: resident MiB", field("echo", "rss_kb", 1 / 1024), "%.2f" },
  { "memory while echoing: private MiB", field("echo", "private_kb", 1 / 1024), "%.2f" },
  { "memory of a further idle session: KiB", idle_session, "%.2f" },
  { "from start to authorized: ms", field("start", "ready_ms"), "%.2f" },
  { "from start to authorized: CPU ms", field("start", "ready_cpu_ms"), "%.2f" },
}

-- Running --------------------------------------------------------------------------------------------------------

---A certificate for localhost that is its own authority, in a directory of its own.
local function make_certificate()
  local directory = output "mktemp -d"
  local command = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
    .. "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
    .. "-keyout %s/key.pem -out %s/cert.pem 2>&1"):format(directory, directory)
  local said = output(command)
  local file <close> = io.open(directory .. "/cert.pem")
  if not file then error("openssl made no certificate: " .. said, 0) end
  return directory
end

local function pinning()
  if options.pin == "none" then return "" end
  if options.pin ~= "" then return "--pin " .. quote(options.pin) end
  return (tonumber(output "nproc") or 1) >= 2 and "--pin 0,1" or ""
end

local Bench = {}
Bench.__index = Bench

local function new_bench()
  local bot = options.bot ~= "" and options.bot or options.lua .. " bench/client.lua"
  return setmetatable({
    clients = { { name = "c", command = options.bin .. "/echo" }, { name = "bot", command = bot } },
    certificate = make_certificate(),
    pin = pinning(),
    results = {}, -- [transport][client][run] = { line, ... }
    complaints = {},
  }, Bench)
end

function Bench:complain(run, client, transport, why)
  local text = ("%s, %s, %s: %s"):format(run.name, client.name, transport, why)
  self.complaints[#self.complaints + 1] = text
  io.stderr:write(text, "\n")
end

---Start the server once and keep its line.
function Bench:measure(run, client, transport)
  local tls = transport == "tls" and ("--cert %s/cert.pem --key %s/key.pem"):format(self.certificate, self.certificate)
  local command = table.concat({
    options.bin .. "/server", run.args, "--seconds", options.seconds, "--label", client.name, self.pin, tls or "", "--",
    client.command,
  }, " ")
  local text = output(command)
  local ok, line = pcall(cjson.decode, text)
  if not ok then return self:complain(run, client, transport, "no figures: " .. text) end
  if line.failed then return self:complain(run, client, transport, line.failed) end
  if line.errors > 0 then
    self:complain(run, client, transport, ("%d violations, first: %s"):format(line.errors, line.first_error))
  end
  local lines = self.results[transport][client.name]
  lines[run.name] = lines[run.name] or {}
  table.insert(lines[run.name], line)
end

---One round over one transport; the order of the clients turns from round to round.
function Bench:round(number, transport)
  for _, run in ipairs(runs()) do
    for _ = 1, run.times or 1 do
      for i = 1, #self.clients do
        self:measure(run, self.clients[(number + i) % #self.clients + 1], transport)
      end
    end
  end
end

function Bench:run(transports)
  for _, transport in ipairs(transports) do
    self.results[transport] = { c = {}, bot = {} }
  end
  for number = 1, options.rounds do
    for _, transport in ipairs(transports) do
      io.stderr:write(("round %d of %d, %s\n"):format(number, options.rounds, transport))
      self:round(number, transport)
    end
  end
end

-- The table ------------------------------------------------------------------------------------------------------

local function median(values)
  table.sort(values)
  local n = #values
  return n % 2 == 1 and values[(n + 1) // 2] or (values[n // 2] + values[n // 2 + 1]) / 2
end

---The medians of all numbers in some lines of one run.
local function median_line(lines)
  local columns = {}
  for _, line in ipairs(lines) do
    for name, value in pairs(line) do
      if type(value) == "number" then
        columns[name] = columns[name] or {}
        table.insert(columns[name], value)
      end
    end
  end
  for name, values in pairs(columns) do columns[name] = median(values) end
  return columns
end

local function median_lines(lines_of_runs)
  local medians = {}
  for name, lines in pairs(lines_of_runs) do medians[name] = median_line(lines) end
  return medians
end

---The cells of one row over one transport: C, bot, and the bot's share of C.
local function cells(row, results)
  local c, bot = row[2](results.c), row[2](results.bot)
  local function cell(value) return value and row[3]:format(value) or "-" end
  return cell(c), cell(bot), c and bot and c > 0 and ("%.2f"):format(bot / c) or "-"
end

function Bench:table(transports)
  local lines, heads, rules = {}, { "measured" }, { "---" }
  local medians = {}
  for _, transport in ipairs(transports) do
    local results = self.results[transport]
    medians[transport] = { c = median_lines(results.c), bot = median_lines(results.bot) }
    for _, head in ipairs { "C, " .. transport, "bot, " .. transport, "ratio" } do
      heads[#heads + 1], rules[#rules + 1] = head, "---:"
    end
  end
  local function add(columns) lines[#lines + 1] = "| " .. table.concat(columns, " | ") .. " |" end
  add(heads)
  add(rules)
  for _, row in ipairs(ROWS) do
    local columns = { row[1] }
    for _, transport in ipairs(transports) do
      for _, cell in ipairs { cells(row, medians[transport]) } do columns[#columns + 1] = cell end
    end
    add(columns)
  end
  return table.concat(lines, "\n")
end

local function machine()
  local model = output "sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1"
  local lua = output(options.lua .. " -v 2>&1"):match "^%S+ %S+"
  return ("%s, %s cores, Linux %s, %s"):format(model, output "nproc", output "uname -r", lua)
end

function Bench:report(transports)
  local text = {
    "# Bench", "",
    ("%s; %s; rounds of %g s: %d, of which the medians. Ratio: bot by C."):format(os.date "%Y-%m-%d %H:%M", machine(),
      options.seconds, options.rounds), "",
    self:table(transports),
  }
  for _, complaint in ipairs(self.complaints) do text[#text + 1] = "\nNOT IN ORDER: " .. complaint end
  return table.concat(text, "\n") .. "\n"
end

local function main()
  read_options()
  local transports = options.over == "both" and { "plain", "tls" } or { options.over }
  local bench = new_bench()
  local ok, why = pcall(bench.run, bench, transports)
  os.execute("rm -rf " .. quote(bench.certificate))
  if not ok then error(why, 0) end
  local text = bench:report(transports)
  local file <close> = assert(io.open(options.out, "w"))
  file:write(text)
  io.write(text)
  return #bench.complaints == 0
end

os.exit(main(), true)
