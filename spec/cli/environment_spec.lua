-- SPDX-License-Identifier: MIT
-- Files of environment variables: lua/trueconf/cli/run/environment.lua. The expected values come from systemd 252
-- itself (load_env_file of its shared library), except for a change in 254: a comment ends with its line, even after a
-- backslash.

local environment = require "trueconf.cli.run.environment"

describe("a file of variables", function()
  for text, expected in pairs {
    ["A=1"] = { A = "1" },
    ["A="] = { A = "" },
    ["A=\nB=2"] = { A = "", B = "2" },
    ["A=1\r\nB=2\r\n"] = { A = "1", B = "2" },
    ["A=1\nA=2"] = { A = "2" },
    ["A=a=b"] = { A = "a=b" },
    ["  A  =  b c  "] = { A = "b c" },
    ["# c\n ;d\n\nA=1"] = { A = "1" },
    ["# c\\\nA=1"] = { A = "1" },
    ["A=1 # no comment"] = { A = "1 # no comment" },
    ["A=$B"] = { A = "$B" },
    -- Quotes.
    ["A=\"a 'b' c\""] = { A = "a 'b' c" },
    ["A='say \"x\"'"] = { A = 'say "x"' },
    ["A='a' 'b'"] = { A = "ab" },
    ['A="a"b"c" d'] = { A = 'ab"c" d' },
    ['A=x"y"'] = { A = 'x"y"' },
    ['A=" x "'] = { A = " x " },
    ['A="x" ; y'] = { A = "x; y" },
    ['A="one\ntwo"'] = { A = "one\ntwo" },
    -- Backslashes.
    ["A=a\\\\b"] = { A = "a\\b" },
    ["A=a\\b"] = { A = "ab" },
    ["A=a\\  "] = { A = "a " },
    ["A=\\"] = { A = "" },
    ["A=\\\"x"] = { A = '"x' },
    ['A="\\n"'] = { A = "\\n" },
    ['A="a\\b \\" \\\\ \\$ \\` "'] = { A = 'a\\b " \\ $ ` ' },
    ["A='a\\b'"] = { A = "a\\b" },
    -- A line that goes on.
    ["A=one\\\ntwo"] = { A = "onetwo" },
    ["A=one \\\n  two  "] = { A = "one   two" },
    ['A="one\\\ntwo"'] = { A = "onetwo" },
    ["A='one\\\ntwo'"] = { A = "one\\\ntwo" },
  } do
    it(("is read as systemd reads it: %q"):format(text):gsub("\\\n", "\\n"), function()
      assert.same(expected, environment.parse(text, "env"))
    end)
  end

  for text, complaint in pairs {
    ["A=1\nB"] = "env:2: expected NAME=value",
    ["1A=secret"] = "env:1: expected NAME=value",
    ["=secret"] = "env:1: expected NAME=value",
    ["A B=secret"] = "env:1: expected NAME=value",
    ["\n\nexport A=secret"] = "env:3: 'export' is for shells; begin with the name",
    ["\xEF\xBB\xBFA=secret"] = "env:1: it begins with a byte order mark; save it as UTF-8 without one",
    ["A='1'\nB='secret"] = "env:2: the quote of B is not closed",
    ['A="secret\\"'] = "env:1: the quote of A is not closed",
    ["A=secret\0"] = "env:1: the value of A holds a NUL",
    ["A=secret\xFF"] = "env:1: the value of A is not UTF-8",
  } do
    it(("is refused, without a word of its values: %q"):format(text):gsub("\\\n", "\\n"), function()
      assert.same({ nil, complaint }, { environment.parse(text, "env") })
    end)
  end
end)
