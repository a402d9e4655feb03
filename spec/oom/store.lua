-- SPDX-License-Identifier: MIT
-- Files that the core reads and writes, the store of a bot, JSON, hashes and passwords.

local core = require "trueconf.core"
local json = require "trueconf.base.json"
local store = require "trueconf.store"

local PATH = os.tmpname()
os.remove(PATH)

require("spec.support.oom_script").run(function()
  local kept, err = store.open(PATH)
  if not kept then return nil, err end
  kept:put("sessions", "mira", { n = 17, list = { 1, 2, 3 } })
  local ok
  ok, err = kept:commit()
  if not ok then return nil, err end
  kept:close()
  kept, err = store.open(PATH)
  if not kept then return nil, err end
  assert(kept:get("sessions", "mira").list[3] == 3, "WRONG: something else was kept")
  kept:close()
  local text
  text, err = json.encode { a = { 1, 2.5, "é\n", true, json.null }, b = json.array() }
  if not text then return nil, err end
  local value
  value, err = json.decode(text)
  if not value then return nil, err end
  assert(value.a[3] == "é\n" and json.is_array(value.b), "WRONG: something else was read")
  local salt = core.crypt_salt(4)
  local hash
  hash, err = core.crypt_hash("secret", 1)
  if not hash then return nil, err end
  ok, err = core.crypt_verify("secret", hash)
  if ok == nil then return nil, err end
  assert(ok and salt, "WRONG: the password does not fit")
  assert(core.base64url_decode(core.base64url_encode "abc") == "abc" and #core.uuid() == 36)
  return true
end)
os.remove(PATH)
