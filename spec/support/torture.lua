-- SPDX-License-Identifier: MIT
-- Helper for busted: collect garbage all the time, so that a value which nothing anchors is found.
collectgarbage "incremental"
collectgarbage("setpause", 0)
collectgarbage("setstepmul", 1000)
