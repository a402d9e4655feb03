std = "lua54"
max_line_length = 120
self = false
files["spec"] = { std = "+busted" }
-- Annotations for the language server: functions without bodies, types that cannot be broken over lines.
files["lua/trueconf/meta"] = { ignore = { "211", "212", "241", "631" } }
files["fuzz"] = { read_globals = { "fuzz_accept" } }
files["rockspec"] = { std = "+rockspec" }
