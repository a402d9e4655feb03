std = "lua54"
max_line_length = 120
files["spec"] = { std = "+busted" }
-- Annotations for the language server: parameters and functions without bodies.
files["lua/trueconf/meta"] = { ignore = { "211", "212", "241" } }
files["rockspec"] = { std = "+rockspec" }
