-- SPDX-License-Identifier: MIT
---@meta trueconf.core

-- The functions of the C module trueconf.core for the Lua files above it. This file is documentation for people and for
-- the language server; it is never required.
--
-- The rule of waiting: a function marked @async suspends the coroutine that calls
-- it until the result is there. On the main thread, while the loop is not running,
-- it drives the loop instead. On the main thread inside the loop (a callback marked
-- "must not wait") it raises an error.
--
-- The rule of errors: `nil, err` for what can happen, where err is a trueconf.Error;
-- error() for misuse. Durations are seconds, sizes bytes, timestamps milliseconds.

---@class trueconf.core
local core = {}

---The version of the C module, equal to the version of the Lua files.
---@type string
core._VERSION = ""

-- Runtime (runtime.c): one libuv loop per Lua state ---------------------------------

---Run the loop until core.stop() is called or nothing can happen any more: there is no waiting coroutine, timer,
---running client, listener or signal handler.
function core.run() end

---Make core.run() return after the current turn.
function core.stop() end

---One turn of the loop without blocking, for a foreign event loop.
---@return boolean alive something can still happen
function core.step() end

---File descriptor that becomes readable when core.step() has work to do.
---@return integer
function core.fd() end

---How long a foreign loop may wait before it must call core.step().
---@return number? seconds nil: no limit
function core.timeout() end

---Start fn(...) in a coroutine of its own, on the next drain of the ready queue.
---An error in it is reported to the handler of core.on_error and ends only this coroutine.
---@param fn function
---@param ... any
---@return thread
function core.spawn(fn, ...) end

---The same, in a coroutine that is used again when fn has returned: do not keep it.
---@param fn function
---@param ... any
function core.begin(fn, ...) end

---Cancel a coroutine where it waits: its request is taken back or its connection closed, its `<close>` variables are
---closed, which must not wait, and it is never resumed again.
---@param thread thread
---@return boolean cancelled false: it does not wait in a function of this module, it runs or is over
function core.cancel(thread) end

---Call fn() once at the end of this turn of the loop, when all ready coroutines have run and before any frame of the
---turn is sent. Use it to write to disk before the answers are sent. It must not wait.
---@param fn fun()
function core.before_flush(fn) end

---Close coroutines that block the loop: each coroutine that the loop has resumed and that has not waited, yielded or
---returned for this long, by the real clock. It is closed like one that calls coroutine.yield; pcall does not catch
---that. Coroutines inside of it are not watched, and a C function is waited for. For the whole Lua state, until
---close().
---@param seconds number 0: no limit, as at the beginning
function core.busy_limit(seconds) end

---@async
---@param seconds number
function core.sleep(seconds) end

---@class trueconf.core.Timer
local Timer = {}
function Timer:cancel() end

---Call fn() once after `seconds`, in a coroutine of its own.
---@param seconds number
---@param fn function
---@return trueconf.core.Timer
function core.timer(seconds, fn) end

---@class trueconf.core.Signal
local Signal = {}
function Signal:close() end

---Call fn(name) in a coroutine of its own whenever the signal arrives.
---@param name "SIGINT"|"SIGTERM"|"SIGHUP"|"SIGUSR1"|"SIGUSR2"
---@param fn fun(name: string)
---@return trueconf.core.Signal
function core.signal(name, fn) end

---Lets one coroutine wait for values of another one; settles once.
---@class trueconf.core.Waiter
local Waiter = {}

---Wait until wake() is called and return its arguments; if it was called already,
---return at once. TIMEOUT after `timeout` seconds (nil: no limit).
---@async
---@param timeout? number
---@return any ...
function Waiter:wait(timeout) end

---@param ... any results of wait(); at most 8 values
---@return boolean first false if it was already settled
function Waiter:wake(...) end

---@return trueconf.core.Waiter
function core.waiter() end

---Wall clock, UNIX milliseconds; virtual if the clock is.
---@return integer
function core.now() end

---Monotonic seconds; virtual if the clock is.
---@return number
function core.monotonic() end

---n random bytes from the system, or from the seeded source if the clock is virtual.
---@param n integer
---@return string
function core.random(n) end

---A random UUID (version 4), lower case.
---@return string
function core.uuid() end

---Replace clock and random source: time then moves only through core.advance().
---core.virtual_time(false) returns to the real ones.
---@param on boolean
---@param start? integer UNIX milliseconds
---@param seed? integer
function core.virtual_time(on, start, seed) end

---Move virtual time forward; timers fire in order, and the clock stands still while frames are on their way between the
---parties of this process.
---@param seconds number
---@param to_next? boolean move no further than to the first timer, and return when nothing is left to do after it
function core.advance(seconds, to_next) end

---Set the folder of the library's Lua files: the error of a wait in a wrong place must name a line of another file.
---@param folder string as chunks have it in their source
function core.library(folder) end

---@param fn fun(err: any, traceback: string, what: string)? called when a coroutine dies of an error, or a callback
---raises one
---@return function? previous the one it replaces
function core.on_error(fn) end

---@return { pending: integer, ready: integer, timers: integer, coroutines: integer, refs: integer, handles: integer, sessions: integer, listeners: integer, sockets: integer, transfers: integer }
function core.stats() end

---Stop everything: pending calls settle with CLOSED, connections are closed, the loop
---is drained and freed. The next call that needs a loop makes a new one.
function core.close() end

-- Errors (errors.c) -------------------------------------------------------------------

---The metatable of every error object; lua/trueconf/base/error.lua builds on it.
core.Error = {}

---All stable names: { {name=, code=?, class="retry"|"auth"|"fatal"|"request"|"done", meaning=}, ... };
---entries with `code` are error codes of the server (protocol: errorCode).
---@return table[]
function core.error_table() end

---Make an error object of a known name. `extra` may hold code, method, outcome, cause, op, retry_after.
---@param name string
---@param message string
---@param extra? table
---@return trueconf.Error
function core.error(name, message, extra) end

-- Crypto (crypto.c) -------------------------------------------------------------------

---@return string raw 32 bytes
function core.hmac_sha256(key, data) end
---@return string
function core.base64url_encode(data) end
---@return string? data nil if the text is not base64url
function core.base64url_decode(text) end
---Compare two strings in constant time.
---@return boolean
function core.equal(a, b) end

-- Secrets of a server's users (system/password.c, directory.c, private_file.c) ------------------

---A new salt for yescrypt. As a hash it fits no password, and checking against it takes as long as against a real hash
---of the same cost.
---@param cost? integer 1 to 11; every step doubles time and memory; default 5
---@return string
function core.crypt_salt(cost) end

---Hash a password by yescrypt, on another thread.
---@async
---@param password string
---@param cost? integer as above
---@return string? hash as crypt(3) writes it, "$y$..."
---@return trueconf.Error? err LIMIT: 512 bytes or more, or a NUL in it
function core.crypt_hash(password, cost) end

---The same, without waiting: it blocks the loop for the time of the hash. For the start of a server.
---@param password string
---@param cost? integer
---@return string? hash
---@return trueconf.Error? err
function core.crypt_hash_now(password, cost) end

---Check a password against a hash of crypt(3), on another thread; compared in constant time.
---@async
---@param password string
---@param hash string
---@return boolean
function core.crypt_verify(password, hash) end

---@class trueconf.core.LdapBind
---@field url string ldap://, ldaps:// or ldapi://
---@field dn string of the user, escaped (RFC 4514)
---@field password string an empty one is refused before the directory is asked
---@field start_tls? boolean
---@field ca_file? string PEM file used in place of the system's trust
---@field attribute? string to read of the entry `dn`
---@field timeout? number seconds for each step; default 5

---Log in to an LDAP directory by a simple bind, on another thread. libldap is loaded by the first call.
---@async
---@param request trueconf.core.LdapBind
---@return string? name that the directory has for the user: "dn:" and the entry's distinguished name, or its answer to
---"Who am I?" (RFC 4532); "" if it does not tell
---@return string|trueconf.Error? value of the attribute, if it can be read and is not above 512 bytes; else AUTH_FAILED
---(refused), UNREACHABLE, TIMEOUT, TLS, CONFIG (ca_file cannot be used), IO (bad address, libldap is missing)
function core.ldap_bind(request) end

---Check that a file holds certificates of authorities for an LDAP directory. Never waits.
---@param path string
---@return true? ok
---@return trueconf.Error? err CONFIG; IO or NOMEM when it may work later
function core.ldap_ca_file(path) end

---Make a folder that only its owner may enter, if it does not exist.
---@param path string
---@return true? ok
---@return trueconf.Error? err IO, also for a folder that belongs to another user or that others may write to
function core.private_folder(path) end

---Read a small file: a plain one, a pipe to its end, or /dev/null. It waits only for the writer of a pipe.
---@param path string
---@param limit? integer bytes; default 1 MiB, and more is an error
---@param patience? integer seconds for a pipe; default 30; 0: a pipe is refused
---@return string? text nil without an error: there is no such file
---@return boolean|trueconf.Error is_private nobody but the owner may read it; or an error IO
function core.read_file(path, limit, patience) end

---Read a small file with a secret, which only its owner may be able to read.
---@param path string
---@param limit? integer
---@param patience? integer
---@return string? text nil without an error: there is no such file
---@return trueconf.Error? err IO, also for a file that others may read
function core.read_private(path, limit, patience) end

---Write a file that only its owner may read, atomically: it appears under its name when it is complete. Links are
---followed; only a plain file is replaced.
---@param path string
---@param text string
---@param new_only? boolean leave a file that is there as it is
---@return boolean? written false: new_only, and there is one
---@return trueconf.Error? err IO
function core.write_private(path, text, new_only) end

---Make sure that there is a plain file that only its owner may read, for a library that opens it by its name.
---@param path string
---@return true? ok
---@return trueconf.Error? err IO, also for a file that others may read
function core.private_file(path) end

-- The standard output (system/standard.c) -------------------------------------------------------

---Flush the standard output.
---@return true? ok all of the output has been written
---@return trueconf.Error? err IO
function core.flush_output() end

---Set an environment variable of the process, unless it is set; call it before anything else may read the environment.
---@param name string
---@param value string
function core.add_variable(name, value) end

-- Input and files of a program (system/input.c, line_editor.c, named_file.c) -------------------

---Wait until there is something to read from a descriptor, or its end. Takes one of the threads of libuv's pool.
---@async
---@param fd integer such as 0, the standard input
---@return true? ok
---@return trueconf.Error? err IO: no descriptor is left to wait with
function core.readable(fd) end

---Read the available bytes; blocks the whole process if there are none yet.
---@param fd integer
---@return string? bytes at most 65536; nil without an error: the end
---@return trueconf.Error? err IO
function core.read(fd) end

---Begin to read a line with the line editor: the readline of the interpreter, with history. There is one terminal, so
---one line at a time.
---@param prompt string
---@return true? ok
---@return trueconf.Error? err UNSUPPORTED: it has none
function core.edit_begin(prompt) end

---Take a key; call it when the standard input is readable.
---@return string|false|nil line nil: it goes on; false: the input has ended
function core.edit_key() end

---Restore the terminal.
function core.edit_end() end

---A text that changes when a file is written to, or another one takes its place.
---@param path string
---@return string? stamp nil: there is no such file, or it cannot be seen
function core.file_stamp(path) end

-- Files that a user names (system/named_file.c) --------------------------------------------------

---A file to be read without blocking the loop.
---@class trueconf.core.Source
local Source = {}

---Open a plain file, a pipe or /dev/null.
---@param path string
---@return trueconf.core.Source? source with __close
---@return trueconf.Error? err IO
function core.source(path) end

---@return integer? bytes nil: that is known at the end, as of a pipe, or of a file in /proc
function Source:size() end

---The next bytes; waits for the writer of a pipe.
---@async
---@return string? bytes may be empty; nil without an error: the end
---@return trueconf.Error? err IO, CLOSED
function Source:read() end

function Source:close() end

---The path for writing a file: links are followed, and at their end is a plain file or nothing.
---@param path string
---@return string? path
---@return trueconf.Error? err IO
function core.file_target(path) end

---Rename a finished file to its name, durably: wait until the rename survives a power failure. When it fails, the
---finished file is removed.
---@async
---@param from string on the same file system
---@param to string where a plain file is replaced
---@param new_only? boolean only if there is none
---@return true? ok
---@return trueconf.Error? err IO; code 17, EEXIST: new_only, and there is one
function core.replace_file(from, to, new_only) end

-- Pictures (system/picture.c) -----------------------------------------------------------------

---@class trueconf.core.Picture
---@field path? string either a file
---@field data? string or its bytes
---@field size? integer pixels of the longer side of the preview, at most; 1 to 4096, default 512
---@field timeout? number seconds; default 10

---Make a preview of a JPEG, PNG, GIF or WebP picture of up to 32 MiB and 25 million pixels, on another thread. It is
---rotated by the EXIF data; of an animation it is the first frame, and an animated WebP is refused. gdk-pixbuf is
---loaded by the first call.
---@async
---@param picture trueconf.core.Picture
---@return string? data a JPEG, or a PNG if it is transparent somewhere
---@return string|trueconf.Error type "image/jpeg" or "image/png"; else LIMIT, TIMEOUT, IO (no such picture, broken,
---gdk-pixbuf is missing)
function core.picture_preview(picture) end

-- JSON (json.c, tidy.c); for json.lua -------------------------------------------------------

---How deep a value may be nested, in text to be read and to be written.
---@type integer
core.JSON_MAX_DEPTH = 100

---Read JSON text (RFC 8259); json.lua describes the values.
---@param text string
---@param mend boolean U+FFFD for bytes in strings that are not UTF-8, instead of an error
---@param exact? boolean a number with a point or an exponent is a float, also if it is whole
---@return any value
---@return string? wrong complaint, if it is not JSON; it quotes nothing of the text
---@return integer? at which byte, from 1
function core.json_decode(text, mend, exact) end

---The keys that the reader of JSON knows, so that it need not intern them for each text. The first list of a Lua state
---counts, later ones are ignored.
---@param names string[]
function core.json_keys(names) end

---The metatable of empty arrays.
---@type table
core.json_array_mark = {}

---True if lua-cjson writes the value exactly and as we promise: strings are UTF-8, numbers whole and below 10^14,
---tables arrays with the keys 1..n or objects, without a metatable but `array_mark`, no deeper than
---core.JSON_MAX_DEPTH; and no empty array.
---@param value any
---@param array_mark table
---@param exact? boolean and there are no floats and no null in it
---@return boolean
function core.json_is_plain(value, array_mark, exact) end

---A text in the form in which it is compared, see text.fold().
---@param text string
---@return string
function core.fold(text) end
---One text for all spellings that an LDAP directory treats as one name: letters of any case and width, with or without
---spaces and invisible characters (RFC 4518).
---@param text string
---@return string
function core.spelling(text) end

---A text in small letters, character by character; what is not UTF-8 stays as it is.
---@param text string
---@return string
function core.lower(text) end

---A text in capitals, character by character; what is not UTF-8 stays as it is.
---@param text string
---@return string
function core.upper(text) end

---Is a character a letter or a digit (the categories L and N of Unicode)?
---@param code integer
---@return boolean
function core.is_letter(code) end

---A text with U+FFFD for what is not UTF-8, one for each run that a browser shows as one.
---@param text string
---@return string
function core.mend_utf8(text) end

---The beginnings of grapheme clusters (UAX 29), which people see as one character.
---@param text string
---@return string starts as long as the text: "\1" at the first byte of a cluster, else "\0"
function core.grapheme_starts(text) end

---True if a string is UTF-8, as strict as utf8.len().
---@param text string
---@return boolean
function core.is_utf8(text) end

-- HTTP client (http/lua.c) ----------------------------------------------------------------

---@class trueconf.core.TlsOptions
---@field verify? boolean default true
---@field ca_file? string PEM file used in place of the system's trust
---@field pin? string "sha256//BASE64" of the public key, as curl spells it

---@class trueconf.core.Part a part of a multipart form
---@field name string
---@field data? string
---@field path? string stream this file
---@field filename? string
---@field type? string content type

---@class trueconf.core.HttpRequest
---@field method? string default GET, POST with a body or form
---@field url string
---@field headers? table<string,string>
---@field body? string
---@field form? trueconf.core.Part[]
---@field save_to? string stream the answer's body into this file, which appears there when it is complete
---@field resume? boolean write into the file save_to itself, and keep it when the transfer fails; its bytes are not
---transferred again, if the server supports ranges (RFC 9110, Range). A 206 must begin there, else PROTOCOL; with 200
---the file begins anew; with another status, 416 too, it is left alone. The caller may give a header If-Range
---@field on_progress? fun(sent: integer, to_send: integer, received: integer, to_receive: integer) must not
---wait; with `resume` of all of the file
---@field connect_timeout? number default 10
---@field idle_timeout? number no byte moved for so long; default 30
---@field timeout? number the whole transfer; default none
---@field max_body? integer bytes of the body; default 8 MiB in memory, none in a file
---@field tls? trueconf.core.TlsOptions
---@field proxy? string see core.proxy_for

---@async
---@param request trueconf.core.HttpRequest
---@return { status: integer, headers: table<string,string>, body: string? }? response header names in lower case
---@return trueconf.Error? err DNS, REFUSED, UNREACHABLE, TIMEOUT, TLS, DISCONNECTED, PROTOCOL, LIMIT, CLOSED, IO; HTTP
---when a proxy refuses
---@return table<string,string>? headers with `resume`: of an answer that broke off, its beginning is in the file
function core.http(request) end

-- Looking at the way to a server (system/probe.c), for tools -------------------------------------

---@class trueconf.core.Certificate
---@field subject string its common name, or all of its name
---@field issuer string
---@field from integer UNIX seconds
---@field expires integer UNIX seconds

---@class trueconf.core.Doubt: trueconf.core.Certificate what cannot be verified
---@field kind "missing"|"untrusted"|"expired"|"early"|"host"|"other" missing: the certificate of `issuer`
---@field text string in OpenSSL's words
---@field place integer in the chain, counted from 1; it may be behind the end of what was shown

---@class trueconf.core.ProbeReport
---@field dns? number seconds the name took; nil: it cannot be resolved
---@field addresses string[] 8 at most
---@field tcp? number seconds until there was a connection
---@field address? string the one that answered
---@field tls? number seconds the handshake took; nil: it was not asked for, or failed
---@field version? string "TLSv1.3"
---@field names? string hosts that the certificate is for, separated by ", "
---@field chain? trueconf.core.Certificate[] as the server shows it, its own first; 8 at most
---@field doubt? trueconf.core.Doubt nil: the chain is good
---@field error? trueconf.Error why the first step that is nil was not done: DNS, REFUSED, UNREACHABLE, TIMEOUT, TLS, NOMEM

---True if a host is loopback (127.0.0.0/8, ::1, localhost and the names below it). Only there may secrets go
---unencrypted.
---@param host string an IPv6 address with or without its brackets
---@return boolean
function core.is_loopback(host) end

---@class (exact) trueconf.core.Proxy
---@field host string
---@field port integer
---@field source string "option 'proxy'", or the variable of the environment

---The HTTP proxy for a server, the same for all connections. An option applies to every host, "" means no proxy.
---Without the option: http_proxy or, for TLS, https_proxy or HTTPS_PROXY, then all_proxy or ALL_PROXY of the
---environment; never for loopback, nor for a host that no_proxy or NO_PROXY excludes.
---@param url string ws, wss, http or https
---@param option? string http://[user:password@]host[:port], port 1080 by default
---@return trueconf.core.Proxy|false|nil proxy false: no proxy
---@return trueconf.Error? err CONFIG: the setting is wrong
function core.proxy_for(url, option) end

---Resolve a name, connect, shake hands, and close: on another thread and by the real clock. A certificate that cannot
---be verified does not end the handshake. The system's own time limit goes for the name.
---@async
---@param host string
---@param port integer
---@param tls? boolean
---@param ca_file? string PEM file used in place of the system's trust
---@param timeout? number seconds for the connection, and for the handshake; default 10
---@return trueconf.core.ProbeReport
function core.probe(host, port, tls, ca_file, timeout) end

-- Raw WebSocket client (socket.c), used by tools and specs ------------------------------

---@class trueconf.core.Socket
local Socket = {}

---@class trueconf.core.SocketOptions
---@field url string ws:// or wss://
---@field subprotocol? string|false default "json.v1"; several separated by ", "; false: no header
---@field connect_timeout? number
---@field max_frame? integer bytes of an assembled message; default 16 MiB
---@field max_unsent? integer bytes queued for sending; default 4 MiB
---@field ping_interval? number 0: never
---@field pong_timeout? number
---@field tls? trueconf.core.TlsOptions
---@field proxy? string see core.proxy_for
---@field headers? table<string,string> further ones of the handshake; a User-Agent replaces ours

---@async
---@param options trueconf.core.SocketOptions
---@return trueconf.core.Socket? socket
---@return trueconf.Error? err
function core.socket(options) end

---@param data string
---@param opcode? "text"|"binary"|"ping"|"fragment"|"continue"|"end"|"raw" default text; fragment opens a fragmented
---text message, continue and end go on with it; raw sends the bytes as they are
---@return true? ok
---@return trueconf.Error? err CLOSED, LIMIT
function Socket:send(data, opcode) end

---The next whole message.
---@async
---@param timeout? number
---@return string? data
---@return trueconf.Error? err TIMEOUT, or CLOSED with `code` the close code
function Socket:receive(timeout) end

---@param code? integer default 1000
---@param reason? string
function Socket:close(code, reason) end

---Drop the TCP connection without a close frame.
function Socket:drop() end

---@return string? subprotocol the one the server chose
function Socket:protocol() end

-- Server (listener.c) -----------------------------------------------------------------

---@class trueconf.core.ListenOptions
---@field host? string default "127.0.0.1"
---@field port? integer default 0: any free one
---@field tls? { cert_file: string, key_file: string }
---@field websocket_paths? (string|{ path: string, subprotocol: string })[] paths that may be upgraded; others get
---404. A path with a subprotocol of its own is apart: refuse_upgrades and max_connections do not apply to it, count()
---leaves its connections out, at most 64 of them are open, and each of them has its head()
---@field subprotocol? string chosen when offered; default "json.v1"
---@field any_subprotocol? boolean a client that offers none but others is let in without one; false: 400
---@field guarded_path? string such as "/control/": requests for it, or for something below it in letters, digits, '_',
---'-' and '/', spelled out, have `guarded` in their heads; paths apart are for them alone
---@field max_connections? integer WebSocket connections; above it 503 on upgrade; default 128
---@field admits? boolean when there is no room for a WebSocket connection, give up the oldest one without admit()
---@field max_http_connections? integer when there are as many, the longest idle one is given up, else the slowest;
---default 1024
---@field address_connections? integer HTTP connections, and WebSocket connections without admit(), of one address;
---0: any number; default 256, and any number of an address of this machine
---@field slow_after? number seconds of receiving a request, or of sending an answer, after which least_rate counts;
---default 30
---@field least_rate? integer bytes a second; connections that move less are dropped; default 1024
---@field max_frame? integer bytes of an assembled message, close 1009 above it; default 1 MiB
---@field max_body? integer bytes of an HTTP request body, 413 above it; default 1 MiB
---@field max_unsent? integer bytes queued on one connection before it is dropped; default 16 MiB
---@field ping_interval? number seconds between PINGs; 0: none; default 5
---@field max_missed_pongs? integer default 3
---@field on_http? fun(request: trueconf.core.Request) in a coroutine of its own
---@field on_head? fun(head: trueconf.core.RequestHead): trueconf.core.BodyDecision? for a request with a body, before
---any of it is read; must not wait. 500 if it fails
---@field on_open? fun(connection: trueconf.core.Connection) must not wait
---@field on_frame? fun(connection: trueconf.core.Connection, data: string, binary: boolean) must not wait
---@field on_close? fun(connection: trueconf.core.Connection, code: integer, reason: string) must not wait; code 1006 without a close frame

---@class trueconf.core.Listener
local Listener = {}

---@param options trueconf.core.ListenOptions
---@return trueconf.core.Listener? listener
---@return trueconf.Error? err IO (address in use, no permission), TLS (bad certificate)
function core.listen(options) end

---@return integer
function Listener:port() end
---@return integer open WebSocket connections
function Listener:count() end
---Answer every upgrade with this HTTP status (nil: upgrade again).
---@param status? integer
function Listener:refuse_upgrades(status) end
---Stop listening and close all connections: with 1001 and a close frame, or with
---`abrupt` by dropping TCP. The port is free again when this returns.
---@async
---@param abrupt? boolean
function Listener:close(abrupt) end

---@class trueconf.core.RequestHead
---@field method string
---@field path string decoded, without the query
---@field query table<string,string>
---@field headers table<string,string> names in lower case; of a field that comes twice, the values with a comma between
---@field content_length? integer bytes of the body; nil if it comes in chunks, its length unknown
---@field peer string address of the client

---The treatment of a body; nil and {} keep it in memory. Files are written piece by piece as the body comes, in
---constant memory; each write of up to 64 KiB is synchronous, so that the client never gets ahead of the disk
---(backpressure). An incomplete file is removed: when the client leaves, the body is refused (413 above max_body, 415
---if it is no form, 400 if the form is broken or cut off, 507 if the disk is full, 500 if a file cannot be written), or
---the listener closes.
---@class (exact) trueconf.core.BodyDecision
---@field save_to? string write the body into this file, made with mode 0600 or emptied; then body_file is set
---@field form? table<string,string> read a multipart form (RFC 7578), and write each part named here into its file;
---then parts is set. Other parts are dropped, of parts with the same name all but the first. At most 16
---@field max_body? integer bytes of the whole body, boundaries of a form included, in place of the listener's
---@field rate? integer bytes per second, at most; meanwhile nothing is read, so that the client has to wait
---@field cut_after? integer drop the connection when so many bytes of it have come
---@field ignore_body? boolean run on_http at once; what comes of the body is thrown away, the connection ends after the
---answer

---@class trueconf.core.ReceivedPart
---@field path string as given in `form`
---@field size integer
---@field filename? string as the client wrote it, any bytes, no path to be trusted; only \" and \\ are undone
---@field type? string content type

---@class trueconf.core.Request: trueconf.core.RequestHead one HTTP request
---@field body string empty if it went to disk
---@field body_file? string where on_head had it saved; the file is the handler's, to move or remove
---@field parts? table<string, trueconf.core.ReceivedPart> of a form, those that came; the files are the handler's
local Request = {}

---A file as the body of an answer, read at the pace of the client, in constant memory. The caller sets the answer's
---status and headers (206, Content-Range). A file that shrinks meanwhile ends the connection.
---@class (exact) trueconf.core.ServedFile
---@field path string
---@field offset? integer first byte; default 0
---@field length? integer bytes; default all behind the offset
---@field rate? integer bytes per second, at most
---@field cut_after? integer drop the connection after so many bytes, short of the Content-Length

---Answer the request; once. Content-Length is set here.
---@param status integer
---@param headers table<string,string>
---@param body? string|trueconf.core.ServedFile
---@return true? ok
---@return trueconf.Error? err CLOSED: the client is gone; IO: the file cannot be read or is too short, and the request
---is not answered yet
function Request:respond(status, headers, body) end

---Drop the connection without an answer.
function Request:drop() end

---@class trueconf.core.Connection one WebSocket connection of a listener
local Connection = {}

---Queue a text message; everything queued in one loop turn leaves in one write.
---@param data string
---@return true? ok
---@return trueconf.Error? err CLOSED, LIMIT
function Connection:send(data) end
---Keep it, also when there is no room for others (`admits` of core.listen).
function Connection:admit() end
---@param code? integer default 1000
---@param reason? string
function Connection:close(code, reason) end
---Drop the TCP connection without a close frame, at once or behind a last message.
---@param data? string the message
---@param sent? integer bytes of it that leave, so that the connection ends in the middle of its frame; default all
function Connection:drop(data, sent) end
---@return string address of the client
function Connection:peer() end
---@return string? subprotocol nil if the client offered none
function Connection:protocol() end
---@return trueconf.core.RequestHead? head of the request that opened it, if its path is apart
function Connection:head() end
---@return integer bytes queued and not yet taken by the system
function Connection:unsent() end

-- Session (session/lua.c, calls.c): token, connection, authorization, requests ---------------

---@alias trueconf.State "idle"|"token"|"connecting"|"authorizing"|"ready"|"backoff"|"closing"|"closed"|"failed"

---@class trueconf.core.SessionOptions
---@field url string the socket's address, ws:// or wss://
---@field token_url? string address of the token endpoint, needed with a password
---@field username? string
---@field password? string
---@field token? string a ready token; then no password is needed
---@field token_source? fun(): string?, any a function that waits; returns token and optional expiry (UNIX ms), or nil and
---an error: by AUTH_FAILED it counts as refused, by CONFIG the session fails at once, by any other it asks again
---@field token_file? string keep the token here, mode 0600
---@field receive_unread? boolean default true
---@field receive_system? boolean default false: receiveSystemMessageEnvelopes
---@field allow_plaintext? boolean secrets over ws/http to a host that is not loopback; default false
---@field tls? trueconf.core.TlsOptions
---@field proxy? string see core.proxy_for
---@field headers? table<string,string> further ones of token request and handshake; a User-Agent replaces ours
---@field connect_timeout? number default 10
---@field token_timeout? number default 15
---@field auth_timeout? number default 10
---@field close_timeout? number default 3
---@field ping_interval? number default 30
---@field pong_timeout? number default 10
---@field backoff_min? number default 1
---@field backoff_max? number default 60
---@field backoff_jitter? number default 1: up to so many seconds are added at random
---@field max_denials? integer refusals in a row before `failed`; default 3
---@field window? integer requests in flight; default 64
---@field queue? integer callers that may wait behind the window; default 1024
---@field call_timeout? number default 30
---@field max_frame? integer default 16 MiB
---@field max_unsent? integer default 4 MiB
---@field on_state? fun(new: trueconf.State, old: trueconf.State, err: trueconf.Error?, pause: number?) in a coroutine of
---its own; pause: seconds of a backoff
---@field on_request? fun(method: string, payload: any, id: integer, epoch: integer, why: string?) must not wait; payload as
---json.receive() reads it; why: it is not JSON
---@field on_trace? fun(direction: "in"|"out", frame: string) must not wait; secrets masked
---@field on_anomaly? fun(kind: string, count: integer, text: string) must not wait; what came and was no reason to fail:
---"frame" that is none (text: its beginning), "late response", "second response", "response to nobody", "event" without
---a cell in the transition table; count: how many of the kind so far
---@field on_unsaved? fun(err: trueconf.Error) must not wait; the token could not be written to token_file: once, until
---it can be again

---@class trueconf.core.Session
local Session = {}

---@param options trueconf.core.SessionOptions
---@return trueconf.core.Session
function core.session(options) end

function Session:start() end

---Close the connection with 1000 after the queued frames have been sent; calls in flight settle with CLOSED.
---@async
function Session:stop() end

---@return trueconf.State
function Session:state() end

---@return string? user_id as the server sent it, with its instance part
function Session:user_id() end

---Wait until the session is ready.
---@async
---@param timeout? number
---@return true? ok
---@return trueconf.Error? err TIMEOUT, CLOSED, or the reason of `failed`
function Session:wait_ready(timeout) end

---Send a request and wait for its response.
---@async
---@param method string
---@param payload string JSON text of the payload object
---@param timeout? number seconds; default call_timeout
---@param read? boolean repeat it by itself after a reconnect
---@return table? payload of the response, as json.receive() reads it; empty if it had none
---@return trueconf.Error? err with `outcome` "not_sent"|"unknown"|"rejected"; PROTOCOL: the payload is no JSON object or
---array
function Session:request(method, payload, timeout, read) end

---Acknowledge a request of the server. Ignored, with false, if it came on an earlier connection.
---@param id integer
---@param epoch integer
---@return boolean sent
function Session:ack(id, epoch) end

---The payload of a request as it came.
---@return string? text JSON; nil: on_request does not run
function Session:payload_text() end

---Count a frame that Lua found to be damaged.
function Session:damaged() end

---Drop the connection as if the network had failed; the session comes back by itself.
function Session:drop() end

---@return table counters frames_in, frames_out, bytes_in, bytes_out, connects, calls, in_flight, queued, unsent, stale, duplicate, garbage, unexpected, epoch
function Session:stats() end

---The expiry of a token: `expires_at` of the answer, else the token's own claim, else in 30 days (protocol: password
---grant).
---@param answer string body of the token endpoint's answer, or ""
---@param token string
---@return integer expires UNIX milliseconds
function core.token_expiry(answer, token) end

---The transition table, for specs and the documentation.
---@return { from: trueconf.State, event: string, guard: string?, to: trueconf.State, action: string? }[]
function core.transitions() end

---Look up the transition for an event, as a pure function of the guards' values.
---@param state trueconf.State
---@param event string
---@param guards table<string, boolean>
---@return trueconf.State? next nil: no cell
---@return string? action
function core.transition(state, event, guards) end

return core
