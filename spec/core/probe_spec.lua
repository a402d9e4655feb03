-- SPDX-License-Identifier: MIT
-- core.probe against listeners of this process.

local certificates = require "spec.support.certificates"
local core = require "trueconf.core"
local helper = require "spec.support.helper"
local system = require "spec.support.system"

local made

local function probe_with(name, host, ca_file)
  local listener = assert(core.listen { tls = made:server(name) })
  local report = core.probe(host or "localhost", listener:port(), true, ca_file or made.ca_file, 5)
  listener:close(true)
  return report
end

describe("a probe", function()
  setup(function() made = certificates.make() end)
  teardown(function() made:remove() end)

  it("tells each step and its time", helper.async(function()
    local report = probe_with "good"
    assert.is_nil(report.error)
    assert.is_nil(report.doubt)
    -- The listener's, whether or not the system's resolver names ::1 before it.
    assert.equal("127.0.0.1", report.address)
    assert.matches(" 127.0.0.1 ", " " .. table.concat(report.addresses, " ") .. " ", 1, true)
    for _, step in ipairs { "dns", "tcp", "tls" } do assert.is_true(report[step] >= 0 and report[step] < 5, step) end
    assert.matches("^TLSv1%.[23]$", report.version)
    assert.equal("localhost", report.names)
    assert.equal(1, #report.chain)
    local shown = report.chain[1]
    assert.same({ "localhost", "Authority of the specs" }, { shown.subject, shown.issuer })
    local now = core.now() // 1000
    assert.is_true(shown.from <= now and shown.expires > now and shown.expires <= now + 2 * 86400)
  end))

  it("takes a whole chain, and names what is missing of one", helper.async(function()
    local report = probe_with "whole"
    assert.is_nil(report.doubt)
    assert.same({ "localhost", "Authority in the middle" }, { report.chain[1].subject, report.chain[2].subject })
    report = probe_with "short"
    assert.same({ "missing", "Authority in the middle", "localhost", 1 },
      { report.doubt.kind, report.doubt.issuer, report.doubt.subject, report.doubt.place })
    report = probe_with("whole", nil, made:file "alone.pem")
    assert.same({ "missing", "Authority of the specs", 2 },
      { report.doubt.kind, report.doubt.issuer, report.doubt.place })
  end))

  it("tells other doubts apart", helper.async(function()
    for name, kind in pairs { expired = "expired", other = "host", alone = "untrusted" } do
      local report = probe_with(name)
      assert.same({ kind, nil }, { report.doubt.kind, report.error })
      assert.is_true(report.tls >= 0)
    end
    assert.equal("host", probe_with("good", "127.0.0.1").doubt.kind)
    local report = probe_with("address", "127.0.0.1")
    assert.is_nil(report.doubt)
    assert.equal("127.0.0.1", report.names)
  end))

  it("shows nothing that a terminal would act on", helper.async(function()
    local report = probe_with "visible"
    assert.equal("a?[31m??b\u{e9}", report.chain[1].subject)
    assert.equal("a?[31m.test", report.names)
  end))

  it("says which step failed", helper.async(function()
    local report = core.probe("no-such-name.invalid", 1)
    assert.equal("DNS", report.error.name)
    assert.is_nil(report.dns)
    report = core.probe("localhost", system.free_port())
    assert.same({ "REFUSED", nil }, { report.error.name, report.tcp })
    assert.is_true(report.dns >= 0)
    local listener = assert(core.listen {})
    report = core.probe("localhost", listener:port())
    assert.same({ nil, nil }, { report.error, report.tls })
    report = core.probe("localhost", listener:port(), true)
    assert.equal("TLS", report.error.name)
    assert.matches("the TLS handshake failed: this port speaks no TLS; try ws://", report.error.message, 1, true)
    assert.is_true(report.tcp >= 0)
    report = core.probe("localhost", listener:port(), true, "/no/such/file")
    assert.matches("ca_file: cannot read /no/such/file", report.error.message)
    listener:close(true)
  end))

  it("does not wait for a server that says nothing", helper.async(function()
    local silent = require "socket".bind("127.0.0.1", 0)
    local _, port = silent:getsockname()
    local report = core.probe("127.0.0.1", port, true, nil, 0.2)
    silent:close()
    assert.equal("TIMEOUT", report.error.name)
    assert.is_true(report.tcp >= 0)
  end))

  it("can be given up", helper.async(function()
    local silent = require "socket".bind("127.0.0.1", 0)
    local _, port = silent:getsockname()
    local thread = core.spawn(function() core.probe("127.0.0.1", port, true, nil, 0.5) end)
    core.sleep(0.05)
    assert.is_true(core.cancel(thread))
    silent:close()
  end))

  it("keeps nobody waiting who closes the loop", function()
    local silent = require "socket".bind("127.0.0.1", 0)
    local _, port = silent:getsockname()
    core.spawn(function() core.probe("127.0.0.1", port, true, nil, 60) end)
    core.sleep(0.1)
    local begun = core.monotonic()
    core.close()
    silent:close()
    assert.is_true(core.monotonic() - begun < 20)
  end)

  it("checks what it is given", helper.async(function()
    assert.error_matches(function() core.probe() end, "string expected")
    assert.error_matches(function() core.probe("localhost", 0) end, "a port between 1 and 65535")
    assert.error_matches(function() core.probe("localhost", 1, false, nil, -1) end, "seconds expected")
  end))
end)

describe("the expiry of a token", function()
  it("is what is readable of it", function()
    local claims = core.base64url_encode '{"exp":2000000000}'
    local token = "h." .. claims .. ".s"
    assert.equal(1900000000000, core.token_expiry('{"expires_at":1900000000}', token))
    assert.equal(2000000000000, core.token_expiry("", token))
    local days = (core.token_expiry("", "opaque") - core.now()) / 86400000
    assert.is_true(days > 29.9 and days <= 30)
  end)
end)
