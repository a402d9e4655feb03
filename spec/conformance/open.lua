-- SPDX-License-Identifier: MIT
-- luacheck: no max line length
-- The rows that are not kept today, at which ends, and why. The specs hold it to the truth in both directions.

return {
  ["9112, 5.2: A field that is folded is read as one line"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: U"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Up"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Upgr"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Co"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Connect"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Sec"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Sec-WebSocket"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Sec-WebSocket-Acc"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Set"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Ac"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Access"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: X-Auth"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: Proxy"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: L"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.1: A field whose name is the beginning of another is passed over: WWW"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9112, 4: A status line that is none is refused: HTTP/1.1 0101 OK"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9112, 4: A status line that is none is refused: http/1.1 101 OK"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9112, 5: A line without a colon in the answer is refused"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.5: NUL in a value is refused"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9112, 2.2: A bare CR in a value is refused"] = { ["client"] = "libwebsockets reads the head of the answer" },
  ["9110, 5.6.2: A name with a blank in it is refused"] = { ["client"] = "libwebsockets reads the head of the answer" },
}
