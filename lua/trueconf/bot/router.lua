-- SPDX-License-Identifier: MIT
-- Routing: handlers with their filters in the order they were registered, routers with handlers of their own, and
-- middleware around all handlers of a router. The first handler that fits takes an event; next() offers it to the later
-- ones as well.
--
-- All registrations are in one table, `routes`, which can be replaced as a whole while handlers run (hot reload):
-- running handlers go on with the table they were found in.

local command = require "trueconf.bot.command"
local events = require "trueconf.api.events"
local face = require "trueconf.base.face"
local filters = require "trueconf.filter"
local misuse = require "trueconf.base.misuse"
local options = require "trueconf.base.options"

local MESSAGE, CLICK = "sendMessage", "command"

---@alias trueconf.Next fun(): boolean offers the event to the later handlers; returns true if one took it
---@alias trueconf.TextHandler fun(msg: trueconf.Message, found: any[], next: trueconf.Next)
---@alias trueconf.ClickHandler fun(click: trueconf.CommandEvent, found: any[], next: trueconf.Next)
---@alias trueconf.Middleware fun(event: trueconf.Message|table, next: trueconf.Next, bot: trueconf.Bot)

---@class trueconf.Route
---@field method string? the notification on the wire; nil: a mounted router
---@field find? fun(event: table): any a further argument for the handler; false or nil: the event is not for it
---@field filter? trueconf.Predicate
---@field run fun(context: trueconf.Context, found: any, next: trueconf.Next?)
---@field chains boolean it uses next()
---@field command? trueconf.command.Declared
---@field router? trueconf.Router
---@field source string where it was registered

---One event on its way through the routers.
---@class trueconf.Context
---@field event trueconf.Message|table
---@field method string
---@field bot trueconf.Bot for the handlers
---@field engine trueconf.Engine
---@field source string|false|nil where the handler or middleware was registered that runs

---@class trueconf.Routes all registrations of a router
---@field list trueconf.Route[]
---@field layers { run: trueconf.Middleware, source: string }[] middleware, outermost first
---@field hooks table<string, { run: function, source: string }> unknown_command, usage, default; a bot has more
---@field calls trueconf.CallMiddleware[] of a bot: around its calls

-- Shared by the many routers without registrations of a kind.
local NONE = {}

---@return trueconf.Routes
local function new_routes()
  return { list = {}, layers = NONE, hooks = NONE, calls = NONE }
end

-- A part of the routes, to be added to.
local function own_part(routes, name)
  if routes[name] == NONE then routes[name] = {} end
  return routes[name]
end

---@class trueconf.Router
---@field private routes trueconf.Routes
---@field private draft trueconf.Routes? takes the registrations while everything is registered anew
---@field private fall_back? fun(self: trueconf.Router, context: trueconf.Context, routes: trueconf.Routes): boolean
---called for an event that no handler took; default: fall_back below
local Router = {}

local meta = { __index = Router }

-- Registration -----------------------------------------------------------------------------------

local function table_of(router)
  return router.draft or router.routes
end

-- The source line of the caller's caller, `level` frames up.
local function source_of(level)
  local info = debug.getinfo(level + 1, "Sl")
  return info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
end

local function check_function(value, what, level)
  if type(value) ~= "function" then options.refuse(what, "a function", value, level + 1) end
  return value
end

-- The filter may be left out: `[filter,] handler`. Arguments after the handler come last.
local function split_filter(what, level, given, handler, more)
  if not filters.is_callable(given) then check_function(given, what, level + 1) end
  if type(given) ~= "function" or filters.is_callable(handler) then
    return given, check_function(handler, what, level + 1), more
  end
  return nil, check_function(given, what, level + 1), handler
end

-- True if a handler has an argument number `index`. Most do not use next(), which is costly to make.
local function takes(handler, index)
  if type(handler) ~= "function" then return true end
  local info = debug.getinfo(handler, "u")
  return info.isvararg or info.nparams >= index
end

-- A handler that gets only the event.
local function runs(handler)
  return function(context, _, next) return handler(context.event, next, context.bot) end
end

-- A handler that also gets the result of `find`.
local function runs_with_found(handler)
  return function(context, found, next) return handler(context.event, found, next, context.bot) end
end

-- Add a route, with the source line of the caller of the methods below.
local function add(self, route, level)
  route.source = source_of(level + 1)
  table.insert(table_of(self).list, route)
end

---Handle an event: a notification of the server under its name in snake_case, such as "edit_message",
---"add_chat_participant", "command" (a click), or "message". The handler runs in a coroutine of its own, after earlier
---messages of the same chat; the event is acknowledged when the handler has finished.
---@param name string
---@param filter? trueconf.Filter|trueconf.Predicate
---@param handler fun(event: table, next: trueconf.Next)
---@overload fun(self, name: "message", handler: fun(event: trueconf.Message))
---@overload fun(self, name: "edit_message", handler: fun(event: trueconf.EditMessageEvent))
---@overload fun(self, name: "remove_message", handler: fun(event: trueconf.RemoveMessageEvent))
---@overload fun(self, name: "create_p2p_chat", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "create_group_chat", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "create_channel", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "create_favorites_chat", handler: fun(event: trueconf.ChatCreated))
---@overload fun(self, name: "add_chat_participant", handler: fun(event: trueconf.AddChatParticipantEvent))
---@overload fun(self, name: "remove_chat_participant", handler: fun(event: trueconf.RemoveChatParticipantEvent))
---@overload fun(self, name: "change_participant_role", handler: fun(event: trueconf.ChangeParticipantRoleEvent))
---@overload fun(self, name: "remove_chat", handler: fun(event: trueconf.RemoveChatEvent))
---@overload fun(self, name: "clear_history", handler: fun(event: trueconf.ClearHistoryEvent))
---@overload fun(self, name: "edit_chat_title", handler: fun(event: trueconf.EditChatTitleEvent))
---@overload fun(self, name: "edit_chat_avatar", handler: fun(event: trueconf.EditChatAvatarEvent))
---@overload fun(self, name: "file_upload_limits", handler: fun(event: trueconf.UploadLimits))
---@overload fun(self, name: "upload_file_progress", handler: fun(event: trueconf.UploadFileProgressEvent))
---@overload fun(self, name: "command", handler: fun(event: trueconf.CommandEvent))
function Router:on(name, filter, handler)
  local method = events.method_of(name)
  if not method then error(events.unknown_name(name), 2) end
  filter, handler = split_filter("on", 2, filter, handler)
  add(self, { method = method, filter = filter, run = runs(handler), chains = takes(handler, 2) }, 2)
end

---Handle messages written by others. Each call runs in a coroutine of its own and may wait.
---@param filter? trueconf.Filter|trueconf.Predicate
---@param handler fun(msg: trueconf.Message, next: trueconf.Next)
---@overload fun(self: trueconf.Router, handler: fun(msg: trueconf.Message, next: trueconf.Next))
function Router:on_message(filter, handler)
  filter, handler = split_filter("on_message", 2, filter, handler)
  add(self, { method = MESSAGE, filter = filter, run = runs(handler), chains = takes(handler, 2) }, 2)
end

---Handle messages whose text matches a pattern.
---@param pattern trueconf.Finder a Lua pattern, a function of the text, or an object such as a pattern of lpeg
---@param filter? trueconf.Filter|trueconf.Predicate
---@param handler trueconf.TextHandler gets the captures, or the results of the function
---@overload fun(self: trueconf.Router, pattern: trueconf.Finder, handler: trueconf.TextHandler)
function Router:on_text(pattern, filter, handler)
  local find = filters.finder(pattern, "on_text", 2)
  filter, handler = split_filter("on_text", 2, filter, handler)
  add(self, {
    method = MESSAGE, filter = filter, run = runs_with_found(handler), chains = takes(handler, 3),
    find = function(msg) return msg.text ~= "" and find(msg.text) end,
  }, 2)
end

-- Handle clicks by one of their fields.
local function on_click_field(self, what, field, pattern, given, handler)
  local find = filters.finder(pattern, what, 3)
  given, handler = split_filter(what, 3, given, handler)
  add(self, {
    method = CLICK, filter = given, run = runs_with_found(handler), chains = takes(handler, 3),
    find = function(click) return type(click[field]) == "string" and find(click[field]) end,
  }, 3)
end

---Handle clicks on buttons by their command.
---@param pattern trueconf.Finder
---@param filter? trueconf.Filter|trueconf.Predicate
---@param handler trueconf.ClickHandler
---@overload fun(self: trueconf.Router, pattern: trueconf.Finder, handler: trueconf.ClickHandler)
function Router:on_click(pattern, filter, handler)
  on_click_field(self, "on_click", "command", pattern, filter, handler)
end

---Handle clicks on buttons by the id of the button.
---@param pattern trueconf.Finder
---@param filter? trueconf.Filter|trueconf.Predicate
---@param handler trueconf.ClickHandler
---@overload fun(self: trueconf.Router, pattern: trueconf.Finder, handler: trueconf.ClickHandler)
function Router:on_button(pattern, filter, handler)
  on_click_field(self, "on_button", "button_id", pattern, filter, handler)
end

-- Answer a wrong command with the mistake and the usage.
local function reply_usage(msg, mistake)
  assert(msg:reply(("%s.\nUsage: %s"):format(mistake.message, mistake.usage)))
end

local function run_command(router, declared, handler)
  return function(context, _, next)
    local msg = context.event
    local args, mistake = command.arguments(declared, msg)
    if args then
      handler(msg, args, next, context.bot)
    else
      local hook = router.routes.hooks.usage or context.engine.router.routes.hooks.usage
      if hook then hook.run(msg, mistake) else reply_usage(msg, mistake) end
    end
  end
end

---Handle a command: "/order large", in a group also "/order@bot large" or with a mention before it. Names are compared
---without regard to case. Declared arguments are read, checked and put into `args` under their names; the bot answers a
---mistake with the usage. Without declared arguments `args` is the list of words.
---@param name string|string[] its name, or names: the first one is shown
---@param filter? trueconf.Filter|trueconf.Predicate for people who may use it; also hides it from the help of others
---@param handler fun(msg: trueconf.Message, args: table, next: trueconf.Next)
---@param spec? trueconf.CommandSpec
---@overload fun(self: trueconf.Router, name: string|string[], handler: function, spec?: trueconf.CommandSpec)
function Router:on_command(name, filter, handler, spec)
  filter, handler, spec = split_filter("on_command", 2, filter, handler, spec)
  local declared = command.declare(name, spec, 2)
  add(self, {
    method = MESSAGE, filter = filter, command = declared, run = run_command(self, declared, handler),
    chains = takes(handler, 3),
    find = function(msg) return command.match(declared, msg) end,
  }, 2)
end

-- True if a router holds another one, at any depth.
local function holds(router, sought)
  if router == sought then return true end
  for _, route in ipairs(table_of(router).list) do
    if route.router and holds(route.router, sought) then return true end
  end
  return false
end

---Mount another router: it gets the events that pass the filter, in its turn among the handlers. An event that none of
---its handlers takes goes on to the later handlers.
---@param router trueconf.Router
---@param filter? trueconf.Filter|trueconf.Predicate
function Router:mount(router, filter)
  local inside = face.inside(router)
  if not inside or getmetatable(inside) ~= meta then options.refuse("mount", "a router", router, 2) end
  if filter ~= nil and not filters.is_callable(filter) then
    options.refuse("mount", "a filter or a function", filter, 2)
  end
  if holds(inside, self) then error("mount: a router cannot be inside itself", 2) end
  add(self, { router = inside, filter = filter }, 2)
end

---Add middleware around all handlers of this router and of the routers mounted in it. It sees every message, and every
---event for which the router has a handler; if it does not call next(), no handler gets the event.
---@param middleware trueconf.Middleware
function Router:use(middleware)
  check_function(middleware, "use", 2)
  table.insert(own_part(table_of(self), "layers"), { run = middleware, source = source_of(2) })
end

-- Set one of the functions that a router has only once; `level` is the caller's.
local function set_hook(router, name, run, what, level)
  check_function(run, what, level + 1)
  own_part(table_of(router), "hooks")[name] = { run = run, source = source_of(level + 1) }
end

---Handle messages that no other handler of this router takes.
---@param handler fun(msg: trueconf.Message)
function Router:default(handler)
  set_hook(self, "default", handler, "default", 2)
end

---Handle commands that no handler takes. In groups only commands that name this bot.
---@param handler fun(msg: trueconf.Message, command: trueconf.Command)
function Router:on_unknown_command(handler)
  set_hook(self, "unknown_command", handler, "on_unknown_command", 2)
end

---Answer commands with wrong arguments; by default the bot answers with the mistake and the usage.
---@param handler fun(msg: trueconf.Message, mistake: trueconf.UsageMistake)
function Router:on_usage(handler)
  set_hook(self, "usage", handler, "on_usage", 2)
end

-- Finding ----------------------------------------------------------------------------------------

-- True if a route is for a notification.
local function wants(router, method)
  for _, route in ipairs(router.routes.list) do
    if route.method == method or route.router and wants(route.router, method) then return true end
  end
  return false
end

-- True if a route is for such events. A router sees all messages, for its middleware and its default.
local function is_for(route, method)
  if route.method then return route.method == method end
  return method == MESSAGE or wants(route.router, method)
end

-- The result of a route's `find` for an event, or nil if the event is not for it.
local function found_by(route, context)
  if route.method ~= context.method and not is_for(route, context.method) then return nil end
  context.source = route.source
  local found = true
  if route.find then found = route.find(context.event) end
  if not found then return nil end
  if route.filter and not route.filter(context.event, context.bot) then return nil end
  return found
end

---True if a handler is for a command of this name, even for other people or in another chat.
---@param router trueconf.Router
---@param name string folded
---@return boolean
local function has_command(router, name)
  for _, route in ipairs(router.routes.list) do
    if route.command and route.command.names[name] or route.router and has_command(route.router, name) then
      return true
    end
  end
  return false
end

local enter, offer, fall_back

-- Makes next() for a route: it offers the event to the later routes, and then to those after its router.
local function next_of(router, context, routes, index, outer)
  return function()
    local here = context.source
    local taken = offer(router, context, routes, index + 1, outer) or outer ~= nil and outer()
    context.source = here
    return taken
  end
end

-- Try the routes of a router from one on. `outer` goes on after the router, for the last handler that calls next().
function offer(router, context, routes, from, outer)
  local list = routes.list
  for index = from, #list do
    local route = list[index]
    local found = found_by(route, context)
    if found then
      if route.router then
        if enter(route.router, context, next_of(router, context, routes, index, outer)) then return true end
      else
        route.run(context, found, route.chains and next_of(router, context, routes, index, outer) or nil)
        return true
      end
    end
  end
  return (router.fall_back or fall_back)(router, context, routes)
end

---Offer an event to the handlers of a bot's router. The first one runs by a tail call, so that the stack stays shallow.
---@param router trueconf.Router
---@param context trueconf.Context
local function run(router, context)
  local routes = router.routes
  local route = not routes.layers[1] and routes.list[1]
  if not route or route.router then return enter(router, context) end
  local found = found_by(route, context)
  if not found then return offer(router, context, routes, 2) end
  return route.run(context, found, route.chains and next_of(router, context, routes, 1) or nil)
end

-- Run a router's middleware and handlers. Returns true if the event was taken, also by middleware that did not let it
-- through.
function enter(router, context, outer)
  local routes = router.routes
  if not routes.layers[1] then return offer(router, context, routes, 1, outer) end
  local taken = true
  local function step(number)
    local layer = routes.layers[number]
    if not layer then
      taken = offer(router, context, routes, 1, outer)
      return
    end
    local called = false
    context.source = layer.source
    layer.run(context.event, function()
      if called then error("next() was called before by the middleware of " .. layer.source, 2) end
      called = true
      step(number + 1)
      context.source = layer.source
      return taken
    end, context.bot)
  end
  step(1)
  return taken
end

-- Events that no handler took -----------------------------------------------------------------------

-- A group may have several bots, so only a message that names this bot is surely for it.
local function is_meant(context)
  return context.event.command.addressed or filters.kind_of(context.event, context.bot) == "p2p"
end

---Handle a message that no handler of the router took.
---@param _ trueconf.Router
---@param context trueconf.Context
---@param routes trueconf.Routes
---@return boolean taken
function fall_back(_, context, routes)
  if context.method ~= MESSAGE then return false end
  local msg, hook = context.event, routes.hooks.unknown_command
  if hook and msg.command and is_meant(context) then
    context.source = hook.source
    hook.run(msg, msg.command)
    return true
  end
  hook = routes.hooks.default
  if not hook then return false end
  context.source = hook.source
  hook.run(msg)
  return true
end

-- Help -------------------------------------------------------------------------------------------

-- The commands that a message's author may use in its chat, each once.
local function visible(router, context, list, seen)
  for _, route in ipairs(router.routes.list) do
    local declared = route.command
    local relevant = route.router or declared and not declared.hidden and not seen[declared.first]
    if relevant and (not route.filter or route.filter(context.event, context.bot)) then
      if route.router then
        visible(route.router, context, list, seen)
      else
        list[#list + 1], seen[declared.first] = declared, true
      end
    end
  end
  return list
end

---The help: of all commands that the author of a message may use in its chat, or of one of them.
---@param router trueconf.Router
---@param context trueconf.Context
---@param name string?
---@return string? text nil: there is no such command, or none at all
local function help(router, context, name)
  local list = visible(router, context, {}, {})
  if not name then return list[1] and command.help(list, context.event) end
  for _, declared in ipairs(list) do
    if declared.names[name] then return command.details(declared, context.event) end
  end
end

---@param given? function called for an event that no handler took
---@return trueconf.Router
local function new(given)
  local self = setmetatable({ routes = new_routes(), fall_back = given }, meta)
  self.router = self
  return self
end

-- The class of routers for scripts.
local Face = face.class "trueconf.Router"
face.add(Face, "bot", "router", Router)
misuse.refuse_handlers(Face, Face, "a router")

---Make a router: handlers that belong together, to be mounted in a bot or in another router.
---@return trueconf.Router
local function open()
  return face.set(setmetatable({}, Face), new())
end

return {
  new = new, open = open, set_hook = set_hook, fall_back = fall_back,
  new_routes = new_routes, own_part = own_part, Router = Router, run = run, enter = enter, wants = wants,
  help = help, has_command = has_command, is_meant = is_meant, is_known = events.is_known, MESSAGE = MESSAGE,
  CLICK = CLICK,
}
