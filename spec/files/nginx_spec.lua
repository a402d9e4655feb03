-- SPDX-License-Identifier: MIT
-- Files over TLS, through nginx in front of the Bridge, with the configuration in docs/nginx.conf.

local core = require "trueconf.core"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local system = require "spec.support.system"

local LIMIT = 20                        -- seconds any single step may take
local MIB = 1 << 20
local SIZE = 5 * MIB                    -- more than nginx takes of a body by itself

describe("files behind nginx", function()
  it("go up and down, the address of the Bridge itself never asked", helper.async(function()
    local directory <close> = system.directory()
    local server = system.start_bridge()
    local proxy = nginx.start(directory, server:port())
    local bot = system.bot(server, { url = proxy:url "https", ca_file = directory:file "ca.pem" })
    bot:start()
    assert(bot:wait_ready(LIMIT))
    local chat_id = assert(bot:create_p2p_chat "mira@localhost")
    local bytes = core.random(MIB):rep(5)
    local path, copy = system.write(directory:file "plan.pdf", bytes), directory:file "copy"
    local sent = assert(bot:send_file(chat_id, { path = path, preview = true }))
    local named = assert(bot:get_file_info(sent.file_id)).download_url
    assert.matches("^http://127.0.0.1:", named)
    assert.equal(SIZE, assert(bot:download(sent, { path = copy })).size)
    assert.equal(bytes, system.read(copy))
    server:fault { download_cut = 2 * MIB }
    assert.is_true(bytes == assert(bot:download(sent, { max_bytes = SIZE })))
    server:fault()
    proxy:stop()
    local result, err = bot:download(sent, { path = copy, timeout = 2 })
    assert.is_nil(result)
    assert.is_not_equal("HTTP", err.name)
    bot:stop(0)
    server:stop(true)
  end))
end)
